"""A sweep, compiled and executed: one real container per task, a second worker beside the first, MariaDB in between."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import pytest

from ledger.opening import open_store
from ledger.recorder import Recorder
from operations.experiments.sweep.chain import Chain
from pipeline.store import from_environment
from tests import forked
from tests.kubeflow.cluster import run_container, running_container

pytestmark = pytest.mark.kubeflow
SPACE = "model.learning_rate: {min: 0.001, max: 0.02, sampling: log}\nmodel.hidden_units: [[16], [8, 4]]\n"
TRIALS = 5


def second_pod() -> int:
    """Runs another worker container, as soon as the first has begun a trial, as a cluster starts it: its exit code."""
    first = running_container("work").attrs
    return run_container(
        docker.from_env(),
        first["Config"]["Image"],
        [first["Path"], *first["Args"]],
        volumes=first["HostConfig"]["Binds"],
        mounts=first["HostConfig"]["Mounts"],
        environment=first["Config"]["Env"],
        network_mode="host",
        read_only=True,
        tmpfs={"/tmp": ""},
    )


@pytest.fixture(scope="module")
def cluster(cluster_in):
    return cluster_in()


@pytest.fixture(scope="module")
def swept(cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "space.yaml").write_text(SPACE)
    compiled = cluster.compile(
        folder / "sweep.yaml",
        *("--space", str(folder / "space.yaml"), "--trials", str(TRIALS), "--parallel", "1"),
        command="sweep",
    )
    with ThreadPoolExecutor() as pool:
        second = pool.submit(second_pod)
        cluster.submit(compiled, window="1:2")
        code = second.result(timeout=300)
    return code, *cluster.latest_run()


@pytest.fixture(scope="module")
def store(cluster):
    return open_store(from_environment(1, cluster.environment))


@pytest.fixture(scope="module")
def events(store, swept):
    return [link.event for link in Chain(store, f"{swept[1]}-sweep").refresh()]


def test_two_pods_share_the_trials_and_run_each_once(swept, events) -> None:
    assert swept[0] == 0
    assert sorted(event.trial for event in events if event.kind == "begun") == list(range(TRIALS))
    assert sorted(event.trial for event in events if event.kind == "finished") == list(range(TRIALS))
    assert len(events) == 2 * TRIALS
    pods = {(event.owner.boot, event.owner.namespace) for event in events}
    assert len(pods) == 2


def test_the_run_trains_with_the_best_and_pushes_it(cluster, swept, events) -> None:
    _, _, states, artifacts = swept
    best = max((event for event in events if event.kind == "finished"), key=lambda event: event.score)
    values = next(event.values for event in events if event.kind == "begun" and event.trial == best.trial)

    training = json.loads((Path(cluster.here(artifacts["Trainer"]["model_run"].uri)) / "training.json").read_text())
    assert training["settings"]["learning_rate"] == values["learning_rate"]
    assert "-".join(map(str, training["settings"]["hidden_units"])) == values["hidden_units"]
    assert states["Pusher"] == "COMPLETE"
    assert artifacts["Pusher"]["pushed_model"].properties["pushed_version"]


def test_the_ledger_has_the_sweep_its_trials_and_the_run(store, swept) -> None:
    run_id = swept[1]
    records = {record.run_id: record for record in Recorder(store).all()}
    sweep, run = records[f"{run_id}-sweep"], records[run_id]
    trials = [record for record in records.values() if record.parent == sweep.run_id and record.kind == "trial"]

    assert (sweep.kind, sweep.runner, sweep.outcome) == ("sweep", "kubeflow", "done")
    assert (run.kind, run.parent, run.outcome) == ("run", sweep.run_id, "pushed")
    assert len(trials) == TRIALS
    assert {trial.outcome for trial in trials} == {"done"}
    assert sweep.metrics["val_auc"] == max(trial.metrics["val_auc"] for trial in trials)


def test_the_trials_have_tensorboard_logs_in_the_workspace(cluster, swept) -> None:
    logs = cluster.workspace / "sweeps" / f"{swept[1]}-sweep"

    assert sorted(folder.name for folder in logs.iterdir()) == [f"{number:04d}" for number in range(TRIALS)]
    assert all(list(folder.glob("*.hparams")) for folder in logs.iterdir())


def test_processes_that_add_to_a_chain_at_once_get_a_place_each_on_mariadb_too(database) -> None:
    environment = database()
    open_store(from_environment(1, environment))
    worker, variables = ("tests.operations.experiments.sweep.chain_worker", "15"), {**os.environ, **environment}
    workers = [forked.Forked(*worker, env=variables) for _ in range(4)]
    reports = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]

    links = [
        [link.event.trial, link.event.token]
        for link in Chain(open_store(from_environment(1, environment)), "sweep").refresh()
    ]
    assert sorted(added for report in reports for added in report) == links
    assert [trial for trial, _ in links] == list(range(60))

"""``flightdeck runs sweep`` and ``flightdeck tensorboard`` on a real run: killed, resumed, finished, looked at."""

import json
import os
import signal
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.flightdeck.conftest import refused
from tests.operations.serving.live_server import wait_for
from tests.world import World

pytestmark = pytest.mark.proof

SPACE = """
model.learning_rate: {min: 0.001, max: 0.02, sampling: log}
model.hidden_units: [[16], [8, 4]]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory, small_spans) -> World:
    return World(tmp_path_factory.mktemp("sweep") / "workspace", small_spans)


@pytest.fixture(scope="module")
def parent(world) -> str:
    return world.run('data.window="1:2"')["run_id"]


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("space") / "space.yaml"
    path.write_text(SPACE)
    return str(path)


def events(world: World, sweep: str) -> list[Any]:
    from ledger.opening import open_store
    from operations.experiments.sweep.chain import Chain

    return [link.event for link in Chain(open_store(world.connection()), sweep).refresh()]


def recorder(world: World) -> Any:
    from ledger.opening import open_store
    from ledger.recorder import Recorder

    return Recorder(open_store(world.connection()))


def record(world: World, run_id: str) -> Any:
    return recorder(world).read(run_id)


def listed(world, *kinds: str) -> list[dict[str, Any]]:
    asked = [part for kind in kinds for part in ("--kind", kind)]
    return world.json("runs", "list", *asked)["runs"]


@pytest.fixture(scope="module")
def killed(world, parent, space) -> tuple[str, list[Any]]:
    """A sweep that was killed, with both of its workers at work, as soon as a trial had finished: its id and chain."""
    process = world.start("runs", "sweep", "--from", parent, "--space", space, "--trials", "5", "--parallel", "2")
    screen, sweep = "", ""
    for line in process.stdout:
        screen += line
        sweep = sweep or (line.split()[1] if line.startswith("Sweep ") else "")
        if "val_auc 0." in line:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait(timeout=60)
    assert sweep, screen
    # The workers notice by themselves that they are alone.
    before: list[Any] = []
    for _ in range(60):
        before, known = events(world, sweep), len(before)
        if not any(event.owner.alive() for event in before) and len(before) == known:
            break
        time.sleep(0.5)
    assert not any(event.owner.alive() for event in before), "workers outlive their sweep"
    outcomes = {run["run_id"]: run["outcome"] for run in listed(world, "sweep", "trial")}
    under_way = {event.trial for event in before} - {event.trial for event in before if event.kind == "finished"}
    assert outcomes[sweep] == "killed"
    # A worker may have had the time to record that a trial is done, and not to add that to the chain.
    assert {outcomes[f"{sweep}-{trial:03d}"] for trial in under_way} - {"done"} == {"killed"}
    return sweep, before


@pytest.fixture(scope="module")
def resumed(world, killed) -> dict[str, Any]:
    sweep, _ = killed
    return world.json("runs", "sweep", "--resume", sweep, "--parallel", "2", "--window", "1:3")


def test_a_killed_sweep_goes_on_and_repeats_no_finished_trial(world, killed, resumed) -> None:
    sweep, before = killed
    after = events(world, sweep)

    finished_before = {event.trial for event in before if event.kind == "finished"}
    assert finished_before
    assert len(finished_before) < 5
    assert after[: len(before)] == before
    assert not finished_before & {event.trial for event in after[len(before) :]}
    ends = Counter(event.trial for event in after if event.kind == "finished")
    assert ends == dict.fromkeys(range(5), 1)
    # What was under way when it was killed is begun anew, with the same hyperparameters.
    under_way = {event.trial for event in before if event.kind == "begun"} - finished_before
    assert {event.trial for event in after if event.kind == "taken"} >= under_way


def test_its_report_is_that_of_the_chain(resumed, parent) -> None:
    assert resumed["parent"] == parent
    assert [trial["state"] for trial in resumed["trials"]] == ["done"] * 5
    scores = {trial["run_id"]: trial["score"] for trial in resumed["trials"]}
    assert resumed["best"] == max(scores, key=scores.__getitem__)
    for trial in resumed["trials"]:
        assert 0.001 <= trial["hyperparameters"]["learning_rate"] <= 0.02
        assert trial["hyperparameters"]["hidden_units"] in ("16", "8-4")
    assert len({json.dumps(trial["hyperparameters"]) for trial in resumed["trials"]}) == 5


def test_every_trial_is_in_the_ledger(world, killed, resumed, parent) -> None:
    sweep = record(world, killed[0])
    assert (sweep.kind, sweep.parent, sweep.outcome) == ("sweep", parent, "done")
    for tried in resumed["trials"]:
        trial = record(world, tried["run_id"])
        assert (trial.kind, trial.parent, trial.outcome) == ("trial", killed[0], "done")
        assert trial.metrics["val_auc"] == tried["score"]
        assert trial.hyperparameters["learning_rate"] == tried["hyperparameters"]["learning_rate"]
        assert trial.hyperparameters["batch_size"] == 256  # as its parent's
        assert trial.window == "1:2"
        assert trial.commit == sweep.commit


def test_a_full_run_with_the_winner_follows(world, killed, resumed) -> None:
    final = record(world, resumed["final"]["run_id"])
    best = next(trial for trial in resumed["trials"] if trial["run_id"] == resumed["best"])

    assert (final.kind, final.parent) == ("run", killed[0])
    assert final.outcome in ("pushed", "not blessed")
    assert final.spans == {"train": [1, 2], "eval": [3]}
    assert final.hyperparameters["learning_rate"] == best["hyperparameters"]["learning_rate"]
    assert "-".join(map(str, final.hyperparameters["hidden_units"])) == best["hyperparameters"]["hidden_units"]


def test_resuming_what_is_finished_trains_nothing(world, killed, resumed) -> None:
    before = events(world, killed[0])
    again = world.json("runs", "sweep", "--resume", killed[0], "--no-final")

    assert again["trials"] == resumed["trials"]
    assert events(world, killed[0]) == before


def test_trials_that_fail_are_recorded_and_a_sweep_of_failures_fails(world, parent, tmp_path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("model.learning_rate: [1e30, 1e29]")
    done = world.flightdeck("runs", "sweep", "--from", parent, "--space", str(path), "--trials", "3", "--json")

    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    # There are only two different ones.
    assert [trial["state"] for trial in report["trials"]] == ["failed", "failed"]
    assert (report["best"], report["final"]) == (None, None)
    trial, sweep = record(world, report["trials"][0]["run_id"]), record(world, report["sweep"])
    assert trial.outcome == sweep.outcome == "failed"
    assert "diverged" in trial.reasons[0]
    assert "all 2 trials failed" in sweep.reasons[0]


def test_tensorboard_shows_the_curves_and_the_sweep_s_hyperparameters(world, killed, resumed) -> None:
    final = resumed["final"]["run_id"]
    process = world.start("tensorboard", killed[0], final, "--port", "0", "--json")
    try:
        served = json.loads(process.stdout.readline())
        url = served["url"]
        assert url.startswith("http://127.0.0.1:")
        assert list(served["logs"]) == [killed[0], final]
        # It reads the logs in the background.
        question: dict[str, Any] = {"experimentName": "", "colParams": [], "startIndex": 0, "sliceSize": 50}
        question["allowedStatuses"] = [f"STATUS_{end}" for end in ("SUCCESS", "FAILURE", "RUNNING", "UNKNOWN")]
        tensorboard = httpx.Client(base_url=url, timeout=60)

        def complete() -> list[Any] | None:
            groups = tensorboard.post("data/plugin/hparams/session_groups", json=question).json()["sessionGroups"]
            runs = tensorboard.get("data/runs").json()
            return groups if len(groups) == 5 and f"{final}/train" in runs else None

        shown = {group["name"]: group for group in wait_for(complete)}
        assert set(shown) == {trial["run_id"] for trial in resumed["trials"]}
        for trial in resumed["trials"]:
            group = shown[trial["run_id"]]
            assert group["hparams"] == trial["hyperparameters"]
            assert [session["status"] for session in group["sessions"]] == ["STATUS_SUCCESS"]
            values = {(value["name"]["group"], value["name"]["tag"]): value["value"] for value in group["metricValues"]}
            assert values["", "val_auc"] == pytest.approx(trial["score"], abs=1e-6)
            assert values["validation", "epoch_auc"] == pytest.approx(trial["score"], abs=1e-6)
        assert f"{final}/train" in tensorboard.get("data/runs").json()
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runs", "sweep", "--trials", "2"], "Say around which run to search with --from RUN"),
        (["runs", "sweep", "--from", "latest", "--resume", "x"], "Say around which run"),
        (["runs", "sweep", "--from", "nothing-like-it"], "has no run nothing-like-it"),
        (["runs", "sweep", "--from", "PARENT", "--algorithm", "hyperband"], "hyperband needs epochs of at least 3"),
        (["runs", "sweep", "--from", "PARENT", "--space", "nowhere.yaml"], "no file nowhere.yaml"),
        (["runs", "sweep", "--resume", "PARENT"], "is a run and not a sweep"),
        (["tensorboard", "nothing-like-it"], "has no run nothing-like-it"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(world, parent, arguments, sentence) -> None:
    done = world.flightdeck(*[parent if word == "PARENT" else word for word in arguments])

    refused((done.returncode, done.stdout, done.stderr), sentence)


def test_a_run_that_trained_nothing_has_no_curves(world, parent) -> None:
    run = "20130101-000000-0000"
    recorder(world).write(run, kind="run", outcome="failed")

    assert f"Run {run} has no TensorBoard logs" in world.says("tensorboard", run, expect=2)

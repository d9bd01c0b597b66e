"""A project that `flightdeck new` has made, in containers of its own image: the same as on this machine."""

import dataclasses
import json
from pathlib import Path

import pytest

from ledger.opening import open_store
from ledger.recorder import Recorder
from operations.delivery.compiled_pipeline import CompiledPipeline
from pipeline import store
from tests import forked
from tests.kubeflow.cluster import Cluster, open_cluster
from tests.ledger.seeding import sqlite
from tests.repository import git
from tests.services import docker_engine
from tests.teaching.new_project import small_project

pytestmark = pytest.mark.kubeflow


def says(project: Path, *arguments: str, **where) -> str:
    """What a command prints in the project."""
    done = forked.run("flightdeck", *arguments, cwd=project, **where)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return small_project.new(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def local_run(project) -> dict:
    """A run on this machine, as `make demo` makes it."""
    options = [part for setting in (*small_project.SMALL, "model.accelerator=cpu") for part in ("--set", setting)]
    says(project, "data", "prepare", "--json")
    return json.loads(says(project, "run", "--json", *options))


@pytest.fixture(scope="module")
def cluster(services, project, local_run, tmp_path_factory) -> Cluster:
    """With the image of the project, and the spans where its settings for Kubeflow have them."""
    engine = docker_engine.environment(services["docker_host"])
    image = json.loads(says(project, "image", "build", "--network", "host", "--json", env=engine))["image"]
    opened = open_cluster(services, project / "workspace" / "spans", tmp_path_factory.mktemp("cluster"), "loans")
    return dataclasses.replace(opened, image=image, folder=project, settings=small_project.SMALL)


@pytest.fixture(scope="module")
def compiled(cluster, tmp_path_factory) -> Path:
    return cluster.compile(tmp_path_factory.mktemp("compiled") / "pipeline.yaml")


@pytest.fixture(scope="module")
def in_containers(cluster, compiled):
    cluster.submit(compiled)
    return cluster.latest_run()


def test_metrics_and_weights_are_those_of_this_machine_to_the_last_bit(cluster, local_run, in_containers, project):
    from pipeline import evaluation

    _, states, artifacts = in_containers
    results = evaluation.results(cluster.here(artifacts["Evaluator"]["evaluation"].uri))
    version = artifacts["Pusher"]["pushed_model"].properties["pushed_version"]
    weights = [
        (folder / "variables" / "variables.data-00000-of-00001").read_bytes()
        for folder in (
            cluster.workspace / "loans" / "models" / "loans" / str(version),
            project / "workspace" / "models" / "loans" / local_run["version"],
        )
    ]

    assert set(states.values()) == {"COMPLETE"}
    assert local_run["outcome"] == "pushed"
    assert results[0].challenger == local_run["metrics"]
    assert weights[0] == weights[1]


def test_a_container_stamps_the_run_as_this_machine_does_and_with_both_commits(
    cluster, local_run, in_containers, project
):
    stores = [sqlite(project / "workspace" / "metadata.sqlite"), store.from_environment(1, cluster.environment)]
    here, there = (Recorder(open_store(connection)) for connection in stores)
    ours, theirs = here.read(local_run["run_id"]), there.read(in_containers[0])

    same = ("outcome", "metrics", "hyperparameters", "spans", "rows", "data", "window", "main_metric", "thresholds")
    assert {name: getattr(theirs, name) for name in same} == {name: getattr(ours, name) for name in same}
    for name in ("sources", "files", "slices", "graph"):
        assert there.document(theirs.documents[name]) == here.document(ours.documents[name]), name
    assert "usecase/prepare.py" in there.document(theirs.documents["sources"])
    head = git(project, "rev-parse", "HEAD")
    assert (ours.code.commit, ours.code.dirty) == (theirs.code.commit, theirs.code.dirty) == (head, False)
    assert ours.platform.commit == theirs.platform.commit
    assert cluster.image.startswith(f"loans:{head[:12]}")


def test_a_sweep_tries_the_project_in_containers_and_a_run_trains_with_the_best(
    cluster, in_containers, project, tmp_path
):
    asked = ("--trials", "2", "--parallel", "1")
    cluster.submit(cluster.compile(tmp_path / "sweep.yaml", *asked, command="sweep"))

    run_id, states, _ = cluster.latest_run()
    records = {
        record.run_id: record for record in Recorder(open_store(store.from_environment(1, cluster.environment))).all()
    }
    sweep, run = records[f"{run_id}-sweep"], records[run_id]
    trials = [record for record in records.values() if record.kind == "trial"]
    assert run_id != in_containers[0]
    assert set(states.values()) == {"COMPLETE", "CACHED"}
    assert (sweep.outcome, run.parent) == ("done", sweep.run_id)
    assert [(trial.outcome, trial.parent) for trial in trials] == [("done", sweep.run_id)] * 2
    assert {trial.code.commit for trial in trials} == {git(project, "rev-parse", "HEAD")}


def ir_of(compiled: CompiledPipeline) -> str:
    """The pipeline in TFX's representation, which a compiled one carries."""
    return compiled.specification["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]["ir"]["defaultValue"]


def test_the_loop_in_the_image_submits_what_is_compiled_on_this_machine(cluster, compiled, in_containers, server):
    overrides = (f"kubeflow.endpoint={server.endpoint}", "continuous.level=2", "continuous.triggers.every_seconds=1")
    told = [part for override in overrides for part in ("--set", override)]
    code, screen = cluster.run(
        *("flightdeck", "watch", "--once", "--json", "--config", "config/kubeflow.yaml", *cluster.options, *told)
    )

    assert code == 0, screen
    (sent,) = server.runs.values()
    assert sent["display_name"].startswith("loans ")
    assert ir_of(CompiledPipeline.of(sent["pipeline_spec"], "what was sent")) == ir_of(CompiledPipeline.load(compiled))

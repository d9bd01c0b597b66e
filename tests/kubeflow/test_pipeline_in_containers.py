"""The compiled pipeline, executed: one real container per task, metadata in a real MariaDB."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from ledger.opening import open_store
from ledger.recorder import Recorder
from pipeline import store
from tests.kubeflow.cluster import as_the_backend
from tests.world import World

pytestmark = pytest.mark.kubeflow


@pytest.fixture(scope="module")
def cluster(cluster_in):
    return cluster_in()


@pytest.fixture(scope="module")
def compiled(cluster, tmp_path_factory):
    return cluster.compile(tmp_path_factory.mktemp("compiled") / "grouped.yaml")


@pytest.fixture(scope="module")
def first(cluster, compiled):
    return cluster.submit(compiled, window="1:2"), *cluster.latest_run()


@pytest.fixture(scope="module")
def second(cluster, compiled, first):
    return cluster.submit(compiled, window="1:2"), *cluster.latest_run()


@pytest.fixture(scope="module")
def local(database, small_spans, tmp_path_factory):
    """The same window by the local runner, with MariaDB as its metadata store."""
    overrides = ("model.accelerator=cpu", 'data.window="1:2"', "metadata.kind=mysql")
    return World(tmp_path_factory.mktemp("local"), small_spans, overrides, database())


@pytest.fixture(scope="module")
def local_run(local):
    return local.run()


def test_the_local_executor_fills_in_no_more_than_a_cluster_does(tmp_path):
    from kfp.local import placeholder_utils

    values = {"whole": "{{$.pipeline_job_uuid}}", "longer": "{{$.pipeline_job_uuid}}-sweep"}
    command = ["{{$.pipeline_job_uuid}}", "{{$.inputs.parameters['whole']}}", "{{$.inputs.parameters['longer']}}"]
    with as_the_backend(placeholder_utils):
        filled = placeholder_utils.replace_placeholders(
            full_command=command,
            executor_input_dict={"inputs": {"parameterValues": values}, "outputs": {"outputFile": str(tmp_path)}},
            pipeline_resource_name="pipeline",
            task_resource_name="task",
            pipeline_root=str(tmp_path),
            unique_pipeline_id="123",
        )

    assert filled == ["{{$.pipeline_job_uuid}}", "123", "{{$.pipeline_job_uuid}}-sweep"]


def test_every_node_runs_in_its_container_and_the_model_is_pushed(cluster, first):
    _, _, states, artifacts = first

    assert set(states.values()) == {"COMPLETE"}
    assert len(states) == 13
    assert artifacts["Evaluator"]["blessing"].properties["blessed"] == 1
    assert artifacts["InfraValidator"]["blessing"].properties["blessed"] == 1
    version = artifacts["Pusher"]["pushed_model"].properties["pushed_version"]
    assert (cluster.workspace / "models" / "late-flights" / str(version) / "saved_model.pb").is_file()


def test_the_metrics_are_the_local_runners_to_the_last_bit(cluster, first, local_run):
    from pipeline import evaluation

    _, _, _, artifacts = first

    results = evaluation.results(cluster.here(artifacts["Evaluator"]["evaluation"].uri))

    assert results[0].challenger == local_run["metrics"]


def test_containers_record_a_run_as_the_local_runner_does(cluster, first, local, local_run, services):
    _, run_id, _, _ = first

    stores = [store.from_environment(1, variables) for variables in (local.variables, cluster.environment)]
    here, there = (Recorder(open_store(connection)) for connection in stores)
    ours, theirs = here.read(local_run["run_id"]), there.read(run_id)

    same = ("outcome", "metrics", "hyperparameters", "spans", "rows", "data", "window", "main_metric", "thresholds")
    assert {name: getattr(theirs, name) for name in same} == {name: getattr(ours, name) for name in same}
    assert theirs.runner == "kubeflow"
    assert theirs.version is not None
    assert {node.node_id for node in theirs.nodes} == {node.node_id for node in ours.nodes}
    assert all(node.seconds >= 0 and node.peak_mb > 100 for node in theirs.nodes)
    for name in ("sources", "files", "slices", "graph"):
        assert there.document(theirs.documents[name]) == here.document(ours.documents[name]), name
    # The image's tag begins with its commit.
    assert theirs.commit is not None
    assert services["image"].rpartition(":")[2].startswith(theirs.commit[:12])


def test_a_second_submission_is_another_run_answered_by_tfx_s_cache(first, second):
    _, run_id, states, _ = second

    # The ids that kfp.local gives, not the placeholder of one.
    assert re.fullmatch(r"\d+", run_id)
    assert run_id != first[1]

    assert states.pop("Champion") == "COMPLETE"
    assert set(states.values()) == {"CACHED"}


def test_kubeflow_is_shown_a_page_the_metadata_ids_and_the_metrics(cluster, first):
    _, run_id, _, artifacts = first

    shown = min((cluster.workspace / "kfp").iterdir())  # named by time, and this was the first submission
    pages = {path.parent.name: path.read_text() for path in shown.glob("*/page")}
    ids = "".join(path.read_text() for path in shown.glob("*/ids"))
    output = json.loads((shown / "release" / "executor_output.json").read_text())

    assert {"data", "transform", "trainer", "release"} == set(pages)
    assert "origin" in pages["data"]
    assert "The data conforms to its schema" in pages["data"]
    assert "Every threshold is met" in pages["release"]
    assert run_id in ids
    assert f"| {artifacts['Trainer']['model'].artifact_id} |" in ids
    metrics = output["artifacts"]["metrics"]["artifacts"][0]["metadata"]
    assert metrics["example_count"] == 1500
    assert any(name.startswith("auc on origin=") for name in metrics)
    curve = output["artifacts"]["roc"]["artifacts"][0]["metadata"]["confidenceMetrics"]
    assert curve[0]["recall"] <= curve[-1]["recall"] == 1.0


def test_a_parameter_given_at_submission_reaches_the_trainer(cluster, compiled, second):
    cluster.submit(compiled, window="1:2", epochs=2, push=False)

    _, states, artifacts = cluster.latest_run()
    training = json.loads((Path(cluster.here(artifacts["Trainer"]["model_run"].uri)) / "training.json").read_text())
    assert training["settings"]["epochs"] == 2
    assert states["Transform"] == "CACHED"
    assert "Pusher" not in states
    assert len(list((cluster.workspace / "models" / "late-flights").iterdir())) == 1


def test_the_password_is_nowhere(cluster, compiled, first, local, local_run):
    from pipeline import node

    screen, *_ = first
    passwords = {variables["FLIGHTDECK_METADATA_PASSWORD"] for variables in (cluster.environment, local.variables)}
    text = compiled.read_text()
    ir = text.split("defaultValue: H4sI", 1)[1].split("\n", 1)[0]
    decoded = str(node.decode(f"H4sI{ir}"))
    written = [
        path.read_text(errors="replace")
        for folder in (cluster.workspace / "kfp", local.workspace / "runs")
        for path in folder.rglob("*")
        if path.is_file()
    ]

    assert "SpanExampleGen" in decoded
    for password in passwords:
        assert not [page for page in (text, decoded, screen, *written) if password in page]


def test_a_killed_container_costs_only_its_own_nodes(cluster_in, compiled, cluster, first):
    _, _, _, undisturbed = first
    disturbed = cluster_in()
    killer = disturbed.kill_when("Trainer")

    with pytest.raises(RuntimeError, match=r"(?i)trainer"):  # the message says which task
        disturbed.submit(compiled, retries=0, window="1:2")
    killer.join(timeout=60)
    _, states, _ = disturbed.latest_run()
    assert states["Transform"] == "COMPLETE"
    assert "Pusher" not in states

    disturbed.submit(compiled, window="1:2")

    _, states, artifacts = disturbed.latest_run()
    assert states["SpanExampleGen"] == states["StatisticsGen"] == states["Transform"] == "CACHED"
    assert states["Trainer"] == states["Pusher"] == "COMPLETE"
    assert weights(disturbed, artifacts) == weights(cluster, undisturbed)


def weights(cluster, artifacts) -> bytes:
    (file,) = Path(cluster.here(artifacts["Trainer"]["model"].uri)).glob("Format-Serving/variables/variables.data-*")
    return file.read_bytes()


def test_two_runs_at_once_share_one_database(database, small_spans, tmp_path):
    overrides, variables = ("model.accelerator=cpu", 'data.window="1:2"', "metadata.kind=mysql"), database()
    worlds = [
        World(tmp_path / f"{epochs}", small_spans, (*overrides, f"model.epochs={epochs}"), variables)
        for epochs in (1, 2)
    ]

    runs = [world.start("run", "--json", stderr=subprocess.PIPE) for world in worlds]

    for run in runs:
        output, errors = run.communicate(timeout=900)
        assert run.returncode == 0, output + errors
        assert json.loads(output)["outcome"] == "pushed"

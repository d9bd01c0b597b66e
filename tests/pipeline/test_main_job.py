"""The main job as a person runs it: from real spans to a pushed model, and what happens the next time."""

import hashlib
import json
import shutil
import signal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ml_metadata.proto.metadata_store_pb2 import Execution

from flightdeck.settings import read_settings
from ledger.opening import open_readonly
from ledger.outputs import executions_of_run
from pipeline.runners import compiled, jobs
from pipeline.runners.fork_server import FULL, LIGHT, Job
from tests.damaged_spans import damaged
from tests.world import LOCAL, World

pytestmark = pytest.mark.e2e


def states(summary: dict) -> dict[str, str]:
    return {node["node_id"]: node["state"] for node in summary["nodes"]}


@pytest.fixture(scope="module")
def world(small_spans, tmp_path_factory):
    return World(tmp_path_factory.mktemp("workspace"), small_spans)


@pytest.fixture(scope="module")
def first(world):
    summary = world.run()
    assert world.versions() == [summary["version"]]
    return summary


@pytest.fixture(scope="module")
def second(world, first):
    return world.run()


@pytest.fixture(scope="module")
def not_blessed(world, second):
    return world.run("evaluation.metrics=[{name: AUC, better: higher, at_least: 0.9999}]")


@pytest.fixture(scope="module")
def challenger(world, not_blessed):
    return world.run("model.epochs=2")


def test_the_first_run_pushes_a_model(first):
    assert first["outcome"] == "pushed"
    assert first["reasons"] == []
    assert set(states(first).values()) == {"done"}
    assert first["anomalies"] == []
    assert first["champion_metrics"] == {}


def test_every_row_of_every_span_arrives_at_every_node(world, first, small_spans):
    import tensorflow_data_validation as tfdv

    spans = [pq.read_metadata(small_spans / f"span-00{number}" / "flights.parquet").num_rows for number in (1, 2, 3)]
    expected = {"train": spans[0] + spans[1], "eval": spans[2]}

    assert first["spans"] == {"train": [1, 2], "eval": [3]}
    assert first["rows"] == expected
    for split, rows in expected.items():
        statistics = next(world.workspace.glob(f"artifacts/StatisticsGen/statistics/*/Split-{split}/*"))
        assert tfdv.load_stats_binary(str(statistics)).datasets[0].num_examples == rows
    training = json.loads(next(world.workspace.glob("artifacts/Trainer/model_run/*/training.json")).read_text())
    assert training["rows"] == expected
    assert first["metrics"]["example_count"] == expected["eval"]


def test_batch_inference_gives_the_scores_of_the_evaluation(world, challenger, small_spans, tmp_path):
    """TFMA asked `serving_default` with tf.Examples."""
    output = tmp_path / "predictions.parquet"
    answer = world.json("predict", "--window", "newest:newest", "--output", str(output))

    predictions = pq.read_table(output)

    flights = pq.read_table(small_spans / "span-003" / "flights.parquet", columns=["flight_id"])
    assert answer["rows"] == flights.num_rows
    assert set(predictions["flight_id"].to_pylist()) == set(flights["flight_id"].to_pylist())
    probabilities = predictions["probability"].to_pylist()
    assert all(0 <= probability <= 1 for probability in probabilities)
    mean = sum(probabilities) / flights.num_rows
    assert mean == pytest.approx(challenger["metrics"]["mean_prediction"], abs=1e-6)
    scores = max(world.workspace.glob("artifacts/Scores/scores/*/scores.parquet"), key=lambda file: int(file.parts[-2]))
    evaluated = pq.read_table(scores)["probability"].to_pylist()
    assert sorted(probabilities) == pytest.approx(sorted(evaluated), abs=1e-6)
    shown = world.json("runs", "show", answer["run_id"])
    assert (shown["window"], shown["spans"]) == ("newest:newest", {"all": [3]})
    assert shown["rows"] == {"all": flights.num_rows}


def test_a_second_run_with_nothing_changed_reuses_every_node_as_the_metadata_store_says(world, first, second):
    executions = executions_of_run(open_readonly(world.connection()), second["run_id"])
    cached = {node for node, execution in executions.items() if execution.last_known_state == Execution.CACHED}

    assert cached == {node for node, state in states(second).items() if state == "cached"}
    assert cached == executions.keys() - {"Champion"}
    assert len(cached) == 12
    assert executions["Champion"].last_known_state == Execution.COMPLETE
    assert second["outcome"] == "pushed"
    assert (second["version"], second["metrics"]) == (first["version"], first["metrics"])
    assert world.versions()[:1] == [first["version"]]


def test_a_run_with_nothing_changed_since_the_last_one_does_not_load_tensorflow(world, challenger):
    world.run("model.epochs=2")

    screen = world.says("run", overrides=("model.epochs=2",))

    assert "Loading" not in screen
    assert screen.count(" cached ") == 12
    assert f"pushed as version {challenger['version']}" in " ".join(screen.split())


def test_a_model_that_misses_a_threshold_is_not_pushed_and_the_reason_is_given(first, not_blessed):
    assert not_blessed["outcome"] == "not blessed"
    assert any("auc" in reason and "0.9999" in reason for reason in not_blessed["reasons"])
    assert not_blessed["version"] is None
    assert states(not_blessed)["Trainer"] == "cached"


def test_a_challenger_is_compared_with_the_champion_on_the_same_rows(world, first, challenger):
    assert challenger["outcome"] == "pushed"
    assert challenger["champion_metrics"] == pytest.approx(first["metrics"], abs=1e-9)
    assert challenger["metrics"] != challenger["champion_metrics"]
    assert all(part["champion"] is not None for part in challenger["worst_slices"])
    # Another epoch retrains, but does not analyse the data again; a push leaves the older versions alone.
    assert (states(challenger)["Transform"], states(challenger)["Trainer"]) == ("cached", "done")
    assert world.versions() == sorted([first["version"], challenger["version"]])


def test_the_data_gate_stops_a_category_never_seen_and_the_next_run_goes_on(world, challenger, small_spans, tmp_path):
    def one_unseen(carriers: pa.ChunkedArray) -> pa.ChunkedArray:
        return pa.chunked_array([["ZZ", *carriers.to_pylist()[1:]]], carriers.type)

    broken = World(world.workspace, damaged(small_spans, tmp_path / "spans", "carrier", one_unseen))

    failed = broken.run(expect=1)

    assert failed["outcome"] == "failed"
    assert states(failed)["DataGate"] == "failed"
    assert "Transform" not in states(failed)
    assert any("carrier" in reason and "ZZ" in reason for reason in failed["reasons"])
    assert failed["version"] is None
    assert world.versions() == sorted([world.versions()[0], challenger["version"]])
    healthy = world.run("model.epochs=2")
    assert set(states(healthy).values()) - {"done"} == {"cached"}
    assert states(healthy)["Trainer"] == "cached"


def weights(world, version: str) -> str:
    (file,) = (world.workspace / "models").glob(f"*/{version}/variables/variables.data-*")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def outcomes(world) -> list[str]:
    """What ``flightdeck runs list`` says of each run, newest first."""
    return [run["outcome"] for run in world.json("runs", "list")["runs"]]


def unfinished(world) -> list[object]:
    """Executions that go on for ever, and files of those that did not come to their end."""
    executions = open_readonly(world.connection()).get_executions()
    going_on = [execution for execution in executions if execution.last_known_state == Execution.RUNNING]
    failed = [execution.id for execution in executions if execution.last_known_state == Execution.FAILED]
    artifacts = world.workspace / "artifacts"
    files = [file for number in failed for file in artifacts.glob(f"*/*/{number}/**/*")]
    return [*going_on, *files, *artifacts.rglob(".temp*")]


@pytest.mark.proof
def test_an_interrupted_or_killed_run_leaves_nothing_and_the_next_makes_the_same_model(
    world, first, small_spans, tmp_path
):
    undisturbed = world
    world = World(tmp_path / "workspace", small_spans)

    code, screen = world.interrupt("ExampleValidator")

    assert code == 1
    assert "interrupted" in screen
    assert "Traceback" not in screen
    interrupted = next(line.split()[0] for line in screen.splitlines() if " failed " in line and line.startswith("  "))
    assert not [path for path in world.workspace.glob(f"artifacts/{interrupted}/[!.]*/*") if any(path.iterdir())]
    code, screen = world.interrupt("ExampleValidator", by=signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert outcomes(world) == ["killed", "failed"]
    resumed = world.run(imports_anew=True)
    assert resumed["outcome"] == "pushed"
    assert outcomes(world) == ["pushed", "killed", "failed"]
    assert states(resumed)["SpanExampleGen"] == states(resumed)["StatisticsGen"] == "cached"
    assert not unfinished(world)
    # In another workspace, in other processes: the same data, settings and code train the same weights to the last bit.
    assert weights(world, resumed["version"]) == weights(undisturbed, first["version"])
    assert resumed["metrics"] == first["metrics"]


def test_the_tuner_searches_and_the_trainer_uses_what_it_found(small_spans, tmp_path):
    world = World(tmp_path / "workspace", small_spans)

    tuned = world.run(
        "tuning.enabled=true",
        "model.tuning={max_trials: 2, epochs: 1, search: {hidden_units: [[8]], embedding_dim: [3], cross_layers: [],"
        " dropout: [0.25], learning_rate: [0.003, 0.004], weight_decay: []}}",
        "push.enabled=false",
    )

    assert tuned["outcome"] == "blessed"
    training = json.loads(next(world.workspace.glob("artifacts/Trainer/model_run/*/training.json")).read_text())
    assert training["settings"]["embedding_dim"] == 3
    assert training["settings"]["learning_rate"] in (0.003, 0.004)
    assert not world.versions()


# Each changes one thing; whether a node's earlier result may be reused then is for TFX to say.
CHANGES = (
    *("model.epochs=2", "model.epochs=3", "model.seed=1", "model.learning_rate=0.01", "model.hidden_units=[16, 8]"),
    *("model.tuning.max_trials=3", "tuning.enabled=true", "training.warm_start=true", "cache=false"),
    *("features.clip=3.0", "features.harmonics=1", "features.categorical=[carrier, origin]"),
    *("data.window=1:2", "data.window=1:3", "data.eval_spans=2", "gate.severity=warning", "gate.severity=never"),
    *("evaluation.slices=[[origin]]", "evaluation.gated_slices=[]", "evaluation.min_slice_size=60"),
    *("evaluation.importance_rows=10", "evaluation.importance_rows=0", "evaluation.decision_threshold=0.4"),
    *("evaluation.metrics=[{name: AUC, better: higher, at_least: 0.9}]", "infra_validation.requests=3"),
    *("infra_validation.load_seconds=60.0", "push.enabled=false", "push.destination=elsewhere"),
    "use_case.name=others",
)
# Where Beam runs, with which everything is reused. Nothing listens at these addresses.
ENGINES = (
    "beam.components={Transform: [--runner=FnApiRunner, --direct_running_mode=in_memory]}",
    "beam.args=[--runner=DataflowRunner]",
    *(f"beam={{engine: flink, flink: {{job_endpoint: 'localhost:{port}', parallelism: {port}}}}}" for port in (1, 2)),
    "beam={flink: {job_endpoint: 'localhost:1'}, components: {StatisticsGen: flink, Evaluator: local}}",
)


@pytest.fixture(scope="module")
def known(world, challenger, tmp_path_factory):
    """A copy of what the metadata store knows, in which runs can be begun."""
    connection = world.connection()
    copy = tmp_path_factory.mktemp("metadata") / "metadata.sqlite"
    shutil.copy(connection.sqlite.filename_uri, copy)
    connection.sqlite.filename_uri = str(copy)
    return connection


@pytest.mark.parametrize("engine", ENGINES, ids=range(len(ENGINES)))
def test_another_engine_of_beam_reuses_everything_with_tensorflow_and_without(world, known, engine):
    overrides = [*world.options()[1::2], "model.epochs=2"]
    before, settings = read_settings(LOCAL, overrides), read_settings(LOCAL, [*overrides, engine])
    pipeline = Job(FULL, jobs.compile_pipeline, "create_pipeline", settings.document(), ()).result()

    for server in (LIGHT, FULL):
        plan = jobs.Plan(pipeline, f"{server} {engine}", known, settings.beam)
        outcomes = Job(server, jobs.reuse, plan).result()
        assert {node.node_id for node in outcomes if node.state != "cached"} == {"Champion"}
        assert len(outcomes) == 13
        # What made the result, and not what would make it now.
        assert {node.engine for node in outcomes} == {"local", None}
    assert compiled.key(before, "create_pipeline", ()) == compiled.key(settings, "create_pipeline", ())


@pytest.mark.parametrize("change", ["model.epochs=2", *CHANGES], ids=range(len(CHANGES) + 1))
def test_tfx_reuses_the_same_results_with_tensorflow_and_without(world, known, change):
    settings = read_settings(LOCAL, [*world.options()[1::2], change])
    pipeline = Job(FULL, jobs.compile_pipeline, "create_pipeline", settings.document(), ()).result()

    answers = []
    for server in (LIGHT, FULL):
        plan = jobs.Plan(pipeline, f"{server} {change}", known)
        answers.append([(node.node_id, node.state) for node in Job(server, jobs.reuse, plan).result()])

    assert answers[0] == answers[1]
    # The copy of a compiled pipeline is used for the same pipeline only.
    compiled.keep(settings, "create_pipeline", name := compiled.key(settings, "create_pipeline", ()), pipeline)
    assert compiled.kept(settings, "create_pipeline", name) == pipeline
    unchanged = read_settings(LOCAL, world.options()[1::2])
    assert compiled.kept(unchanged, "create_pipeline", compiled.key(unchanged, "create_pipeline", ())) is None


def compiled_after_an_edit(module: str, settings: dict) -> jobs.Compiled:
    """What is compiled if a module of a component has been edited; in a process of its own."""
    from pipeline import fingerprint

    digest = fingerprint.modules_digest

    def digest_of(modules: set[str]) -> str:
        sources = {name for each in modules for name in fingerprint.module_sources(each)}
        return "edited" if module in sources else digest(modules)

    fingerprint.modules_digest = digest_of
    return jobs.compile_pipeline("create_pipeline", settings, ())


@pytest.mark.parametrize(
    ("module", "node"), [("components.data_gate.report", "DataGate"), ("components.examples", "SpanExampleGen")]
)
def test_an_edited_component_runs_again_with_tensorflow_and_without(world, known, module, node):
    settings = read_settings(LOCAL, [*world.options()[1::2], "model.epochs=2"])
    pipeline = Job(FULL, compiled_after_an_edit, module, settings.document()).result()

    for server in (LIGHT, FULL):
        plan = jobs.Plan(pipeline, f"{server} {module}", known, settings.beam)
        reused = [outcome.node_id for outcome in Job(server, jobs.reuse, plan).result()]
        assert reused == list(pipeline.after)[: list(pipeline.after).index(node)]

"""The whole pipeline makes on an engine what it makes in memory: on Beam's own job service, and on Flink.

The former is as far as it goes to Flink without Java; the latter needs a jar: `make flink-test`.
"""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.services import engine, flink
from tests.world import World

ON_BEAM = {"SpanExampleGen", "StatisticsGen", "Transform", "Evaluator"}
JOB_SERVICE, FLINK, LOSS = "job service", "flink", "flink, which loses a TaskManager"
Made = tuple[World, dict, Path]


@pytest.fixture(scope="module")
def make(small_spans, tmp_path_factory) -> Callable[..., Made]:
    """Makes a run and predictions, with some settings: their world, the run, the predictions."""

    def made(*settings: str) -> Made:
        world = World(tmp_path_factory.mktemp("run") / "workspace", small_spans, settings)
        run = world.run()
        predictions = world.workspace.with_name("predictions.parquet")
        answer = world.json("predict", "--window", "newest:newest", "--output", str(predictions))
        return world, {**run, "predicted": answer["run_id"]}, predictions

    return made


@pytest.fixture(scope="module")
def local(make) -> Made:
    return make()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(JOB_SERVICE, marks=pytest.mark.e2e),
        pytest.param(FLINK, marks=pytest.mark.flink),
        pytest.param(LOSS, marks=pytest.mark.flink),
    ],
)
def runs(request, make, local) -> Iterator[dict[str, Made]]:
    """The same run and the same predictions in memory and on an engine."""
    if request.param == JOB_SERVICE:
        with engine.engine() as settings:
            yield {"local": local, "flink": make(*settings)}
        return
    with flink.flink() as (cluster, settings):
        with losing_a_task_manager(cluster) if request.param == LOSS else contextlib.nullcontext():
            made = make(*settings)
        yield {"local": local, "flink": made}


@contextlib.contextmanager
def losing_a_task_manager(cluster: flink.Cluster) -> Iterator[None]:
    """Has a TaskManager killed in the middle of StatisticsGen's job, which is the second."""

    def runs_second() -> bool:
        jobs = cluster.jobs()
        return len(jobs) == 2 and jobs[1]["tasks"]["running"] > 0

    def lose() -> None:
        flink.wait_for(runs_second, "StatisticsGen's job", 300)
        cluster.lose_task_manager()

    with ThreadPoolExecutor(1) as executor:
        lost = executor.submit(lose)
        yield
        lost.result()
    job = cluster.jobs()[1]
    assert (job["state"], bool(cluster.losses(job["jid"]))) == ("FINISHED", True)


def files(world: World, pattern: str) -> dict[str, bytes]:
    """The files of the run's artifacts: path without the artifact's number -> bytes."""
    found = sorted((world.workspace / "artifacts").glob(pattern))
    return {"/".join(path.parts[-2:]): path.read_bytes() for path in found if path.is_file()}


def test_each_node_ran_where_the_settings_say(runs):
    for name, (world, run, _) in runs.items():
        engines = {node["node_id"]: node["engine"] for node in run["nodes"]}
        assert engines == {node: name if node in ON_BEAM else None for node in engines}
        assert run["outcome"] == "pushed"
        predicted = {node["node_id"]: node for node in world.json("runs", "show", run["predicted"])["nodes"]}
        assert predicted["BulkInferrer"]["engine"] == name


def test_flink_gets_one_job_at_a_time_though_two_could_begin(runs):
    world, run, _ = runs["flink"]
    predicted = {node["node_id"]: node for node in world.json("runs", "show", run["predicted"])["nodes"]}
    ended = {name: datetime.fromisoformat(node["ended"]).timestamp() for name, node in predicted.items()}
    first, second = sorted(("StatisticsGen", "BulkInferrer"), key=ended.__getitem__)
    assert ended[second] - predicted[second]["seconds"] >= ended[first] - 1


def test_examples_and_vocabularies_are_the_same_bytes(runs):
    for pattern in ("SpanExampleGen/examples/*/Split-*/*", "Transform/transform_graph/*/transform_fn/assets/*"):
        ours, theirs = (files(world, pattern) for world, _, _ in runs.values())
        assert ours
        assert ours == theirs


def test_statistics_are_equal_for_each_feature(runs):
    import tensorflow_data_validation as tfdv

    def statistics(world: World) -> dict[tuple[str, str], bytes]:
        described = {}
        for file in (world.workspace / "artifacts").glob("StatisticsGen/statistics/*/Split-*/*"):
            (dataset,) = tfdv.load_stats_binary(str(file)).datasets
            for feature in dataset.features:
                described[file.parent.name, feature.path.step[0]] = feature.SerializeToString(deterministic=True)
        return described

    ours, theirs = (statistics(world) for world, _, _ in runs.values())
    assert len(ours) > 40
    assert ours == theirs


def test_transform_has_learned_the_same_constants(runs):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    def constants(world: World) -> Counter[bytes]:
        (file,) = (world.workspace / "artifacts").glob("Transform/transform_graph/*/transform_fn/saved_model.pb")
        (graph,) = (meta.graph_def for meta in SavedModel.FromString(file.read_bytes()).meta_graphs)
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        tensors = [node.attr["value"].tensor for node in nodes if node.op == "Const"]
        return Counter(tensor.SerializeToString(deterministic=True) for tensor in tensors)

    ours, theirs = (constants(world) for world, _, _ in runs.values())
    assert ours.total() > 40
    assert ours == theirs


def test_weights_metrics_and_slices_are_equal(runs):
    def weights(world: World) -> str:
        (file,) = (world.workspace / "models").glob("*/*/variables/variables.data-*")
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def slices(world: World, run: dict) -> dict[str, dict]:
        return {part["slice"]: part for part in world.json("runs", "show", run["run_id"], "--document", "slices")}

    (ours, our_run, _), (theirs, their_run, _) = runs.values()
    assert weights(ours) == weights(theirs)
    assert our_run["metrics"] == their_run["metrics"]
    assert slices(ours, our_run) == slices(theirs, their_run)


def test_predictions_differ_in_their_last_digits_at_most(runs):
    ours, theirs = (pq.read_table(file).sort_by("flight_id") for _, _, file in runs.values())
    assert ours["flight_id"].equals(theirs["flight_id"])
    assert len(ours) == 1500
    assert ours["probability"].to_pylist() == pytest.approx(theirs["probability"].to_pylist(), abs=1e-6)

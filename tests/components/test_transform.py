"""The transform graph is the one that TFX makes of the same rows as tf.Examples."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.transform.executor import Executor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from components.transform import TransformExecutor
from models import preprocessing
from tests.components.local_runs import IN_MEMORY
from tests.components.scorers import artifact, in_both_formats

pytestmark = pytest.mark.component

SHARDS, ROWS = 3, 400
SCHEMA = "\n".join(
    f'feature {{ name: "{name}" type: {kind} {shape} presence {{ min_fraction: {fraction} }} }}'
    for name, kind, shape, fraction in [
        ("floor", "INT", "", 0.0),
        ("weight", "FLOAT", "", 0.0),
        ("volume", "FLOAT", "shape { dim { size: 1 } }", 1.0),
        ("depot", "BYTES", "", 0.0),
        ("road", "BYTES", "shape { dim { size: 1 } }", 1.0),
        ("note", "BYTES", "", 0.0),
        ("closed", "FLOAT", "", 0.0),
    ]
)
FEATURES = {
    "numeric": ["weight", "volume", "floor", "closed"],
    "heavy_tailed": ["weight"],
    "missing_indicators": ["floor"],
    "cyclic": {"volume": 7.0},
    "categorical": ["depot", "road"],
    "vocabulary_min_count": 15,
    "text": ["note"],
}


def flightdeck(inputs):
    return preprocessing.preprocessing_fn(inputs, {"features": FEATURES})


def ranges(inputs):
    volume = inputs["volume"]
    return {
        "scaled": tft.scale_to_0_1(volume),
        "bucket": tft.bucketize(volume, 4),
        "road": tft.compute_and_apply_vocabulary(inputs["road"], top_k=3, num_oov_buckets=2),
        "total": volume - tf.cast(tft.size(volume), tf.float32),
        "none": tft.compute_and_apply_vocabulary(inputs["road"], frequency_threshold=10**6),
    }


def text(inputs):
    return {"length": tf.cast(tf.strings.length(inputs["road"]), tf.int64)}


def nested(inputs):
    """An analyzer on the result of another, which one accumulator per shard does not compute."""
    rounded = tf.strings.as_string(tf.cast(tft.scale_to_z_score(inputs["volume"]) * 4, tf.int64))
    return {"rounded": tft.compute_and_apply_vocabulary(rounded, name="rounded")}


def shard(seed):
    random = np.random.default_rng(seed)

    def texts(pattern, numbers, missing=0.0):
        values = [pattern % number for number in numbers]
        return pa.array(values, pa.large_binary(), mask=random.random(ROWS) < missing)

    return pa.record_batch(
        {
            "floor": pa.array(random.integers(-3, 40, ROWS), pa.int64(), mask=random.random(ROWS) < 0.2),
            "weight": pa.array(random.lognormal(0, 1, ROWS), mask=random.random(ROWS) < 0.2).cast(pa.float32()),
            "volume": pa.array(random.normal(1e4, 1, ROWS).astype(np.float32)),
            "depot": texts(b"d%d", random.geometric(0.1, ROWS), missing=0.2),
            "road": texts(b"\xff%d\n", random.geometric(0.2, ROWS)),
            "note": texts(b"to %d \xc3\xa9", random.integers(0, 5, ROWS), missing=0.2),
            "closed": pa.nulls(ROWS, pa.float32()),
        }
    )


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The same rows in both formats: Examples artifacts by the ending of their files."""
    shards = {"train": [shard(index) for index in range(SHARDS)]}
    return in_both_formats(tmp_path_factory.mktemp("examples"), shards)


def computed(executor, rows, preprocessing_fn, folder):
    """Runs an executor and returns the folder of its transform graph."""
    (folder / "schema").mkdir(parents=True)
    (folder / "schema" / "schema.pbtxt").write_text(SCHEMA)
    schema = artifact(standard_artifacts.Schema, folder / "schema")
    graph = artifact(standard_artifacts.TransformGraph, folder / "graph")
    context = BaseBeamExecutor.Context([*IN_MEMORY], tmp_dir=str(folder / "tmp"), unique_id="1")
    properties = {
        "preprocessing_fn": f"{__name__}.{preprocessing_fn}",
        "splits_config": '{"analyze": ["train"]}',
        "disable_statistics": 1,
    }
    executor(context).Do({"examples": [rows], "schema": [schema]}, {"transform_graph": [graph]}, properties)
    return folder / "graph"


def transformed(graph, rows):
    output = tft.TFTransformOutput(str(graph))
    files = sorted(Path(rows.uri, "Split-train").iterdir())
    serialised = list(tf.data.TFRecordDataset([str(file) for file in files], "GZIP").as_numpy_iterator())
    raw = tf.io.parse_example(tf.constant(serialised), output.raw_feature_spec())
    return {name: values.numpy() for name, values in output.transform_features_layer()(raw).items()}


def files(graph):
    """What is beside the saved model: metadata and vocabularies by path."""
    paths = [*graph.rglob("*.pbtxt"), *graph.rglob("asset_map"), *graph.rglob("assets/*")]
    return {str(path.relative_to(graph)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("preprocessing_fn", ["flightdeck", "ranges", "text", "nested"])
def test_the_graph_is_that_of_tfx(rows, tmp_path, preprocessing_fn):
    stock = computed(Executor, rows["gz"], preprocessing_fn, tmp_path / "stock")
    expected = transformed(stock, rows["gz"])
    for ending in rows:
        ours = computed(TransformExecutor, rows[ending], preprocessing_fn, tmp_path / ending)
        assert {path.name for path in ours.iterdir()} == {path.name for path in stock.iterdir()}
        assert files(ours) == files(stock)
        found = transformed(ours, rows["gz"])
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-6, err_msg=name)


def test_the_graph_transforms_to_the_same_bits_again(rows, tmp_path):
    first, second = (computed(TransformExecutor, rows["parquet"], "flightdeck", tmp_path / name) for name in "ab")
    assert files(first) == files(second)
    again = transformed(second, rows["gz"])
    assert all(values.tobytes() == again[name].tobytes() for name, values in transformed(first, rows["gz"]).items())

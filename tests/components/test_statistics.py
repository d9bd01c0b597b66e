"""Statistics of examples in columns are those that TFX computes of the same rows as tf.Examples."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import json_format
from tfx.components.statistics_gen.executor import Executor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from components.statistics import StatisticsExecutor
from tests.components.local_runs import IN_MEMORY
from tests.components.scorers import artifact, in_both_formats

pytestmark = pytest.mark.component

SPLITS = {"train": 3, "eval": 1}


def shard(seed, rows=700):
    random = np.random.default_rng(seed)
    skewed = np.minimum(random.geometric(0.01, rows), 400)
    missing = random.random((3, rows)) < 0.2
    return pa.record_batch(
        {
            "parcel": pa.array(np.arange(rows) + rows * seed, pa.int64()),
            "floor": pa.array(random.integers(-3, 40, rows), pa.int64(), mask=missing[0]),
            "weight": pa.array(random.lognormal(0, 1, rows).astype(np.float32), pa.float32(), mask=missing[1]),
            "depot": pa.array([f"depot-{n}".encode() for n in skewed], pa.large_binary(), mask=missing[2]),
            "note": pa.array([b"\xff\xfe", b"", b"\xff\xfe", b"n" * 1000, None, "é".encode(), b""] * (rows // 7)),
            "closed": pa.nulls(rows, pa.float32()),
            "reopened": pa.nulls(rows, pa.int64()) if seed % 2 else pa.array([seed] * rows, pa.int64()),
        }
    )


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The same rows in both formats: Examples artifacts by the ending of their files."""
    seeds = itertools.count()
    splits = {split: [shard(next(seeds)) for _ in range(count)] for split, count in SPLITS.items()}
    return in_both_formats(tmp_path_factory.mktemp("examples"), splits, id=1, span=4)


def computed(executor, rows, folder):
    """Runs an executor and returns its artifact."""
    statistics = artifact(standard_artifacts.ExampleStatistics, folder / "statistics")
    context = BaseBeamExecutor.Context([*IN_MEMORY], tmp_dir=str(folder / "tmp"), unique_id="1")
    executor(context).Do({"examples": [rows]}, {"statistics": [statistics]}, {"exclude_splits": "[]"})
    return statistics


def fields(statistics, split):
    """Returns each field of the statistics by its place, features by their names."""
    (dataset,) = tfdv.load_stats_binary(f"{statistics.uri}/Split-{split}/FeatureStats.pb").datasets
    document = json_format.MessageToDict(dataset, preserving_proto_field_name=True)
    document["features"] = {feature["path"]["step"][0]: feature for feature in document["features"]}
    return dict(_leaves(document, ()))


def _leaves(value, place):
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(part, (*place, key))
    else:
        yield place, value


@pytest.mark.parametrize("ending", ["parquet", "gz"])
def test_the_statistics_are_those_of_tfx(rows, tmp_path, ending):
    stock = computed(Executor, rows["gz"], tmp_path / "stock")
    ours = computed(StatisticsExecutor, rows[ending], tmp_path / "ours")
    assert (ours.split_names, ours.span) == (stock.split_names, stock.span)
    for split in SPLITS:
        expected, found = fields(stock, split), fields(ours, split)
        assert found.keys() == expected.keys()
        for place, value in expected.items():
            assert found[place] == (pytest.approx(value, 1e-6) if isinstance(value, float) else value), place


def test_the_statistics_are_the_same_to_the_byte_again(rows, tmp_path):
    first, second = (computed(StatisticsExecutor, rows["parquet"], tmp_path / name) for name in ("first", "second"))
    for split in SPLITS:
        path = f"Split-{split}/FeatureStats.pb"
        assert Path(first.uri, path).read_bytes() == Path(second.uri, path).read_bytes()

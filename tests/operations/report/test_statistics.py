"""Statistics of columns, from TFDV's protocol buffers and counted from Parquet."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from operations.report import statistics
from operations.report.statistics import Column

pytestmark = pytest.mark.unit


@pytest.fixture
def written(tmp_path):
    figures = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = figures.datasets.add(num_examples=10)
    number = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.FLOAT)
    number.path.step.append("size")
    number.num_stats.common_stats.num_non_missing = 8
    number.num_stats.mean, number.num_stats.std_dev, number.num_stats.max = 2.5, 1.0, 5.0
    for kind, rows in ((statistics_pb2.Histogram.QUANTILES, 1), (statistics_pb2.Histogram.STANDARD, 4)):
        histogram = number.num_stats.histograms.add(type=kind)
        for at in range(2):
            histogram.buckets.add(low_value=at, high_value=at + 1, sample_count=rows)
    text = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    text.path.step.append("colour")
    text.string_stats.common_stats.num_non_missing = 10
    text.string_stats.unique = 2
    for rank, (value, rows) in enumerate((("red", 7), ("blue", 3))):
        text.string_stats.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=value, sample_count=rows)
    empty = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.INT)
    empty.path.step.append("never")
    empty.num_stats.common_stats.num_missing = 10
    file = tmp_path / "FeatureStats.pb"
    file.write_bytes(figures.SerializeToString())
    return file


def test_figures_are_those_of_the_file(written):
    figures = statistics.read(written)
    size, colour, never = (figures.columns[name] for name in ("size", "colour", "never"))
    assert figures.rows == 10
    assert (size.kind, size.mean, size.maximum) == ("number", 2.5, 5.0)
    assert size.missing == pytest.approx(0.2)
    assert size.bins == ((0.0, 1.0, 4.0), (1.0, 2.0, 4.0))
    assert (colour.distinct, colour.top) == (2, [("red", 0.7), ("blue", 0.3)])
    assert (never.missing, never.mean, never.bins) == (1.0, None, ())


def test_a_damaged_file_is_refused(tmp_path):
    file = tmp_path / "FeatureStats.pb"
    for content in (b"\xff\xfe not a message", b""):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged|holds no"):
            statistics.read(file)


def test_counting_a_servers_log_gives_the_same_figures(written, tmp_path):
    like = statistics.read(written)
    logged = {
        "model_version": [7, 7, 7, 8],
        "size": pa.array([1.0, 3.0, None, 100.0]),
        "colour": [["red"], ["red"], [], ["green"]],
        "unasked": [1, 2, 3, 4],
        "request_refused": [None, False, None, False],
    }
    refused = {"model_version": [7], "size": [9000.0], "colour": [["grey"]], "request_refused": [True]}
    older = {"model_version": [6], "size": [1.0], "colour": [["red"]]}
    files = [tmp_path / f"{name}.parquet" for name in ("log", "refused", "older")]
    for file, columns in zip(files, (logged, refused, older), strict=True):
        pq.write_table(pa.table(columns), file)
    counted, unmarked = (statistics.served(files, version, like) for version in ("7", "6"))
    assert counted is not None
    assert unmarked is not None
    assert unmarked.rows == 1
    assert (counted.rows, set(counted.columns)) == (3, {"size", "colour"})
    assert (counted.columns["size"].mean, counted.columns["size"].present) == (2.0, 2)
    assert counted.columns["colour"].top == [("red", 1.0)]
    assert statistics.served(files, "9", like) is None


def test_shift_of_numbers_and_categories():
    before = Column("number", 10, 10, mean=1.0, deviation=2.0)
    assert statistics.shift(before, before) == 0
    assert statistics.shift(before, Column("number", 10, 10, mean=4.0, deviation=9.0)) == 1.5
    constant = Column("number", 10, 10, mean=1.0, deviation=0.0)
    assert statistics.shift(constant, Column("number", 10, 10, mean=2.0, deviation=0.0)) == math.inf
    red = Column("category", 10, 10, frequencies={"red": 10})
    mixed = Column("category", 20, 20, frequencies={"red": 15, "blue": 5})
    assert statistics.shift(red, mixed) == 0.25

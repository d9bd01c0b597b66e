"""Rows in memory: complete, in order, shuffled the same way each time; the same from Parquet and from TFRecords."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from benchmarks import quality
from data import spans
from data.contract import Contract
from models.flights import FlightFeatures
from models.inputs import InputError, TransformGraph, matching, read, serialised
from tests.models.conftest import TRAIN_SPANS

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def rows(ingested):
    return ingested.rows("train")


def test_every_row_is_read_in_the_order_of_time(rows, ingested) -> None:
    labels = ingested.train.column("arrived_late").to_numpy()
    assert len(rows) == len(labels)
    np.testing.assert_array_equal(rows.labels.numpy()[:, 0], labels)
    assert np.isfinite(rows.features["numeric_xf"].numpy()).all()


def test_an_epoch_holds_every_row_once_and_keeps_labels_with_their_features(rows) -> None:
    batches = list(rows.batches(1000, shuffle_seed=3))
    shuffled = np.concatenate([np.hstack([batch["numeric_xf"], labels]) for batch, labels in batches])
    original = np.hstack([rows.features["numeric_xf"], rows.labels])
    assert not np.array_equal(shuffled, original)
    np.testing.assert_array_equal(np.sort(_keys(shuffled)), np.sort(_keys(original)))


def test_the_order_changes_from_epoch_to_epoch_and_is_repeatable(rows) -> None:
    first, again = rows.batches(len(rows), shuffle_seed=3), rows.batches(len(rows), shuffle_seed=3)
    epochs = [_keys(np.asarray(batch["numeric_xf"])) for _ in range(2) for batch, _ in first]
    repeated = [_keys(np.asarray(batch["numeric_xf"])) for _ in range(2) for batch, _ in again]
    np.testing.assert_array_equal(epochs, repeated)
    assert not np.array_equal(epochs[0], epochs[1])


def test_the_newest_rows_are_split_off(rows) -> None:
    older, newest = rows.split(0.25)
    assert len(newest) == round(len(rows) * 0.25)
    joined = np.concatenate([older.features["categorical_xf"], newest.features["categorical_xf"]])
    np.testing.assert_array_equal(joined, rows.features["categorical_xf"])


@pytest.fixture(scope="module")
def columnar(ingested, tmp_path_factory) -> list[str]:
    """The training rows as Parquet, a file per span, with the types of the examples."""
    folder = tmp_path_factory.mktemp("columnar")
    types = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.binary()}
    schema = pa.schema({name: types[kind] for name, kind in Contract.load(quality.CONTRACT).ingested().items()})
    for number in TRAIN_SPANS:
        table = spans.read(ingested.folder / "spans", number).select(schema.names).cast(schema)
        pq.write_table(table, folder / f"data-{number:05}.parquet")
    return [str(folder / "*")]


def test_parquet_gives_the_tensors_that_tfrecords_give(rows, columnar, ingested) -> None:
    same = read(columnar, ingested.graph, "arrived_late")
    assert same.features.keys() == rows.features.keys()
    for name, values in rows.features.items():
        np.testing.assert_array_equal(same.features[name], values)
        assert same.features[name].dtype == values.dtype
    np.testing.assert_array_equal(same.labels, rows.labels)


def test_parquet_gives_the_examples_that_tfrecords_hold(columnar, ingested) -> None:
    names = FlightFeatures().inputs
    files = [matching(patterns)[0] for patterns in (columnar, [str(ingested.folder / "Split-train" / "*")])]
    encoded, stored = (
        [tf.train.Example.FromString(example).features.feature for example in serialised(file, names, 300)]
        for file in files
    )
    assert len(encoded) == len(stored) == 300
    assert any(not stored[row]["plane_year"].WhichOneof("kind") for row in range(300))
    for here, there in zip(encoded, stored, strict=True):
        for name in names:
            assert _values(here[name]) == _values(there[name])


# What is done to the training rows, and why they cannot be read then; None: they can.
UNREADABLE = {
    "a required column lacks a value": (lambda table: _first_missing(table, "distance"), "no 'distance'"),
    "a required column is not there": (lambda table: table.drop_columns("distance"), "rows have no 'distance'"),
    "an optional column is not there": (lambda table: table.drop_columns("temp"), None),
    "a label is missing": (lambda table: _first_missing(table, "arrived_late"), "2 rows of .* 'arrived_late'"),
    "there is no row": (lambda table: table.slice(0, 0), "hold no example"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_parquet_that_cannot_be_trained_on_is_refused(case, columnar, ingested, tmp_path) -> None:
    change, message = UNREADABLE[case]
    for file in matching(columnar)[:2]:
        pq.write_table(change(pq.read_table(file)), tmp_path / file.rpartition("/")[2])
    if message is None:
        changed = read([str(tmp_path / "*")], ingested.graph, "arrived_late")
        before = read(matching(columnar)[:2], ingested.graph, "arrived_late")
        assert len(changed) == len(before)
        assert not np.array_equal(changed.features["numeric_xf"], before.features["numeric_xf"])
        return
    with pytest.raises(InputError, match=message):
        read([str(tmp_path / "*")], ingested.graph, "arrived_late")


@pytest.mark.parametrize(
    ("pattern", "label", "message"),
    [
        ("Split-nowhere/*", "arrived_late", "no file matches .*Split-nowhere"),
        ("Split-train/*", "arrived_early", "'arrived_early' is not in the schema"),
    ],
)
def test_unusable_input_is_refused(ingested, pattern: str, label: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read([str(ingested.folder / pattern)], ingested.graph, label)


def test_a_column_that_transform_did_not_see_is_refused(ingested) -> None:
    with pytest.raises(InputError, match="'altitude' is not in the schema"):
        TransformGraph(ingested.transform, ["carrier", "altitude"])


def _keys(rows: np.ndarray) -> np.ndarray:
    """Returns one number per row that tells rows apart."""
    weights = np.random.default_rng(0).normal(size=rows.shape[1])
    return (rows.astype(np.float64) * weights).sum(axis=1)


def _first_missing(table: pa.Table, name: str) -> pa.Table:
    values = pa.array([None, *table[name].to_pylist()[1:]], table.schema.field(name).type)
    return table.set_column(table.schema.get_field_index(name), name, values)


def _values(feature: tf.train.Feature) -> list:
    return [*feature.int64_list.value, *feature.float_list.value, *feature.bytes_list.value]

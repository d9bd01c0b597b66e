"""Rows of examples, from Parquet and from TFRecords, and rows as tf.Examples."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tfx.types.standard_artifacts import Examples

from components import examples
from components.examples import ExamplesError
from tests.components.scorers import artifact

ROWS = pa.record_batch(
    {
        "shop": pa.array([b"north", None, b"\xff\x00", b"", b"n" * 300], pa.large_binary()),
        "floor": pa.array([0, -1, None, 2**62, 1], pa.int64()),
        "size": pa.array([0.0, -0.0, None, 0.1, 0.0], pa.float32()),
        "closed": pa.nulls(5, pa.float32()),
    }
)


def feature(value):
    if value is None:
        return tf.train.Feature()
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


def messages(batch):
    """The rows as TensorFlow's own messages."""
    features = [{name: feature(value) for name, value in row.items()} for row in batch.to_pylist()]
    return [tf.train.Example(features=tf.train.Features(feature=row)) for row in features]


@pytest.fixture(params=["parquet", "gz"])
def files(request, tmp_path):
    """Two files, of three and of two rows."""
    for shard, part in enumerate((ROWS.slice(0, 3), ROWS.slice(3))):
        path = str(tmp_path / f"data-{shard}.{request.param}")
        if request.param == "parquet":
            pq.write_table(pa.table(part), path)
            continue
        with tf.io.TFRecordWriter(path, "GZIP") as writer:
            for message in messages(part):
                writer.write(message.SerializeToString())
    return sorted(map(str, tmp_path.iterdir()))


def test_both_formats_give_the_same_rows_of_the_chosen_columns(files):
    batches = list(examples.read(files, ["size", "shop", "closed", "unknown"], rows=2))
    assert max(batch.num_rows for batch in batches) == 2
    table = pa.concat_tables(map(pa.table, batches), promote_options="permissive")
    expected = pa.table(ROWS).select(["size", "shop", "closed"]).append_column("unknown", pa.nulls(5))
    assert table.to_pylist() == expected.to_pylist()
    assert table.schema.types[:2] == [pa.float32(), pa.large_binary()]


def test_all_columns_are_read_by_default(files):
    (*_, batch) = examples.read(files)
    assert set(batch.schema.names) == set(ROWS.schema.names)


@pytest.mark.parametrize("batch", [ROWS, ROWS.slice(1, 2), ROWS.select(["shop"])])
def test_a_row_becomes_the_message_that_tensorflow_writes(batch):
    assert examples.encode(batch) == [message.SerializeToString(deterministic=True) for message in messages(batch)]


def test_long_values_are_encoded_whole():
    lengths = [126, 127, 128, 129, 130, 16382, 16383, 16384, 1 << 21]
    batch = pa.record_batch(
        {"text": pa.array([b"x" * (length + less) for length in lengths for less in range(-25, 1)])}
    )
    assert examples.encode(batch) == [message.SerializeToString(deterministic=True) for message in messages(batch)]


def test_several_values_in_a_row_are_refused(tmp_path):
    two = tf.train.Example()
    two.features.feature["floor"].int64_list.value.extend([1, 2])
    with tf.io.TFRecordWriter(str(tmp_path / "data")) as writer:
        writer.write(two.SerializeToString())
    with pytest.raises(ExamplesError, match="The feature floor has several values"):
        list(examples.read([str(tmp_path / "data")]))


def test_the_files_of_a_split_are_sorted_and_a_split_without_any_is_refused(tmp_path):

    made = artifact(Examples, tmp_path, split_names='["train", "eval"]')
    (tmp_path / "Split-train").mkdir()
    for number in np.random.default_rng(0).permutation(12):
        (tmp_path / "Split-train" / f"data-{number:05d}-of-00012.parquet").touch()
    files = examples.split_files(made, "train")
    assert files == sorted(files)
    assert len(files) == 12
    for split, message in (("eval", "no examples of the split 'eval' at"), ("all", "the splits are train, eval")):
        with pytest.raises(ExamplesError, match=message):
            examples.split_files(made, split)

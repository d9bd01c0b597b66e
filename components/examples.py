"""The rows of an Examples artifact in columns, and columns as tf.Examples.

A split is a folder of Parquet files, or of TFRecord files of tf.Example; sorted by name they hold the rows in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples
from tfx.utils import io_utils
from tfx_bsl.coders import example_coder

from errors import FlightdeckError

PARQUET = ".parquet"


class ExamplesError(FlightdeckError):
    """Examples that are missing, or that have several values of a column in one row."""


def split_files(examples: Examples, split: str) -> list[str]:
    """Returns the files of a split in the order of their rows.

    Raises:
        ExamplesError: If there is no such split, or it has no files.
    """
    known = artifact_utils.decode_split_names(examples.split_names)
    if split not in known:
        splits = ", ".join(known) or "none"
        raise ExamplesError(f"There are no examples of the split {split!r}; the splits are {splits}.")
    folder = artifact_utils.get_split_uri([examples], split)
    files = sorted(str(file) for file in fileio.glob(io_utils.all_files_pattern(folder)))
    if not files:
        raise ExamplesError(f"There are no examples of the split {split!r} at {folder}.")
    return files


def read(files: Sequence[str], columns: Sequence[str] | None = None, rows: int = 1 << 14) -> Iterator[pa.RecordBatch]:
    """Yields the rows in order, in batches.

    Args:
        files: All Parquet (`.parquet`), or all TFRecord (`.gz` is decompressed).
        columns: What to read, in this order; by default all there is.
        rows: How many a batch holds at most. A Parquet file begins a new batch.

    Yields:
        One value per row: int64, float32 or large_binary; null where it is missing. The type is null for a column that
        the file, or this batch of TFRecords, does not have.

    Raises:
        ExamplesError: If an example has several values of a column.
    """
    batches = _parquet(files, columns, rows) if files and files[0].endswith(PARQUET) else _decoded(files, columns, rows)
    for batch in batches:
        if columns is None:
            yield batch
            continue
        absent = pa.nulls(batch.num_rows)
        known = set(batch.schema.names)
        arrays = [batch.column(name) if name in known else absent for name in columns]
        yield pa.record_batch(arrays, names=list(columns))


def records(files: Sequence[str]) -> tf.data.Dataset:
    """Returns the serialised tf.Examples of TFRecord files, in order."""
    compression = "GZIP" if files and files[0].endswith(".gz") else ""
    return tf.data.TFRecordDataset(list(files), compression_type=compression, buffer_size=1 << 20)


def encode(batch: pa.RecordBatch) -> list[bytes]:
    """Returns the rows as serialised tf.Examples, which are the same in every process.

    A missing value is a feature without a kind, as TFX's own example generators write it.

    Args:
        batch: Columns as `read` yields them.
    """
    # An entry of the map is encoded once per distinct value. Entries one after another are the map, and a deterministic
    # serialisation sorts them by name.
    entries = [_entries(name, batch.column(name)) for name in sorted(batch.schema.names)]
    features = pc.binary_join_element_wise(*entries, pa.scalar(b"", pa.large_binary()))
    lengths = pc.binary_length(features).dictionary_encode()
    headers = pa.array([b"\x0a" + _varint(length) for length in lengths.dictionary.to_pylist()], pa.large_binary())
    examples = pc.binary_join_element_wise(headers.take(lengths.indices), features, pa.scalar(b"", pa.large_binary()))
    return examples.to_pylist()


def as_lists(values: pa.Array) -> pa.LargeListArray:
    """Returns a list per row: of its value, or null where that is missing."""
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values.is_valid().to_numpy(zero_copy_only=False), out=offsets[1:])
    return pa.LargeListArray.from_arrays(pa.array(offsets), values.drop_null(), mask=values.is_null())


def single_values(name: str, lists: pa.Array) -> pa.Array:
    """Returns the value of each list, null where there is none; raises an ExamplesError if a list has several."""
    if pa.types.is_null(lists.type):
        return lists
    lengths = pc.list_value_length(lists)
    if (pc.max(lengths).as_py() or 0) > 1:
        raise ExamplesError(f"The feature {name} has several values in some rows; one at most is expected.")
    return pc.list_element(pc.if_else(pc.equal(lengths, 0), None, lists), 0)


def _parquet(files: Sequence[str], columns: Sequence[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
    for file in files:
        with fileio.open(file, "rb") as stream:
            parquet = pq.ParquetFile(pa.BufferReader(stream.read()))
        known = parquet.schema_arrow.names
        chosen = known if columns is None else [name for name in columns if name in known]
        yield from parquet.iter_batches(rows, columns=chosen, use_threads=False)


def _decoded(files: Sequence[str], columns: Sequence[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    for serialised in records(files).batch(rows).prefetch(1).as_numpy_iterator():
        batch = decoder.DecodeBatch(serialised.tolist())  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
        names = [name for name in batch.schema.names if columns is None or name in columns]
        yield pa.record_batch([single_values(name, batch.column(name)) for name in names], names=names)


def _entries(name: str, values: pa.Array) -> pa.Array:
    # By their bits, because 0.0 is not -0.0.
    bits = values.view(pa.int32()) if pa.types.is_float32(values.type) else values
    distinct = bits.dictionary_encode(null_encoding="encode")
    lists = as_lists(distinct.dictionary.view(values.type))
    encoded = example_coder.RecordBatchToExamplesEncoder().encode(pa.record_batch([lists], names=[name]))
    features = [example[_header_bytes(example) :] for example in encoded]
    return pa.array(features, pa.large_binary()).take(distinct.indices)


def _header_bytes(example: bytes) -> int:
    """Returns how long the tag and the length are that begin a serialised tf.Example."""
    size = 2
    while len(example) - size >= 1 << 7 * (size - 1):
        size += 1
    return size


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])

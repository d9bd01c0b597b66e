"""The rows to be scored: read from TFRecord files, with single features taken out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from tfx_bsl.coders import example_coder

from errors import FlightdeckError


class ScoresError(FlightdeckError):
    """The rows cannot be scored; the text is one sentence that says why."""


def read(files: Sequence[str], batch_rows: int) -> Iterator[list[bytes]]:
    """Yields serialised tf.Examples in the order of the files, in batches; `.gz` is decompressed."""
    compression = "GZIP" if files and files[0].endswith(".gz") else ""
    records = tf.data.TFRecordDataset(list(files), compression_type=compression, buffer_size=1 << 20)
    for batch in records.batch(batch_rows).prefetch(1).as_numpy_iterator():
        yield batch.tolist()  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]


class Decoded:
    """A batch of serialised tf.Examples, feature by feature."""

    def __init__(self, examples: Sequence[bytes]):
        self._batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(list(examples))

    @property
    def names(self) -> list[str]:
        """The features that any of the examples has."""
        return list(self._batch.schema.names)

    def column(self, name: str) -> pa.Array:
        """Returns the values of a feature, one per row: int64, float32 or large_binary; null where there is none.

        Raises:
            ScoresError: If a row has several.
        """
        index = self._batch.schema.get_field_index(name)
        lists = None if index < 0 else self._batch.column(index)
        if lists is None or pa.types.is_null(lists.type):
            return pa.nulls(self._batch.num_rows)
        if (pc.max(pc.list_value_length(lists)).as_py() or 0) > 1:
            raise ScoresError(f"The feature {name} has several values in some rows; Scores takes one at most.")
        return pc.list_element(pc.if_else(pc.equal(pc.list_value_length(lists), 0), None, lists), 0)

    def labels(self, name: str) -> np.ndarray:
        """Returns the labels, float64 [rows]; raises a ScoresError if a row has none, or one that is no number."""
        column = self.column(name)
        if column.null_count:
            raise ScoresError(f"{column.null_count} rows have no label {name}; score labelled rows only.")
        if _is_text(column):
            raise ScoresError(f"The label {name} is text; a number is needed.")
        return column.to_numpy(zero_copy_only=False).astype(np.float64)

    def readable(self, name: str) -> pa.Array:
        """Returns the values of a feature as for `column`, with text instead of bytes where they are UTF-8."""
        column = self.column(name)
        if not _is_text(column):
            return column
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            return pa.array([None if value is None else value.hex() for value in column.to_pylist()], pa.string())

    def tensor(self, name: str, spec: Any) -> np.ndarray:
        """Returns the values of a feature in the type and shape of an input of a signature.

        What is missing is "", NaN or the smallest integer.

        Raises:
            ScoresError: If the input has another shape, or the feature another type.
        """
        if spec.shape.rank not in (1, 2):
            raise ScoresError(f"The raw input {name} has the shape {spec.shape}; [rows, 1] is needed.")
        column = self.column(name)
        if not pa.types.is_null(column.type) and _is_text(column) != (spec.dtype == tf.string):
            raise ScoresError(f"The raw input {name} is {spec.dtype.name}, but in the examples it is {column.type}.")
        if spec.dtype == tf.string:
            values = np.array([b"" if value is None else value for value in column.to_pylist()], object)
        elif spec.dtype.is_floating:
            values = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(spec.dtype.as_numpy_dtype)
        else:
            values = pc.fill_null(column.cast(pa.int64()), spec.dtype.min).to_numpy(zero_copy_only=False)
            values = values.astype(spec.dtype.as_numpy_dtype)
        return values if spec.shape.rank == 1 else values.reshape(-1, 1)


def _is_text(column: pa.Array) -> bool:
    return pa.types.is_large_binary(column.type) or pa.types.is_binary(column.type)

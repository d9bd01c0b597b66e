"""Batches of rows to be scored: single columns as labels, text or tensors, and the fingerprint of all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from errors import FlightdeckError


class ScoresError(FlightdeckError):
    """The rows cannot be scored; the text is one sentence that says why."""


def column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Returns a column: int64, float32 or large_binary; nulls if the batch does not have it."""
    return batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows)


def numbers(batch: pa.RecordBatch, name: str) -> np.ndarray | None:
    """Returns a column as float64 [rows], NaN where it is missing; None if it holds text, or nothing at all."""
    values = column(batch, name)
    if _is_text(values) or pa.types.is_null(values.type):
        return None
    return values.cast(pa.float64()).to_numpy(zero_copy_only=False)


def labels(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """Returns the labels, float64 [rows]; raises a ScoresError if a row has none, or one that is no number."""
    values = column(batch, name)
    if values.null_count:
        raise ScoresError(f"{values.null_count} rows have no label {name}; score labelled rows only.")
    if _is_text(values):
        raise ScoresError(f"The label {name} is text; a number is needed.")
    return values.to_numpy(zero_copy_only=False).astype(np.float64)


def grouped(values: pa.Array, bounds: Sequence[float], names: Sequence[str]) -> pa.Array:
    """Returns the name of the group of each number, large_binary; null where the number is missing.

    The groups are below the first of the ascending bounds, from each one on, and from the last one on: one more than
    there are bounds.
    """
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    places = pa.array(np.searchsorted(np.asarray(bounds, float), numbers, side="right"), mask=np.isnan(numbers))
    return pa.array(names, pa.large_string()).cast(pa.large_binary()).take(places)


def readable(values: pa.Array) -> pa.Array:
    """Returns the values with text instead of bytes where they are UTF-8."""
    if not _is_text(values):
        return values
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([None if value is None else value.hex() for value in values.to_pylist()], pa.string())


def tensor(batch: pa.RecordBatch, name: str, spec: Any) -> tf.Tensor:
    """Returns a column as an input of a signature; what is missing is "", NaN or the smallest integer.

    Raises:
        ScoresError: If the input has another shape, or the column another type.
    """
    if spec.shape.rank not in (1, 2):
        raise ScoresError(f"The raw input {name} has the shape {spec.shape}; [rows, 1] is needed.")
    values = column(batch, name)
    if not pa.types.is_null(values.type) and _is_text(values) != (spec.dtype == tf.string):
        raise ScoresError(f"The raw input {name} is {spec.dtype.name}, but in the examples it is {values.type}.")
    if spec.dtype == tf.string:
        # Each distinct text becomes a Python object, not each row.
        encoded = pc.fill_null(values.cast(pa.large_binary()), b"").dictionary_encode()
        texts = tf.constant(encoded.dictionary.to_pylist(), tf.string, [len(encoded.dictionary)])
        flat = tf.gather(texts, encoded.indices.to_numpy())
    elif spec.dtype.is_floating:
        flat = tf.constant(values.cast(pa.float64()).to_numpy(zero_copy_only=False), spec.dtype)
    else:
        flat = tf.constant(pc.fill_null(values.cast(pa.int64()), spec.dtype.min).to_numpy(), spec.dtype)
    return flat if spec.shape.rank == 1 else flat[:, tf.newaxis]


class Lowest:
    """Of rows that come in batches, those with the lowest numbers; of equal ones the first.

    Attributes:
        positions: Of the kept rows among all that came, from 0, int64.
    """

    def __init__(self, size: int):
        self._size = size
        self._seen = 0
        self._numbers, self.positions = np.zeros(0), np.zeros(0, np.int64)
        self._rows: list[pa.Table] = []

    def add(self, batch: pa.RecordBatch, numbers: np.ndarray) -> None:
        """Adds a batch of rows with a number each, float64 [rows]; of all that were added, `size` are kept."""
        positions = np.concatenate([self.positions, np.arange(self._seen, self._seen + batch.num_rows)])
        numbers = np.concatenate([self._numbers, numbers])
        self._seen += batch.num_rows
        kept = np.sort(np.argsort(numbers, kind="stable")[: self._size])
        # A column that has no value in some batches has the type that it has in the others.
        rows = pa.concat_tables([*self._rows, pa.table(batch)], promote_options="permissive")
        self._numbers, self.positions, self._rows = numbers[kept], positions[kept], [rows.take(kept)]

    @property
    def order(self) -> np.ndarray:
        """Where the rows of `batch` are in the order of their numbers."""
        return np.argsort(self._numbers, kind="stable")

    def batch(self) -> pa.RecordBatch:
        """Returns the rows, in the order in which they came."""
        (rows,) = self._rows
        (batch,) = rows.combine_chunks().to_batches()
        return batch


class Fingerprint:
    """SHA-256 of rows in their order: the same whatever the batches, and for tf.Examples and Parquet alike.

    It is computed over the number of rows and, for each column that has a value, in the order of the names: the name,
    the type, the size of each value in bytes (-1 where it is missing), and the bytes of the values.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._columns: dict[str, _ColumnDigest] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds the rows of a batch."""
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            if values.null_count < len(values):
                self._columns.setdefault(name, _ColumnDigest()).add(values, before=self._rows)
        self._rows += batch.num_rows

    def value(self) -> str:
        """Returns the fingerprint of the rows so far."""
        columns = [[name, *self._columns[name].digests(self._rows)] for name in sorted(self._columns)]
        return f"sha256:{hashlib.sha256(json.dumps([self._rows, columns]).encode()).hexdigest()}"


class _ColumnDigest:
    def __init__(self) -> None:
        self._type, self._rows = "", 0
        self._sizes, self._bytes = hashlib.sha256(), hashlib.sha256()

    def add(self, values: pa.Array, before: int) -> None:
        self._missing_until(before)
        self._rows += len(values)
        if _is_text(values):
            self._type, sizes = "bytes", pc.binary_length(values).cast(pa.int64())
            self._bytes.update(b"".join(values.drop_null().to_pylist()))
        else:
            self._type, width = str(values.type), values.type.bit_width // 8
            sizes = pc.if_else(values.is_valid(), width, None)
            self._bytes.update(values.drop_null().to_numpy().tobytes())
        self._sizes.update(pc.fill_null(sizes, -1).to_numpy().tobytes())

    def _missing_until(self, rows: int) -> None:
        self._sizes.update(np.full(rows - self._rows, -1, np.int64).tobytes())
        self._rows = rows

    def digests(self, rows: int) -> list[str]:
        self._missing_until(rows)
        return [self._type, self._sizes.hexdigest(), self._bytes.hexdigest()]


def _is_text(values: pa.Array) -> bool:
    return pa.types.is_large_binary(values.type) or pa.types.is_binary(values.type)

"""The log of what was asked and answered: Parquet files that monitoring reads.

Writing never holds up a request: it hands its arrays over and goes on. What the writer cannot keep up with is dropped
and counted.

The files lie in one folder per day (UTC), ``YYYY-MM-DD/TIME-HOST-PID-NUMBER.parquet``, each within one hour, and appear
under their names only when they are complete. Their columns, `schema`, are the same whoever writes them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import logging
import os
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from operations.serving.columns import MISSING, Column, Columns

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipeline.settings import Payloads

ID, TIME, VERSION = "prediction_id", "time", "model_version"
Outcome = Literal["written", "dropped", "failed"]

# Rows that are gathered before they are compressed and written, and how long they may wait for that.
_GROUP_ROWS, _GROUP_SECONDS = 4096, 5.0
_STALE_SECONDS = 86_400
_STOP = object()
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Payload:
    """One request and its answer.

    Attributes:
        prediction_ids: one per row.
        times: of the answer, seconds since the epoch; one, or one per row.
        version: of the model.
        inputs: what the model takes: name -> column.
        columns: the arrays that were asked with, or None if `examples` was used.
        examples: serialised tf.Examples that were asked with.
        outputs: the arrays that were answered.
    """

    prediction_ids: Sequence[str]
    times: float | np.ndarray
    version: int
    inputs: Mapping[str, Column]
    columns: Columns | None
    examples: Sequence[bytes] | None
    outputs: Columns

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.prediction_ids)


class PayloadLog:
    """Writes payloads in a thread of its own."""

    def __init__(
        self,
        folder: Path,
        settings: Payloads,
        on_rows: Callable[[Outcome, int], None] = lambda outcome, rows: None,
    ) -> None:
        """Starts the thread.

        Args:
            folder: where the files go; it is made when there is something to write.
            settings: the section ``serving.payloads``.
            on_rows: is told, in any thread, what became of how many rows.
        """
        # Here and not in the thread, where it would hold up the requests that come first for half a second.
        import pyarrow.parquet  # noqa: F401

        self._settings = settings
        self._on_rows = on_rows
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._closed = False
        self._files = _Files(folder, settings)
        self._thread = threading.Thread(target=self._work, name="payloads", daemon=True)
        self._thread.start()

    def offer(self, payload: Payload) -> None:
        """Takes a payload in, unless the sample leaves it out or too much waits; returns at once."""
        if self._closed or not payload.rows or random.random() >= self._settings.sample:
            return
        with self._lock:
            fits = self._waiting + payload.rows <= self._settings.buffer_rows
            if fits:
                self._waiting += payload.rows
        if fits:
            self._queue.put(payload)
        else:
            self._on_rows("dropped", payload.rows)

    def close(self) -> None:
        """Writes what waits, and ends the thread. May be called twice."""
        if not self._closed:
            self._closed = True
            self._queue.put(_STOP)
        self._thread.join()

    def _work(self) -> None:
        gathered: list[Payload] = []
        rows, since = 0, time.monotonic()
        while True:
            try:
                item = self._queue.get(timeout=min(_GROUP_SECONDS, self._settings.rotate_seconds))
            except queue.Empty:
                item = None
            if isinstance(item, Payload):
                if not gathered:
                    since = time.monotonic()
                gathered.append(item)
                rows += item.rows
            # Not longer than a file may be open, either: rows of one hour must not end up in the next one's file.
            patience = min(_GROUP_SECONDS, self._settings.rotate_seconds)
            if gathered and (item is _STOP or rows >= _GROUP_ROWS or time.monotonic() - since >= patience):
                self._write(gathered, rows)
                gathered, rows = [], 0
            self._attempt(self._files.close_if_old)
            if item is _STOP:
                self._attempt(self._files.close)
                return

    def _write(self, payloads: Sequence[Payload], rows: int) -> None:
        written = self._attempt(lambda: self._files.write(payloads))
        with self._lock:
            self._waiting -= rows
        self._on_rows("written" if written else "failed", rows)

    def _attempt(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except Exception:
            # A full disk, say. The service must go on, and the next file may work again.
            _log.exception("The payload log could not be written")
            self._files.abandon()
            return False
        return True


class _Files:
    """The file that is open, and when it has to be closed. For one thread."""

    def __init__(self, folder: Path, settings: Payloads) -> None:
        self._folder = folder
        self._settings = settings
        self._writer: Any = None
        self._temporary = self._final = Path()
        self._schema: Any = None
        self._hour: tuple[str, int] | None = None
        self._opened = 0.0
        self._rows = 0
        self._number = 0
        self._cleaned = False

    def write(self, payloads: Sequence[Payload]) -> None:
        """Writes payloads of any versions, in their order, to as many files as needed."""
        for (hour, *_), alike in itertools.groupby(payloads, _kind):
            self._append(as_table(_joined(list(alike)), self._settings.exclude), hour)

    def close_if_old(self) -> None:
        """Closes the file when it has been open for long, or its hour is over."""
        if self._writer is not None and (
            time.monotonic() - self._opened >= self._settings.rotate_seconds or _hour(time.time()) != self._hour
        ):
            self.close()

    def close(self) -> None:
        """Completes the file and gives it its name."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        writer.close()
        os.replace(self._temporary, self._final)

    def abandon(self) -> None:
        """Gives the open file up after an error; what it holds is lost."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(Exception):
                writer.close()
            with contextlib.suppress(OSError):
                self._temporary.unlink()

    def _append(self, table: pa.Table, hour: tuple[str, int] | None) -> None:
        if self._writer is not None and (hour != self._hour or not table.schema.equals(self._schema)):
            self.close()
        start = 0
        while start < table.num_rows:
            writer = self._writer or self._open(table.schema, hour)
            part = table.slice(start, self._settings.rotate_rows - self._rows)
            writer.write_table(part)
            self._rows += part.num_rows
            start += part.num_rows
            if self._rows >= self._settings.rotate_rows:
                self.close()

    def _open(self, schema: pa.Schema, hour: tuple[str, int] | None) -> pq.ParquetWriter:
        import pyarrow.parquet as pq

        assert hour is not None
        self._remove_stale()
        now = datetime.datetime.now(datetime.UTC)
        self._number += 1
        name = f"{now:%Y%m%dT%H%M%SZ}-{socket.gethostname()}-{os.getpid()}-{self._number:04d}.parquet"
        day = self._folder / hour[0]
        day.mkdir(parents=True, exist_ok=True)
        self._final, self._temporary = day / name, day / f".{name}.part"
        self._writer = pq.ParquetWriter(self._temporary, schema, compression="zstd")
        self._schema, self._hour, self._opened, self._rows = schema, hour, time.monotonic(), 0
        return self._writer

    def _remove_stale(self) -> None:
        """Removes what processes left that were killed; without its end a Parquet file cannot be read."""
        if self._cleaned:
            return
        self._cleaned = True
        for file in self._folder.glob("*/.*.parquet.part"):
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > _STALE_SECONDS:
                    file.unlink()


def schema(inputs: Mapping[str, Column], outputs: Mapping[str, Column], exclude: Collection[str] = ()) -> pa.Schema:
    """Returns the columns of the log of a model: id, time, version, its inputs and its outputs, each by name.

    An input that is missing is null. An output is one value per row, or a list if the model gives several.

    Args:
        inputs: of the signature for named columns.
        outputs: of the same.
        exclude: names of columns that are left out.
    """
    import pyarrow as pa

    fields = [
        pa.field(ID, pa.string(), nullable=False),
        pa.field(TIME, pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field(VERSION, pa.int64(), nullable=False),
    ]
    fields += [pa.field(name, _type(column)) for name, column in sorted(inputs.items()) if name not in exclude]
    for name, column in sorted(outputs.items()):
        if name not in exclude:
            single = len(column.shape) == 1 or column.shape[1:] == (1,)
            fields.append(pa.field(name, _type(column) if single else pa.list_(_type(column))))
    return pa.schema(fields)


def as_table(payload: Payload, exclude: Collection[str] = ()) -> pa.Table:
    """Returns a payload in the form of `schema`."""
    import pyarrow as pa

    columns = payload.columns
    if columns is None:
        columns = _parsed(payload.examples or (), payload.inputs)
    outputs = {name: _output_column(name, values) for name, values in payload.outputs.items()}
    form = schema(payload.inputs, outputs, exclude)
    times = np.broadcast_to(np.asarray(payload.times) * 1e6, payload.rows).astype(np.int64)
    values: dict[str, Any] = {
        ID: list(payload.prediction_ids),
        TIME: pa.array(times).cast(pa.timestamp("us", tz="UTC")),
        VERSION: np.full(payload.rows, payload.version, np.int64),
    }
    for field in form:
        if field.name in payload.inputs:
            values[field.name] = _with_nulls(columns[field.name].reshape(-1), payload.inputs[field.name].dtype)
        elif field.name in outputs:
            array = payload.outputs[field.name]
            whole = not pa.types.is_list(field.type)
            values[field.name] = array.reshape(-1) if whole else array.reshape(payload.rows, -1).tolist()
    return pa.table([pa.array(values[field.name], field.type) for field in form], schema=form)


def _kind(payload: Payload) -> tuple:
    """What payloads must have in common to be one table; the hour first."""
    forms = tuple((name, values.dtype, values.shape[1:]) for name, values in payload.outputs.items())
    return _hour(float(payload.times)), payload.version, payload.columns is None, tuple(payload.inputs), forms


def _joined(payloads: Sequence[Payload]) -> Payload:
    """Payloads of one kind as one: turning 64 rows into Arrow costs nearly as much as turning 16,384."""
    first = payloads[0]
    if len(payloads) == 1:
        return first
    return Payload(
        [each for payload in payloads for each in payload.prediction_ids],
        np.repeat([float(payload.times) for payload in payloads], [payload.rows for payload in payloads]),
        first.version,
        first.inputs,
        None if first.columns is None else _concatenated([payload.columns or {} for payload in payloads]),
        None if first.columns is not None else [each for payload in payloads for each in payload.examples or ()],
        _concatenated([payload.outputs for payload in payloads]),
    )


def _concatenated(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _output_column(name: str, values: np.ndarray) -> Column:
    return Column(name, "string" if values.dtype == object else values.dtype.name, (None, *values.shape[1:]))


def _with_nulls(flat: np.ndarray, dtype: str) -> pa.Array:
    import pyarrow as pa

    mask = np.isnan(flat) if dtype.startswith("float") else flat == MISSING.get(dtype)
    return pa.array(flat, _type(Column("", dtype, ())), mask=mask.astype(bool))


def _parsed(examples: Sequence[bytes], inputs: Mapping[str, Column]) -> Columns:
    """The values of serialised tf.Examples; the first one of each feature."""
    import tensorflow as tf

    parsed = [tf.train.Example.FromString(example).features.feature for example in examples]
    columns = {}
    for name, column in inputs.items():
        kind = "bytes_list" if column.dtype == "string" else f"{column.dtype.rstrip('0123456789')}_list"
        kind = kind.replace("int_list", "int64_list")
        missing = MISSING.get(column.dtype)
        values = [
            getattr(features[name], kind).value[0]
            if name in features and getattr(features[name], kind).value
            else missing
            for features in parsed
        ]
        if column.dtype == "string":
            values = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values]
        columns[name] = np.array(values, object if column.dtype == "string" else column.dtype)
    return columns


def _type(column: Column) -> pa.DataType:
    import pyarrow as pa

    return pa.string() if column.dtype == "string" else pa.from_numpy_dtype(column.dtype)


def _hour(moment: float) -> tuple[str, int]:
    """The day and the hour, in UTC, of seconds since the epoch."""
    at = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    return f"{at:%Y-%m-%d}", at.hour

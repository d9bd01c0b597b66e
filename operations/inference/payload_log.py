"""The log of what was asked and answered: Parquet files that monitoring reads.

Writing never holds up a request: it hands its arrays over and goes on. What the writer cannot keep up with is dropped
and counted.

The files lie in one folder per day (UTC), ``YYYY-MM-DD/TIME-HOST-PID-NUMBER.parquet``, each within one hour, and appear
under their names only when they are complete; until then, one for a bucket is a file of this machine. All writers use
the columns of `payload_table.schema`. Who brings rows of another time (a stream, or a replay) names a file of its own
with `write`.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import storage
from operations.inference.payload_table import TIME, Payload, as_table, hour_of, joined, kind

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from operations.inference.settings import Payloads

Outcome = Literal["written", "dropped", "failed"]

# Rows that are gathered before they are compressed and written, and how long they may wait for that.
_GROUP_ROWS, _GROUP_SECONDS = 4096, 5.0
_STALE_SECONDS = 86_400
_log = logging.getLogger(__name__)


class PayloadLog:
    """Writes payloads in a thread of its own."""

    def __init__(
        self,
        folder: Path,
        settings: Payloads,
        on_rows: Callable[[Outcome, int], None] = lambda outcome, rows: None,
    ) -> None:
        """Starts the thread; `on_rows` is told, in any thread, what became of how many rows."""
        # Here and not in the thread, where it would hold up the requests that come first for half a second.
        import pyarrow.parquet  # noqa: F401

        self._settings = settings
        self._on_rows = on_rows
        self._lock = threading.Lock()
        self._gathered: list[Payload] = []
        self._gathered_rows = 0
        self._waiting = 0
        self._closed = False
        # Set when there is a group to write, and at the end: a thread that wakes for each request slows all of them.
        self._due = threading.Event()
        self._files = _Files(folder, settings)
        self._thread = threading.Thread(target=self._work, name="payloads", daemon=True)
        self._thread.start()

    def offer(self, payload: Payload, sample: bool = True) -> bool:
        """Takes a payload in, unless it is not in the sample or too much waits; returns at once whether it did."""
        if self._closed or not payload.rows or (sample and random.random() >= self._settings.sample):
            return False
        with self._lock:
            fits = self._waiting + payload.rows <= self._settings.buffer_rows
            if fits:
                self._waiting += payload.rows
                self._gathered.append(payload)
                self._gathered_rows += payload.rows
                if self._gathered_rows >= _GROUP_ROWS:
                    self._due.set()
        if not fits:
            self._on_rows("dropped", payload.rows)
        return fits

    def close(self) -> None:
        """Writes what waits, and ends the thread. May be called twice."""
        if not self._closed:
            self._closed = True
            self._due.set()
        self._thread.join()

    def _work(self) -> None:
        self._attempt(self._files.remove_stale)
        # Not longer than a file may be open, either: rows of one hour must not end up in the next one's file.
        patience = min(_GROUP_SECONDS, self._settings.rotate_seconds)
        closed = False
        while not closed:
            self._due.wait(patience)
            self._due.clear()
            closed = self._closed
            with self._lock:
                gathered, rows = self._gathered, self._gathered_rows
                self._gathered, self._gathered_rows = [], 0
            if gathered:
                self._write(gathered, rows)
            self._attempt(self._files.close_if_old)
        self._attempt(self._files.close)

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
        self._whole: list[tuple[Path, Path]] = []
        self._schema: Any = None
        self._hour: datetime.datetime | None = None
        self._opened = 0.0
        self._rows = 0
        self._number = 0

    def write(self, payloads: Sequence[Payload]) -> None:
        """Writes payloads of any versions, in their order, to as many files as needed."""
        for (hour, *_), alike in itertools.groupby(payloads, kind):
            self._append(as_table(joined(list(alike)), self._settings.exclude), hour)

    def close_if_old(self) -> None:
        """Closes the file when it has been open for long, or its hour is over."""
        old = time.monotonic() - self._opened >= self._settings.rotate_seconds or hour_of(time.time()) != self._hour
        if self._whole or (self._writer is not None and old):
            self.close()

    def close(self) -> None:
        """Completes the file and brings it to its place; what a bucket does not take, the next call brings again."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
            self._whole.append((self._temporary, self._final))
        while self._whole:
            storage.publish(*self._whole[0])
            del self._whole[0]

    def abandon(self) -> None:
        """Gives the open file up after an error; what it holds is lost."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(Exception):
                writer.close()
            with contextlib.suppress(OSError):
                self._temporary.unlink()

    def _append(self, table: pa.Table, hour: datetime.datetime) -> None:
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

    def _open(self, schema: pa.Schema, hour: datetime.datetime) -> pq.ParquetWriter:
        import pyarrow.parquet as pq

        now = datetime.datetime.now(datetime.UTC)
        self._number += 1
        name = f"{now:%Y%m%dT%H%M%SZ}-{socket.gethostname()}-{os.getpid()}-{self._number:04d}.parquet"
        day = self._folder / f"{hour:%Y-%m-%d}"
        storage.make_folder(day)
        self._final, self._temporary = day / name, storage.staging(day / name)
        self._writer = pq.ParquetWriter(self._temporary, schema, compression="zstd")
        self._schema, self._hour, self._opened, self._rows = schema, hour, time.monotonic(), 0
        return self._writer

    def remove_stale(self) -> None:
        """Removes what processes left that were killed; without its end a Parquet file cannot be read."""
        for file in () if storage.is_bucket(self._folder) else self._folder.glob("*/.*.parquet*.part"):
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > _STALE_SECONDS:
                    file.unlink()


def write(folder: Path, table: pa.Table, name: str) -> Path:
    """Writes rows of any time as one file, atomically and idempotently, and returns it.

    The table has the form of `payload_table.schema` and at least one row; the file goes to the day of the first one.
    The service gives no such names as ``replay-2013-07``.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    target = folder / f"{pc.min(table[TIME]).as_py():%Y-%m-%d}" / f"{name}.parquet"
    storage.make_folder(target.parent)
    temporary = storage.staging(target)
    try:
        pq.write_table(table, temporary, compression="zstd")
        storage.publish(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target

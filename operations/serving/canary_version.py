"""A canary beside the served version: it is asked, watched and recorded, and never in the way of a request.

In the mode ``shadow`` it answers what the served version has answered already, in a thread and a queue of its own, and
nobody but the payload log sees that. In the mode ``split`` it alone answers a share of the requests, which a hash of
their prediction ids chooses; what it cannot answer in time, the served version answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import storage
from operations.inference.columns import Columns, objects
from operations.inference.errors import NotReadyError
from operations.inference.model import RAW, LoadedModel, one_line
from operations.inference.payload_table import Payload
from operations.serving import canary_record
from operations.serving.batching import Batcher
from operations.serving.canary_record import CanaryRecord
from operations.serving.metrics import Metrics
from operations.serving.versions import Events, Versions

if TYPE_CHECKING:
    from operations.serving.settings import Canary, Serving

# How often what was recorded is written; after how many failures in a row clients are spared more of them, and for how
# long: for good, the canary would never be judged, if so many failures are allowed.
_RECORD_SECONDS = 1.0
# A bucket takes one object once a second at most, and does not like even that.
_RECORD_SECONDS_IN_BUCKET = 10.0
_FAILURES_IN_A_ROW = 3
_SPARED_SECONDS = 60.0
# How long a shadow waits for company: nobody waits for it, and one call for many costs requests the least.
_COMPANY_SECONDS = 0.1
_log = logging.getLogger(__name__)


class CanaryVersion:
    """Asks the newest version of the folder of canaries. All methods are for the thread of one event loop."""

    def __init__(self, folder: Path, settings: Canary, serving: Serving, log: Path, metrics: Metrics) -> None:
        """Loads nothing before `start`."""
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self._records: dict[int, CanaryRecord] = {}
        self._written: dict[int, CanaryRecord] = {}
        self._in_a_row: dict[int, int] = {}
        self._spared_until: dict[int, float] = {}
        self._unfit: dict[tuple[int, int], str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeping: asyncio.Task[None] | None = None
        self._batcher: Batcher | None = None
        self._serving = serving
        events = Events(self._has_loaded, self._has_failed, self._has_unloaded)
        self._versions = Versions(folder, serving, events, canary=True)

    async def start(self) -> None:
        """Begins to watch the folder; returns at once."""
        rows = self._settings.queue_rows
        delay = _COMPANY_SECONDS if self._settings.mode == "shadow" else self._serving.batch_delay_ms / 1000
        self._batcher = Batcher(self._serving.max_batch_rows, delay, rows, self._has_run)
        await self._versions.start()
        self._keeping = asyncio.create_task(self._keep(), name="canary record")

    async def stop(self) -> None:
        """Answers what waits, writes the record, and unloads. May be called twice."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
            self._keeping = None
        if self._batcher is not None:
            await self._batcher.stop()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._write)
        await self._versions.stop()

    @property
    def version(self) -> int | None:
        """The number of the canary; None if none is loaded."""
        return self._versions.current

    def shadow(self, payload: Payload, served: LoadedModel, signature: str, log: Callable[[Payload], object]) -> None:
        """In shadow mode, asks the canary what a version has answered, and returns at once; `log` takes its answer."""
        if self._settings.mode != "shadow" or self.version is None:
            return
        task = asyncio.create_task(self._shadow(payload, served, signature, log))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def takes(self, prediction_id: str) -> bool:
        """Whether the canary is to answer a request, by the id of its first row."""
        version = self.version
        if self._settings.mode != "split" or version is None:
            return False
        if time.monotonic() < self._spared_until.get(version, 0.0):
            return False
        return falls_to(prediction_id, version, self._settings.share)

    async def answer(
        self,
        served: LoadedModel,
        signature: str,
        columns: Columns,
        rows: int,
        otherwise: Callable[[], Awaitable[Columns]],
    ) -> tuple[LoadedModel, Columns]:
        """Lets the canary answer a request, or the served version by `otherwise` if the canary does not.

        Returns the version that answered and its outputs, or raises the error of `otherwise`: a request that no version
        can answer is not counted against the canary.
        """
        tried = await self._tried(served, signature, columns, rows)
        if tried is not None and not isinstance(tried[1], str):
            return tried[0], tried[1]
        outputs = await otherwise()
        if tried is not None:
            self._failed(tried[0].version, str(tried[1]))
        return served, outputs

    async def _tried(
        self, served: LoadedModel, signature: str, columns: Columns, rows: int
    ) -> tuple[LoadedModel, Columns | str] | None:
        """The canary, and its outputs or why it failed; None if it was just removed, or too many rows wait for it."""
        with contextlib.suppress(NotReadyError), self._versions.using() as model:
            try:
                outputs = await self._ask(model, served, signature, columns, rows)
            except NotReadyError:
                self._record(model.version).dropped_rows += rows
                self._metrics.canary_requests.labels(model.version, "dropped").inc()
                return None
            except Exception as error:
                return model, one_line(error)
            self._record(model.version).answered += 1
            self._in_a_row[model.version] = 0
            return model, outputs
        return None

    def _failed(self, version: int, reason: str) -> None:
        """Counts a request that the version could not answer, and the served one could."""
        record = self._record(version)
        record.failed += 1
        record.failure = reason
        self._in_a_row[version] = self._in_a_row.get(version, 0) + 1
        if self._in_a_row[version] >= _FAILURES_IN_A_ROW:
            self._spared_until[version] = time.monotonic() + _SPARED_SECONDS
        self._metrics.canary_requests.labels(version, "failed").inc()

    async def _shadow(
        self, payload: Payload, served: LoadedModel, signature: str, log: Callable[[Payload], object]
    ) -> None:
        columns = payload.columns
        if columns is None:
            columns = {"": objects(payload.examples or ())}
        try:
            tried = await self._tried(served, signature, columns, payload.rows)
            if tried is None:
                return
            model, outputs = tried
            if isinstance(outputs, str):
                self._failed(model.version, outputs)
                return
            # Without what was asked, which is in the row of the same id already; and how long it took says nothing.
            answer = dataclasses.replace(payload, version=model.version, outputs=outputs, shadow=True, seconds=None)
            log(dataclasses.replace(answer, inputs={}, columns={}, examples=None))
        except Exception:
            # Whatever goes wrong here, nobody waits for it.
            _log.exception("A shadow request failed inside the service")

    async def _ask(
        self, model: LoadedModel, served: LoadedModel, signature: str, columns: Columns, rows: int
    ) -> Columns:
        """Raises NotReadyError if too many rows wait, and other errors if it cannot answer this, or not in time."""
        assert self._batcher is not None
        if unfit := self._why_unfit(model, served):
            raise ValueError(unfit)
        if signature == RAW:
            columns = {name: columns[name] for name in model.inputs.names}
        else:
            # Serialised examples, whatever each version calls its one input.
            columns = dict(zip(model.signature(signature).inputs.names, columns.values(), strict=True))
        limit = self._settings.answer_seconds
        started = time.perf_counter()
        try:
            async with asyncio.timeout(limit):
                outputs = await self._batcher.run(model, signature, columns, rows)
        except TimeoutError:
            raise ValueError(f"It did not answer within {limit:g} s.") from None
        self._metrics.canary_requests.labels(model.version, "answered").inc()
        self._metrics.canary_seconds.labels(model.version).observe(time.perf_counter() - started)
        return outputs

    def _why_unfit(self, model: LoadedModel, served: LoadedModel) -> str:
        """Why the canary cannot answer the requests that another version is asked; empty if it can."""
        key = model.version, served.version
        if key not in self._unfit:
            # Also if it fits: it may have stood beside another version before.
            self._unfit[key] = self._record(model.version).does_not_load = _compared(model, served)
        return self._unfit[key]

    def _record(self, version: int) -> CanaryRecord:
        return self._records.setdefault(version, CanaryRecord())

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_RECORD_SECONDS_IN_BUCKET if storage.is_bucket(self._log) else _RECORD_SECONDS)
            await asyncio.to_thread(self._write)

    def _write(self) -> None:
        """Writes what has changed. The log may be full or away; then it is tried again."""
        for version, record in list(self._records.items()):
            now = dataclasses.replace(record)
            if self._written.get(version) == now:
                continue
            try:
                canary_record.write(self._log, version, now)
            except OSError as error:
                _log.error("What was seen of canary %d cannot be written: %s", version, error)
            else:
                self._written[version] = now

    def _has_run(self, model: LoadedModel, rows: int, outputs: Columns) -> None:
        self._metrics.predictions.observe(model.version, model.task, outputs)

    def _has_loaded(self, model: LoadedModel, seconds: float) -> None:
        self._record(model.version).does_not_load = ""
        self._metrics.canary.set(model.version)

    def _has_failed(self, version: int, reason: str) -> None:
        self._record(version).does_not_load = reason

    def _has_unloaded(self, version: int) -> None:
        self._metrics.predictions.forget(version)
        if self.version is None:
            self._metrics.canary.set(0)


def falls_to(prediction_id: str, version: int, share: float) -> bool:
    """Whether a request is one of those that a canary answers.

    The same id always finds the same canary, on every server. For the next one the dice are cast anew, or always the
    same clients would have to try.
    """
    digest = hashlib.blake2b(prediction_id.encode(), digest_size=8, salt=str(version).encode()[-16:]).digest()
    return int.from_bytes(digest) < share * 2**64


def _compared(model: LoadedModel, served: LoadedModel) -> str:
    others = [name for name, dtype in model.inputs.types.items() if served.inputs.types.get(name) != dtype]
    if others:
        return f"It takes {', '.join(others)}, which requests do not have, because version {served.version} does not."
    missing = [name for name in served.outputs if name not in model.outputs]
    if missing:
        return f"It does not give {', '.join(missing)}, as version {served.version} does."
    if not model.task.like(served.task):
        return f"It predicts {model.task.phrase}, and version {served.version} {served.task.phrase}."
    return ""

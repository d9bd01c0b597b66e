"""The service without a protocol: versions, batches, metrics and the log of payloads, put together.

The modules of the protocols parse a request, ask here, and format the answer:

    with service.versions.using(version) as model:
        arrays = columns.from_rows(rows, model.inputs)
        answer = await service.predict(model, arrays, prediction_ids)

The model stays loaded, and its inputs are the same, until the block is left, whatever is pushed meanwhile.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from operations import tasks
from operations.inference.columns import Columns, row_count
from operations.inference.contract import ContractError, Faults
from operations.inference.errors import NotReadyError, ServingError, TooLargeError, UnprocessableError
from operations.inference.model import EXPLAIN, RAW, LoadedModel
from operations.inference.payload_log import PayloadLog
from operations.inference.payload_table import CALLER, Payload, parsed
from operations.inference.tensorflow_import import tensorflow
from operations.serving.api_keys import ApiKeys
from operations.serving.batching import Batcher
from operations.serving.canary_version import CanaryVersion
from operations.serving.metrics import Metrics
from operations.serving.versions import Events, Versions
from pipeline import tracing

if TYPE_CHECKING:
    from operations.serving.settings import Canary, Serving

_LONGEST_CALLER = 200
_EXPLANATIONS_WAITING = 8  # of the largest requests for explanations


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a version said: outputs [rows, …], ids of rows, and the faults of those that were answered nevertheless."""

    version: int
    outputs: Columns
    prediction_ids: Sequence[str]
    faults: Faults | None = None


class Service:
    """Answers from the newest loaded version in a folder of numbered versions.

    All methods are for the thread of one event loop.

    Attributes:
        name: of the model, in addresses.
        settings: the section ``serving``.
        keys: the API keys that clients need; protocols check them.
        versions: those that are loaded.
        metrics: what Prometheus is told. Protocols call `metrics.answered` once per request.
        stopping: whether `refuse` or `stop` was called.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        settings: Serving,
        payloads: Path | None = None,
        refused: Callable[[int, str], None] = lambda version, reason: None,
        canaries: Path | None = None,
        canary: Canary | None = None,
        keys: ApiKeys | None = None,
    ) -> None:
        """Makes a service that is not started yet.

        Args:
            name: of the model, in addresses.
            folder: holds the numbered versions.
            settings: the section ``serving``.
            payloads: the folder of the payload log; None keeps no log, without which there can be no canary.
            refused: is told, in the thread of the event loop, the number of a version that does not load, and why.
            canaries: the folder of canaries.
            canary: the section ``canary``; None, or the mode ``off``, loads none.
            keys: which protocols ask clients for; default: none.
        """
        self.name = name
        self.settings = settings
        self.keys = keys or ApiKeys()
        self.metrics = Metrics(settings.prediction_buckets)
        self._payload_folder = payloads if settings.payloads.enabled else None
        self._payloads: PayloadLog | None = None
        self._batcher: Batcher | None = None
        self._explaining: Batcher | None = None
        self.stopping = False
        self._outcome = "refused" if settings.validation == "refuse" else "flagged"
        self._refused = refused
        self.versions = Versions(folder, settings, Events(self._has_loaded, self._has_failed, self._has_unloaded))
        self._canary: CanaryVersion | None = None
        if canary is not None and canaries is not None and canary.mode != "off":
            if self._payload_folder is None:
                raise ServingError(
                    "A canary is judged by the payload log: canary.mode needs serving.payloads.enabled and a folder."
                )
            self._canary = CanaryVersion(canaries, canary, settings, self._payload_folder, self.metrics)

    async def start(self) -> None:
        """Loads and warms up the newest version that can be served, then watches the folder.

        Raises ServingError if there is none, or a column that the payload log is to leave out does not exist.
        """
        self.versions.require_any()
        await asyncio.to_thread(_prepare_process)
        await self.versions.start()
        limits = self.settings
        delay = limits.batch_delay_ms / 1000
        self._batcher = Batcher(limits.max_batch_rows, delay, limits.queue_rows, self._has_run)
        # Predictions do not wait for explanations, which take a thousand times as long.
        self._explaining = Batcher(
            limits.explain_rows,
            0.0,
            _EXPLANATIONS_WAITING * limits.explain_rows,
            lambda model, rows, outputs: self.metrics.explained_rows.inc(rows),
        )
        self.metrics.waiting_rows.set_function(lambda: self._batcher.waiting_rows if self._batcher else 0)
        if self._payload_folder is not None:
            await self._check_exclusions()
            self._payloads = PayloadLog(
                self._payload_folder,
                self.settings.payloads,
                lambda outcome, rows: self.metrics.payload_rows.labels(outcome).inc(rows),
            )
        if self._canary is not None:
            await self._canary.start()

    def refuse(self) -> None:
        """Makes `ready` false, for a load balancer to see; requests are still answered. The first step of an end."""
        self.stopping = True

    async def stop(self) -> None:
        """Answers what was asked before, writes the payloads that wait, unloads everything. May be called twice."""
        self.stopping = True
        for batcher in (self._batcher, self._explaining):
            if batcher is not None:
                await batcher.stop()
        # The answers of the last batch are delivered to their requests before the log is closed.
        await asyncio.sleep(0)
        if self._canary is not None:
            await self._canary.stop()
        if self._payloads is not None:
            await asyncio.to_thread(self._payloads.close)
        await self.versions.stop()

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here: a version is loaded and the service is not stopping."""
        return not self.stopping and self._batcher is not None and self.versions.current is not None

    def ready_for(self, version: int | None) -> bool:
        """Returns `ready`, or raises UnknownModelError for a version that is not loaded."""
        if self.ready and version is not None:
            with self.versions.using(version):
                pass
        return self.ready

    async def predict(
        self,
        model: LoadedModel,
        columns: Columns,
        prediction_ids: Sequence[str],
        signature: str = RAW,
        pinned: bool = False,
        caller: str = "",
    ) -> Answer:
        """Lets a model answer, together with other requests that wait for it.

        A canary may answer in its place, or be asked the same afterwards. Rows are checked by the contract of the
        version that was asked, as the setting `validation` says.

        Args:
            model: from `versions.using`.
            columns: arrays of the module `columns`; for the signature `serving_default`, its one input with serialised
                tf.Examples (objects, bytes) [rows].
            prediction_ids: one per row.
            signature: its name.
            pinned: whether the client asked for this version and no other.
            caller: who asks, for the payload log.

        Raises:
            ContractError: rows break the contract that the version carries, and such requests are refused.
            TooLargeError: more rows than `max_rows`.
            UnprocessableError: no row, or values that the graph refuses.
            NotReadyError: too many rows wait already, or the service has stopped.
        """
        rows = row_count(columns)
        self.check_rows(rows)
        if not rows:
            raise UnprocessableError("The request has no rows.")
        if self._batcher is None:
            raise NotReadyError("The service has not started yet.")
        started = time.perf_counter()
        with tracing.span("validation", rows=rows):
            faults = self._faults(model, columns, signature)

        def payload(by: int, outputs: Columns, refused: bool = False) -> Payload:
            raw = signature == RAW
            return Payload(
                prediction_ids,
                time.time(),
                by,
                model.inputs.columns,
                columns if raw else None,
                None if raw else next(iter(columns.values())).tolist(),
                outputs,
                seconds=time.perf_counter() - started,
                faults=None if faults is None else faults.of_rows(rows),
                refused=refused,
                caller=caller,
            )

        if faults is not None and self.settings.validation == "refuse":
            if self._payloads is not None:
                unanswered = {name: column.missing(rows) for name, column in model.outputs.items()}
                self._payloads.offer(payload(model.version, unanswered, refused=True))
            raise ContractError(faults, model.version)
        canary = self._canary
        if canary is not None and (pinned or model.version != self.versions.current):
            canary = None
        answering = model
        ask = functools.partial(self._batcher.run, model, signature, columns, rows)
        if canary is not None and canary.takes(prediction_ids[0]):
            answering, outputs = await canary.answer(model, signature, columns, rows, ask)
        else:
            outputs = await ask()
        if self._payloads is not None:
            answered = payload(answering.version, outputs)
            with tracing.span("payload log"):
                logged = self._payloads.offer(answered)
            if logged and canary is not None:
                canary.shadow(answered, answering, signature, functools.partial(self._payloads.offer, sample=False))
        return Answer(answering.version, outputs, prediction_ids, faults)

    async def explain(self, model: LoadedModel, columns: Columns) -> Answer:
        """Lets a model explain its answers; rows are checked as those of `predict`, but nothing is logged.

        Args:
            model: from `versions.using`.
            columns: arrays of the module `columns`.

        Raises:
            ContractError, UnprocessableError: as `predict`.
            TooLargeError: more rows than `explain_rows`.
            UnknownModelError: the version cannot explain its answers.
            NotReadyError: too many rows wait already, or the service has stopped.
        """
        rows = row_count(columns)
        self.check_rows(rows, explain=True)
        if not rows:
            raise UnprocessableError("The request has no rows.")
        model.signature(EXPLAIN)
        if self._explaining is None:
            raise NotReadyError("The service has not started yet.")
        faults = self._faults(model, columns, RAW)
        if faults is not None and self.settings.validation == "refuse":
            raise ContractError(faults, model.version)
        return Answer(model.version, await self._explaining.run(model, EXPLAIN, columns, rows), (), faults)

    def _faults(self, model: LoadedModel, columns: Columns, signature: str) -> Faults | None:
        """The faults, counted; None if there are none, or nothing is checked."""
        if model.contract is None or self.settings.validation == "off":
            return None
        if signature != RAW:
            examples = parsed(next(iter(columns.values())).tolist(), model.inputs.columns)
            if examples is None:
                return None  # The graph says what is wrong with them.
            columns = examples
        faults = model.contract.check(columns)
        if faults is not None:
            for column, count in faults.by_column.items():
                self.metrics.contract_faults.labels(column, self._outcome).inc(count)
        return faults

    def check_rows(self, rows: int, explain: bool = False) -> None:
        """Raises TooLargeError for more than `max_rows`, or `explain_rows`, before they are read."""
        most = self.settings.explain_rows if explain else self.settings.max_rows
        if rows > most:
            raise TooLargeError(f"The request has {rows} rows; {most} are allowed.")

    async def _check_exclusions(self) -> None:
        """Refuses a column to leave out that does not exist: what it was to protect would be logged."""
        with self.versions.using() as model:
            names = model.inputs.names
            known = [*names, *(tasks.column_of(output, names) for output in model.outputs), CALLER]
        for name in self.settings.payloads.exclude:
            if name not in known:
                await self.stop()
                raise ServingError(
                    f"serving.payloads.exclude names `{name}`, which the model neither takes nor gives; it has"
                    f" {', '.join(sorted(known))}."
                )

    def _has_run(self, model: LoadedModel, rows: int, outputs: Columns) -> None:
        self.metrics.rows.inc(rows)
        self.metrics.batch_rows.observe(rows)
        self.metrics.predictions.observe(model.version, model.task, outputs)

    def _has_loaded(self, model: LoadedModel, seconds: float) -> None:
        self.metrics.loads.inc()
        self.metrics.load_seconds.set(seconds)
        self.metrics.loaded.labels(model.version).set(1)
        self.metrics.version.set(self.versions.current or model.version)
        if model.contract is not None and self.settings.validation != "off":
            # From zero on, or the first faults of a column would be no increase.
            for column in model.contract.rules:
                self.metrics.contract_faults.labels(column, self._outcome)

    def _has_failed(self, version: int, reason: str) -> None:
        self.metrics.load_failures.inc()
        self._refused(version, reason)

    def _has_unloaded(self, version: int) -> None:
        self.metrics.loaded.remove(version)
        self.metrics.predictions.forget(version)
        if self.versions.current is not None:
            self.metrics.version.set(self.versions.current)


def new_id() -> str:
    """Returns a name for a request that has none: unique, but no secret.

    The random numbers of `secrets` come from the kernel, and another thread takes the interpreter meanwhile.
    """
    return f"{random.getrandbits(96):024x}"


def caller_of(headers: Mapping[str, str], address: str) -> str:
    """Returns who asks: what the client calls itself in the header `x-caller`, or its program and its address."""
    if named := headers.get("x-caller"):
        return named[:_LONGEST_CALLER]
    program = headers.get("user-agent", "an unnamed program")
    return f"{program[:_LONGEST_CALLER]} from {address or 'an unknown address'}"


def _prepare_process() -> None:
    """Imports TensorFlow, and takes what that made out of the garbage collector's sight.

    Going through its half a million objects stops every request for 0.2 s, each time a model is given up, and takes a
    fifth of the time of the import itself.
    """
    gc.disable()
    tensorflow()
    gc.enable()
    gc.collect()
    gc.freeze()

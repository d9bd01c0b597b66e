"""Requests that wait at the same time are answered by one call of the model."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence

from operations.inference.columns import Columns, concatenated
from operations.inference.errors import NotReadyError, RequestError
from operations.inference.model import LoadedModel
from pipeline import tracing

_STOP = object()


@dataclasses.dataclass(eq=False)
class _Job:
    model: LoadedModel
    signature: str
    columns: Columns
    rows: int
    future: asyncio.Future[Columns]
    # When it was asked, and when the model began and ended, in nanoseconds since the epoch.
    asked: int = dataclasses.field(default_factory=time.time_ns)
    began: int = 0
    ended: int = 0

    def joins(self, other: _Job) -> bool:
        return self.model is other.model and self.signature == other.signature


class Batcher:
    """Runs models in one thread, and joins the requests that wait for it.

    No request waits for company while the thread is free, unless a delay is set: under load, requests gather while the
    batch before them is computed, which is when batches pay. A request of `max_rows` or more goes alone.
    """

    def __init__(
        self,
        max_rows: int,
        delay_seconds: float,
        queue_rows: int,
        on_batch: Callable[[LoadedModel, int, Columns], None] = lambda model, rows, outputs: None,
    ) -> None:
        """Starts the thread, in which `on_batch` is told of every call.

        The first of a batch waits for others for `delay_seconds`. A request that lets more than `queue_rows` wait is
        refused, unless nothing else waits.
        """
        self._max_rows = max_rows
        self._delay = delay_seconds
        self._queue_rows = queue_rows
        self._on_batch = on_batch
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._gathered: list[_Job] = []
        self._waiting = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting_rows(self) -> int:
        """Rows that were taken in and are not answered yet."""
        return self._waiting

    async def run(self, model: LoadedModel, signature: str, columns: Columns, rows: int) -> Columns:
        """Returns the outputs for the rows, in their order.

        Raises:
            NotReadyError: too many rows wait, or `stop` was called.
            UnprocessableError: the graph refuses the values. Requests in the same batch are answered nevertheless.
        """
        if self._stopped:
            raise NotReadyError("The service is stopping.")
        if self._waiting and self._waiting + rows > self._queue_rows:
            raise NotReadyError(f"{self._waiting} rows wait already; ask again later, or with fewer rows.")
        future: asyncio.Future[Columns] = asyncio.get_running_loop().create_future()
        self._waiting += rows
        job = _Job(model, signature, columns, rows, future)
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._gathered.append(job)
        try:
            return await future
        finally:
            if job.ended:
                tracing.past("queue", job.asked, job.began)
                tracing.past("model", job.began, job.ended, version=model.version, rows=rows)

    async def stop(self) -> None:
        """Answers what waits, and ends the thread."""
        if not self._stopped:
            self._stopped = True
            self._hand_over()
            self._queue.put(_STOP)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        """Gives the thread all that was asked in one turn of the loop: it would begin with the first one alone."""
        for job in self._gathered:
            self._queue.put(job)
        self._gathered.clear()

    def _work(self) -> None:
        _let_others_finish()
        following: object | None = None
        while True:
            first = self._queue.get() if following is None else following
            following = None
            if not isinstance(first, _Job):
                return
            jobs, rows = [first], first.rows
            deadline = time.monotonic() + self._delay
            while rows < self._max_rows:
                try:
                    job = (
                        self._queue.get(timeout=wait)
                        if (wait := deadline - time.monotonic()) > 0
                        else self._queue.get_nowait()
                    )
                except queue.Empty:
                    break
                if not isinstance(job, _Job) or not job.joins(first) or rows + job.rows > self._max_rows:
                    following = job
                    break
                jobs.append(job)
                rows += job.rows
            self._answer(jobs)

    def _answer(self, jobs: Sequence[_Job]) -> None:
        # Whoever hung up needs no answer; reading the flag of a future is safe in any thread.
        wanted = [job for job in jobs if not job.future.cancelled()]
        answers: list[Columns | Exception] = []
        if wanted:
            try:
                answers.extend(self._together(wanted))
            except RequestError:
                # One of them is to blame, and only it should hear of it.
                for job in wanted:
                    try:
                        answers.extend(self._together([job]))
                    except Exception as error:
                        answers.append(error)
            except Exception as error:
                answers.extend([error] * len(wanted))
        loop = jobs[0].future.get_loop()
        loop.call_soon_threadsafe(self._deliver, sum(job.rows for job in jobs), wanted, answers)

    def _together(self, jobs: Sequence[_Job]) -> list[Columns]:
        model, signature, columns = jobs[0].model, jobs[0].signature, jobs[0].columns
        if len(jobs) > 1:
            columns = concatenated([job.columns for job in jobs])
        began = time.time_ns()
        try:
            outputs = model.predict(columns, signature)
        finally:
            ended = time.time_ns()
            for job in jobs:
                job.began, job.ended = began, ended
        self._on_batch(model, sum(job.rows for job in jobs), outputs)
        if len(jobs) == 1:
            return [outputs]
        parts, start = [], 0
        for job in jobs:
            parts.append({name: values[start : start + job.rows] for name, values in outputs.items()})
            start += job.rows
        return parts

    def _deliver(self, rows: int, jobs: Sequence[_Job], answers: Sequence[Columns | Exception]) -> None:
        self._waiting -= rows
        for job, answer in zip(jobs, answers, strict=True):
            if job.future.done():
                continue
            if isinstance(answer, Exception):
                job.future.set_exception(answer)
            else:
                job.future.set_result(answer)


def _let_others_finish() -> None:
    """Lets this thread wait for a core, when it is woken, until those who work there pause; it gets no less of it.

    Where the event loop has the same core, each request would else take it away from the loop, and be answered alone,
    while the others that have arrived are not read yet.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # A sandbox may know no such policy.
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

"""Runs a sweep on this machine: workers as processes, watched until all trials have ended.

Imports neither TensorFlow nor keras-tuner; the workers do.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2

from ledger.opening import open_store
from operations.experiments.sweep.chain import Chain
from operations.experiments.sweep.plan import SweepError, SweepPlan
from operations.experiments.sweep.standing import MOST_STARTS, Standing
from pipeline import child_process

_POLL_SECONDS = 0.5
# How long workers have to end when the sweep is interrupted.
_GRACE_SECONDS = 10.0


def run(
    sweep: SweepPlan,
    connection: metadata_store_pb2.ConnectionConfig,
    parallel: int,
    logs: Path,
    watched: Callable[[Standing], None],
) -> Standing:
    """Runs what is left of a sweep.

    Returns:
        How it stands in the end.

    Raises:
        SweepError: the workers cannot work, for a reason that is not a trial's.
    """
    chain, standing = Chain(open_store(connection), sweep.sweep_id), Standing()
    standing.apply(chain.refresh())
    watched(standing)
    if len(standing.trials) >= sweep.trials and not standing.running():
        return standing
    left = sweep.trials - len(standing.trials) + len(standing.running())
    workers = _Workers(sweep, connection, min(parallel, left), logs)
    try:
        while workers.tend():
            time.sleep(_POLL_SECONDS)
            standing.apply(chain.refresh())
            watched(standing)
    finally:
        workers.stop()
    standing.apply(chain.refresh())
    watched(standing)
    return standing


class _Workers:
    """The processes of a sweep."""

    def __init__(
        self, sweep: SweepPlan, connection: metadata_store_pb2.ConnectionConfig, count: int, logs: Path
    ) -> None:
        self._arguments = ["--sweep", sweep.sweep_id]
        if connection.HasField("sqlite"):
            self._arguments += ["--sqlite", connection.sqlite.filename_uri]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._environment = {
            # Or each worker would have as many threads as there are cores, and all of a GPU's memory.
            "TF_NUM_INTRAOP_THREADS": str(max(1, cores // count)),
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        }
        self._logs = logs
        self._processes: dict[subprocess.Popen[bytes], Path] = {}
        self._started = 0
        # Each death uses up one of the starts of a trial, unless something else kills workers over and over.
        self._deaths_left = MOST_STARTS * 10
        for _ in range(count):
            self._start()

    def tend(self) -> bool:
        """Replaces workers that were killed; whether any is left.

        Raises:
            SweepError: one has given up.
        """
        for process, log in list(self._processes.items()):
            code = process.poll()
            if code is None:
                continue
            del self._processes[process]
            if code < 0 and self._deaths_left > 0:
                # Killed, perhaps for want of memory: the sweep goes on without the one trial at worst.
                self._deaths_left -= 1
                self._start()
            elif code != 0:
                said = child_process.last_line(log) or "it says nothing."
                raise SweepError(f"A worker of the sweep cannot go on: {said} Its log: {log}")
        return bool(self._processes)

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()

    def _start(self) -> None:
        log = self._logs / f"worker-{self._started}.log"
        self._started += 1
        module = "operations.experiments.sweep.worker"
        process = child_process.start(log, module, *self._arguments, environment=self._environment)
        self._processes[process] = log

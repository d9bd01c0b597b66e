"""Runs on this machine: `flightdeck run` in a process of its own, whose memory is given back when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import ml_metadata

from errors import FlightdeckError
from operations.loop.attempts import Attempt
from operations.loop.runs import Result, pushes, result_of
from operations.loop.seen import History
from operations.loop.settings import Settings
from pipeline import child_process, workspace

# How long a run has to remove what it has half written.
_GRACE_SECONDS = 60.0


class LocalRuns:
    """The one run that goes on here: `flightdeck run` with these arguments, ``--config FILE --set KEY=VALUE``."""

    def __init__(self, settings: Settings, store: ml_metadata.MetadataStore, arguments: Sequence[str]) -> None:
        self._settings, self._arguments = settings, list(arguments)
        self._history = History(store, settings.use_case.name)
        self._process: subprocess.Popen[bytes] | None = None

    def busy(self) -> str | None:
        """Who holds the workspace."""
        return workspace.holder(self._settings)

    def start(self, attempt: Attempt, settings: Settings) -> str | None:
        """Begins a run, which ends when this process does; a FlightdeckError if there is no process for it."""
        arguments = ["run", *self._arguments, "--json", "--run-id", attempt.run_id]
        arguments += [] if pushes(settings) else ["--set", "push.enabled=false"]
        for key, reason in attempt.reasons.items():
            arguments += ["--because", f"{key}={reason}"]
        try:
            self._process = child_process.start(self._log(attempt), "flightdeck", *arguments)
        except OSError as error:
            raise FlightdeckError(f"`flightdeck run` cannot be started: {error.strerror}.") from error
        return None

    def result(self, attempt: Attempt) -> Result | None:
        """What came of the run; None while it goes on."""
        if self._process is not None and self._process.poll() is None:
            return None
        code = None if self._process is None else self._process.returncode
        record = self._history.record(attempt.run_id)
        result = None if record is None else result_of(record)
        if result is None and code is None and self.busy():
            # Another process began it, and went away; it may not have noticed yet.
            return None
        self._process = None
        if result is not None:
            return result
        if code is None or code < 0:
            return Result("killed", "its process was killed", attempt.run_id)
        # What a run that never had a record said: one sentence on standard error.
        said = child_process.last_line(self._log(attempt))
        return Result("failed", said or f"it ended with exit code {code}", attempt.run_id)

    def stop(self, attempt: Attempt) -> bool:
        """Interrupts the run, and waits until it has removed what is half written."""
        if self._process is None:
            return False
        self._process.terminate()
        try:
            self._process.wait(_GRACE_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait()
        return True

    def _log(self, attempt: Attempt) -> Path:
        return Path(self._settings.workspace) / "continuous" / "runs" / f"{attempt.run_id}.log"


def stop_with(parent: int) -> None:
    """Ends this process when its parent has gone, also if that was killed.

    As a person would, with SIGTERM, so that what is half written is removed; and for certain a minute later.
    """

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    child_process.end_with(parent, stop)

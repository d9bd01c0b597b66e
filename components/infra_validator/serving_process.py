"""Runs the probe as a child process within time limits, and always ends it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

# The folder that holds the package `components`, wherever it is installed.
_IMPORT_ROOT = Path(__file__).resolve().parents[2]


class ServingFailureError(RuntimeError):
    """The candidate did not serve; the text says why in one sentence."""


class StartupFailureError(ServingFailureError):
    """The process did not get as far as TensorFlow: no fault of the model, and worth a second try."""


class TimeLimits(NamedTuple):
    """How long each step may take, in seconds; `answer` is for each request."""

    startup: float
    load: float
    answer: float


@dataclass
class Served:
    """What the child process did: its answers, as the probe's events, and what is to be recorded of it."""

    attempts: int
    answers: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def attempted(serve: Callable[[Served], None]) -> Served:
    """Returns what a process did; one that fails before the model could be at fault is started a second time."""
    served = Served(attempts=1)
    try:
        serve(served)
    except StartupFailureError:
        served = Served(attempts=2)
        serve(served)
    return served


def serve(served: Served, model: str, examples: list[bytes], raw_signature: str, limits: TimeLimits) -> None:
    """Lets a fresh process load a SavedModel and answer all serialised examples at once, then each one alone.

    Raises:
        ServingFailureError: If the process crashed, was killed, hung or refused the model.
    """
    with child_process("-m", "components.infra_validator.probe") as child:
        started = time.monotonic()
        child.send(
            {
                "model": model,
                "raw_signature": raw_signature,
                "examples": [base64.b64encode(example).decode() for example in examples],
            }
        )
        event = child.next_event(limits.startup, "start", StartupFailureError)
        ready = time.monotonic()
        child.next_event(limits.load, "load the model")
        served.facts = {
            "startup_seconds": round(ready - started, 3),
            "load_seconds": round(time.monotonic() - ready, 3),
            "tensorflow": event["tensorflow"],
            "tfx_imported": event["tfx_imported"],
        }
        while (event := child.next_event(limits.answer, f"answer request {len(served.answers) + 1}"))[
            "event"
        ] == "answer":
            served.answers.append(event)


@contextlib.contextmanager
def child_process(*arguments: str) -> Iterator[Child]:
    """Starts a Python program in a process group of its own and kills the group in the end, whatever happens."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(),
            text=True,
            start_new_session=True,
        )
        try:
            yield Child(process, errors)
        finally:
            _kill_group(process)


def _environment() -> dict[str, str]:
    """Returns the environment: our package importable, and no GPU, which the trainer may still hold.

    The server of production would ask its clients for this key; a candidate has no client but its validator.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "FLIGHTDECK_SERVING_API_KEY"}
    paths = [str(_IMPORT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": "-1"}


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in filter(None, (process.stdin, process.stdout)):
        # What could not be sent to a dead process is of no interest.
        with contextlib.suppress(BrokenPipeError):
            stream.close()


class Child:
    """A running program: one task in, lines out."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[bytes]):
        self._process = process
        self._errors = errors
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, task: dict[str, Any]) -> None:
        """Sends the task and leaves stdin open: the probe ends itself when it closes."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # It is gone; waiting for its first event says how it ended.

    def next_event(
        self, seconds: float, step: str, failure: type[ServingFailureError] = ServingFailureError
    ) -> dict[str, Any]:
        """Returns the next event of the probe; it fails if none comes in time, or if the model is refused."""
        line = self.next_line(seconds, step, failure)
        if line is None:
            raise failure(self.how_it_ended(step))
        event = json.loads(line)
        if event["event"] == "refused":
            raise ServingFailureError(f"The model could not serve: {event['reason']}")
        return event

    def next_line(
        self, seconds: float, step: str, failure: type[ServingFailureError] = ServingFailureError
    ) -> str | None:
        """Returns the next line that the process writes, or None if it has ended."""
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            raise failure(f"The serving process did not {step} within {seconds:g} s.") from None

    def exit_code(self) -> int | None:
        """Returns how the process ended, negative for a signal; None if it still runs after a while."""
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return None

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._lines.put(line)
        except ValueError:
            pass  # Closed by the parent, which waits no longer.
        self._lines.put(None)

    def how_it_ended(self, step: str) -> str:
        """Returns a sentence on the end of the process, before it could do a step."""
        code = self.exit_code()
        if code is None:
            return f"The serving process closed its output before it could {step}."
        if code < 0:
            hint = ", perhaps out of memory" if code == -signal.SIGKILL else ""
            name = signal.Signals(-code).name
            return f"The serving process was killed by {name}{hint}, before it could {step}."
        last = self.last_line()[:300].rstrip(".")
        words = f"; its last words: {last}" if last else ""
        return f"The serving process ended with exit code {code} before it could {step}{words}."

    def last_line(self) -> str:
        """Returns the last line of the standard error, if there is one."""
        self._errors.seek(0)
        lines = self._errors.read()[-4000:].decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

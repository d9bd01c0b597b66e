"""The prediction service as a child process, for those who measure it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil

from operations.inference.errors import ServingError
from operations.serving.api_keys import without_keys

if TYPE_CHECKING:
    from operations.serving.settings import Serving

_START_SECONDS = 180.0
_ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Child:
    """A service that runs; the URL has no path, and the target of gRPC no scheme."""

    url: str
    grpc_target: str
    version: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """The processor time of all its threads since it started."""
        times = self.process.cpu_times()
        return times.user + times.system

    def memory_bytes(self) -> int:
        """The memory that it holds now."""
        return self.process.memory_info().rss


@contextlib.contextmanager
def serving(
    name: str, models: Path, settings: Serving, payloads: Path | None, log: Path | None, *more: str
) -> Iterator[Child]:
    """Runs the service on free ports of this machine, and ends it gracefully, or raises ServingError.

    Its log is appended to `log`, and `more` are arguments of ``python -m operations.serving``.
    """
    chosen = settings.model_dump(mode="json", exclude={"host", "port", "grpc_port"})
    command = [sys.executable, "-m", "operations.serving", "--models", str(models), "--name", name]
    command += ["--host", "127.0.0.1", "--port", "0", "--grpc-port", "0", "--settings", json.dumps(chosen)]
    command += ["--stop-on-eof", *(["--payloads", str(payloads)] if payloads else []), *more]
    paths = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("ab+") if log else tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**without_keys(os.environ), "PYTHONPATH": paths},
            start_new_session=True,  # An interrupt at the keyboard is for the one who measures.
        )
        try:
            started = json.loads(_first_line(process, errors))
            target = f"127.0.0.1:{started['grpc_port']}"
            yield Child(started["url"], target, started["version"], psutil.Process(process.pid))
            process.terminate()
            code = process.wait(settings.grace_seconds + settings.drain_seconds + 60)
            if code != 0:
                raise ServingError(f"The service ended with exit code {code}: {_last_words(errors)}")
        finally:
            process.kill()
            process.wait()
            for stream in filter(None, (process.stdin, process.stdout)):
                stream.close()


def _first_line(process: subprocess.Popen[bytes], errors: IO[bytes]) -> bytes:
    assert process.stdout is not None
    # A child that hangs is killed, which ends the wait for its line.
    watch = threading.Timer(_START_SECONDS, process.kill)
    watch.start()
    try:
        line = process.stdout.readline()
    finally:
        watch.cancel()
    if not line:
        process.wait()
        raise ServingError(f"The service did not start: {_last_words(errors)}")
    return line


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - 2000))
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing."

"""The real server in a process of its own."""

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests import forked


class LiveServer:
    """A server that answers, and the process it runs in."""

    def __init__(self, process: forked.Forked, told: dict, log: Path) -> None:
        self.process = process
        self.told = told
        self.url = told["url"]
        self.log = log

    @property
    def grpc_target(self) -> str:
        return f"127.0.0.1:{self.told['grpc_port']}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30)

    def end(self) -> int:
        """Asks it to end, and returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextlib.contextmanager
def serving(models: Path, name: str, log: Path, *arguments: str, **settings: object) -> Iterator[LiveServer]:
    """Serves a folder of versions on free ports, until the block ends."""
    command = ["operations.serving", "--models", str(models), "--name", name]
    command += ["--port", "0", "--grpc-port", "0", "--settings", json.dumps(settings), *arguments]
    with log.open("w") as errors:
        process = forked.Forked(*command, stderr=errors)
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield LiveServer(process, json.loads(line), log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()
            process.stdout.close()


def wait_for(condition, seconds: float = 90):
    """Returns the first true result."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.1)
    raise AssertionError("waited in vain")

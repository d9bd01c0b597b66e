"""The real server in a process of its own."""

import contextlib
import dataclasses
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
from prometheus_client.parser import text_string_to_metric_families

from operations.serving.grpc_messages import SERVICE, message
from tests import forked
from tests.operations.serving import small_model


class LiveServer:
    """A server that answers, and the process it runs in."""

    def __init__(self, process: forked.Forked, started: dict, log: Path) -> None:
        self.process = process
        self.url = started["url"]
        self.grpc_target = f"127.0.0.1:{started['grpc_port']}"
        self.log = log

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30)

    def call(self, method: str, metadata: Any = (), /, **fields: Any) -> Any:
        """The answer of gRPC to a request of some fields."""
        request, response = message(f"{method}Request"), message(f"{method}Response")
        with grpc.insecure_channel(self.grpc_target) as channel:
            stub = channel.unary_unary(
                f"/{SERVICE}/{method}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )
            return stub(request(**fields), timeout=30, metadata=metadata)


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
        process.terminate()
        try:
            process.wait(timeout=60)
        finally:
            process.kill()
            process.stdout.close()


@dataclasses.dataclass(frozen=True)
class Served:
    """A live server, a client of it, and the folder of its payload log."""

    live: LiveServer
    client: httpx.Client
    log: Path

    def post(self, path: str, document: dict) -> dict:
        answer = self.client.post(path, json=document)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.contextmanager
def served(model: Path, folder: Path, contract: dict) -> Iterator[Served]:
    small_model.push(model, folder / "versions", 7, contract)
    log = folder / "payloads"
    with serving(folder / "versions", "shop", folder / "log", "--payloads", str(log)) as live, live.client() as client:
        yield Served(live, client, log)


def texts(*values: bytes) -> bytes:
    """Texts as the bytes of a tensor."""
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def samples(exposition: str) -> dict[tuple[str, ...], float]:
    """What Prometheus reads: (name, sorted values of the labels) -> value."""
    return {
        (sample.name.removeprefix("flightdeck_serving_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def wait_for(condition, seconds: float = 90):
    """Returns the first true result."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.1)
    raise AssertionError("waited in vain")

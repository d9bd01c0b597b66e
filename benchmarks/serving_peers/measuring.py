"""Measures the servers in turn, and what the parts of a request of ours cost."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pipeline
from benchmarks.serving_peers.asking import PROTOCOLS, Body, ask, bodies, check_answers, load, path_of, rows_of
from benchmarks.serving_peers.servers import (
    BATCHING,
    KSERVE,
    MLSERVER,
    OURS,
    UNLOGGED,
    PeersError,
    Server,
    environment,
    running_peer,
    version,
    wait_until_ready,
)
from flightdeck.settings import Settings
from operations.serving import bench, child
from operations.serving.grpc_messages import SERVICE, message

ROWS, CONNECTIONS = (1, 64), (1, 32)
SERVER_ALONE, IN_ALL = "HTTP or gRPC alone", "in all"
_WARM_UP_SECONDS = 0.5
_BARE_SECONDS = 2.0


@dataclasses.dataclass
class Seen:
    """What clients saw of one server, over all turns; milliseconds of each answered request."""

    milliseconds: list[np.ndarray] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def figures(self) -> dict[str, float]:
        """The requests per second, the percentiles of the milliseconds, and the CPU microseconds per request."""
        together = np.concatenate(self.milliseconds)
        p50, p99 = np.percentile(together, [50, 99]).tolist()
        return {
            "requests_per_second": len(together) / self.seconds,
            "p50_ms": p50,
            "p99_ms": p99,
            "cpu_us": self.cpu_seconds / len(together) * 1e6,
        }


def measure_cell(
    servers: Sequence[Server],
    protocol: str,
    name: str,
    asked: Sequence[Body],
    connections: int,
    turn: float,
    turns: int,
) -> dict[str, dict[str, float]]:
    """What clients saw of each server, which take turns; in each turn all are asked the same."""
    seen = {server.name: Seen() for server in servers}

    def once(server: Server, body: Body, seconds: float) -> np.ndarray:
        origin = f"http://{server.grpc_target}" if protocol == "grpc" else server.url
        size = ask(server, protocol, name, body)[1]
        return load(origin + path_of(protocol, name), connections, seconds, body.of[protocol], protocol == "grpc", size)

    for server in servers:
        once(server, asked[0], _WARM_UP_SECONDS)
    for number in range(turns):
        order = servers if number % 2 == 0 else list(reversed(servers))
        for server in order:
            before, of_one = server.cpu_seconds(), seen[server.name]
            of_one.milliseconds.append(once(server, asked[number % len(asked)], turn))
            of_one.seconds += turn
            of_one.cpu_seconds += server.cpu_seconds() - before
    return {name: of_one.figures() for name, of_one in seen.items()}


@contextlib.contextmanager
def _on(core: int) -> Iterator[None]:
    """Runs what is started in the block on one core, and its threads and processes."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def compare(
    settings: Settings,
    rows: Sequence[Mapping[str, Any]],
    environments: Path,
    peers: Sequence[str] = (KSERVE, MLSERVER, BATCHING),
    sizes: Sequence[int] = ROWS,
    connections: Sequence[int] = CONNECTIONS,
    turn: float = 1.5,
    turns: int = 4,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measures the newest version that the settings serve behind all servers.

    Args:
        settings: of our service, too.
        rows: to ask with.
        environments: the folder of those of the peers, where they are made if they are not there.
        peers: those to measure.
        sizes: rows a request.
        connections: how many ask at the same time.
        turn: the seconds of one turn of a server.
        turns: how often it is each one's turn, with each size, number of connections and protocol.
        note: is told what goes on.

    Raises:
        PeersError: they cannot be compared, or do not answer alike.
        ServingError: nothing can be served.
    """
    if shutil.which("h2load") is None:
        raise PeersError("h2load is missing; install it with: requirements/system-packages.sh load")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise PeersError("The servers and those who ask need a core each; this process may use one only.")
    name, versions = settings.use_case.name, Path(settings.pushed).resolve()
    model = versions / str(max(int(folder.name) for folder in versions.iterdir() if folder.name.isdigit()))
    for package in {label.partition(",")[0].lower() for label in peers}:
        note(f"Making the environment of {package}")
        environment(package, environments)
    with contextlib.ExitStack() as running, tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        note("Starting the servers")
        with _on(cores[0]):
            started = [
                running.enter_context(running_peer(label, name, model, environments.resolve(), place / label))
                for label in peers
            ]
            service, unlogged = (
                running.enter_context(child.serving(name, versions, settings.serving, payloads, place / log))
                for payloads, log in ((place / "payloads", "log"), (None, "log-unlogged"))
            )
        for server in started:
            wait_until_ready(server, name, place / server.name / "log")
        ours = [
            Server(label, child.url, child.grpc_target, child.process)
            for label, child in ((OURS, service), (UNLOGGED, unlogged))
        ]
        servers = [*ours, *started]
        with urllib.request.urlopen(f"{service.url}/v2/models/{name}") as response:
            described = json.load(response)
        asked = bodies(rows, {each["name"]: each["datatype"] for each in described["inputs"]}, name, sizes)
        apart = check_answers(servers, name, asked)
        cells = []
        with _on(cores[1]):
            for protocol in PROTOCOLS:
                answering = servers if protocol != "v1" else ours
                for size in sizes:
                    of_size = [body for body in asked if body.rows == size]
                    for count in connections:
                        note(f"{PROTOCOLS[protocol]}, {size} rows a request, {count} connections")
                        figures = measure_cell(answering, protocol, name, of_size, count, turn, turns)
                        cells.append({"protocol": protocol, "rows": size, "connections": count, "servers": figures})
            note("The servers of HTTP and gRPC alone")
            alone = {protocol: _alone(servers[0], protocol, max(connections), turn) for protocol in ("v2", "grpc")}
        check_answers(servers, name, asked)
    note("The model alone, and the parts of a request")
    with _on(cores[0]):
        by_size = {size: [rows_of(body) for body in asked if body.rows == size] for size in sizes}
        bare = bench.bare_calls(model, settings.serving, by_size, _BARE_SECONDS)
        taken = parts(model, next(body for body in asked if body.rows == min(sizes)), max(connections))
    busiest = {
        cell["protocol"]: cell["servers"][OURS]["cpu_us"]
        for cell in cells
        if (cell["rows"], cell["connections"]) == (min(sizes), max(connections))
    }
    return {
        "machine": pipeline.machine(),
        "peers": [version(label) for label in dict.fromkeys(label.partition(",")[0] for label in peers)],
        "turn_seconds": turn,
        "turns": turns,
        "apart": apart,
        "cells": cells,
        "bare": {
            str(size): {way: 1000 / float(times.mean()) for way, times in ways.items()} for size, ways in bare.items()
        },
        "parts": {
            protocol: {SERVER_ALONE: alone[protocol], **taken[protocol], IN_ALL: busiest[protocol]}
            for protocol in alone
        },
    }


def _alone(server: Server, protocol: str, connections: int, seconds: float) -> float:
    """CPU microseconds of the service per request that asks nothing of it."""
    address = f"http://{server.grpc_target}/{SERVICE}/ServerLive" if protocol == "grpc" else f"{server.url}/healthz"
    body = b"" if protocol == "grpc" else None
    load(address, connections, _WARM_UP_SECONDS, body, protocol == "grpc", None)
    before = server.cpu_seconds()
    answered = load(address, connections, seconds, body, protocol == "grpc", None)
    return (server.cpu_seconds() - before) / len(answered) * 1e6


def parts(folder: Path, body: Body, together: int) -> dict[str, dict[str, float]]:
    """CPU microseconds of the parts of a request, each called in a loop; the model with some requests together."""
    from operations.inference.columns import concatenated
    from operations.inference.model import load as load_model
    from operations.serving import grpc_v2
    from operations.serving import open_inference_v2 as v2

    model = load_model(folder, 1, 1)
    request = message("ModelInferRequest")
    readers: dict[str, Callable[[], v2.InferRequest]] = {
        "v2": lambda: v2.parse(body.of["v2"]),
        "grpc": lambda: grpc_v2.read(request.FromString(body.of["grpc"])),  # pyright: ignore[reportAttributeAccessIssue]
    }
    taken = {}
    for protocol, read in readers.items():
        asked = read()
        _, arrays = v2.arrays(asked, model)
        outputs, contract = model.predict(arrays), model.contract
        joined = [arrays] * together
        taken[protocol] = {
            "reading the body": _cpu_us(read),
            "arrays of the columns": _cpu_us(lambda asked=asked: v2.arrays(asked, model)),
            "contract": 0.0 if contract is None else _cpu_us(lambda check=contract.check, of=arrays: check(of)),
            f"model, {together} requests together": _cpu_us(lambda joined=joined: model.predict(concatenated(joined)))
            / together,
            "writing the answer": _cpu_us(
                lambda asked=asked, outputs=outputs: v2.answer(asked, "name", 1, "id", outputs)
            ),
        }
    return taken


def _cpu_us(call: Callable[[], Any], seconds: float = 0.3) -> float:
    """The CPU microseconds of a call, also of threads that it lets work."""
    for _ in range(50):
        call()
    calls, until, before = 0, time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < until:
        call()
        calls += 1
    return (time.process_time() - before) / calls * 1e6

"""Measures the service beside KServe's and MLServer's Python servers, all with the same SavedModel, on one core.

Each peer runs in an environment of its own (`benchmarks/peers/*.txt`, made in the workspace), with a model class as its
users write it (`benchmarks/peers/*_model.py`), quiet and without worker processes, which is its fastest on one core;
MLServer also with its batching. Our service runs as it does in production: it checks the contract of the version and
writes the payload log. All run on one core, h2load asks over loopback from another one, and they take turns. Before
anything is timed, all must give the same answers to the same rows, to 1e-6.

    requirements/system-packages.sh load
    python -m benchmarks.serving_peers --write

With `--write` the figures go into ``docs/serving-peers.json``, the page beside it and the rows of other pages that
quote them. The exit status is 1 if a peer answers more requests per second than the service, or has a shorter p99.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil

from benchmarks import pipeline
from errors import FlightdeckError
from flightdeck.settings import Settings, read_settings
from operations.serving import bench, child
from operations.serving.grpc_messages import SERVICE, message

HERE = Path(__file__).resolve().parent / "peers"
OURS, KSERVE, MLSERVER, BATCHING = "flightdeck", "KServe", "MLServer", "MLServer, batching"
PAGE, FIGURES = pipeline.ROOT / "docs" / "serving-peers.md", pipeline.ROOT / "docs" / "serving-peers.json"
QUOTED = "| the service: one row a request, 32 connections, one core |"
PROTOCOLS = {"v2": "REST, V2", "grpc": "gRPC, V2", "v1": "REST, V1"}
ROWS, CONNECTIONS = (1, 64), (1, 32)
WANTED_PER_SECOND = 3000
SERVER_ALONE, IN_ALL = "HTTP or gRPC alone", "in all"
_BODIES = 4
_TOLERANCE = 1e-6
_START_SECONDS = 180.0
_WARM_UP_SECONDS = 0.5
_BARE_SECONDS = 2.0
# Of what MLServer's batching is set to: as many requests as there are connections, and a wait that pays at 32.
_MLSERVER_BATCH = {"max_batch_size": 32, "max_batch_time": 0.002}
_CONTENTS = {"FP32": "fp32_contents", "INT64": "int64_contents", "BYTES": "bytes_contents"}


class PeersError(FlightdeckError):
    """The servers cannot be compared; the text says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Server:
    """A server that runs: the address of HTTP, that of gRPC without a scheme, and its process."""

    name: str
    url: str
    grpc_target: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """The processor time of it and of the processes that it started."""
        times = [process.cpu_times() for process in (self.process, *self.process.children(recursive=True))]
        return sum(each.user + each.system for each in times)


@dataclasses.dataclass(frozen=True)
class Body:
    """One request as all servers get it: its bytes in each protocol, and the rows in it."""

    rows: int
    of: Mapping[str, bytes]


def environment(name: str, folder: Path) -> Path:
    """Returns the environment of a peer, made anew if its list of packages is another one."""
    place, listed = folder / name, HERE / f"{name}.txt"
    stamp = place / "installed.txt"
    if not (stamp.exists() and stamp.read_bytes() == listed.read_bytes()):
        uv = shutil.which("uv") or str(pipeline.ROOT / ".tools" / "uv" / "bin" / "uv")
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", python, str(place)], check=True)
        install = [uv, "pip", "sync", "--quiet", "--python", str(place / "bin" / "python"), "--require-hashes"]
        subprocess.run([*install, str(listed)], check=True)
        shutil.copy(listed, stamp)
    return place


def version(name: str) -> str:
    """The version of a peer that is pinned, as ``KServe 1.2.3``."""
    package = name.partition(",")[0]
    pinned = re.search(rf"^{package.lower()}==(\S+)", (HERE / f"{package.lower()}.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    return f"{package} {pinned[1]}"


def bodies(rows: Sequence[Mapping[str, Any]], datatypes: Mapping[str, str], name: str, sizes: Sequence[int]) -> list:
    """Returns some requests of each size, of rows without missing values, for which the protocol has no word."""
    complete = [row for row in rows if all(row.get(column) is not None for column in datatypes)]
    if len(complete) < max(sizes):
        raise PeersError(f"Only {len(complete)} rows have all values; {max(sizes)} are needed.")
    made = []
    for size in sizes:
        for start in range(_BODIES):
            chosen = [complete[(start * size + row) % len(complete)] for row in range(size)]
            made.append(_body(chosen, datatypes, name))
    return made


def _body(rows: Sequence[Mapping[str, Any]], datatypes: Mapping[str, str], name: str) -> Body:
    inputs = [
        {"name": column, "datatype": datatype, "shape": [len(rows), 1], "data": [row[column] for row in rows]}
        for column, datatype in datatypes.items()
    ]
    request = message("ModelInferRequest")(model_name=name)
    for tensor in inputs:
        added = request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        values = [value.encode() if isinstance(value, str) else value for value in tensor["data"]]
        getattr(added.contents, _CONTENTS[tensor["datatype"]]).extend(values)
    by_row = [{column: row[column] for column in datatypes} for row in rows]
    return Body(
        len(rows),
        {
            "v2": orjson.dumps({"inputs": inputs}, option=orjson.OPT_SERIALIZE_NUMPY),
            "grpc": request.SerializeToString(),
            "v1": orjson.dumps({"instances": by_row}, option=orjson.OPT_SERIALIZE_NUMPY),
        },
    )


def _path(protocol: str, name: str) -> str:
    return {
        "v2": f"/v2/models/{name}/infer",
        "grpc": f"/{SERVICE}/ModelInfer",
        "v1": f"/v1/models/{name}:predict",
    }[protocol]


def ask(server: Server, protocol: str, name: str, body: Body) -> tuple[np.ndarray, int]:
    """Returns the answer to a request, one number per row, and the size of what came over the wire for it."""
    if protocol == "grpc":
        import grpc

        with grpc.insecure_channel(server.grpc_target) as channel:
            raw = channel.unary_unary(_path(protocol, name))(body.of[protocol], timeout=60)
        (output,) = message("ModelInferResponse").FromString(raw).outputs  # pyright: ignore[reportAttributeAccessIssue]
        return np.array(output.contents.fp32_contents), len(raw) + 5
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(server.url + _path(protocol, name), body.of[protocol], headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        content = response.read()
    document = orjson.loads(content)
    values = document["predictions"] if protocol == "v1" else document["outputs"][0]["data"]
    return np.array(values, float).reshape(-1), len(content)


def check_answers(servers: Sequence[Server], name: str, asked: Sequence[Body]) -> float:
    """Returns by how much answers to the same rows differ at most; raises PeersError as `apart` does."""
    most = 0.0
    for body in asked:
        answers = [
            ask(server, protocol, name, body)[0]
            for server in servers
            for protocol in PROTOCOLS
            if protocol != "v1" or server.name == OURS
        ]
        most = max(most, apart(answers, body.rows))
    return most


def apart(answers: Sequence[np.ndarray], rows: int) -> float:
    """Returns by how much answers differ at most; raises PeersError if they are not for so many rows, or not alike."""
    if {answer.shape for answer in answers} != {(rows,)}:
        raise PeersError(f"Not all servers give one number for each of {rows} rows.")
    most = float(np.ptp(answers, axis=0).max())
    if not most <= _TOLERANCE:
        raise PeersError(f"The answers of the servers to the same rows are up to {most:g} apart.")
    return most


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


def load(url: str, connections: int, seconds: float, body: bytes | None, grpc: bool, size: int | None) -> np.ndarray:
    """Asks over some connections as fast as answers come; returns the milliseconds of each request.

    Args:
        url: with the path.
        connections: each with one request at a time.
        seconds: how long.
        body: of POST; None sends GET.
        grpc: whether the body is a message of gRPC; else it is JSON over HTTP/1.1.
        size: of an answer in bytes; others are no answers. None takes any.

    Raises:
        PeersError: a request failed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        log, data = Path(temporary, "log"), Path(temporary, "body")
        command = ["h2load", f"--clients={connections}", "--max-concurrent-streams=1", f"--log-file={log}"]
        command += [f"--duration={round(seconds * 1000)}ms"]
        command += ["--header=content-type: application/grpc", "--header=te: trailers"] if grpc else ["--h1"]
        if body is not None:
            data.write_bytes(b"\0" + len(body).to_bytes(4, "big") + body if grpc else body)
            command += [f"--data={data}", *([] if grpc else ["--header=content-type: application/json"])]
        done = subprocess.run([*command, url], capture_output=True, text=True, check=False)
        requests = [line.split("\t") for line in log.read_text().splitlines()] if log.exists() else []
    failed = [request for request in requests if request[1] != "200"]
    if done.returncode or failed or not requests:
        why = f"{len(failed)} of {len(requests)} requests failed" if requests else (done.stderr or done.stdout)[-300:]
        raise PeersError(f"h2load could not ask {url}: {why}")
    # An error of gRPC has the status 200, too, and no message.
    received = re.search(r"\((\d+)\) data", done.stdout)
    if size is not None and (received is None or int(received[1]) < 0.98 * size * len(requests)):
        raise PeersError(f"The answers of {url} are not those that were checked.")
    return np.array([int(request[2]) for request in requests]) / 1000


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
        return load(origin + _path(protocol, name), connections, seconds, body.of[protocol], protocol == "grpc", size)

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


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def _on(core: int) -> Iterator[None]:
    """Runs what is started in the block on one core, and its threads and processes."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _peer(label: str, name: str, model: Path, environments: Path, folder: Path) -> Iterator[Server]:
    """Starts a peer, and kills it in the end; it need not answer yet."""
    folder.mkdir()
    http, grpc = _free_port(), _free_port()
    if label == KSERVE:
        command = [str(environments / "kserve" / "bin" / "python"), str(HERE / "kserve_model.py"), f"--folder={model}"]
        command += [f"--model_name={name}", f"--http_port={http}", f"--grpc_port={grpc}"]
        command += ["--enable_latency_logging=false"]
    else:
        command = [str(environments / "mlserver" / "bin" / "mlserver"), "start", str(folder)]
        ports = {"http_port": http, "grpc_port": grpc, "metrics_port": _free_port()}
        _write(folder / "settings.json", {"host": "127.0.0.1", **ports, "parallel_workers": 0})
        served = {"name": name, "implementation": "mlserver_model.SavedModel", "parameters": {"uri": str(model)}}
        _write(folder / "model-settings.json", served | (_MLSERVER_BATCH if label == BATCHING else {}))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(HERE), "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
    try:
        yield Server(label, f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}", psutil.Process(process.pid))
    finally:
        process.kill()
        process.wait()


def _write(file: Path, document: object) -> None:
    file.write_text(json.dumps(document), encoding="utf-8")


def _await(server: Server, name: str, log: Path) -> None:
    """Returns when a peer answers over both protocols; raises PeersError if it does not."""
    until = time.monotonic() + _START_SECONDS
    host, port = server.grpc_target.split(":")
    while time.monotonic() < until and server.process.is_running() and server.process.status() != "zombie":
        with contextlib.suppress(OSError):  # urllib's errors are.
            urllib.request.urlopen(f"{server.url}/v2/models/{name}/ready", timeout=5).close()
            socket.create_connection((host, int(port)), 5).close()
            return
        time.sleep(0.2)
    raise PeersError(f"{server.name} did not start: {log.read_text(errors='replace')[-500:]}")


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
    for peer in {label.partition(",")[0].lower() for label in peers}:
        note(f"Making the environment of {peer}")
        environment(peer, environments)
    with contextlib.ExitStack() as running, tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        note("Starting the servers")
        with _on(cores[0]):
            started = [
                running.enter_context(_peer(label, name, model, environments.resolve(), place / label))
                for label in peers
            ]
            service = running.enter_context(
                child.serving(name, versions, settings.serving, place / "payloads", place / "log")
            )
        for server in started:
            _await(server, name, place / server.name / "log")
        servers = [Server(OURS, service.url, service.grpc_target, service.process), *started]
        with urllib.request.urlopen(f"{service.url}/v2/models/{name}") as response:
            described = json.load(response)
        asked = bodies(rows, {each["name"]: each["datatype"] for each in described["inputs"]}, name, sizes)
        apart = check_answers(servers, name, asked)
        cells = []
        with _on(cores[1]):
            for protocol in PROTOCOLS:
                answering = servers if protocol != "v1" else servers[:1]
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
        "peers": [version(peer) for peer in dict.fromkeys(label.partition(",")[0] for label in peers)],
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


def rows_of(body: Body) -> list[dict[str, Any]]:
    """The rows of a request."""
    return orjson.loads(body.of["v1"])["instances"]


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


def behind(document: Mapping[str, Any]) -> list[str]:
    """Where a peer answers more requests per second than the service, or has a shorter p99, in words."""
    found = []
    for cell in document["cells"]:
        ours = cell["servers"][OURS]
        for name, theirs in cell["servers"].items():
            slower = theirs["requests_per_second"] > ours["requests_per_second"]
            if slower or theirs["p99_ms"] < ours["p99_ms"]:
                found.append(f"{_cell(cell)}: {name} {'answers more' if slower else 'has a shorter p99'}")
    return found


def busiest(document: Mapping[str, Any], protocol: str = "v2") -> dict[str, dict[str, float]]:
    """The figures with one row a request over most connections."""
    most = max(cell["connections"] for cell in document["cells"])
    return next(
        cell["servers"]
        for cell in document["cells"]
        if (cell["protocol"], cell["rows"], cell["connections"]) == (protocol, 1, most)
    )


def _cell(cell: Mapping[str, Any]) -> str:
    rows, count = cell["rows"], cell["connections"]
    return f"{PROTOCOLS[cell['protocol']]}, {rows} row{'s' * (rows > 1)}, {count} connection{'s' * (count > 1)}"


def table(document: Mapping[str, Any]) -> str:
    """All figures of the servers, as a table in Markdown."""
    names = list(document["cells"][0]["servers"])
    lines = [f"| requests/s, p99 ms, CPU µs per request | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for cell in document["cells"]:
        shown = [
            f"{of['requests_per_second']:,.0f}, {of['p99_ms']:.1f}, {of['cpu_us']:,.0f}" if of else ""
            for of in map(cell["servers"].get, names)
        ]
        lines.append(f"| {_cell(cell)} | {' | '.join(shown)} |")
    return "\n".join(lines)


def parts_table(document: Mapping[str, Any]) -> str:
    """What the CPU time of a request goes into, as a table in Markdown."""
    of_parts = document["parts"]
    known = [part for part in next(iter(of_parts.values())) if part != IN_ALL]
    rest = {protocol: of[IN_ALL] - sum(of[part] for part in known) for protocol, of in of_parts.items()}
    shown = {part: [of[part] for of in of_parts.values()] for part in known}
    shown |= {"everything else": list(rest.values()), IN_ALL: [of[IN_ALL] for of in of_parts.values()]}
    lines = [f"| {part} | {' | '.join(f'{taken:.0f}' for taken in costs)} |" for part, costs in shown.items()]
    names = [PROTOCOLS[protocol] for protocol in of_parts]
    return "\n".join([f"| CPU µs | {' | '.join(names)} |", f"|---|{'---|' * len(names)}", *lines])


def page(document: Mapping[str, Any]) -> str:
    """The page of the figures."""
    on = document["machine"]
    per_second = busiest(document)[OURS]["requests_per_second"]
    worse = behind(document)
    told = (
        f"Not everywhere is the service ahead: {'; '.join(worse)}."
        if worse
        else "The service answers more requests per second than any peer, and has the shortest p99, in each row."
    )
    reached = "reaches" if per_second >= WANTED_PER_SECOND else "does not reach"
    most = max(cell["connections"] for cell in document["cells"])
    bare = "; ".join(
        f"{rows} row{'s' * (rows != '1')} {ways['signature']:,.0f} by the signature and {ways['session']:,.0f} by the "
        "session"
        for rows, ways in document["bare"].items()
    )
    return f"""# The service beside KServe and MLServer

The same SavedModel behind this service and behind the Python servers of {" and ".join(document["peers"])}, asked with
the same rows of real flights in the same bytes. Each server has one and the same core for itself while it is its turn;
h2load asks from another one, each connection with one request at a time. Their answers to the same rows are at most
{document["apart"]:.0e} apart.

{table(document)}

{told}

- The peers run a model class as their users write it (`benchmarks/peers/`), quiet and without worker processes, which
  is their fastest on one core. `MLServer, batching` waits {_MLSERVER_BATCH["max_batch_time"] * 1000:g} ms for up to
  {_MLSERVER_BATCH["max_batch_size"]} requests, to answer them together.
- The service runs as in production: it checks the contract of the version and writes the payload log, which the peers
  have no counterpart of. It runs the graph of the model in a session, which is faster than the signature that the peers
  call, and answers requests that wait by one call of it.
- Calls per second of the model without a server, on the same core: {bare}.

## What a request costs

A core is to answer {WANTED_PER_SECOND:,} requests of one row per second, so each may take
{1e6 / WANTED_PER_SECOND:.0f} µs of its time. Over {most} connections the service {reached} that with REST:
{per_second:,.0f}. Its time goes into:

{parts_table(document)}

`{SERVER_ALONE}` is what uvicorn and Starlette, or gRPC's own server for asyncio, take for a request that asks
nothing of the service, over the network. The parts below it were called in a loop. `everything else` is what is left of
the time of the whole process: headers, metrics, payload log, the way between the threads, and what the parts take more
when other work runs between them.

{document["turns"]} turns of {document["turn_seconds"]:g} s for each figure, on {on["cores"]} cores
({on["processor"]}), commit `{on["commit"]}`, {on["date"]}; medians are [among the figures](serving-peers.json).
`make serving-peers` measures again and writes this page.
"""


def row(document: Mapping[str, Any], path: Path) -> str:
    """What one row a request over most connections showed, as a row of a table of a page."""
    servers = busiest(document)
    ours = servers[OURS]
    theirs = ", ".join(
        f"{name} {of['requests_per_second']:,.0f} and {of['p99_ms']:.0f} ms"
        for name, of in servers.items()
        if name != OURS
    )
    link = PAGE.name if path.parent.name == "docs" else f"docs/{PAGE.name}"
    return (
        f"{QUOTED} {ours['requests_per_second']:,.0f} requests/s over REST, p99 {ours['p99_ms']:.0f} ms | "
        f"{theirs} ([side by side]({link})) |"
    )


def main() -> int:
    """Measures; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=pipeline.ROOT / "config" / "local.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--turn", type=float, default=1.5, help="seconds of a turn of a server (default 1.5)")
    parser.add_argument("--turns", type=int, default=4, help="how often it is each one's turn (default 4)")
    parser.add_argument("--write", action="store_true", help=f"write docs/{FIGURES.name} and its page")
    options = parser.parse_args()
    settings = read_settings(options.config, options.overrides)
    environments = Path(settings.workspace) / "serving-peers"
    try:
        rows = bench.real_rows(settings, 5000)
        document = compare(settings, rows, environments, turn=options.turn, turns=options.turns, note=_note)
    except FlightdeckError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(document), parts_table(document), *behind(document), sep="\n\n")
    if options.write:
        FIGURES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(document), encoding="utf-8")
        for name in pipeline.QUOTING:
            pipeline.quote(pipeline.ROOT / name, QUOTED, row(document, pipeline.ROOT / name))
    return int(bool(behind(document)))


def _note(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

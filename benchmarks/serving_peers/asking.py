"""Asks all servers for the same rows: one request of each and its answer, or as many as h2load can send."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.serving_peers.servers import OURS, PeersError, Server
from operations.serving.grpc_messages import SERVICE, message

PROTOCOLS = {"v2": "REST, V2", "grpc": "gRPC, V2", "v1": "REST, V1"}
_BODIES = 4
_TOLERANCE = 1e-6
_CONTENTS = {"FP32": "fp32_contents", "INT64": "int64_contents", "BYTES": "bytes_contents"}


@dataclasses.dataclass(frozen=True)
class Body:
    """One request as all servers get it: its bytes in each protocol, and the rows in it."""

    rows: int
    of: Mapping[str, bytes]


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


def rows_of(body: Body) -> list[dict[str, Any]]:
    """The rows of a request."""
    return orjson.loads(body.of["v1"])["instances"]


def path_of(protocol: str, name: str) -> str:
    """Where a server answers requests for a model."""
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
            raw = channel.unary_unary(path_of(protocol, name))(body.of[protocol], timeout=60)
        (output,) = message("ModelInferResponse").FromString(raw).outputs  # pyright: ignore[reportAttributeAccessIssue]
        return np.array(output.contents.fp32_contents), len(raw) + 5
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(server.url + path_of(protocol, name), body.of[protocol], headers)
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
    # An error of gRPC has the status 200, too, and no message. Rows that are answered together may have a digit less.
    received = re.search(r"\((\d+)\) data", done.stdout)
    if size is not None and (received is None or int(received[1]) < 0.9 * size * len(requests)):
        raise PeersError(f"The answers of {url} are not those that were checked.")
    return np.array([int(request[2]) for request in requests]) / 1000

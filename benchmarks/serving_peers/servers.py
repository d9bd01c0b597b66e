"""The servers that are compared: ours, and the peers in environments of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks import pipeline
from errors import FlightdeckError
from tests.ports import free_port

HERE = Path(__file__).resolve().parent / "peers"
OURS, UNLOGGED = "flightdeck", "flightdeck, no payload log"
KSERVE, MLSERVER, BATCHING = "KServe", "MLServer", "MLServer, batching"
# Of what MLServer's batching is set to: as many requests as there are connections, and a wait that pays at 32.
MLSERVER_BATCH = {"max_batch_size": 32, "max_batch_time": 0.002}
_START_SECONDS = 180.0


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


@contextlib.contextmanager
def running_peer(label: str, name: str, model: Path, environments: Path, folder: Path) -> Iterator[Server]:
    """Starts a peer, and kills it in the end; it need not answer yet."""
    folder.mkdir()
    http, grpc = free_port(), free_port()
    if label == KSERVE:
        command = [str(environments / "kserve" / "bin" / "python"), str(HERE / "kserve_model.py"), f"--folder={model}"]
        command += [f"--model_name={name}", f"--http_port={http}", f"--grpc_port={grpc}"]
        command += ["--enable_latency_logging=false"]
    else:
        command = [str(environments / "mlserver" / "bin" / "mlserver"), "start", str(folder)]
        ports = {"http_port": http, "grpc_port": grpc, "metrics_port": free_port()}
        _write(folder / "settings.json", {"host": "127.0.0.1", **ports, "parallel_workers": 0})
        served = {"name": name, "implementation": "mlserver_model.SavedModel", "parameters": {"uri": str(model)}}
        _write(folder / "model-settings.json", served | (MLSERVER_BATCH if label == BATCHING else {}))
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


def wait_until_ready(server: Server, name: str, log: Path) -> None:
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

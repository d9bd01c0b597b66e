"""An engine for Beam on loopback: Beam's own job service, and worker pools in processes of their own.

As far as a pipeline goes to Flink without Java: what is submitted, staged and answered travels as it does there.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60


@contextlib.contextmanager
def job_server(port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Beam's job service, whose jobs have as many workers as their parallelism says: HOST:PORT and its process."""
    port = port or free_port()
    program = [sys.executable, "-m", "tests.services.engine", str(port)]
    with server(program, lambda: listens(port), {"PYTHONPATH": str(ROOT)}) as process:
        yield f"127.0.0.1:{port}", process


@contextlib.contextmanager
def worker_pool(
    variables: Mapping[str, str] | None = None, folder: Path = ROOT, address: str | None = None
) -> Iterator[str]:
    """Flightdeck's pool, which starts in this folder, with these variables: HOST:PORT."""
    address = address or f"127.0.0.1:{free_port()}"
    host, _, port = address.rpartition(":")
    program = [sys.executable, "-m", "flightdeck", "beam", "pool", "--host", host, "--port", port]
    with server(program, lambda: listens(int(port), host), {"PYTHONPATH": str(ROOT), **(variables or {})}, folder):
        yield address


@contextlib.contextmanager
def beam_worker_pool(variables: Mapping[str, str] | None = None, python: str | Path = sys.executable) -> Iterator[str]:
    """Beam's own pool, which can be set up wrongly; its workers have these variables, and the folder /: HOST:PORT."""
    port = free_port()
    with tempfile.TemporaryDirectory() as programs:
        # It starts `python` from its PATH. Not by a link: Python would look for its packages beside that.
        program = Path(programs) / "python"
        program.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
        program.chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        command = [python, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
        with server(command, lambda: listens(port), {**(variables or {}), "PATH": path}, Path("/")):
            yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def engine() -> Iterator[tuple[str, ...]]:
    """A job server with a pool: the settings that run Beam there."""
    with job_server() as (endpoint, _), worker_pool() as pool:
        yield settings(endpoint, pool)


def settings(endpoint: str, pool: str, parallelism: int = 2) -> tuple[str, ...]:
    """The settings that run Beam on a job server with a pool."""
    flink = (f"job_endpoint={endpoint}", f"environment_config={pool}", f"parallelism={parallelism}")
    return (*(f"beam.flink.{setting}" for setting in flink), "beam.engine=flink")


@contextlib.contextmanager
def server(
    command: Sequence[str],
    ready: Callable[[], bool],
    variables: Mapping[str, str] | None = None,
    folder: Path = ROOT,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is killed, with all that it has started, when the block ends."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{command} did not start: {log.read().decode(errors='replace')[-3000:]}")
                time.sleep(0.1)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with its workers
            process.wait()


def listens(port: int, host: str = "127.0.0.1") -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


def _serve_jobs(port: int) -> None:
    from apache_beam.options.pipeline_options import FlinkRunnerOptions
    from apache_beam.portability.api import beam_job_api_pb2
    from apache_beam.runners.portability import local_job_service
    from apache_beam.runners.portability.fn_api_runner import fn_runner

    class Job(local_job_service.BeamJob):
        """Beam's, which would have one worker whatever a job asks for."""

        def _invoke_runner(self):
            self.set_state(beam_job_api_pb2.JobState.RUNNING)
            runner = fn_runner.FnApiRunner(provision_info=self._provision_info)
            runner._num_workers = int(self.pipeline_options().view_as(FlinkRunnerOptions).parallelism)
            return runner.run_via_runner_api(self._pipeline_proto, self.pipeline_options())

    local_job_service.LocalJobServicer(beam_job_type=Job).start_grpc_server(port)
    signal.pause()


if __name__ == "__main__":
    _serve_jobs(int(sys.argv[1]))

"""`python -m …` without the ten seconds in which each new process imports TensorFlow and TFX.

A server imports the libraries once, none of this project's packages, and forks for each command: its own process, with
its own signals, exit code, folder, environment and streams, that reads the project's code from there, as it is then.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, Any

ROOT = Path(__file__).parents[1]
# In the order in which `flightdeck run` imports them.
_LIBRARIES = (
    *("typer", "rich.console", "yaml", "pydantic", "pandas", "pyarrow.parquet", "ml_metadata", "psutil"),
    *("tfx.components", "tfx.orchestration.portable.launcher", "tensorflow_transform", "keras", "tfx_bsl.public.tfxio"),
    *("tensorflow_data_validation", "tensorflow_model_analysis", "tensorflow_metadata.proto.v0.statistics_pb2"),
)


class Forked:
    """A running command; what tests use of `subprocess.Popen`."""

    def __init__(
        self, *command: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None, stderr: int | IO[Any] = PIPE
    ) -> None:
        """Starts a command, whose standard output can be read.

        Args:
            command: of `python -m`: a module and its arguments.
            cwd: where it runs, and finds the project's code.
            env: its environment; default: this process's.
            stderr: where its standard error goes: as of `subprocess.Popen`.
        """
        self.returncode: int | None = None
        read, write = os.pipe()
        self.stdout = os.fdopen(read)
        self.stderr, errors = None, write
        if stderr == PIPE:
            read, errors = os.pipe()
            self.stderr = os.fdopen(read)
        elif stderr == DEVNULL:
            errors = os.open(os.devnull, os.O_WRONLY)
        elif not isinstance(stderr, int):
            errors = os.dup(stderr.fileno())
        self._line, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(_server(), [b"."], [theirs.fileno(), write, errors])
        for sent in {write, errors}:
            os.close(sent)
        self._answers = self._line.makefile("rw")
        asked = {"command": command, "cwd": str(cwd), "env": dict(os.environ if env is None else env)}
        print(json.dumps(asked), file=self._answers, flush=True)
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = int(self._answers.readline())
        return self.returncode

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """What it prints until it ends, on standard output and error."""
        watchdog = threading.Timer(timeout, os.kill, (self.pid, signal.SIGKILL))
        watchdog.start()
        try:
            with ThreadPoolExecutor() as readers:
                errors = readers.submit(self.stderr.read) if self.stderr else None
                return self.stdout.read(), errors.result() if errors else ""
        finally:
            watchdog.cancel()
            self.wait()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(*command: str, timeout: float = 600, **where: Any) -> subprocess.CompletedProcess[str]:
    """Runs `python -m` with a module and its arguments to its end, as `Forked` does."""
    process = Forked(*command, **where)
    out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(command, process.wait(), out, err)


@functools.cache
def _server() -> socket.socket:
    """The line to this process's server, which ends when the line is closed, at the latest with this process."""
    ours, theirs = socket.socketpair()
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", "tests.forked", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    return ours


def _asked(line: socket.socket) -> dict[str, Any]:
    """In the server: forks for each message; returns in the process of a command, what is asked of it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        said, sent, _, _ = socket.recv_fds(line, 1, 3)
        if not said:
            os._exit(0)
        if os.fork() == 0:
            break
        for descriptor in sent:
            os.close(descriptor)
    # A process for each command, which waits for it and says what became of it.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    line.close()
    with socket.socket(fileno=sent.pop(0)) as connection, connection.makefile("rw") as answers:
        asked = json.loads(answers.readline())
        if (pid := os.fork()) != 0:
            for stream in sent:
                os.close(stream)
            with contextlib.suppress(BrokenPipeError):
                print(pid, file=answers, flush=True)
                _, status = os.waitpid(pid, 0)
                print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
            os._exit(0)
    for number, stream in enumerate(sent, 1):
        os.dup2(stream, number)
        os.close(stream)
    return asked


class _RunServer:
    """In place of a process that would import TensorFlow once more: that in which `pipeline.runners` runs nodes.

    It is forked before the command can use TensorFlow, and waits until it is asked.
    """

    def __init__(self) -> None:
        from pipeline.runners import fork_server

        ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            os.setsid()
            if theirs.recv(1, socket.MSG_PEEK):
                fork_server.serve(fork_server.FULL, theirs)
            os._exit(0)
        theirs.close()
        servers: dict[str, Any] = fork_server._servers
        servers[fork_server.FULL] = ours, self

    def poll(self) -> int | None:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        return status if pid else None

    def wait(self, timeout: float | None = None) -> None:
        os.waitpid(self._pid, 0)


if __name__ == "__main__":
    for _library in _LIBRARIES:
        importlib.import_module(_library)
    gc.freeze()
    _request = _asked(socket.socket(fileno=int(sys.argv[1])))
    # A shell that starts the tests in the background has interrupts ignored, also by what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(_request["env"])
    os.chdir(_request["cwd"])
    # The first entry is this folder, as it is the command's for `python -m`.
    sys.path[:1] = [_request["cwd"], *filter(None, _request["env"].get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[1:] = _request["command"][1:]
    with contextlib.suppress(ModuleNotFoundError):  # in an older commit
        _RunServer()
    runpy.run_module(_request["command"][0], run_name="__main__", alter_sys=True)

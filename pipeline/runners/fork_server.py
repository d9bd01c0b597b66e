"""Processes that begin with TFX loaded: a server imports it once, and is forked for each job.

There are two. FULL has TensorFlow and Beam, in which nodes run. LIGHT has TFX without them, which is there in a second:
enough to look results up and to publish them.

``python -m pipeline.runners.fork_server NAME FD`` is a server. Unlike the one of `multiprocessing`, it goes on
importing what later jobs need while the first ones run, gives each job the output of whoever asked for it, and does not
import the main module again for each job. It never uses what it imports: no thread and no TensorFlow operation is there
to be forked.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import logging
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from errors import FlightdeckError
from pipeline import interruption
from pipeline.lazy_packages import lazy
from pipeline.project import CHECKOUT

FULL, LIGHT = "full", "light"
# What each imports before its first job; and while its first jobs run.
_FIRST = {
    FULL: ("pipeline.definition", "pipeline.node"),
    LIGHT: ("pipeline.node", "pipeline.results", "components.span_example_gen.driver", "components.base_model"),
}
_LATER = {
    FULL: (
        "apache_beam.runners.portability.fn_api_runner",
        "keras",
        "tensorflow_transform.beam",
        "scipy.stats",
    ),
    LIGHT: (),
}
_LENGTH = struct.Struct("!Q")
# Called in the process of a job when who asked for it is gone, before that process goes too.
abandoned: list[Callable[[], None]] = []
_IDLE_SECONDS = 0.1
_CLOSING_SECONDS = 0.5


class LostJobError(FlightdeckError):
    """The process of a job has gone without a result."""


class Job:
    """A function that is called in a process of its own."""

    def __init__(self, server: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Starts it on FULL or LIGHT; function, arguments and result can be pickled."""
        document = pickle.dumps((function, arguments, dict(os.environ), sys.path, logging.root.level))
        self._channel, theirs = socket.socketpair()
        with theirs, _asking:
            try:
                _send(_server(server), document, [theirs.fileno(), 1, 2])
            except ConnectionError:  # it has just died
                del _servers[server]
                _send(_server(server), document, [theirs.fileno(), 1, 2])

    def fileno(self) -> int:
        """Is readable when the function has returned, or its process has gone; for `select`."""
        return self._channel.fileno()

    def result(self) -> Any:
        """Waits for what the function returns, or raises what it raised.

        Raises:
            LostJobError: the process was killed.
        """
        with self._channel, self._channel.makefile("rb") as stream:
            try:
                returned, value = pickle.load(stream)
            except EOFError:
                raise LostJobError("its process was killed; had the machine too little memory?") from None
        if not returned:
            raise value
        return value

    def stop(self) -> None:
        """Raises an `interruption.InterruptedRunError` where the function is."""
        with contextlib.suppress(OSError):
            self._channel.send(b"\0")

    def abandon(self) -> None:
        """Ends its process at once, as if this one had gone."""
        self._channel.close()

    def has_ended(self) -> bool:
        """Whether the function has returned, or its process has gone."""
        return bool(select.select([self._channel], [], [], 0)[0])


_servers: dict[str, tuple[socket.socket, subprocess.Popen[bytes]]] = {}
# One thread at a time.
_asking = threading.Lock()


def start(name: str) -> None:
    """Has a server load what it needs before the first job is there."""
    with _asking:
        _server(name)


def _server(name: str) -> socket.socket:
    """A server of this process, which is started if it does not run. It ends when this process does."""
    if name not in _servers or _servers[name][1].poll() is not None:
        ours, theirs = socket.socketpair()
        with theirs:
            _servers[name] = ours, _spawn(name, theirs.fileno())
    return _servers[name][0]


@atexit.register
def close() -> None:
    """Ends the servers, so that the next job begins with the code that is there then; jobs go on."""
    for requests, process in _servers.values():
        requests.close()
        try:
            process.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:  # it imports something that nobody needs any more
            process.terminate()
            process.wait()
    _servers.clear()


def _spawn(name: str, requests: int) -> subprocess.Popen[bytes]:
    """Starts a server, which is sent jobs through a socket."""
    paths = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.runners.fork_server", name, str(requests)],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths},
        pass_fds=[requests],
        # A Ctrl-C is for the process that asks, which stops its jobs itself.
        start_new_session=True,
    )


def serve(name: str, requests: socket.socket) -> None:
    """Loads TFX, then does jobs until whoever asks for them is gone."""
    gc.disable()  # it takes a quarter of the time of imports, and finds nothing
    if name == LIGHT:
        lazy("tensorflow_model_analysis")
        lazy("tfx.components")
    # As if they were not installed: TFX then does without. Its InfraValidator, which is not ours, needs the client of
    # Kubernetes, and that two seconds.
    hidden = {LIGHT: ("tensorflow", "apache_beam"), FULL: ("kubernetes",)}[name]
    hidden = [module for module in hidden if module not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # pyright: ignore[reportArgumentType, reportCallIssue]
    _import(_FIRST[name])
    for module in hidden:
        del sys.modules[module]
    later = list(_LATER[name])
    while True:
        _reap(os.WNOHANG)
        while later and not select.select([requests], [], [], _IDLE_SECONDS)[0]:
            _import([later.pop(0)])
        head, descriptors, *_ = socket.recv_fds(requests, _LENGTH.size, 3)
        if not head:
            return _reap()
        document = _read(requests, _LENGTH.unpack(head)[0])
        if os.fork() == 0:
            requests.close()
            _work(document, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _reap(options: int = 0) -> None:
    """Takes note of processes that have ended, so that what they used counts as used by this one."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def _import(modules: Iterable[str]) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:  # whoever needs it says so
            logging.exception("The module %s cannot be imported.", module)


def _work(document: bytes, channel: int, output: int, errors: int) -> None:
    """Does one job in this process, and ends it."""
    try:
        gc.freeze()  # what was imported stays, so a collection need not look at it
        gc.enable()
        with interruption.stoppable("stopped"):
            os.dup2(output, 1)
            os.dup2(errors, 2)
            asker = socket.socket(fileno=channel)
            threading.Thread(target=_heed, args=(asker,), daemon=True).start()
            answer = _answer(document)
        # First, because who asked may end this process when it has the answer.
        sys.stdout.flush()
        sys.stderr.flush()
        asker.sendall(answer)
    finally:
        os._exit(0)


def _answer(document: bytes) -> bytes:
    try:
        function, arguments, environment, path, level = pickle.loads(document)
        os.environ.update(environment)
        sys.path[:] = path
        logging.basicConfig(
            level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
        )
        return pickle.dumps((True, function(*arguments)))
    except Exception as error:
        if not isinstance(error, FlightdeckError):
            logging.exception("A job failed.")
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return pickle.dumps((False, error))


def _heed(asker: socket.socket) -> None:
    """Waits until the process that asked says stop, or is gone: then this one goes, too."""
    try:
        if asker.recv(1):
            os.kill(os.getpid(), signal.SIGTERM)
            while asker.recv(1):  # it may say so twice
                pass
        for act in abandoned:
            act()
    finally:
        os._exit(1)


def _send(to: socket.socket, document: bytes, descriptors: list[int]) -> None:
    socket.send_fds(to, [_LENGTH.pack(len(document))], descriptors)
    to.sendall(document)


def _read(stream: socket.socket, size: int) -> bytes:
    document = bytearray()
    while len(document) < size:
        part = stream.recv(size - len(document))
        if not part:  # whoever asks is gone
            sys.exit()
        document += part
    return bytes(document)


if __name__ == "__main__":
    # Not this module, which jobs know by its own name.
    from pipeline.runners import fork_server

    fork_server.serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
    os._exit(0)  # to take TensorFlow down takes a while

"""The process: HTTP and gRPC on one event loop, from the first line it prints to its graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from operations.inference.errors import ServingError
from operations.serving import grpc_v2, rest
from operations.serving.api_keys import VARIABLE
from operations.serving.service import Service

_BACKLOG = 2048
# Longer than load balancers keep an idle connection, so that it is they who close it and not a request that finds out.
_KEEP_ALIVE_SECONDS = 75
# What writing the payload log and unloading may take after the last answer.
LAST_SECONDS = 15.0
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Running:
    """What a server tells when it answers; `row` is a real one that the model can be asked with, if it carries any."""

    name: str
    version: int
    host: str
    port: int
    grpc_port: int
    row: dict[str, object] | None

    @property
    def url(self) -> str:
        """The address of HTTP, as this machine can use it."""
        return f"http://{self._reachable}:{self.port}"

    @property
    def grpc_target(self) -> str:
        """The address of gRPC, as this machine can use it."""
        return f"{self._reachable}:{self.grpc_port}"

    @property
    def _reachable(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]" if ":" in host else host


def run(service: Service, started: Callable[[Running], None], stop_on_eof: bool = False) -> None:
    """Serves until SIGTERM or SIGINT, and then ends gracefully.

    Readiness is false first, for `drain_seconds`; then no connection is taken any more, requests that are being
    answered get their answers, and the payload log is written. `started` is called once, when requests are answered.
    With `stop_on_eof` it also ends when standard input does, as it does with the process at its other end.

    Raises:
        ServingError: an address is taken, or there is no version that can be served.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(service, started, stop_on_eof))


async def _serve(service: Service, started: Callable[[Running], None], stop_on_eof: bool) -> None:
    stop, settings = asyncio.Event(), service.settings
    if not service.keys and not _only_this_machine(settings.host):
        _log.warning("Whoever reaches %s can ask: set %s, and clients need a key.", settings.host, VARIABLE)
    listening = _listen(settings.host, settings.port)
    with contextlib.ExitStack() as closing:
        closing.callback(listening.close)
        grpc_server, grpc_port = grpc_v2.server(service, settings.host, settings.grpc_port)
        http = _Http(rest.application(service), settings.grace_seconds)
        with _stopping(stop, stop_on_eof):
            # Both listen before the model is loaded: who asks meanwhile is told that it is alive and not ready.
            serving = asyncio.create_task(http.serve(sockets=[listening]), name="http")
            await grpc_server.start()
            try:
                loading = asyncio.create_task(service.start())
                if not await _ended(loading, stop):
                    loading.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await loading
                if not stop.is_set():
                    with service.versions.using() as model:
                        port = listening.getsockname()[1]
                        started(Running(service.name, model.version, settings.host, port, grpc_port, model.example))
                    if await _ended(serving, stop):
                        raise RuntimeError("The HTTP server ended by itself.")
                    service.refuse()
                    _log.info("Stopping: open requests are answered, new ones belong elsewhere.")
                    await asyncio.sleep(settings.drain_seconds)
            finally:
                if stop.is_set():
                    _end_within(settings.grace_seconds + LAST_SECONDS)
                http.should_exit = True
                await asyncio.gather(serving, grpc_server.stop(settings.grace_seconds))
                await service.stop()


def _only_this_machine(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


async def _ended(task: asyncio.Task[None], stop: asyncio.Event) -> bool:
    """Waits for the end of a task, or to be told to stop; whether the task has ended. Raises its error."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        await task
    return task.done()


class _Http(uvicorn.Server):
    """uvicorn without its signal handlers: there is more to end than HTTP."""

    def __init__(self, application: object, grace_seconds: float) -> None:
        super().__init__(
            uvicorn.Config(
                application,  # pyright: ignore[reportArgumentType]
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(grace_seconds)),
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _end_within(seconds: float) -> None:
    """Ends the process for certain: a thread that a model holds for ever cannot be ended in any other way."""

    def end() -> None:
        _log.error("The process did not end within %g s by itself.", seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise ServingError(
            f"HTTP cannot listen on {host}:{port} ({error.strerror or error}); "
            "choose another with --port, or 0 for any."
        ) from None
    listening.setblocking(False)
    return listening


@contextlib.contextmanager
def _stopping(stop: asyncio.Event, on_eof: bool) -> Iterator[None]:
    """Sets the event on SIGTERM and SIGINT, and at the end of standard input if that is asked for."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    if on_eof:

        def wait() -> None:
            # Not through sys.stdin, whose lock Python wants back when it ends, and aborts if a thread holds it.
            while os.read(0, 4096):
                pass
            with contextlib.suppress(RuntimeError):  # The loop has ended.
                loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=wait, name="parent", daemon=True).start()
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with contextlib.suppress(ImportError):  # Not on every platform.
        import uvloop

        return uvloop.new_event_loop
    return None

"""A port on this machine that leads to another one while it is switched on."""

import contextlib
import multiprocessing
import socket
import threading
from multiprocessing.synchronize import Event


class Switch:
    """Takes connections always, and forwards them while `on` is set.

    Runs in a process of its own, because ML Metadata holds Python's lock while it connects.
    """

    def __init__(self, target: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.on = context.Event()
        self.on.set()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            self._process = context.Process(target=_accept, args=(listener, target, self.on), daemon=True)
            self._process.start()

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def _accept(listener: socket.socket, target: int, on: Event) -> None:
    while True:
        client, _ = listener.accept()
        if not on.is_set():
            client.close()
            continue
        server = socket.create_connection(("127.0.0.1", target))
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)

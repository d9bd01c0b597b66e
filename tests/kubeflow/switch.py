"""Forwards TCP connections on this machine, while it is switched on: ``python -m tests.kubeflow.switch PORT``.

A process of its own, because ML Metadata holds Python's lock while it connects. Prints its port; then reads ``on`` and
``off`` from standard input, line by line.
"""

import contextlib
import socket
import sys
import threading


class Switch:
    """Takes connections always, and forwards them while it is on."""

    def __init__(self, target: int) -> None:
        self.on = True
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if not self.on:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def main() -> None:
    switch = Switch(int(sys.argv[1]))
    print(switch.port, flush=True)
    for line in sys.stdin:
        switch.on = line.strip() == "on"


if __name__ == "__main__":
    main()

"""Ports of this machine."""

import socket


def free_port() -> int:
    """A port on which nothing listens, until somebody else takes it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]

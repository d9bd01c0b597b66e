"""The metadata server of the tests. Starts it when it does not run, and ends it then."""

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import mariadb
from tests.services.mariadb import Server

pytestmark = pytest.mark.kubeflow
UP = Path(__file__).with_name("up.py")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with mariadb.running() as server:
        yield server


def test_it_listens_on_the_loopback_interface_alone(server):
    """An address of the whole loopback network that it is not bound to is refused too."""
    assert server.host == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=5)


def test_starting_again_uses_the_same_server_and_hides_its_password(server):
    done = subprocess.run([sys.executable, UP, "mariadb"], capture_output=True, text=True, check=True)
    reached = json.loads(subprocess.check_output([sys.executable, UP, "mariadb", "--json"]))

    assert Server(**reached["mysql"]) == server
    assert str(server.port) in done.stdout
    assert server.password not in done.stdout + done.stderr
    assert server.password not in mariadb.DAEMON.log.read_text(errors="replace")
    credentials = mariadb.DAEMON.folder / "credentials.json"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert not (mariadb.DAEMON.folder / "setup.sql").exists()

"""A server process is found again, ended, and never mistaken for another."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import daemon as module
from tests.services.daemon import Daemon, ServiceError

pytestmark = pytest.mark.unit
SERVE = (sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A real server of another kind: Python's own, on a free port."""
    monkeypatch.setattr(module, "SERVICES", tmp_path)
    daemon = Daemon("pages", program="http.server")
    yield daemon
    daemon.stop()


def test_a_server_answers_when_it_has_started_and_ends_when_told(server):
    server.start([*SERVE, "0"], ready=lambda: "Serving HTTP" in server.log.read_text(), seconds=20)
    pid = server.pid()

    assert pid is not None
    assert Daemon("pages", program="http.server").pid() == pid
    assert os.getsid(pid) == pid, "it must outlive the terminal that it was started from"
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert server.stop()
    assert server.pid() is None
    assert not server.stop()


def test_a_process_that_got_the_same_id_is_neither_found_nor_ended(server):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        server.folder.mkdir(parents=True)
        (server.folder / "pid").write_text(str(other.pid))

        assert server.pid() is None
        assert not server.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_server_that_ends_at_once_is_reported_with_what_it_printed(server):
    with pytest.raises(ServiceError, match=r"pages ended; (?s:.*)it is broken"):
        server.start([sys.executable, "-c", "raise SystemExit('it is broken')"], ready=lambda: False, seconds=20)


def test_a_server_that_never_answers_is_ended(server):
    begun = time.monotonic()
    with pytest.raises(ServiceError, match=r"pages did not answer within 1 s"):
        server.start([*SERVE, "0"], ready=lambda: False, seconds=1)

    assert server.pid() is None
    assert time.monotonic() - begun < 20


def test_sockets_have_a_short_path_whatever_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SERVICES", Path("/", "deep" * 30))

    assert len(str(Daemon("docker", program="dockerd").sockets)) <= module.LONGEST_SOCKET_FOLDER

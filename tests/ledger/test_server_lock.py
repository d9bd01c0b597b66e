"""The lock of a server: one holder at a time, and it goes with the holder, however that ends."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from ml_metadata.proto import metadata_store_pb2

from ledger.opening import LedgerError
from ledger.server_lock import HeldError, held, holder
from pipeline import store
from tests.operations.serving.live_server import wait_for
from tests.services import mariadb

WHAT = "gs://bucket/models"
Login = metadata_store_pb2.MySQLDatabaseConfig


@pytest.fixture(scope="module")
def server() -> Iterator[mariadb.Server]:
    with mariadb.running() as server:
        yield server


@pytest.fixture
def login(server: mariadb.Server) -> Login:
    return store.from_environment(0, server.new_database()).mysql


def _nothing() -> None:
    pass


def _hold(login: Login) -> None:
    with held(login, WHAT, _nothing):
        time.sleep(600)


@pytest.mark.kubeflow
def test_one_holds_it_and_others_are_told_who(login: Login) -> None:
    assert holder(login, WHAT) is None
    with held(login, WHAT, _nothing):
        assert (holder(login, WHAT) or "").startswith("a process at 127.0.0.1:")
        with pytest.raises(HeldError, match=r"a process at 127\.0\.0\.1:"), held(login, WHAT, _nothing):
            pass
        with held(login, "gs://bucket/another", _nothing):
            pass
    assert holder(login, WHAT) is None
    with held(login, WHAT, _nothing):
        pass


@pytest.mark.kubeflow
def test_a_killed_holder_holds_it_no_longer(login: Login) -> None:
    holding = multiprocessing.get_context("spawn").Process(target=_hold, args=(login,))
    holding.start()
    wait_for(lambda: holder(login, WHAT) is not None)
    assert holding.pid is not None
    os.kill(holding.pid, signal.SIGKILL)
    holding.join()
    wait_for(lambda: holder(login, WHAT) is None)


@pytest.mark.kubeflow
def test_a_holder_is_told_when_the_server_took_it_away(login: Login, server: mariadb.Server) -> None:
    lost = threading.Event()
    with held(login, WHAT, lost.set, beat_seconds=0.1):
        assert not lost.wait(0.5)
        ((connection,),) = server.execute("SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()")
        server.execute(f"KILL {connection}")
        assert lost.wait(10)
        with held(login, WHAT, _nothing):
            pass


@pytest.mark.unit
def test_a_server_that_cannot_be_reached_is_a_sentence_without_the_password() -> None:
    login = Login(host="127.0.0.1", port=1, user="u", password="hidden", database="d")
    with (
        pytest.raises(LedgerError, match="which keeps the locks, cannot be used") as refused,
        held(login, WHAT, _nothing),
    ):
        pass
    assert "hidden" not in str(refused.value)

"""Stores that cannot answer say so in one sentence, and looking at them changes nothing."""

import os
import re
import signal
import socket
import socketserver
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import ml_metadata
import pytest
from ml_metadata.proto import metadata_store_pb2

from ledger.opening import LedgerError, Store, open_readonly, open_store, open_writable
from ledger.runs import Runs
from tests.ledger.seeding import Seeder, held, sqlite

pytestmark = pytest.mark.unit
OPEN = pytest.mark.parametrize("opened", [open_readonly, open_writable])


def sentence(opened, connection, **options) -> str:
    with pytest.raises(LedgerError) as caught:
        opened(connection, **options)
    said = str(caught.value)
    assert "\n" not in said
    assert "query" not in said  # SQL of ML Metadata
    return said


def execute(path: Path, statement: str) -> None:
    database = sqlite3.connect(path)
    database.execute(statement)
    database.commit()
    database.close()


@pytest.fixture
def path(seeder: Seeder) -> Path:
    """A good store, with two runs."""
    seeder.run("one", 0.6)
    seeder.run("two", 0.7)
    return Path(seeder.connection.sqlite.filename_uri)


@OPEN
def test_a_missing_store_is_not_made_and_a_folder_is_none(tmp_path, opened):
    assert "yet: run the pipeline first" in sentence(opened, sqlite(tmp_path / "metadata.sqlite"))
    assert list(tmp_path.iterdir()) == []
    assert "is a folder" in sentence(opened, sqlite(tmp_path))


@OPEN
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b""), "is empty: run the pipeline first"),
        (lambda path: path.write_bytes(b"run,auc\n" * 2000), "not a SQLite file"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "is damaged"),
        (lambda path: path.unlink() or execute(path, "CREATE TABLE theirs (a)"), "not of ML Metadata"),
        (lambda path: execute(path, "UPDATE MLMDEnv SET schema_version = 9"), "schema 9, .*upgrade it once, after a"),
        (lambda path: execute(path, "UPDATE MLMDEnv SET schema_version = 99"), "schema 99, .*install the ml-metadata"),
    ],
    ids=["empty", "text", "truncated", "another program's", "older", "newer"],
)
def test_a_file_that_is_no_readable_store_is_left_as_it_is(path, opened, spoil, said):
    spoil(path)
    before = path.read_bytes()

    assert re.search(said, sentence(opened, sqlite(path)))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_store_whose_damage_shows_later_is_damaged(path):
    """The first pages are good, so that it opens."""
    ((page,),) = sqlite3.connect(path).execute("SELECT rootpage FROM sqlite_master WHERE name = 'Context'").fetchall()
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    content[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(content)

    with pytest.raises(LedgerError, match="is damaged: restore it from a backup"):
        Runs(open_readonly(sqlite(path))).all()


@OPEN
def test_a_locked_store_is_told_after_a_short_wait(path, opened):
    with held(path):
        assert "locked by another process" in sentence(opened, sqlite(path), patience=0.3)
    assert len(Runs(opened(sqlite(path))).all()) == 2


def test_a_lock_that_is_given_up_in_time_is_waited_for(path):
    with held(path) as holder:
        threading.Timer(1.0, holder.kill).start()
        assert len(Runs(open_readonly(sqlite(path), patience=60)).all()) == 2


def test_what_a_killed_writer_left_is_taken_back(path):
    """A rollback journal beside the file: SQLite refuses to read it without writing first."""
    program = textwrap.dedent(f"""
        import os, signal, sqlite3
        database = sqlite3.connect({str(path)!r}, isolation_level=None)
        database.execute("PRAGMA cache_size = 1")  # so that pages reach the file before the commit
        database.execute("BEGIN")
        database.execute("UPDATE Context SET name = name || 'x'")
        for number in range(2000):
            database.execute("INSERT INTO Context (type_id, name) VALUES (1, ?)", (f"half {{number}}" + "y" * 200,))
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.path.getsize(f"{path}-journal") > 0

    assert [run.run_id for run in Runs(open_readonly(sqlite(path))).all()] == ["one", "two"]


def test_a_reader_writes_nothing_and_cannot(path):
    before = path.read_bytes()
    store = open_readonly(sqlite(path))

    runs = Runs(store)
    assert runs.best("auc").record.run_id == "two"
    assert runs.document(runs.find("one"), "settings")
    with pytest.raises(LedgerError, match="may not be opened by this user"):
        store.put_context_type(metadata_store_pb2.ContextType(name="another"))

    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.fixture
def failing(path, monkeypatch):
    """A store whose next calls fail: ``failing(opened, error, times, **options)``; the calls are counted in a list."""
    call, calls = ml_metadata.MetadataStore._call_method, []

    def prepare(opened, error: Exception, times: int, **options):
        store = opened(sqlite(path), **options)

        def fail(store, method, request, response) -> None:
            calls.append(method)
            if len(calls) <= times:
                raise error
            call(store, method, request, response)

        monkeypatch.setattr(ml_metadata.MetadataStore, "_call_method", fail)
        return store, calls

    return prepare


ALL = pytest.mark.parametrize("opened", [open_readonly, open_writable, open_store])


@ALL
@pytest.mark.parametrize(
    "error",
    [
        ml_metadata.errors.AbortedError("Concurrent writes aborted"),
        ml_metadata.errors.InternalError("database is locked"),
        ml_metadata.errors.UnavailableError("Lost connection to server during query"),
    ],
)
def test_what_may_pass_is_retried_however_the_store_was_opened(failing, opened, error):
    store, calls = failing(opened, error, times=3)

    assert [run.name for run in store.get_contexts_by_type("pipeline_run")] == ["one", "two"]
    assert len(calls) == 4


@ALL
def test_what_waiting_cannot_mend_is_told_at_once(failing, opened):
    store, calls = failing(opened, ml_metadata.errors.InternalError("database disk image is malformed"), times=9)

    with pytest.raises(LedgerError, match="is damaged: restore it from a backup"):
        store.get_contexts_by_type("pipeline_run")
    assert len(calls) == 1


@ALL
def test_patience_ends_and_the_caller_s_own_mistake_is_no_fault_of_the_store(failing, opened):
    store, calls = failing(opened, ml_metadata.errors.UnavailableError("Lost connection"), times=10**6, patience=0.2)

    with pytest.raises(LedgerError, match="cannot be reached"):
        store.get_contexts_by_type("pipeline_run")
    assert len(calls) > 1
    store, _ = failing(opened, ml_metadata.errors.NotFoundError("no such type"), times=10**6)
    with pytest.raises(ml_metadata.errors.NotFoundError):
        store.get_artifact_type("another")


def test_a_store_gives_up_only_after_the_retries_of_its_connection(failing, path):
    connection = sqlite(path)
    connection.retry_options.max_num_retries = 4
    store, calls = failing(
        lambda _: Store(connection, patience=0.001), ml_metadata.errors.AbortedError("aborted"), times=4
    )

    assert len(store.get_contexts_by_type("pipeline_run")) == 2
    assert len(calls) == 5


def mysql(port: int) -> metadata_store_pb2.ConnectionConfig:
    config = metadata_store_pb2.ConnectionConfig()
    config.mysql.host, config.mysql.port = "127.0.0.1", port
    config.mysql.user, config.mysql.password, config.mysql.database = "ann", "a-secret", "metadata"
    return config


@pytest.fixture
def another_service() -> Iterator[int]:
    """A port where something answers that is no database."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@ALL
def test_a_server_that_is_not_there_cannot_be_reached(opened):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    said = sentence(opened, mysql(port), patience=0.2)

    assert f"127.0.0.1:{port} cannot be reached: is it running" in said
    assert "a-secret" not in said


def test_a_server_that_is_no_database_is_told(another_service):
    assert f"127.0.0.1:{another_service}" in sentence(open_readonly, mysql(another_service))

"""A lock in MySQL or MariaDB, for what is in a bucket, where no file can be locked.

It is the server's own (GET_LOCK): it goes with the connection, and so with the process, however that ends. A machine
that is gone without a word loses it within a minute. Of several servers only the primary may be asked: replicas, and
the nodes of a Galera cluster, do not know each other's locks.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator

from ml_metadata.proto import metadata_store_pb2

from ledger.opening import LedgerError

# How often the holder is heard, and after which silence the server ends its connection.
_BEAT_SECONDS, _SILENCE_SECONDS = 15.0, 60


class HeldError(Exception):
    """Another process holds the lock; the text says which."""


@contextlib.contextmanager
def held(
    server: metadata_store_pb2.MySQLDatabaseConfig,
    what: str,
    lost: Callable[[], None],
    beat_seconds: float = _BEAT_SECONDS,
) -> Iterator[None]:
    """Holds the lock of something, such as a folder in a bucket, for the length of the block.

    `lost` is called, in another thread, if the server has taken it away meanwhile, as at a restart.

    Raises:
        HeldError: another process does.
        LedgerError: the server cannot be asked.
    """
    name = _name(server, what)
    with _connected(server) as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", (name,))
        if cursor.fetchone() != (1,):
            raise HeldError(_holder(cursor, name) or "another process")
        cursor.execute("SET SESSION wait_timeout = %s", (_SILENCE_SECONDS,))
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(beat_seconds):
                if not _ours(cursor, name):
                    if not ended.is_set():
                        lost()
                    return

        watching = threading.Thread(target=watch, name="lock", daemon=True)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join()


def holder(server: metadata_store_pb2.MySQLDatabaseConfig, what: str) -> str | None:
    """Who holds the lock of something, such as ``a process at 10.0.0.3:5231``; None if nobody does.

    Raises:
        LedgerError: the server cannot be asked.
    """
    with _connected(server) as cursor:
        return _holder(cursor, _name(server, what))


def _name(server: metadata_store_pb2.MySQLDatabaseConfig, what: str) -> str:
    # All databases of a server share its locks, whose names have at most 64 characters.
    return f"flightdeck:{hashlib.sha256(f'{server.database}:{what}'.encode()).hexdigest()[:40]}"


def _holder(cursor, name: str) -> str | None:
    cursor.execute("SELECT IS_USED_LOCK(%s)", (name,))
    (connection,) = cursor.fetchone()
    if connection is None:
        return None
    cursor.execute("SELECT host FROM information_schema.processlist WHERE id = %s", (connection,))
    place = cursor.fetchone()
    return f"a process at {place[0]}" if place else "a process"


def _ours(cursor, name: str) -> bool:
    import pymysql

    try:
        cursor.execute("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", (name,))
        return cursor.fetchone() == (1,)
    except pymysql.err.Error:
        return False


@contextlib.contextmanager
def _connected(server: metadata_store_pb2.MySQLDatabaseConfig):
    import pymysql

    login = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    try:
        connection = pymysql.connect(**login, autocommit=True, connect_timeout=10, read_timeout=30, write_timeout=30)
    except pymysql.err.MySQLError as error:
        raise LedgerError(
            f"The server {server.host}:{server.port}, which keeps the locks, cannot be used: {error.args[-1]}."
        ) from None
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        with contextlib.suppress(pymysql.err.Error):  # it is lost already
            connection.close()

"""Opens a metadata store: the one way to do so, with one policy of retries and of words.

A store that another process holds, or a server that is away, is tried again with backoff for as long as the caller has
patience; what waiting cannot mend is told at once. Either way the error is a `LedgerError`, one sentence.

Asking changes nothing: no file, database or schema is made or upgraded. ML Metadata itself would make its tables in
any empty database, wait half a minute for a locked file, and answer with SQL; so the store is looked at first, with
the plain database client.
"""

from __future__ import annotations

import contextlib
import functools
import random
import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from errors import FlightdeckError

# Seconds for which to retry, when the store is opened and later: a person waits for an answer, and a run for a database
# that is being restarted.
PATIENCE_SECONDS = 5.0
RUN_PATIENCE_SECONDS = 120.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 1.0
_VERSION = "SELECT schema_version FROM MLMDEnv"
_OTHER_SCHEMA = re.compile(r"database version (\d+) is (older|greater) than library version (\d+)")
# What a database or ML Metadata says, what it means, and whether waiting may help.
_REASONS: tuple[tuple[str, str, bool], ...] = (
    (
        "locked|concurrent writes aborted|deadlock|lock wait",
        "{store} is locked by another process: try again when that has finished.",
        True,
    ),
    ("access denied .* to database", "The user {user} may not use the database {database} on {place}.", False),
    (
        "access denied",
        "{store} refuses the user {user} or the password (FLIGHTDECK_METADATA_USERNAME, FLIGHTDECK_METADATA_PASSWORD).",
        False,
    ),
    # Another process may be making the store at this moment.
    ("unknown database", "{store} has no database {database} yet: run the pipeline first.", True),
    (
        "table .* doesn't exist",
        "There is no metadata store in the database {database} on {place} yet: run the pipeline first.",
        True,
    ),
    (
        "can't connect|lost connection|gone away|mysql_real_connect",
        "{store} cannot be reached: is it running, and the address "
        "(FLIGHTDECK_METADATA_HOST, FLIGHTDECK_METADATA_PORT) right?",
        True,
    ),
    (
        "no such table",
        "{place} is a database, but not of ML Metadata: is it the right file, and has the pipeline run?",
        True,
    ),
    ("not a database", "{place} is not a SQLite file, so it is no metadata store: is it the right file?", False),
    ("malformed|disk i/o", "{store} is damaged: restore it from a backup.", False),
    (
        "unable to open|readonly database|read-only",
        "{store} may not be opened by this user; look at the rights of file and folder.",
        False,
    ),
)
_CONNECTING_FAILED = (RuntimeError, ml_metadata.errors.StatusError)  # it raises plain RuntimeErrors there
# Everything that is the store's fault: SQLite reports a locked file as Internal or Aborted, MySQL a deadlock as
# Aborted, and either a lost connection. A type or name that the store does not know is the caller's fault.
_CALL_FAILED = (
    ml_metadata.errors.AbortedError,
    ml_metadata.errors.DataLossError,
    ml_metadata.errors.InternalError,
    ml_metadata.errors.UnavailableError,
    ml_metadata.errors.UnknownError,
)


class LedgerError(FlightdeckError):
    """The metadata store cannot answer; the text says why."""


class Store(ml_metadata.MetadataStore):
    """A metadata store that retries what fails for the moment, connects again to a server, and explains what fails."""

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig, patience: float) -> None:
        """Connects; with a patience, never gives up before the retries of the connection's `retry_options`."""
        self._connection = _copied(connection)
        # Of whole transactions by ML Metadata, with pauses of its own.
        self._connection.retry_options.max_num_retries = 1
        self._patience = patience
        self._retries = connection.retry_options.max_num_retries if patience else 0
        self._retry(self._connect, _CONNECTING_FAILED)

    def _connect(self) -> None:
        super().__init__(self._connection)

    def put_lineage_subgraph(self, *_: object, **__: object) -> NoReturn:
        """Is not there: TFX would write a run's context back as it had read it, and undo what others recorded since.

        Without, TFX publishes with `put_execution`, and leaves the context as it is.
        """
        raise ml_metadata.errors.UnimplementedError("It would undo what was recorded meanwhile.")

    def _call_method(self, method_name: str, request: object, response: object) -> None:
        self._retry(functools.partial(super()._call_method, method_name, request, response), _CALL_FAILED)

    def _retry(self, action: Callable[[], None], failures: tuple[type[Exception], ...]) -> None:
        deadline = time.monotonic() + self._patience
        attempt = 0
        while True:
            try:
                return action()
            except failures as error:
                said = str(error)
                if "mysql_real_connect" in said:  # ML Metadata does not say why it cannot connect
                    said = _said_by_server(self._connection.mysql, PATIENCE_SECONDS) or said
                sentence, may_pass = _explained(said, self._connection)
                if not may_pass or (time.monotonic() >= deadline and attempt >= self._retries):
                    raise LedgerError(sentence) from error
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(attempt, 10))
            attempt += 1
            time.sleep(random.uniform(pause / 2, pause))
            if self._connection.HasField("mysql"):
                # A server may have been restarted, and ML Metadata itself never connects again.
                with contextlib.suppress(*_CONNECTING_FAILED):
                    self._connect()


def open_store(connection: metadata_store_pb2.ConnectionConfig, patience: float = RUN_PATIENCE_SECONDS) -> Store:
    """A store to write to; makes it if it does not exist, also while another process makes it."""
    return Store(connection, patience)


def open_readonly(connection: metadata_store_pb2.ConnectionConfig, patience: float = PATIENCE_SECONDS) -> Store:
    """A store to read from; raises a LedgerError if there is none."""
    existing = _existing(connection, patience)
    if existing.HasField("sqlite"):
        existing.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    return Store(existing, patience)


def open_writable(connection: metadata_store_pb2.ConnectionConfig, patience: float = PATIENCE_SECONDS) -> Store:
    """A store that exists, to add something to what it holds; raises a LedgerError if there is none."""
    return Store(_existing(connection, patience), patience)


def _existing(connection: metadata_store_pb2.ConnectionConfig, patience: float) -> metadata_store_pb2.ConnectionConfig:
    """A connection that makes nothing, to a store that is there."""
    existing = _copied(connection)
    if connection.HasField("sqlite"):
        _look_at_file(connection, patience)
        existing.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE
    else:
        if said := _said_by_server(connection.mysql, patience, _VERSION):
            raise LedgerError(_explained(said, connection)[0])
        existing.mysql.skip_db_creation = True
    return existing


def _copied(connection: metadata_store_pb2.ConnectionConfig) -> metadata_store_pb2.ConnectionConfig:
    copy = metadata_store_pb2.ConnectionConfig()
    copy.CopyFrom(connection)
    return copy


def _look_at_file(connection: metadata_store_pb2.ConnectionConfig, patience: float) -> None:
    """Refuses a SQLite file that is no store, or no store that can be read."""
    path = Path(connection.sqlite.filename_uri)
    if path.is_dir():
        raise LedgerError(f"The metadata store {path} is a folder, and should be a file.")
    try:
        if not path.is_file():
            raise LedgerError(f"There is no metadata store at {path} yet: run the pipeline first.")
        with path.open("rb") as file:
            if not file.read(1):
                raise LedgerError(f"The metadata store {path} is empty: run the pipeline first.")
    except OSError as error:
        raise LedgerError(f"The metadata store {path} cannot be read ({error.strerror}).") from None
    try:
        _schema_of_file(path, "ro", patience)
    except sqlite3.Error as error:
        if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
            raise LedgerError(_explained(str(error), connection)[0]) from None
        # A killed process left a transaction half-written, and reading has to take it back first.
        try:
            _schema_of_file(path, "rw", patience)
        except sqlite3.Error:
            raise LedgerError(
                f"A killed process left the metadata store {path} half-written, and it cannot be mended from here: "
                "run any command that may write to it."
            ) from None


def _schema_of_file(path: Path, mode: str, patience: float) -> None:
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=patience)) as database:
        database.execute(_VERSION).fetchall()


def _said_by_server(
    mysql: metadata_store_pb2.MySQLDatabaseConfig, patience: float, question: str | None = None
) -> str | None:
    """What a MySQL or MariaDB server says that does not answer a question in SQL about the database; None if it does.

    Without a question it is only asked whether it is there: the database may not be yet.
    """
    import pymysql

    try:
        with (
            pymysql.connect(
                host=mysql.host,
                port=mysql.port,
                user=mysql.user,
                password=mysql.password,
                database=mysql.database if question else None,
                connect_timeout=max(1, round(patience)),
                read_timeout=30,
            ) as database,
            database.cursor() as cursor,
        ):
            cursor.execute(question or "SELECT 1")
    except pymysql.err.MySQLError as error:
        return str(error.args[-1] if error.args else error)
    return None


def _explained(said: str, connection: metadata_store_pb2.ConnectionConfig) -> tuple[str, bool]:
    """What a database or ML Metadata said, as one sentence, and whether waiting may help."""
    mysql, server = connection.mysql, connection.HasField("mysql")
    place = f"{mysql.host}:{mysql.port}" if server else connection.sqlite.filename_uri
    names = {
        "place": place,
        "store": f"The metadata {'server' if server else 'store'} {place}",
        "user": mysql.user,
        "database": mysql.database,
    }
    if schema := _OTHER_SCHEMA.search(said):
        theirs, which, ours = schema.groups()
        cure = (
            "upgrade it once, after a backup, with ml_metadata's enable_upgrade_migration, or use a new store"
            if which == "older"
            else "install the ml-metadata that wrote it, or use a new store"
        )
        schemas = f"has schema {theirs}, and the ml-metadata installed here reads schema {ours}"
        return f"The metadata store {place} {schemas}: {cure}.", False
    for pattern, sentence, may_pass in _REASONS:
        if re.search(pattern, said, re.IGNORECASE):
            return sentence.format(**names), may_pass
    first = said.strip().splitlines()[0] if said.strip() else "no reason given"
    return f"{names['store']} cannot be used: {first}", True

"""Opens a metadata store to ask it something. A store that cannot answer is one sentence.

Asking changes nothing: no file, database or schema is made or upgraded. ML Metadata itself would make its tables in
any empty database, wait half a minute for a locked file, and answer with SQL; so the store is looked at first, with
the plain database client.
"""

from __future__ import annotations

import contextlib
import random
import re
import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from errors import FlightdeckError

# How long to wait for a store that another process holds, or for a server to answer.
PATIENCE_SECONDS = 5.0
_VERSION = "SELECT schema_version FROM MLMDEnv"
_OTHER_SCHEMA = re.compile(r"database version (\d+) is (older|greater) than library version (\d+)")


class LedgerError(FlightdeckError):
    """The metadata store cannot answer; the text says why."""


class Store(ml_metadata.MetadataStore):
    """A metadata store whose failures, also later ones, are sentences."""

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig, patience: float = PATIENCE_SECONDS) -> None:
        """Connects.

        Args:
            connection: to a store that is there.
            patience: seconds for which what another process's transaction keeps from happening is tried again.

        Raises:
            LedgerError: the store cannot be used.
        """
        self._place = _place(connection)
        self._patience = patience
        try:
            super().__init__(connection)
        except (RuntimeError, ml_metadata.errors.StatusError) as error:  # it raises plain RuntimeErrors here
            raise LedgerError(_explained(str(error), self._place)) from error

    def _call_method(self, method_name: str, request: object, response: object) -> None:
        until = time.monotonic() + self._patience
        try:
            while True:
                try:
                    return super()._call_method(method_name, request, response)
                except ml_metadata.errors.AbortedError:
                    # Of two transactions that have read and want to write, SQLite ends one at once, whatever its
                    # timeout: waiting would be for ever. Begun anew, it succeeds.
                    if time.monotonic() >= until:
                        raise
                    time.sleep(random.uniform(0.01, 0.1))
        except (
            # Everything that is the store's fault. A type or name that it does not know is the caller's.
            ml_metadata.errors.AbortedError,
            ml_metadata.errors.DataLossError,
            ml_metadata.errors.InternalError,
            ml_metadata.errors.UnavailableError,
            ml_metadata.errors.UnknownError,
        ) as error:
            raise LedgerError(_explained(str(error), self._place)) from error


def open_readonly(connection: metadata_store_pb2.ConnectionConfig, patience: float = PATIENCE_SECONDS) -> Store:
    """A store to read from.

    Args:
        connection: from `pipeline.store.connection`.
        patience: seconds to wait for one that is locked, or far.

    Raises:
        LedgerError: there is none, it is no metadata store, or it cannot be reached or read.
    """
    return _open(connection, metadata_store_pb2.SqliteMetadataSourceConfig.READONLY, patience)


def open_writable(connection: metadata_store_pb2.ConnectionConfig, patience: float = PATIENCE_SECONDS) -> Store:
    """A store that exists, to add something to what it holds.

    Args:
        connection: from `pipeline.store.connection`.
        patience: seconds to wait for one that is locked, or far.

    Raises:
        LedgerError: there is none, it is no metadata store, or it cannot be reached or written to.
    """
    return _open(connection, metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE, patience)


def _open(
    connection: metadata_store_pb2.ConnectionConfig,
    mode: metadata_store_pb2.SqliteMetadataSourceConfig.ConnectionMode.ValueType,
    patience: float,
) -> Store:
    existing = metadata_store_pb2.ConnectionConfig()
    existing.CopyFrom(connection)
    if connection.HasField("sqlite"):
        _look_at_file(Path(connection.sqlite.filename_uri), patience)
        existing.sqlite.connection_mode = mode
        # Of transactions, on top of SQLite's own waiting.
        existing.retry_options.max_num_retries = 1
    elif connection.HasField("mysql"):
        _look_at_server(connection.mysql, patience)
        existing.mysql.skip_db_creation = True
    return Store(existing, patience)


def _look_at_file(path: Path, patience: float) -> None:
    """Raises the sentence about a SQLite file that is no store, or no store that can be read."""
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
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
            raise LedgerError(_explained(str(error), str(path))) from None
        # A killed process left a transaction half-written, and reading has to take it back first.
        try:
            _schema_of_file(path, "rw", patience)
        except sqlite3.Error:
            raise LedgerError(
                f"A killed process left the metadata store {path} half-written, and it cannot be mended from here: "
                "run any command that may write to it."
            ) from None
    except sqlite3.Error as error:
        raise LedgerError(_explained(str(error), str(path))) from None


def _schema_of_file(path: Path, mode: str, patience: float) -> None:
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=patience)) as database:
        database.execute(_VERSION).fetchall()


def _look_at_server(mysql: metadata_store_pb2.MySQLDatabaseConfig, patience: float) -> None:
    """Raises the sentence about a MySQL or MariaDB server that cannot be reached, or has no store."""
    import pymysql

    place = _server(mysql)
    try:
        with (
            contextlib.closing(
                pymysql.connect(
                    host=mysql.host,
                    port=mysql.port,
                    user=mysql.user,
                    password=mysql.password,
                    database=mysql.database,
                    connect_timeout=max(1, round(patience)),
                    read_timeout=30,
                )
            ) as database,
            database.cursor() as cursor,
        ):
            cursor.execute(_VERSION)
    except pymysql.err.MySQLError as error:
        code = error.args[0] if error.args else 0
        raise LedgerError(
            {
                1044: f"The user {mysql.user} may not use the database {mysql.database} on {place}.",
                1045: f"The metadata server {place} refuses the user {mysql.user} or the password "
                "(FLIGHTDECK_METADATA_USERNAME, FLIGHTDECK_METADATA_PASSWORD).",
                1049: f"The metadata server {place} has no database {mysql.database} yet: run the pipeline first.",
                1146: f"The database {mysql.database} on {place} holds no metadata store yet: run the pipeline first.",
                1698: f"The metadata server {place} refuses the user {mysql.user} or the password "
                "(FLIGHTDECK_METADATA_USERNAME, FLIGHTDECK_METADATA_PASSWORD).",
                2003: f"The metadata server {place} cannot be reached: is it running, and the address "
                "(FLIGHTDECK_METADATA_HOST, FLIGHTDECK_METADATA_PORT) right?",
            }.get(code, f"The metadata server {place} cannot be used: {error.args[-1] if error.args else error}.")
        ) from None


def _place(connection: metadata_store_pb2.ConnectionConfig) -> str:
    return connection.sqlite.filename_uri if connection.HasField("sqlite") else _server(connection.mysql)


def _server(mysql: metadata_store_pb2.MySQLDatabaseConfig) -> str:
    return f"{mysql.host}:{mysql.port}"


def _explained(error: str, place: str) -> str:
    """One sentence about what a database, or ML Metadata, said."""
    if schema := _OTHER_SCHEMA.search(error):
        found, which, ours = schema.groups()
        cure = (
            "upgrade it once, after a backup, with ml_metadata's enable_upgrade_migration, or use a new store"
            if which == "older"
            else "install the ml-metadata that wrote it, or use a new store"
        )
        return (
            f"The metadata store {place} has schema {found}, and the ml-metadata installed here reads schema {ours}: "
            f"{cure}."
        )
    said = error.lower()
    if "locked" in said or "concurrent writes aborted" in said:
        return f"The metadata store {place} is locked by another process: try again when that has finished."
    if "no such table" in said:
        return f"{place} is a database, but not of ML Metadata: is it the right file, and has the pipeline run?"
    if "not a database" in said:
        return f"{place} is not a SQLite file, so it is no metadata store: is it the right file?"
    if "malformed" in said or "disk i/o" in said:
        return f"The metadata store {place} is damaged: restore it from a backup."
    if "unable to open" in said or "readonly database" in said or "read-only" in said:
        return f"The metadata store {place} may not be opened by this user; look at the rights of file and folder."
    if "lost connection" in said or "gone away" in said or "can't connect" in said:
        return f"The metadata server {place} cannot be reached any more."
    first = error.strip().splitlines()[0] if error.strip() else "no reason given"
    return f"The metadata store {place} cannot be read: {first}"

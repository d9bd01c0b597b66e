"""SQLite files that several processes and threads write to, and that lose nothing when one of them is killed."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def connection(file: Path, write_ahead: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection of this call alone, so that any thread may call; commits at the end, or undoes.

    Args:
        file: the database; made if it is not there.
        write_ahead: readers do not wait for a writer. Needs memory that all processes share, which those of a cluster
            with the file on a volume have not.

    Yields:
        It waits up to 30 seconds for another writer, and begins a transaction only when told to.
    """
    database = sqlite3.connect(file, timeout=30, isolation_level=None)
    try:
        if write_ahead:
            database.execute("PRAGMA journal_mode = WAL")
        # A journal alone may lose the last transactions when the machine loses power.
        database.execute("PRAGMA synchronous = FULL")
        yield database
        if database.in_transaction:
            database.commit()
    except BaseException:
        if database.in_transaction:
            database.rollback()
        raise
    finally:
        database.close()

"""Alerts that wait for delivery, in a SQLite file, so that they outlive the process that raised them.

Delivery is at least once. An alert is marked as delivered after its channel took it; a process that is killed between
the two delivers it again, under the same id.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from errors import FlightdeckError
from operations.alerts.alert import Alert

_SCHEMA = """
CREATE TABLE IF NOT EXISTS alert (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, raised REAL NOT NULL, body TEXT NOT NULL,
    repeated INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS alert_by_key ON alert (key, raised);
CREATE TABLE IF NOT EXISTS delivery (
    alert TEXT NOT NULL REFERENCES alert (id), channel TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL, delivered REAL, error TEXT, PRIMARY KEY (alert, channel)
);
CREATE INDEX IF NOT EXISTS delivery_by_due ON delivery (delivered, due);
"""
_DELIVERIES = "SELECT channel, attempts, delivered, due, error FROM delivery WHERE alert = ? ORDER BY channel"
_FIRST_BACKOFF_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 900.0
# How long a process that empties the outbox keeps others from sending the same alert.
_LEASE_SECONDS = 60.0


class OutboxError(FlightdeckError):
    """The outbox cannot be used; the text says why."""


class DeliveryError(Exception):
    """A channel did not take an alert; it is tried again."""


class Channel(Protocol):
    """Somewhere that alerts are sent to."""

    @property
    def name(self) -> str:
        """Under which the outbox remembers it."""
        ...

    def send(self, alert_id: str, alert: Alert, repeated: int) -> None:
        """Delivers an alert that was raised so often again; the id is the same for every attempt.

        Raises:
            DeliveryError: it was not taken.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What became of an alert at one channel; times in seconds since the epoch.

    Attributes:
        attempts: how often it was tried.
        delivered: when it was taken, or None.
        due: when it is tried next, if it was not.
        error: why the latest attempt failed.
    """

    channel: str
    attempts: int
    delivered: float | None
    due: float
    error: str | None


@dataclasses.dataclass(frozen=True)
class Kept:
    """An alert in the outbox, how often it was raised again, and its deliveries."""

    alert_id: str
    alert: Alert
    repeated: int
    deliveries: tuple[Delivery, ...]

    @property
    def delivered(self) -> bool:
        """Whether every channel took it."""
        return all(delivery.delivered is not None for delivery in self.deliveries)


class Outbox:
    """Keeps alerts until every channel has taken them. Processes and threads may share one file.

    New alerts go to the channels of these names; one of a key that was raised within `quiet_seconds` is only counted.
    The clock gives seconds since the epoch. An OutboxError if the file, of SQLite, cannot be used.
    """

    def __init__(
        self, file: Path, channels: Sequence[str], quiet_seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._file, self._channels, self._quiet, self._clock = file, tuple(channels), quiet_seconds, clock
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise OutboxError(f"The outbox of alerts {file} cannot be used: {error}") from None

    def put(self, alert: Alert) -> str | None:
        """Keeps an alert on disk and returns its id; None if one of its key is so recent that it is only counted."""
        now = self._clock()
        with self._open() as database:
            # Or two processes could both find that there is none yet.
            database.execute("BEGIN IMMEDIATE")
            recent = database.execute(
                "SELECT id FROM alert WHERE key = ? AND raised > ? ORDER BY raised DESC LIMIT 1",
                (alert.key, now - self._quiet),
            ).fetchone()
            if recent:
                database.execute("UPDATE alert SET repeated = repeated + 1 WHERE id = ?", recent)
                return None
            alert_id = secrets.token_hex(8)
            database.execute(
                "INSERT INTO alert (id, key, raised, body) VALUES (?, ?, ?, ?)",
                (alert_id, alert.key, now, alert.model_dump_json()),
            )
            database.executemany(
                "INSERT INTO delivery (alert, channel, due) VALUES (?, ?, ?)",
                [(alert_id, channel, now) for channel in self._channels],
            )
        return alert_id

    def deliver(self, channels: Mapping[str, Channel]) -> tuple[int, int]:
        """Sends what is due, oldest first; what a channel does not take is tried again later, and never given up.

        Alerts for a channel that is not among these, by name, wait. Returns how many were taken, and how many were not.
        """
        taken = refused = 0
        while claimed := self._claim(tuple(channels)):
            alert_id, name, body, repeated, attempts = claimed
            try:
                channels[name].send(alert_id, Alert.model_validate_json(body), repeated)
            except DeliveryError as error:
                refused += 1
                self._settle(alert_id, name, "due = ?, error = ?", (self._clock() + backoff(attempts), str(error)))
            else:
                taken += 1
                self._settle(alert_id, name, "delivered = ?, error = NULL", (self._clock(),))
        return taken, refused

    def _claim(self, channels: tuple[str, ...]) -> tuple[str, str, str, int, int] | None:
        """The next delivery that is due; others leave it alone until its lease is over."""
        now = self._clock()
        marks = ", ".join("?" * len(channels))
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            claimed = database.execute(
                "SELECT alert.id, channel, body, repeated, attempts FROM delivery JOIN alert ON alert.id = alert "
                f"WHERE delivered IS NULL AND due <= ? AND channel IN ({marks}) ORDER BY raised, channel LIMIT 1",
                (now, *channels),
            ).fetchone()
            if claimed:
                database.execute(
                    "UPDATE delivery SET due = ?, attempts = attempts + 1 WHERE alert = ? AND channel = ?",
                    (now + _LEASE_SECONDS, claimed[0], claimed[1]),
                )
        return claimed

    def _settle(self, alert_id: str, channel: str, change: str, values: tuple[object, ...]) -> None:
        with self._open() as database:
            database.execute(
                f"UPDATE delivery SET {change} WHERE alert = ? AND channel = ?", (*values, alert_id, channel)
            )

    def kept(self, limit: int = 100, pending_only: bool = False) -> list[Kept]:
        """The newest alerts, newest first; all, or only those that a channel has not taken yet."""
        pending = "WHERE id IN (SELECT alert FROM delivery WHERE delivered IS NULL)" if pending_only else ""
        with self._open() as database:
            alerts = database.execute(
                f"SELECT id, body, repeated FROM alert {pending} ORDER BY raised DESC LIMIT ?", (limit,)
            ).fetchall()
            return [
                Kept(
                    alert_id,
                    Alert.model_validate_json(body),
                    repeated,
                    tuple(Delivery(*row) for row in database.execute(_DELIVERIES, (alert_id,))),
                )
                for alert_id, body, repeated in alerts
            ]

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection of this call alone, so that any thread may call; commits at the end, or undoes.

        It waits up to 30 seconds for another writer, and begins a transaction only when told to.
        """
        database = sqlite3.connect(self._file, timeout=30, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            # A journal alone may lose the last transactions when the machine loses power.
            database.execute("PRAGMA synchronous = FULL")
            with database:
                yield database
        finally:
            database.close()


def pending(file: Path) -> int:
    """How many alerts of an outbox a channel has not taken yet; asking makes no file.

    Raises:
        OutboxError: it cannot be read.
    """
    if not file.is_file():
        return 0
    try:
        with contextlib.closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
        ) as database:
            (count,) = database.execute("SELECT COUNT(DISTINCT alert) FROM delivery WHERE delivered IS NULL").fetchone()
            return count
    except sqlite3.Error as error:
        raise OutboxError(f"The outbox of alerts {file} cannot be used: {error}") from None


def backoff(attempts: int) -> float:
    """Seconds until a delivery is retried: exponential backoff with jitter, at most a quarter of an hour.

    Source: M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), equal jitter.
    """
    longest = min(LONGEST_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2 ** min(attempts, 20))
    return longest / 2 + random.uniform(0, longest / 2)

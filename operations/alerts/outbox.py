"""Alerts that wait for delivery, in a database, so that they outlive the process that raised them.

It is a SQLite file; for a workspace in a bucket, tables of a MySQL or MariaDB server. Either way one process at a time
changes it, and it is changed wholly or not at all.

Delivery is at least once. An alert is marked as delivered after its channel took it; a process that is killed between
the two delivers it again, under the same id.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import random
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from ml_metadata.proto import metadata_store_pb2

from errors import FlightdeckError
from operations.alerts.alert import Alert

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


@dataclasses.dataclass(frozen=True)
class Server:
    """A database of a MySQL or MariaDB server, where each workspace has tables of its own."""

    login: metadata_store_pb2.MySQLDatabaseConfig
    workspace: str

    @property
    def prefix(self) -> str:
        """What the names of its tables begin with."""
        return f"flightdeck_{hashlib.sha256(self.workspace.encode()).hexdigest()[:12]}_"

    def __str__(self) -> str:
        """For people."""
        return f"of {self.workspace} in {self.login.host}:{self.login.port}/{self.login.database}"


class Outbox:
    """Keeps alerts until every channel has taken them. Processes and threads may share one place.

    New alerts go to the channels of these names; one of a key that was raised within `quiet_seconds` is only counted.
    The clock gives seconds since the epoch. An OutboxError if the place, a file or a server, cannot be used.
    """

    def __init__(
        self,
        place: Path | Server,
        channels: Sequence[str],
        quiet_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._channels, self._quiet, self._clock = tuple(channels), quiet_seconds, clock
        self._tables = _Tables(place)
        try:
            if isinstance(place, Path):
                place.parent.mkdir(parents=True, exist_ok=True)
            self._tables.create()
        except (OSError, sa.exc.SQLAlchemyError) as error:
            raise OutboxError(f"The outbox of alerts {place} cannot be used: {_said(error)}") from None

    def put(self, alert: Alert) -> str | None:
        """Keeps an alert on disk and returns its id; None if one of its key is so recent that it is only counted."""
        now, alerts = self._clock(), self._tables.alert.c
        with self._tables.changed() as database:
            recent = database.execute(
                sa.select(alerts.id)
                .where(alerts.key == alert.key, alerts.raised > now - self._quiet)
                .order_by(alerts.raised.desc())
                .limit(1)
            ).scalar()
            if recent is not None:
                more = {alerts.repeated: alerts.repeated + 1}
                database.execute(sa.update(self._tables.alert).where(alerts.id == recent).values(more))
                return None
            alert_id = secrets.token_hex(8)
            row = {"id": alert_id, "key": alert.key, "raised": now, "body": alert.model_dump_json(), "repeated": 0}
            database.execute(sa.insert(self._tables.alert), row)
            waiting = [{"alert": alert_id, "channel": channel, "attempts": 0, "due": now} for channel in self._channels]
            if waiting:
                database.execute(sa.insert(self._tables.delivery), waiting)
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
                self._settle(alert_id, name, due=self._clock() + backoff(attempts), error=str(error))
            else:
                taken += 1
                self._settle(alert_id, name, delivered=self._clock(), error=None)
        return taken, refused

    def _claim(self, channels: tuple[str, ...]) -> tuple[str, str, str, int, int] | None:
        """The next delivery that is due; others leave it alone until its lease is over."""
        now, alert, delivery = self._clock(), self._tables.alert.c, self._tables.delivery.c
        with self._tables.changed() as database:
            claimed = database.execute(
                sa.select(alert.id, delivery.channel, alert.body, alert.repeated, delivery.attempts)
                .join_from(self._tables.delivery, self._tables.alert, alert.id == delivery.alert)
                .where(delivery.delivered.is_(None), delivery.due <= now, delivery.channel.in_(channels))
                .order_by(alert.raised, delivery.channel)
                .limit(1)
            ).first()
            if claimed is None:
                return None
            database.execute(
                self._one(claimed[0], claimed[1]).values(due=now + _LEASE_SECONDS, attempts=delivery.attempts + 1)
            )
        return tuple(claimed)

    def _settle(self, alert_id: str, channel: str, **values: object) -> None:
        with self._tables.changed() as database:
            database.execute(self._one(alert_id, channel).values(**values))

    def _one(self, alert_id: str, channel: str) -> sa.Update:
        delivery = self._tables.delivery
        return sa.update(delivery).where(delivery.c.alert == alert_id, delivery.c.channel == channel)

    def kept(self, limit: int = 100, pending_only: bool = False) -> list[Kept]:
        """The newest alerts, newest first; all, or only those that a channel has not taken yet."""
        alert, delivery = self._tables.alert.c, self._tables.delivery.c
        chosen = sa.select(alert.id, alert.body, alert.repeated).order_by(alert.raised.desc()).limit(limit)
        if pending_only:
            chosen = chosen.where(alert.id.in_(sa.select(delivery.alert).where(delivery.delivered.is_(None))))
        facts = sa.select(
            delivery.channel, delivery.attempts, delivery.delivered, delivery.due, delivery.error
        ).order_by(delivery.channel)
        with self._tables.changed() as database:
            return [
                Kept(
                    alert_id,
                    Alert.model_validate_json(body),
                    repeated,
                    tuple(Delivery(*row) for row in database.execute(facts.where(delivery.alert == alert_id))),
                )
                for alert_id, body, repeated in database.execute(chosen).all()
            ]


class _Tables:
    """The two tables of an outbox, and connections to them of one call alone, so that any thread may call."""

    def __init__(self, place: Path | Server) -> None:
        prefix = place.prefix if isinstance(place, Server) else ""
        metadata = sa.MetaData()
        name = sa.String(200)  # as long as MySQL takes into an index, and as a key may be
        self.alert = sa.Table(
            f"{prefix}alert",
            metadata,
            sa.Column("id", sa.String(16), primary_key=True),
            sa.Column("key", name, nullable=False),
            sa.Column("raised", sa.Double, nullable=False),
            sa.Column("body", sa.Text(2**24 - 1), nullable=False),
            sa.Column("repeated", sa.Integer, nullable=False),
            sa.Index(f"{prefix}alert_by_key", "key", "raised"),
        )
        self.delivery = sa.Table(
            f"{prefix}delivery",
            metadata,
            sa.Column("alert", sa.ForeignKey(self.alert.c.id), primary_key=True),
            sa.Column("channel", name, primary_key=True),
            sa.Column("attempts", sa.Integer, nullable=False),
            sa.Column("due", sa.Double, nullable=False),
            sa.Column("delivered", sa.Double),
            sa.Column("error", sa.Text),
            sa.Index(f"{prefix}delivery_by_due", "delivered", "due"),
        )
        self._metadata = metadata
        self._engine = _engine(place)

    def create(self) -> None:
        """Makes the tables, if there are none."""
        with self.changed() as database:
            self._metadata.create_all(database)

    @property
    def exist(self) -> bool:
        """Whether there are any; raises SQLAlchemyError if nobody can say."""
        return sa.inspect(self._engine).has_table(self.delivery.name)

    @contextlib.contextmanager
    def changed(self) -> Iterator[sa.Connection]:
        """A transaction, which commits at the end, or undoes; it waits up to 30 seconds for the one of another."""
        with self._engine.begin() as database:
            yield database


def _engine(place: Path | Server) -> sa.Engine:
    if isinstance(place, Server):
        login = place.login
        address = sa.URL.create(
            "mysql+pymysql", login.user, login.password, login.host, login.port, login.database, {"charset": "utf8mb4"}
        )
        engine = sa.create_engine(address, poolclass=sa.NullPool, connect_args={"connect_timeout": 10})

        @sa.event.listens_for(engine, "begin")
        def _alone(connection: sa.Connection) -> None:
            # Or two processes could both find that there is none yet. It goes with the connection.
            connection.exec_driver_sql("SELECT GET_LOCK(%s, 30)", (f"{place.prefix}outbox",))

        return engine
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(place)), poolclass=sa.NullPool, connect_args={"timeout": 30}
    )

    @sa.event.listens_for(engine, "connect")
    def _careful(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # it begins a transaction when told to
        connection.execute("PRAGMA journal_mode = WAL")
        # A journal alone may lose the last transactions when the machine loses power.
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def _immediately(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def pending(place: Path | Server) -> int:
    """How many alerts of an outbox a channel has not taken yet; asking makes no file and no table.

    Raises:
        OutboxError: it cannot be read.
    """
    if isinstance(place, Path) and not place.is_file():
        return 0
    try:
        tables = _Tables(place)
        if not tables.exist:
            return 0
        delivery = tables.delivery.c
        with tables.changed() as database:
            waiting = sa.select(sa.func.count(delivery.alert.distinct())).where(delivery.delivered.is_(None))
            return database.execute(waiting).scalar_one()
    except sa.exc.SQLAlchemyError as error:
        raise OutboxError(f"The outbox of alerts {place} cannot be used: {_said(error)}") from None


def _said(error: Exception) -> str:
    """What the database said, in one line."""
    cause = getattr(error, "orig", None) or error
    return str(cause.args[-1] if cause.args else cause).splitlines()[0]


def backoff(attempts: int) -> float:
    """Seconds until a delivery is retried: exponential backoff with jitter, at most a quarter of an hour.

    Source: M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), equal jitter.
    """
    longest = min(LONGEST_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2 ** min(attempts, 20))
    return longest / 2 + random.uniform(0, longest / 2)

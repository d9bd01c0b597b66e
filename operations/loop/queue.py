"""Triggers that wait for a run, and the one run that they wait for: a SQLite file.

A trigger is put in once, however often it is found. All that wait go into the next run together, and are settled with
it. A run whose process was killed gives them back. What is settled never comes back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from errors import FlightdeckError
from operations.alerts import sqlite_file
from operations.loop.triggers import Kind, Trigger, pause

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trigger (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, reason TEXT NOT NULL, found REAL NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting', starts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL,
    run TEXT, told INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS trigger_by_state ON trigger (state);
CREATE TABLE IF NOT EXISTS run (
    id TEXT PRIMARY KEY, begun REAL NOT NULL, ended REAL, reference TEXT, outcome TEXT, detail TEXT
);
CREATE TABLE IF NOT EXISTS run_trigger (run TEXT NOT NULL, trigger TEXT NOT NULL, PRIMARY KEY (run, trigger));
"""

# Reasons that people read in one line.
_NAMED = 3
# waiting: for a run. taken: by one. done: by one that ended. failed: as often as it may. gone: true no more.
State = Literal["waiting", "taken", "done", "failed", "gone"]


class QueueError(FlightdeckError):
    """The queue cannot be used; the text says why."""


@dataclasses.dataclass(frozen=True)
class Waiting:
    """A trigger in the queue.

    Attributes:
        trigger: what happened.
        starts: how many runs were begun for it.
        due: when the next one may be, in UTC.
        told: whether people know of it.
    """

    trigger: Trigger
    starts: int
    due: datetime
    told: bool


@dataclasses.dataclass(frozen=True)
class Batch:
    """A run, and the triggers that it is for.

    Attributes:
        run_id: its name in ML Metadata, or a part of its name for people on Kubeflow.
        begun: when it was taken from the queue, in UTC.
        triggers: by key.
        reference: what the server that it runs on calls it, if it said so.
        ended: None while it is open.
        outcome: as in `ledger.run_record.RunRecord`, or ``killed`` or ``stopped``.
        detail: why, in words.
    """

    run_id: str
    begun: datetime
    triggers: tuple[Trigger, ...]
    reference: str | None = None
    ended: datetime | None = None
    outcome: str | None = None
    detail: str | None = None

    @property
    def reasons(self) -> dict[str, str]:
        """Key -> sentence, for the record of the run."""
        return {each.key: each.reason for each in self.triggers}

    @property
    def because(self) -> str:
        """The same for people: the first few."""
        reasons = [each.reason for each in self.triggers]
        more = f"; and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
        return f"{'; '.join(reasons[:_NAMED])}{more}"


class Queue:
    """The triggers of one workspace. Processes may share the file; one of them takes."""

    def __init__(self, file: Path) -> None:
        """Opens, or makes, a queue.

        Raises:
            QueueError: the file cannot be used.
        """
        self._file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise QueueError(f"The queue of triggers {file} cannot be used: {error}") from None

    def put(self, trigger: Trigger) -> bool:
        """Puts a trigger in, unless it is known; on return it is on disk.

        One that was withdrawn and holds again waits again.

        Returns:
            Whether it waits now and did not before.
        """
        found = trigger.when.timestamp()
        with self._writing() as database:
            made = database.execute(
                "INSERT INTO trigger (key, kind, reason, found, due) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) "
                "DO UPDATE SET state = 'waiting', starts = 0, due = excluded.due, found = excluded.found, told = 0 "
                "WHERE state = 'gone'",
                (trigger.key, trigger.kind, trigger.reason, found, found),
            )
        return made.rowcount > 0

    def withdraw_others(self, keys: Collection[str]) -> list[Trigger]:
        """Takes out what waits and is not among these keys: it holds no more, or another run has dealt with it.

        Returns:
            What was taken out.
        """
        gone = [each.trigger for each in self.waiting() if each.trigger.key not in keys]
        with self._writing() as database:
            database.executemany(
                "UPDATE trigger SET state = 'gone' WHERE key = ? AND state = 'waiting'", [(each.key,) for each in gone]
            )
        return gone

    def waiting(self) -> list[Waiting]:
        """What waits, the oldest first."""
        with self._open() as database:
            return [
                Waiting(_trigger(row[:4]), row[4], _time(row[5]), bool(row[6]))
                for row in database.execute(
                    "SELECT kind, key, reason, found, starts, due, told FROM trigger WHERE state = 'waiting' "
                    "ORDER BY found, key"
                )
            ]

    def told(self, keys: Collection[str]) -> None:
        """Notes that people know of these triggers."""
        with self._writing() as database:
            database.executemany("UPDATE trigger SET told = 1 WHERE key = ?", [(key,) for key in keys])

    def take(self, run_id: str, now: datetime) -> Batch | None:
        """Takes all that waits into one run, if any of it is due and no run is open.

        Args:
            run_id: of the run to be. It is on disk before the run begins, so that whoever comes after a kill can ask
                what became of it.
            now: the time it is.
        """
        with self._writing() as database:
            due = database.execute(
                "SELECT 1 FROM trigger WHERE state = 'waiting' AND due <= ? LIMIT 1", (now.timestamp(),)
            ).fetchone()
            if not due or database.execute("SELECT 1 FROM run WHERE ended IS NULL").fetchone():
                return None
            database.execute("INSERT INTO run (id, begun) VALUES (?, ?)", (run_id, now.timestamp()))
            database.execute(
                "INSERT INTO run_trigger (run, trigger) SELECT ?, key FROM trigger WHERE state = 'waiting'", (run_id,)
            )
            database.execute(
                "UPDATE trigger SET state = 'taken', run = ?, starts = starts + 1 WHERE state = 'waiting'", (run_id,)
            )
        return self.open_run()

    def open_run(self) -> Batch | None:
        """The run that has been taken and not been settled."""
        runs = self._runs("WHERE ended IS NULL", ())
        return runs[0] if runs else None

    def refer(self, run_id: str, reference: str) -> None:
        """Notes what the server calls the run."""
        with self._writing() as database:
            database.execute("UPDATE run SET reference = ? WHERE id = ?", (reference, run_id))

    def done(self, run_id: str, outcome: str, detail: str, now: datetime) -> None:
        """Settles a run that came to its end, and its triggers for good."""
        with self._writing() as database:
            database.execute("UPDATE trigger SET state = 'done' WHERE run = ? AND state = 'taken'", (run_id,))
            _end(database, run_id, outcome, detail, now)

    def last_start(self, run_id: str, starts: int) -> list[Trigger]:
        """The triggers that are given up if this run does not come to its end.

        Args:
            run_id: the run.
            starts: how many runs a trigger may have.
        """
        with self._open() as database:
            rows = database.execute(
                "SELECT kind, key, reason, found FROM trigger WHERE run = ? AND state = 'taken' AND starts >= ? "
                "ORDER BY found, key",
                (run_id, starts),
            )
            return [_trigger(row) for row in rows]

    def failed(self, run_id: str, outcome: str, detail: str, now: datetime, starts: int, retry_seconds: float) -> None:
        """Settles a run that did not; its triggers wait for another, and those of `last_start` do not.

        Args:
            run_id: the run.
            outcome: ``failed`` or ``killed``.
            detail: why.
            now: the time it is.
            starts: how many runs a trigger may have.
            retry_seconds: the first pause.
        """
        with self._writing() as database:
            taken = "SELECT key, starts FROM trigger WHERE run = ? AND state = 'taken'"
            for key, begun in database.execute(taken, (run_id,)).fetchall():
                state, due = "failed" if begun >= starts else "waiting", now.timestamp() + pause(begun, retry_seconds)
                database.execute("UPDATE trigger SET state = ?, due = ? WHERE key = ?", (state, due, key))
            _end(database, run_id, outcome, detail, now)

    def give_back(self, run_id: str, detail: str, now: datetime) -> None:
        """Settles a run that a person stopped: its triggers wait as before, and the start does not count."""
        with self._writing() as database:
            database.execute(
                "UPDATE trigger SET state = 'waiting', starts = starts - 1 WHERE run = ? AND state = 'taken'", (run_id,)
            )
            _end(database, run_id, "stopped", detail, now)

    def runs(self, limit: int) -> list[Batch]:
        """The newest runs, newest first."""
        return self._runs("ORDER BY begun DESC, id DESC LIMIT ?", (limit,))

    def _runs(self, which: str, values: tuple[object, ...]) -> list[Batch]:
        with self._open() as database:
            rows = database.execute(f"SELECT id, begun, reference, ended, outcome, detail FROM run {which}", values)
            return [
                Batch(
                    run_id,
                    _time(begun),
                    tuple(
                        _trigger(row)
                        for row in database.execute(
                            "SELECT kind, key, reason, found FROM trigger JOIN run_trigger ON trigger = key "
                            "WHERE run_trigger.run = ? ORDER BY found, key",
                            (run_id,),
                        )
                    ),
                    reference,
                    None if ended is None else _time(ended),
                    outcome,
                    detail,
                )
                for run_id, begun, reference, ended, outcome, detail in rows.fetchall()
            ]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, of this process alone."""
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            yield database

    def _open(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        return sqlite_file.connection(self._file)


def _end(database: sqlite3.Connection, run_id: str, outcome: str, detail: str, now: datetime) -> None:
    database.execute(
        "UPDATE run SET ended = ?, outcome = ?, detail = ? WHERE id = ?", (now.timestamp(), outcome, detail, run_id)
    )


def _trigger(row: tuple[Kind, str, str, float]) -> Trigger:
    kind, key, reason, found = row
    return Trigger(kind=kind, key=key, reason=reason, when=_time(found))


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

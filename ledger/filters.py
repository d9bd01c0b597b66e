"""Which runs are meant: conditions, filters and times as people write them."""

from __future__ import annotations

import dataclasses
import difflib
import operator
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from ledger.opening import LedgerError
from ledger.run_facts import FOREIGN, is_ours, outcome, resolved_window, value_of
from ledger.run_record import Kind, Outcome, RunRecord

_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
# A name may have blanks and slashes in it, such as recall/very late.
_CONDITION = re.compile(r"\s*([^\s<>=!](?:[^<>=!]*[^\s<>=!])?)\s*(>=|<=|!=|==|=|>|<)\s*(.+?)\s*$")
_AGE = re.compile(r"(\d+)\s*(h|d|w)(?:\s+ago)?$")


@dataclasses.dataclass(frozen=True)
class Condition:
    """What a run must meet, such as ``auc>0.69``.

    Attributes:
        name: a metric, a hyperparameter or a fact of the record; with `metrics_only` only a metric.
        sign: one of >=, <=, !=, ==, =, >, <.
        bound: as it was written.
    """

    name: str
    sign: str
    bound: str
    metrics_only: bool = False

    @classmethod
    def parse(cls, text: str, metrics_only: bool = False) -> Condition:
        """Reads a condition; raises a LedgerError if it is none."""
        match = _CONDITION.match(text)
        if match is None:
            raise LedgerError(f"{text!r} is not a condition; write one such as 'auc>0.69' (with quotes in a shell).")
        condition = cls(match[1], match[2], match[3], metrics_only)
        if metrics_only and _number(condition.bound) is None:
            raise LedgerError(f"{condition.bound!r} in {text!r} is not a number, and metrics are.")
        return condition

    def holds(self, record: RunRecord) -> bool:
        """Whether a run meets it; one that lacks the value does not."""
        value = record.metrics.get(self.name) if self.metrics_only else value_of(record, self.name)
        if value is None:
            return False
        bound = _number(self.bound)
        if isinstance(value, int | float) and not isinstance(value, bool) and bound is not None:
            return _SIGNS[self.sign](value, bound)
        written = str(value).lower() if isinstance(value, bool) else str(value)
        return _SIGNS[self.sign](written, self.bound)


@dataclasses.dataclass(frozen=True)
class Filter:
    """Which runs are meant. Everything given must hold: all conditions and tags, and any of the outcomes and kinds.

    Attributes:
        window: FIRST:LAST, as it was asked for or as it turned out to be.
        commit: the beginning of the commit, be it of the use case's code or of Flightdeck.
        since: not started before.
        until: not started at or after.
        parent: the run that it belongs to.
        note: what one of its notes must contain, in any case of letters.
    """

    conditions: tuple[Condition, ...] = ()
    window: str | None = None
    outcomes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    commit: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    tags: tuple[str, ...] = ()
    parent: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        """Raises a LedgerError if there is no such outcome or kind."""
        for given, known, what in (
            (self.outcomes, (*get_args(Outcome), FOREIGN), "outcome"),
            (self.kinds, get_args(Kind), "kind"),
        ):
            for name in given:
                if name not in known:
                    raise LedgerError(f"There is no {what} {name!r}{did_you_mean(name, known)}")

    def holds(self, record: RunRecord) -> bool:
        """Whether a run is meant."""
        return (
            (self.window is None or self.window in (record.window, resolved_window(record)))
            and (not self.outcomes or outcome(record) in self.outcomes)
            and (not self.kinds or (is_ours(record) and record.kind in self.kinds))
            and (self.commit is None or any(commit.startswith(self.commit.lower()) for commit in _commits(record)))
            and (self.since is None or record.started >= self.since)
            and (self.until is None or record.started < self.until)
            and set(self.tags) <= set(record.tags)
            and (self.parent is None or record.parent == self.parent)
            and (self.note is None or any(self.note.lower() in note.text.lower() for note in record.notes))
            and all(condition.holds(record) for condition in self.conditions)
        )


def parse_moment(text: str, now: datetime | None = None, end_of_day: bool = False) -> datetime:
    """A time that a person wrote: 2013-07-01, 2013-07-01T09:30, ``today``, ``yesterday``, or an age such as 12h or 2w.

    Without an offset it is in this machine's time zone; of a day alone, the beginning or the end is meant.

    Returns:
        The moment, in UTC.

    Raises:
        LedgerError: it is none of these.
    """
    now = (now or datetime.now(UTC)).astimezone()
    day = timedelta(days=end_of_day)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        return (midnight - timedelta(days=text == "yesterday") + day).astimezone(UTC)
    if age := _AGE.match(text):
        unit = {"h": "hours", "d": "days", "w": "weeks"}[age[2]]
        try:
            return (now - timedelta(**{unit: int(age[1])})).astimezone(UTC)
        except OverflowError:
            raise LedgerError(f"{text!r} is before the beginning of time.") from None
    try:
        written = datetime.fromisoformat(text)
    except ValueError:
        raise LedgerError(
            f"{text!r} is not a time; write 2013-07-01, 2013-07-01T09:30, today, yesterday, 12h, 3d or 2w."
        ) from None
    return (written.astimezone() + (day if len(text) == len("2013-07-01") else timedelta(0))).astimezone(UTC)


def did_you_mean(name: str, known: Sequence[str], listed: bool = True) -> str:
    """The end of a sentence about a wrong name: those like it, or else, if `listed`, all that are known."""
    if close := difflib.get_close_matches(name, known, n=3, cutoff=0.6):
        return f"; did you mean {' or '.join(close)}?"
    if not listed:
        return ""
    return f"; known: {', '.join(known)}." if known else "; there are none yet."


def _commits(record: RunRecord) -> list[str]:
    return [revision.commit or "" for revision in (record.code, record.platform) if revision]


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None

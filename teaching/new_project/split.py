"""How the rows are split into spans: by the calendar, by stretches of time, or by chance if there is no time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from data.table import column, moments, numbers
from data.table_spans import Hashed, Parts, Period, Periods
from errors import FlightdeckError
from ledger.formats import count

if TYPE_CHECKING:
    import pandas as pd

    from teaching.new_project.columns import Inferred
    from teaching.new_project.tasks import Label

MOST_PERIODS = 36
FEWEST_PERIODS = 3
FEWEST_ROWS = 100
_PARTS = 6
_HASHED = 5
_PERIODS: tuple[Period, ...] = ("month", "quarter", "year")


class SplitError(FlightdeckError):
    """Rows that cannot be split so that each span can train or evaluate a model."""


@dataclasses.dataclass(frozen=True)
class Split:
    """How the rows are split into spans.

    Attributes:
        rule: that says to which span a row belongs.
        numbers: of the spans, per row.
        why: in one sentence, with its reason.
    """

    rule: Periods | Parts | Hashed
    numbers: pd.Series
    why: str

    @property
    def spans(self) -> list[int]:
        """The numbers of all spans, ascending."""
        return sorted(int(span) for span in self.numbers.unique())

    @property
    def smallest(self) -> int:
        """The rows of the smallest span."""
        return int(self.numbers.value_counts().min())


def choose(
    frame: pd.DataFrame,
    labels: pd.Series,
    label: Label,
    time: Inferred | None,
    identity: Sequence[str],
    single: str | None = None,
) -> Split:
    """Chooses the finest rule by which every span has enough rows, of every class.

    Args:
        frame: rows of the contract.
        labels: per row.
        label: what is predicted.
        time: the column that orders the rows, if there is one.
        identity: the columns that identify a row; only used without time.
        single: a column that names each row alone, if rows may be equal in those of their identity.

    Raises:
        SplitError: there is no such rule.
    """
    fewest = min(FEWEST_ROWS, len(frame) // 10)
    rules = _chances(frame, identity, single) if time is None else _times(frame, time, label)
    problem = "most have the same value"
    for rule, why in rules:
        candidate = Split(rule, rule(frame), why)
        counts = labels.groupby(candidate.numbers).agg(["size", "nunique"])
        if isinstance(rule, Hashed) and single not in (None, *rule.columns) and _uneven(candidate, rule):
            continue
        complete = (counts["nunique"] >= label.distinct).all()
        if len(counts) >= FEWEST_PERIODS and counts["size"].min() >= fewest and complete:
            return candidate
        problem = f"one has only {candidate.smallest:,}" if complete else label.lacking
    raise SplitError(_refusal(frame, label, time, fewest, problem))


def _uneven(candidate: Split, rule: Hashed) -> bool:
    """Whether a part has less than half of its share: so few different rows there are."""
    return len(candidate.spans) < rule.parts or 2 * candidate.smallest * rule.parts < len(candidate.numbers)


def _refusal(frame: pd.DataFrame, label: Label, time: Inferred | None, fewest: int, problem: str) -> str:
    rows = f"The {len(frame):,} rows cannot be split"
    if time is None:
        return (
            f"{rows} at random into {FEWEST_PERIODS} or more spans with rows {label.each_span} each; provide more rows."
        )
    values = _points(frame, time).nunique()
    help_ = "leave out --time, and they are split at random."
    if values < FEWEST_PERIODS:
        return (
            f"'{time.name}' has {count(values, 'value')}: the rows cannot be split by it into "
            f"{FEWEST_PERIODS} spans or more; {help_}"
        )
    return (
        f"{rows} by '{time.name}' into {FEWEST_PERIODS} spans or more that each have {fewest} rows, {label.each_span}, "
        f"because {problem}; {help_}"
    )


def _chances(frame: pd.DataFrame, identity: Sequence[str], single: str | None) -> Iterator[tuple[Hashed, str]]:
    for parts in (_HASHED, FEWEST_PERIODS):
        yield Hashed(tuple(identity), parts), _by_chance(parts, ", ".join(identity))
        if single is not None:
            kinds = len(frame[list(identity)].drop_duplicates())
            yield (
                Hashed((single,), parts),
                f"{_by_chance(parts, single)} Equal rows are in several parts, because only {kinds:,} of the "
                f"{len(frame):,} rows are different, too few to share out.",
            )


def _by_chance(parts: int, identity: str) -> str:
    return (
        f"{parts} parts by chance, by a hash of '{identity}': there is no time in the data, so nothing can tell how "
        "the model does later."
    )


def _points(frame: pd.DataFrame, time: Inferred) -> Any:
    return (moments if time.type == "timestamp" else numbers)(column(frame, time.name))


def _times(frame: pd.DataFrame, time: Inferred, label: Label) -> Iterator[tuple[Periods | Parts, str]]:
    when = _points(frame, time)
    reason = "it is a number, and only moments have a calendar."
    if time.type == "timestamp":
        reason = f"its months, quarters and years are too few, too many or too small{label.or_lack}."
        first = when.min()
        months = (when.dt.year - first.year) * 12 + when.dt.month - first.month
        for period, length in zip(_PERIODS, (1, 3, 12), strict=True):
            # A quarter, or a year, begins where those of the calendar do.
            start = 1 + (first.month - 1) // length * length
            spans = (months + first.month - start) // length
            if FEWEST_PERIODS <= spans.nunique() <= MOST_PERIODS and spans.max() + 1 == spans.nunique():
                yield (
                    Periods(time.name, period, f"{first.year:04d}-{start:02d}"),
                    f"One span per {period} of '{time.name}': the newest evaluates what the older ones taught.",
                )
    ordered = when.sort_values()
    for parts in (_PARTS, FEWEST_PERIODS):
        starts = _starts(ordered, parts, as_text=time.type == "timestamp")
        if len(starts) + 1 >= FEWEST_PERIODS:
            yield (
                Parts(time.name, starts),
                f"{len(starts) + 1} stretches of '{time.name}' with about equally many rows: {reason}",
            )


def _starts(ordered: Any, parts: int, as_text: bool) -> tuple[str | float, ...]:
    places = [ordered.iloc[len(ordered) * part // parts] for part in range(1, parts)]
    later = sorted({place for place in places if place > ordered.iloc[0]})
    return tuple(start.isoformat() for start in later) if as_text else tuple(float(start) for start in later)

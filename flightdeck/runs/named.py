"""How the commands about runs name a run, and how they write what is in its record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ledger.run_record import RunRecord
    from ledger.runs import Filter

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run, or the beginning of its name; `latest`; or `best`, as `runs best` finds it."
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CONDITION",
        help="On a metric, hyperparameter or fact of the record: 'epochs=4', 'user!=ci', 'seconds<90'. Repeatable.",
    ),
]
Window = Annotated[str | None, typer.Option(metavar="FIRST:LAST", help="Spans, as asked for or as they turned out.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="2013-07-01, 2013-07-01T09:30, today, yesterday, 12h, 3d, 2w.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Likewise; a day is included.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Repeatable: all of them.")]

# Columns of text. What is not a terminal has no edge, and a name that is broken there could not be searched for.
SPACIOUS = 240


def filter_of(
    where: list[str] | None,
    window: str | None,
    outcome: list[str] | None,
    kind: list[str] | None,
    tags: list[str] | None,
    since: str | None,
    until: str | None,
    **further: Any,
) -> Filter:
    """The runs that options ask for; `further` are other fields of a `Filter`, and `conditions` are added to."""
    from ledger.runs import Condition, Filter, moment

    conditions = (*further.pop("conditions", ()), *(Condition.parse(text) for text in where or ()))
    return Filter(
        conditions=conditions,
        window=window,
        outcomes=tuple(outcome or ()),
        kinds=tuple(kind or ()),
        tags=tuple(tags or ()),
        since=moment(since) if since else None,
        until=moment(until, end_of_day=True) if until else None,
        **further,
    )


def page() -> Console:
    """A console on which the name of a run is never broken, unless by the edge of a terminal."""
    from flightdeck.console import console

    on = console()
    if not on.is_terminal:
        on.width = SPACIOUS
    return on


def document(record: RunRecord) -> dict[str, Any]:
    """A record for a program: what JSON can say, so a metric that is not a number is null.

    As on the screen, `commit`, `branch`, `dirty` and `diff` are those of the use case's code; Flightdeck's are in
    `platform`, which is null where both are the same.
    """
    import json

    facts = json.loads(record.model_dump_json(exclude={"use_case_commit", "use_case_branch", "use_case_dirty"}))
    platform = None if record.platform is None else record.platform.model_dump()
    return {**facts, **record.code.model_dump(), "platform": platform}


def shown_time(moment: datetime | None) -> str:
    """A time as it was on the clock of this machine, such as 2013-07-01 09:30."""
    return "-" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"


def shown_number(value: float | None) -> str:
    """A metric, with what can matter of it."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.4f}"


def shown_seconds(seconds: float | None) -> str:
    """A duration in seconds."""
    return "-" if seconds is None else f"{seconds:,.0f} s"


def shown_commit(record: RunRecord) -> str:
    """The commit, with a plus if there were changes that are not in it."""
    return record.code.short() or "-"


def shown_spans(numbers: list[int]) -> str:
    """Spans as a range where they are one, such as 1-11."""
    numbers = sorted(numbers)
    if len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(str(each) for each in numbers)


def shown_value(value: Any) -> str:
    """A value of a record, or of a condition, on one line."""
    if isinstance(value, datetime):
        return shown_time(value)
    if isinstance(value, list | tuple):
        return ", ".join(shown_value(each) for each in value) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None else str(value)


def shown_counts(counts: Mapping[str, int]) -> str:
    """How many there are of what, such as span 3, 1,500 rows (2 runs); span 4, 1,500 rows (1 run)."""
    return "; ".join(f"{what} ({counted(count, 'run')})" for what, count in sorted(counts.items()))


def counted(number: int, what: str) -> str:
    """Such as 1 note, or 2 notes."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"

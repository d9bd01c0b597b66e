"""How the commands about runs name a run, and how they write its record for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ledger.filters import Filter
    from ledger.run_record import RunRecord

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
    from ledger.filters import Condition, Filter, parse_moment

    conditions = (*further.pop("conditions", ()), *(Condition.parse(text) for text in where or ()))
    return Filter(
        conditions=conditions,
        window=window,
        outcomes=tuple(outcome or ()),
        kinds=tuple(kind or ()),
        tags=tuple(tags or ()),
        since=parse_moment(since) if since else None,
        until=parse_moment(until, end_of_day=True) if until else None,
        **further,
    )


def document(record: RunRecord) -> dict[str, Any]:
    """A record for a program.

    As on the screen, `commit`, `branch`, `dirty` and `diff` are those of the use case's code; Flightdeck's are in
    `platform`, which is null where both are the same.
    """
    facts = record.model_dump(exclude={"use_case_commit", "use_case_branch", "use_case_dirty"})
    return {**facts, **record.code.model_dump(), "platform": record.platform}

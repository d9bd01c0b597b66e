"""How the commands about runs name a run, and how they write its record for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ledger.run_record import RunRecord

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run, or the beginning of its name; `latest`; or `best`, as `runs best` finds it."
    ),
]


# Columns of text. What is not a terminal has no edge, and a name that is broken there could not be searched for.
SPACIOUS = 240


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

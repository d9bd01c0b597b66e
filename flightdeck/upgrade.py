"""``flightdeck upgrade``: brings a project of its own to this Flightdeck."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errors import FlightdeckError
from flightdeck.console import print_json
from flightdeck.options import Json, load_settings

if TYPE_CHECKING:
    from teaching.new_project.upgrade import Change, Upgrade


def upgrade(
    check: Annotated[
        bool, typer.Option("--check", help="Only show what would change; exit code 1 if anything would.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring the project that one stands in to this Flightdeck: merge what it would generate otherwise.

    The Flightdeck that made the project and this one make it anew from its table, and git merges the difference into
    its files. What you changed stays; lines that both have changed are marked and named, and the exit code is 1. The
    commit of Flightdeck moves in settings, Dockerfile and CI. Nothing is committed, and nothing that is not committed
    is written over: `git diff` shows the upgrade, `git restore .` undoes it.
    """
    from pipeline.project import CHECKOUT
    from teaching.new_project import upgrade as upgrades

    project = Path.cwd()
    if project.is_relative_to(CHECKOUT):
        raise FlightdeckError("Flightdeck itself is upgraded by git; stand in the folder of a project of its own.")
    if not as_json:
        typer.echo("Making the project anew, by the Flightdeck that made it and by this one")
    planned = upgrades.plan(project)
    problems: list[str] = []
    if not check:
        planned.write()
        files = [] if planned.conflicts else sorted((project / "config").glob("*.yaml"))
        problems = [said for file in files if (said := _wrong(file))]
    changes = [change for change in planned.changes if change.before != change.after or change.why]
    if as_json:
        print_json(_document(planned, changes, problems))
    else:
        _report(planned, changes, problems, check)
    if planned.conflicts or (check and changes):
        raise typer.Exit(1)


def _wrong(file: Path) -> str:
    """What this Flightdeck says against settings; empty if nothing."""
    try:
        load_settings(file)
    except FlightdeckError as error:
        return " ".join(str(error).split())
    return ""


def _document(planned: Upgrade, changes: list[Change], problems: list[str]) -> dict[str, Any]:
    return {
        "project": str(planned.project),
        "old": planned.old,
        "new": planned.new,
        "changes": [
            {"path": change.path, "change": change.kind, "why": change.why or None, "diff": change.diff}
            for change in changes
        ],
        "conflicts": planned.conflicts,
        "packages_differ": planned.packages_differ,
        "problems": problems,
    }


def _report(planned: Upgrade, changes: list[Change], problems: list[str], check: bool) -> None:
    if not changes:
        typer.echo(f"{planned.project} is up to date: it is for Flightdeck {planned.new[:12]}")
        return
    typer.echo(f"Flightdeck {planned.old[:12]} -> {planned.new[:12]}\n")
    for change in changes:
        added, removed = change.lines
        typer.echo(f"{change.kind:<9} {change.path:<28} +{added} -{removed}  {change.why}".rstrip())
    if planned.packages_differ:
        typer.echo("\nThe packages of Flightdeck have changed; every target of make installs them first")
    for problem in problems:
        typer.echo(f"\nTo be corrected: {problem}")
    if check:
        typer.echo("\n" + "\n".join(change.diff for change in changes if change.diff))
        return
    typer.echo(f"\nNothing is committed. {'Resolve what is marked, then' if planned.conflicts else 'Next:'} make test")

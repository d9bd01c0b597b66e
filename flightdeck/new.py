"""``flightdeck new``: a project for your own data, from a table."""

from __future__ import annotations

import itertools
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flightdeck.console import print_json
from flightdeck.options import Json

if TYPE_CHECKING:
    from teaching.new_project.creation import Created
    from teaching.new_project.plan import ProjectPlan

# As the contract has it, whose module would load pydantic for every command.
Task = Literal["binary", "multiclass", "regression"]


def new(
    path: Annotated[Path, typer.Argument(help="Folder of the project; it must not exist.")],
    source: Annotated[Path, typer.Option("--from", help="The table, CSV or Parquet.", dir_okay=False)],
    label: Annotated[str, typer.Option(help="The column to predict.")],
    time: Annotated[str | None, typer.Option(help="The column that orders the rows.")] = None,
    task: Annotated[
        Task | None,
        typer.Option(
            help="Whether the label is one of two values, one of several, or a number. Default: what its values say."
        ),
    ] = None,
    positive: Annotated[str | None, typer.Option(help="Of two values of the label, the one to predict.")] = None,
    known: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Known at prediction time, however well it predicts the label."),
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Known only after the prediction, so never a feature.")
    ] = None,
    not_sensitive: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="A model may read it, although its name suggests that it is sensitive."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a project from a table: contract, schema, settings, tests. Flightdeck itself serves as its library.

    What a table cannot tell is marked TO BE REVIEWED. Its `make demo` works at once.
    """
    from teaching.new_project import creation, plan

    destination = Path.cwd() / path
    creation.require_free(destination)
    tell = (lambda line: None) if as_json else typer.echo
    made = plan.make(source, label, time, positive, known or (), after or (), tell, task, not_sensitive or ())
    tell(f"Writing {os.path.abspath(destination)}")
    options = {"--label": [label], "--time": [time], "--task": [task], "--positive": [positive]}
    options |= {"--known": known, "--after": after, "--not-sensitive": not_sensitive}
    given = [part for name, values in options.items() for value in values or () if value for part in (name, value)]
    created = creation.create(made, destination, given)
    if as_json:
        _document(made, created)
        return
    # Whole paths, because the next step is into another folder.
    again = ["flightdeck", "new", str(created.path), "--from", os.path.abspath(source), *given]
    _report(made, created, again)


def _groups(plan: ProjectPlan) -> dict[str, list[str]]:
    groups = {use: [column.name for column in plan.of(use)] for use in ("number", "category", "text", "key", "time")}
    groups["later"] = [column.name for column in plan.of("outcome") if not column.suspect]
    return groups


def _document(plan: ProjectPlan, created: Created) -> None:
    report = {
        "path": str(created.path),
        "name": created.name,
        "commit": created.commit,
        "uncommitted": created.uncommitted or None,
        "files": list(created.files),
        "rows": len(plan.rows),
        "unlabelled": plan.unlabelled,
        **plan.label.document,
        "spans": len(plan.split.spans),
        "columns": _groups(plan),
        "dropped": plan.dropped,
        "untidy": {column.name: column.note for column in plan.untidy},
        "sensitive": [column.name for column in plan.sensitive],
        "suspects": {column.name: round(column.alone or 0.0, 4) for column in plan.suspects},
    }
    print_json(report)


def _report(plan: ProjectPlan, created: Created, again: list[str]) -> None:
    typer.echo(f"{len(plan.rows):,} rows, {plan.label.summary}")
    if plan.unlabelled:
        typer.echo(f"{plan.unlabelled:,} rows without a label are left out")
    typer.echo(f"Spans: {plan.split.why}\n")
    for use, names in _groups(plan).items():
        if names:
            typer.echo(f"{use:<10} {', '.join(names)}")
    for column, reason in plan.dropped.items():
        typer.echo(f"{'left out':<10} {column}: {reason}")
    for column in plan.untidy:
        typer.echo(f"{'untidy':<10} {column.name}: {column.note}")
    folder = shlex.quote(str(created.path))
    if plan.suspects:
        typer.echo(
            "\nSet aside, because each of them alone almost gives the label away. Are they known at prediction time?"
        )
        options = [["--known", plan.original(column.name)] for column in plan.suspects]
        for column, option in zip(plan.suspects, options, strict=True):
            typer.echo(f"  {column.name:<28} {plan.label.told(column)}   if so: {shlex.join(option)}")
        if len(options) == 1:
            typer.echo("If it is, do in the project what its README.md says, or make it anew by:")
        else:
            typer.echo(
                "For those that are, do in the project what its README.md says, or make it anew by the following, "
                "without the --known of those that are not:"
            )
        typer.echo(f"  rm -rf {folder} && {shlex.join([*again, *itertools.chain(*options)])}")
    if plan.sensitive:
        typer.echo(
            "\nMarked as sensitive, because of their names: no model reads them, and differences between their groups "
            "are measured. May a model read them?"
        )
        options = [["--not-sensitive", plan.original(column.name)] for column in plan.sensitive]
        for column, option in zip(plan.sensitive, options, strict=True):
            typer.echo(f"  {column.name:<28} if so: {shlex.join(option)}")
        typer.echo("If so, do in the project what its contract says at the column, or make it anew with these options:")
        typer.echo(f"  rm -rf {folder} && {shlex.join([*again, *itertools.chain(*options)])}")
    typer.echo(f"\nWrote {created.path}")
    if created.commit is None:
        typer.echo(f"Nothing is committed, because {created.uncommitted}. To commit it:")
        for command in created.remedy:
            typer.echo(f"  {command}")
    typer.echo(
        "To be reviewed: usecase/contract.yaml, when each column becomes known above all; README.md says what else"
    )
    typer.echo(f"Next: cd {folder} && make demo")

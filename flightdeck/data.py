"""``flightdeck data``: prepare the spans, check them, quarantine one, compare the curated schema with the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

import storage
from flightdeck.console import print_json, table, working
from flightdeck.options import App, Options
from flightdeck.prepared import require_spans

if TYPE_CHECKING:
    from data.schema_diff import SchemaDifference

app = App(help="Prepare and inspect the data.", no_args_is_help=True)


@app.command()
def prepare(options: Options) -> None:
    """Write the dataset as spans into the workspace. Does nothing when they are there already."""
    from pipeline.settings_file import resolve

    settings = options.settings
    prepare_spans = resolve(settings.use_case.prepare)
    preparation = prepare_spans(storage.at(settings.spans), progress=None if options.as_json else typer.echo)
    if options.as_json:
        print_json(preparation)


@app.command("schema-diff")
def schema_diff(options: Options) -> None:
    """Compare the curated schema with the one that SchemaGen inferred in the latest run."""
    from data import schema_diff as comparison
    from ledger import outputs
    from ledger.opening import LedgerError

    inferred = outputs.latest(options.store(), "SchemaGen", "schema")
    if inferred is None:
        raise LedgerError("No run has inferred a schema yet: run the pipeline first.")
    settings = options.settings
    schema = storage.at(inferred.uri)
    differences = comparison.diff(settings.use_case.schema_file, schema, settings.contract().ignored())
    if options.as_json:
        print_json(differences)
    elif not differences:
        typer.echo("The curated schema and the inferred one agree.")
    else:
        _print_differences(differences)


@app.command()
def check(options: Options) -> None:
    """Check the spans of the window against the contract and the curated schema. Exit code 1 if they do not fit.

    Differences between the curated schema and what the data shows are listed too; they alone are no failure.
    """
    require_spans(options.settings)
    with working(quiet=options.as_json) as progress:
        from operations.delivery import data_check

        checked = data_check.check(options.settings, progress.note)
    if options.as_json:
        print_json(
            {
                "fits": checked.fits,
                "window": checked.window,
                "spans": checked.spans,
                "violations": checked.violations,
                "gate": json.loads(checked.report.json()),
                "differences": checked.differences,
            }
        )
    else:
        if checked.differences:
            typer.echo("The curated schema and the data differ; ask the owner of the schema which one is right:")
            _print_differences(checked.differences)
        for violation in checked.violations:
            typer.echo(violation)
        typer.echo(checked.report.text())
    raise typer.Exit(0 if checked.fits else 1)


@app.command()
def quarantine(
    options: Options,
    span: Annotated[int | None, typer.Argument(help="Number of the span; without, those in quarantine.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for whoever has to decide about it later.")] = "",
    release: Annotated[bool, typer.Option("--release", help="Let runs learn from it again.")] = False,
) -> None:
    """Keep a span out of all later runs, let it in again, or list those that are kept out.

    The data stays where it is. Models that have learned from it already are not touched: go back with
    `flightdeck models rollback`.
    """
    from operations.monitoring import quarantine as spans

    settings = options.settings
    if span is None:
        if release or reason:
            raise typer.BadParameter("Name the span.")
        entries = spans.listed(settings)
    elif release:
        entries = [spans.release(settings, span)]
    else:
        entries = [spans.quarantine(settings, span, reason)]
    did = "was released; it was" if release else "is"
    lines = [
        f"Span {entry.span} {did} in quarantine since {entry.when:%Y-%m-%d %H:%M} UTC: {entry.reason}"
        for entry in entries
    ]
    options.answer([entry.as_json() for entry in entries], "\n".join(lines) or "No span is in quarantine.")


def _print_differences(differences: Sequence[SchemaDifference]) -> None:
    table(
        ["column", "what", "curated", "inferred"],
        [(found.column, found.what, str(found.curated), str(found.inferred)) for found in differences],
    )

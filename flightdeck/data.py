"""``flightdeck data``: prepare the spans, check them, and compare the curated schema with what the data shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flightdeck.console import print_json, table, working
from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings, open_ledger

if TYPE_CHECKING:
    from data.schema_diff import SchemaDifference

app = typer.Typer(help="Prepare and inspect the data.", no_args_is_help=True)


@app.command()
def prepare(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False) -> None:
    """Write the dataset as spans into the workspace. Does nothing when they are there already."""
    from pipeline.settings_file import resolve

    settings = load_settings(config, overrides)
    prepare_spans = resolve(settings.use_case.prepare)
    preparation = prepare_spans(Path(settings.spans), progress=None if as_json else typer.echo)
    if as_json:
        typer.echo(json.dumps(asdict(preparation), indent=2, default=str))


@app.command("schema-diff")
def schema_diff(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False) -> None:
    """Compare the curated schema with the one that SchemaGen inferred in the latest run."""
    from data import schema_diff as comparison
    from ledger import outputs
    from ledger.opening import LedgerError

    settings = load_settings(config, overrides)
    inferred = outputs.latest(open_ledger(settings), "SchemaGen", "schema")
    if inferred is None:
        raise LedgerError("No run has inferred a schema yet: run the pipeline first.")
    differences = comparison.diff(settings.use_case.schema_file, Path(inferred.uri) / "schema.pbtxt")
    if as_json:
        print_json([asdict(difference) for difference in differences])
    elif not differences:
        typer.echo("The curated schema and the inferred one agree.")
    else:
        _print_differences(differences)


@app.command()
def check(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False) -> None:
    """Check the spans of the window against the contract and the curated schema. Exit code 1 if they do not fit.

    Differences between the curated schema and what the data shows are listed too; they alone are no failure.
    """
    from flightdeck.recorded import require_spans

    settings = load_settings(config, overrides)
    require_spans(settings)
    with working(quiet=as_json) as progress:
        from operations.delivery import data_check

        checked = data_check.check(settings, progress.note)
    if as_json:
        print_json(
            {
                "fits": checked.fits,
                "window": checked.window,
                "spans": checked.spans,
                "violations": checked.violations,
                "gate": json.loads(checked.report.json()),
                "differences": [asdict(difference) for difference in checked.differences],
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


def _print_differences(differences: Sequence[SchemaDifference]) -> None:
    table(
        ["column", "what", "curated", "inferred"],
        [(each.column, each.what, str(each.curated), str(each.inferred)) for each in differences],
    )

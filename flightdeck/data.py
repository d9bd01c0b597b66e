"""``flightdeck data``: prepare the spans, and compare the curated schema with what the data shows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

app = typer.Typer(help="Prepare and inspect the data.", no_args_is_help=True)


@app.command()
def prepare(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False) -> None:
    """Write the dataset as spans into the workspace. Does nothing when they are there already."""
    import json

    from pipeline import settings_file as project

    settings = load_settings(config, overrides)
    prepare_spans = project.resolve(settings.use_case.prepare)
    preparation = prepare_spans(Path(settings.spans), progress=None if as_json else typer.echo)
    if as_json:
        typer.echo(json.dumps(asdict(preparation), indent=2, default=str))


@app.command("schema-diff")
def schema_diff(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False) -> None:
    """Compare the curated schema with the one that SchemaGen inferred in the latest run."""
    import json

    from data import schema_diff as comparison
    from ledger import outputs
    from ledger.opening import LedgerError, open_readonly
    from pipeline import store

    settings = load_settings(config, overrides)
    inferred = outputs.latest(open_readonly(store.connection(settings)), "SchemaGen", "schema")
    if inferred is None:
        raise LedgerError("No run has inferred a schema yet: run the pipeline first.")
    differences = comparison.diff(settings.use_case.schema_file, Path(inferred.uri) / "schema.pbtxt")
    if as_json:
        typer.echo(json.dumps([asdict(difference) for difference in differences], indent=2))
        return
    if not differences:
        typer.echo("The curated schema and the inferred one agree.")
        return

    from flightdeck.console import table

    table(
        ["column", "what", "curated", "inferred"],
        [(each.column, each.what, str(each.curated), str(each.inferred)) for each in differences],
    )

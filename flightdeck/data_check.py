"""``flightdeck data check``: whether the data fits its contract and its schema, without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

if TYPE_CHECKING:
    from operations.delivery.data_check import DataCheck


def check(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False) -> None:
    """Check the spans of the window against the contract and the curated schema. Exit code 1 if they do not fit.

    Differences between the curated schema and what the data shows are listed too; they alone are no failure.
    """
    import json
    import tempfile
    from pathlib import Path

    from flightdeck.console import Progress, console, noise_into
    from flightdeck.recorded import require_spans

    settings = load_settings(config, overrides)
    require_spans(settings)
    with tempfile.TemporaryDirectory() as folder, noise_into(Path(folder) / "log") as screen:
        on = console(screen)
        on.quiet = as_json
        progress = Progress(on)
        try:
            from operations.delivery import data_check

            found = data_check.check(settings, progress.note)
        finally:
            progress.close()
    if as_json:
        typer.echo(json.dumps(_document(found), indent=2))
    else:
        _print(found)
    raise typer.Exit(0 if found.fits else 1)


def _document(found: DataCheck) -> dict[str, Any]:
    import dataclasses
    import json

    return {
        "fits": found.fits,
        "window": found.window,
        "spans": found.spans,
        "violations": list(found.violations),
        "gate": json.loads(found.report.json()),
        "differences": [dataclasses.asdict(each) for each in found.differences],
    }


def _print(found: DataCheck) -> None:
    from flightdeck.console import table

    if found.differences:
        typer.echo("The curated schema and what the data shows differ; a question for the owner of the schema:")
        table(
            ["column", "what", "curated", "inferred"],
            [(each.column, each.what, str(each.curated), str(each.inferred)) for each in found.differences],
        )
    for violation in found.violations:
        typer.echo(violation)
    typer.echo(found.report.text())

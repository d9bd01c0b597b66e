"""``flightdeck runs against``: what a branch does to the metrics, as a comment for its pull request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from errors import FlightdeckError
from flightdeck.console import answer
from flightdeck.options import Json, Overrides, config_option, default_config, existing_store, load_settings

if TYPE_CHECKING:
    from flightdeck.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SMALL = Path("config") / "small.yaml"


def against(
    main: Annotated[str, typer.Argument(metavar="BRANCH", help="Such as origin/main.")] = "origin/main",
    run: Annotated[str, typer.Option(help="The run of this branch.")] = "latest",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write Markdown into this file too.", dir_okay=False)
    ] = None,
    config: Annotated[Path, config_option(SMALL, "What both run.")] = SMALL,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Train at the commit where this branch left another one, and compare: is the branch better, or merely luckier?

    The older code runs in a worktree of its own, with its own settings but for those of --config and --set, on the same
    data and into the same metadata store. Exit code 0 whatever comes out; 1 if the older code could not be run.
    """
    from ledger.comparison import compare
    from ledger.runs import Runs
    from operations.experiments import branch_comparison as branch

    if config == default_config(SMALL) and not config.is_file():
        _require_checkout(load_settings(default_config()))
        raise FlightdeckError(
            f"There is no {config}, which says what a small run is: write it, or name other settings with --config."
        )
    settings = load_settings(config, overrides or ())
    _require_checkout(settings)
    ours = Runs(existing_store(settings)).find(run).run_id
    base = branch.merge_base(ROOT, main)
    try:
        with branch.worktree(ROOT, base) as checkout:
            differ = not branch.same_packages(ROOT, checkout)
            typer.echo(f"Training at {base[:12]}, where this branch left {main} ...", err=True)
            theirs = branch.train_there(checkout, config, list(overrides or ()), settings.workspace, settings.spans)
    except FlightdeckError as error:
        _write(output, branch.unavailable(str(error)))
        typer.echo(json.dumps({"base": base, "error": str(error)}) if as_json else str(error), err=not as_json)
        raise typer.Exit(1) from None
    comparison = compare(existing_store(settings), theirs, ours)
    asked = settings.evaluation.metrics
    directions = {metric.reported: metric.better for metric in asked if metric.better != "neither"}
    text = branch.markdown(comparison, directions, differ)
    _write(output, text)
    metrics = {
        change.name: {"main": change.first, "branch": change.second, "delta": change.delta, "verdict": change.verdict}
        for change in comparison.metrics
    }
    answer({"base": base, "main": theirs, "branch": ours, "metrics": metrics}, text, as_json)


def _require_checkout(settings: Settings) -> None:
    """Refuses a use case that is not in Flightdeck's checkout, because a worktree of that would not hold it."""
    if settings.project != ROOT:
        raise FlightdeckError(
            f"The use case is in {settings.project}, and only branches of Flightdeck's checkout can be compared like "
            "this: check out both commits of the project, one after the other, each with a `flightdeck run`, and "
            "compare the two runs with `flightdeck runs compare`."
        )


def _write(path: Path | None, text: str) -> None:
    import storage

    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.write(path, text)

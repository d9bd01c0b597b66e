"""``flightdeck replay``: what each level of maturity would have been worth in the past."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.options import Json, Overrides, config_option, load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from operations.loop.replay.result import Result
    from operations.loop.replay.steps import Step

_CONFIG = Path("config") / "replay.yaml"


def replay(
    config: Annotated[Path, config_option(_CONFIG)] = _CONFIG,
    overrides: Overrides = None,
    level: Annotated[str, typer.Option(help="Levels of maturity to play.")] = "0,1,2",
    months: Annotated[str, typer.Option(help="FIRST:LAST span whose requests are answered.")] = "3:12",
    fault: Annotated[str | None, typer.Option(metavar="NAME@SPAN", help="A fault of the settings.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the replay; default: after the fault, or `clean`.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Levels at a time; default: one per core.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over, and remove what exists of this replay.")] = False,
    as_json: Json = False,
) -> None:
    """Replay the past month by month, with real data, and measure what each level of maturity is worth.

    In each month the deployed model answers the real requests; at its end the labels arrive, the monitor looks at
    them, and the loop acts as its level allows. A replay that was stopped or killed resumes where it was.
    """
    import tempfile

    from flightdeck.console import console, noise_into, shown
    from flightdeck.recorded import require_spans
    from operations.loop.replay import measure, picture, plan, play

    settings = load_settings(config, overrides)
    require_spans(settings)
    asked = plan.make(settings, level, months, fault, name)
    root = plan.root_of(settings, asked.name)
    resumed = plan.begin(root, asked, fresh)
    play.keep_settings(root, settings)
    on = console()
    on.quiet = as_json
    on.print(f"{'Resuming' if resumed else 'Starting'} the replay {asked.name} in {shown(root)}")
    try:
        play.play(root, asked, parallel or os.cpu_count() or 1, lambda which, step: _tell(on, which, step))
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command, without --fresh, resumes here.", err=True)
        raise typer.Exit(130) from None
    with tempfile.TemporaryDirectory() as folder, noise_into(Path(folder) / "log") as screen:
        on = console(screen)
        on.quiet = as_json
        result = measure.result(settings, root, asked)
        file = measure.save(result, root)
        picture.draw(result, root)
        if as_json:
            screen.write(result.model_dump_json(indent=2) + "\n")
        else:
            _print(result, on)
            on.print(f"\nDocument    {shown(file)}\nPlot        {shown(root / picture.FILE)}")


def _tell(on: Console, level: int, step: Step) -> None:
    facts = step.facts
    said = facts.get("outcome") or facts.get("action") or ""
    if "decisions" in facts:
        said = ", ".join(sorted({each["action"] for each in facts["decisions"]})) or "nothing was measured"
    elif "rows" in facts and "version" in facts:
        said = f"{facts['rows']:,} rows by {facts['run']}"
    elif step.name.endswith("/deploy"):
        said = f"{facts['run']} is served"
    on.print(f"  level {level}  {step.name:<24} {step.wall_seconds:7.1f} s  {said}", markup=False)


def _print(result: Result, on: Console) -> None:
    from flightdeck.console import table

    months = [each.month for each in result.levels[0].months]
    header = ["month"]
    for each in result.levels:
        header += [f"{metric} {each.level}" for metric in ("auc", "log loss", "calibr.")]
    rows = []
    for index, month in enumerate(months):
        row = [month]
        for each in result.levels:
            seen = each.months[index]
            row += [_number(value.value) for value in (seen.auc, seen.log_loss, seen.calibration)]
        rows.append(row)
    on.print()
    table(header, rows, on=on)
    on.print()
    table(
        ["level", "log loss", "auc", "trained", "refused", "deployed", "rolled back", "rejected", "alerts", "cpu s"],
        [
            [str(each.level), f"{each.log_loss:.4f}", f"{each.auc:.4f}"]
            + [str(count) for count in (each.trainings, each.refused, each.deployments, each.rollbacks)]
            + [str(each.rejected), str(each.alerts), f"{sum(each.cpu_seconds.values()):.0f}"]
            for each in result.levels
        ],
        on=on,
    )
    on.print()
    for each in result.comparisons:
        on.print(
            f"{each.metric} of level {each.level} minus level {each.against}: {each.difference:+.4f} "
            f"({each.low:+.4f} to {each.high:+.4f}) on {each.rows:,} requests"
        )
    for each in result.levels:
        alarms = [one for one in each.false_alarms if one.exceeded]
        told = ", ".join(f"{one.kind} {one.exceeded} of {one.judged} {_subjects(one.subjects)}" for one in alarms)
        if each.false_alarms:
            on.print(f"Level {each.level}, signals exceeded in months without a fault: {told or 'none'}", markup=False)
        if each.fault:
            found = each.fault
            on.print(
                f"Level {each.level}, {found.fault} in {found.month}: {_after('detected', found.detected_after_days)}, "
                f"{found.column} {'named' if found.named else 'not named'}, action {found.action or 'none'}, "
                f"{_after('recovered', found.recovered_after_days)}"
            )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _subjects(subjects: dict[str, int]) -> str:
    return f"({', '.join(subjects)})" if subjects else ""


def _after(what: str, days: float | None) -> str:
    return f"never {what}" if days is None else f"{what} after {days:.0f} days"

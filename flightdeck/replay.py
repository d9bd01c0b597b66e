"""``flightdeck replay``: what each level of maturity would have been worth in the past."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.console import console, print_json, shown, table, working
from flightdeck.options import Json, Overrides, config_option, load_settings
from flightdeck.prepared import require_spans

if TYPE_CHECKING:
    from rich.console import Console

    from operations.loop.replay.result import Result
    from operations.loop.replay.steps import Step

_CONFIG = Path("config") / "replay.yaml"
_HEADINGS = {"calibration": "calibr."}  # shorter than their names


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
    from operations.loop.replay import measure, picture, plan, play

    settings = load_settings(config, overrides or ())
    require_spans(settings)
    asked = plan.make(settings, level, months, fault, name)
    root = plan.root_of(settings, asked.name)
    resumed = plan.begin(root, asked, fresh)
    play.keep_settings(root, settings)
    on = console(quiet=as_json)
    on.print(f"{'Resuming' if resumed else 'Starting'} the replay {asked.name} in {shown(root)}")
    try:
        play.play(root, asked, parallel or os.cpu_count() or 1, lambda which, step: _tell(on, which, step))
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command, without --fresh, resumes here.", err=True)
        raise typer.Exit(130) from None
    with working(quiet=True):
        result = measure.result(settings, root, asked)
        file = measure.save(result, root)
        picture.draw(result, root)
    if as_json:
        print_json(result)
    else:
        _print(result, on)
        on.print(f"\nDocument    {shown(file)}\nPlot        {shown(root / picture.FILE)}")


def _tell(on: Console, level: int, step: Step) -> None:
    facts = step.facts
    said = facts.get("outcome") or facts.get("action") or ""
    if "decisions" in facts:
        said = ", ".join(sorted({decision["action"] for decision in facts["decisions"]})) or "nothing was measured"
    elif "rows" in facts and "version" in facts:
        said = f"{facts['rows']:,} rows by {facts['run']}"
    elif step.name.endswith("/deploy"):
        said = f"{facts['run']} is served"
    on.print(f"  level {level}  {step.name:<24} {step.wall_seconds:7.1f} s  {said}", markup=False)


def _print(result: Result, on: Console) -> None:
    from operations.tasks import METRICS

    header = ["month"]
    for played in result.levels:
        header += [f"{_HEADINGS.get(metric) or metric.replace('_', ' ')} {played.level}" for metric in result.monthly]
    rows = []
    for months in zip(*(played.months for played in result.levels), strict=True):
        values = [(METRICS[metric], month.quality[metric].value) for month in months for metric in result.monthly]
        rows.append([months[0].month, *("-" if value is None else metric.number(value, 4) for metric, value in values)])
    on.print()
    table(header, rows, on=on)
    on.print()
    overall = [metric.replace("_", " ") for metric in result.overall]
    table(
        ["level", *overall, "trained", "refused", "deployed", "rolled back", "rejected", "alerts", "cpu s"],
        [
            [str(played.level), *(METRICS[metric].number(played.quality[metric], 4) for metric in result.overall)]
            + [str(count) for count in (played.trainings, played.refused, played.deployments, played.rollbacks)]
            + [str(played.rejected), str(played.alerts), f"{sum(played.cpu_seconds.values()):.0f}"]
            for played in result.levels
        ],
        on=on,
    )
    on.print()
    for change in result.comparisons:
        difference = METRICS[change.metric].difference(change.difference, change.low, change.high)
        on.print(
            f"{change.metric} of level {change.level} minus level {change.against}: {difference} on {change.rows:,} "
            "requests"
        )
    for played in result.levels:
        alarms = ", ".join(
            f"{alarm.kind} {alarm.exceeded} of {alarm.judged} ({', '.join(alarm.subjects)})".removesuffix("()")
            for alarm in played.false_alarms
            if alarm.exceeded
        )
        if played.false_alarms:
            text = f"Level {played.level}, signals exceeded in months without a fault: {alarms or 'none'}"
            on.print(text, markup=False)
        if fault := played.fault:
            on.print(
                f"Level {played.level}, {fault.fault} in {fault.month}: "
                f"{_after('detected', fault.detected_after_days)}, "
                f"{fault.column} {'named' if fault.named else 'not named'}, action {fault.action or 'none'}, "
                f"{_after('recovered', fault.recovered_after_days)}"
            )


def _after(what: str, days: float | None) -> str:
    return f"never {what}" if days is None else f"{what} after {days:.0f} days"

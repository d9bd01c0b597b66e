"""The page about a replay: what each level of maturity was worth, month by month, from its document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ledger.formats import count, number, signed
from operations import tasks
from operations.loop.replay.result import FILE, Comparison, FalseAlarms, Result, read
from operations.report import series
from operations.report.index import Tile
from operations.report.plots import Plot
from operations.report.series import Point

_DIRECTIONS = {"higher": "higher is better", "lower": "lower is better", "neither": "1 is right"}
_STEPS = ("serving", "monitoring", "training", "deploying")


def read_all(workspace: Path) -> tuple[list[Result], list[str]]:
    """The replays of a workspace, by name, and the files that cannot be read, each with the reason."""
    results, unreadable = [], []
    for file in sorted((workspace / "replay").glob(f"*/{FILE}")):
        try:
            results.append(read(file))
        except (OSError, ValueError) as error:
            unreadable.append(f"{file.parent.name}: {str(error).splitlines()[0]}")
    return results, unreadable


def page(result: Result) -> dict[str, Any]:
    """The content of the page of a replay."""
    return {
        "title": f"Replay {result.name}",
        "result": result,
        "lead": _lead(result),
        "tiles": _tiles(result),
        "sentences": [_sentence(comparison) for comparison in result.comparisons],
        "figures": [plot for metric in result.monthly if (plot := _plot(result, metric)) is not None],
        "steps": sorted({step for level in result.levels for step in level.cpu_seconds}, key=_step),
        "subjects": _subjects,
        "days": _days,
        "certain": _certain,
        "title_of": _title,
    }


def _lead(result: Result) -> str:
    fault = f", with the fault {result.fault}" if result.fault else ", without a fault"
    return f"{result.use_case} from {result.first} to {result.last}{fault}: the same requests, served under each level."


def _tiles(result: Result) -> list[Tile]:
    if not result.levels:
        return []
    loss, shown = result.overall
    best = min(level.quality[loss] for level in result.levels)
    return [
        (
            f"{_title(loss)} of level {level.level}",
            number(level.quality[loss]),
            f"{_title(shown)} {number(level.quality[shown])}; {count(level.trainings, 'training')}, "
            f"{count(level.deployments, 'deployment')}",
            "good" if level.quality[loss] == best and len(result.levels) > 1 else "",
        )
        for level in result.levels
    ]


def _title(metric: str) -> str:
    """The title of a metric, as a heading begins."""
    title = tasks.METRICS[metric].title
    return title[:1].upper() + title[1:]


def _sentence(compared: Comparison) -> str:
    """A difference in words: which level is better, by how much, and whether that is more than noise."""
    name, lower_is_better = tasks.METRICS[compared.metric].title, tasks.METRICS[compared.metric].better == "lower"
    better = (compared.difference < 0) == lower_is_better
    verdict = (
        f"level {compared.level} is {'better' if better else 'worse'}, beyond noise"
        if _certain(compared)
        else "the interval includes zero, so neither is known to be better"
    )
    return (
        f"The {name} of level {compared.level} differs from that of level {compared.against} by "
        f"{signed(compared.difference)} (95 %: {signed(compared.low)} to {signed(compared.high)}) on the same "
        f"{compared.rows:,} requests: {verdict}."
    )


def _plot(result: Result, metric: str) -> Plot | None:
    of_metric = tasks.METRICS[metric]
    title, direction = of_metric.formula or of_metric.title, _DIRECTIONS[of_metric.better]
    points, ranges = [], []
    for level in result.levels:
        group = f"level {level.level}"
        measured = []
        for month in level.months:
            of = month.quality[metric]
            if of.value is not None:
                measured.append((of.value, month.month))
                points.append(Point(month.month, group, of.value, of.low, of.high, words=month.fault or ""))
        if measured:
            (least, low), (most, high) = min(measured), max(measured)
            ranges.append(f"{group} from {number(least)} in {low} to {number(most)} in {high}")
    if not points:
        return None
    words = f"{title[:1].upper()}{title[1:]} by month ({direction}): {'; '.join(ranges)}."
    faults = sorted({month.month for level in result.levels for month in level.months if month.fault})
    if faults:
        words += f" The dashed line is the month of the fault, {', '.join(faults)}."
    groups = [f"level {level.level}" for level in result.levels]
    return series.over_time(metric, points, groups, words, times=False, faults=faults)


def _step(name: str) -> tuple[int, str]:
    return (_STEPS.index(name) if name in _STEPS else len(_STEPS), name)


def _certain(compared: Comparison) -> bool:
    return compared.low > 0 or compared.high < 0


def _days(days: float | None) -> str:
    return "never" if days is None else f"{days:.1f} days"


def _subjects(alarms: FalseAlarms) -> str:
    """The columns or measures that were exceeded, and how often, most often first."""
    subjects = sorted(alarms.subjects.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} ({times})" for name, times in subjects)

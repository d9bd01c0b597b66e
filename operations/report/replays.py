"""The page about a replay: what each level of maturity was worth, month by month, from its document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ledger.formats import NOTHING, count, moment, number, percent, signed
from operations.loop.replay.result import (
    FILE,
    Comparison,
    FalseAlarms,
    FaultOutcome,
    Interval,
    Level,
    Month,
    Result,
    read,
)
from operations.report import series
from operations.report.plots import Plot
from operations.report.series import Point

_METRICS = (
    ("auc", "AUC", "higher is better"),
    ("log_loss", "log loss", "lower is better"),
    ("calibration", "mean prediction by mean label", "1 is right"),
)
_STEPS = ("serving", "monitoring", "training", "deploying")


def found(workspace: Path) -> tuple[list[Result], list[str]]:
    """The replays of a workspace, by name.

    Args:
        workspace: its folder.

    Returns:
        The results, and the files that cannot be read, each with the reason.
    """
    results, unreadable = [], []
    for file in sorted((workspace / "replay").glob(f"*/{FILE}")):
        try:
            results.append(read(file))
        except (OSError, ValueError) as error:
            unreadable.append(f"{file.parent.name}: {str(error).splitlines()[0]}")
    return results, unreadable


def page(result: Result) -> dict[str, Any]:
    """What stands on the page of a replay."""
    groups = [_group(each) for each in result.levels]
    return {
        "name": result.name,
        "title": f"Replay {result.name}",
        "lead": _lead(result),
        "tiles": _tiles(result),
        "sentences": [_sentence(each) for each in result.comparisons],
        "figures": [plot for metric in _METRICS if (plot := _plot(result, groups, *metric)) is not None],
        "levels": [_level(each) for each in result.levels],
        "steps": sorted({step for each in result.levels for step in each.cpu_seconds}, key=_step),
        "comparisons": [_comparison(each) for each in result.comparisons],
        "faults": [_fault(each, each.fault) for each in result.levels if each.fault is not None],
        "months": [_month(level, each) for level in result.levels for each in level.months],
        "alarms": [_alarm(level, each) for level in result.levels for each in level.false_alarms],
        "events": [
            {
                "level": level.level,
                "when": moment(each.when),
                "order": each.when.isoformat(),
                "kind": each.kind,
                "text": each.text,
            }
            for level in result.levels
            for each in level.events
        ],
        "finished": moment(result.finished),
        "commit": result.commit,
    }


def _group(level: Level) -> str:
    return f"level {level.level}"


def _lead(result: Result) -> str:
    fault = f", with the fault {result.fault}" if result.fault else ", without a fault"
    return f"{result.use_case} from {result.first} to {result.last}{fault}: the same requests, served under each level."


def _tiles(result: Result) -> list[tuple[str, ...]]:
    best = min((each.log_loss for each in result.levels), default=None)
    return [
        (
            f"Log loss of level {each.level}",
            number(each.log_loss),
            f"AUC {number(each.auc)}; {count(each.trainings, 'training')}, {count(each.deployments, 'deployment')}",
            "good" if each.log_loss == best and len(result.levels) > 1 else "",
        )
        for each in result.levels
    ]


def _sentence(compared: Comparison) -> str:
    """A difference in words: which level is better, by how much, and whether that is more than noise."""
    lower_is_better = compared.metric == "log_loss"
    certain = compared.low > 0 or compared.high < 0
    name = "log loss" if lower_is_better else "AUC" if compared.metric == "auc" else compared.metric
    better = (compared.difference < 0) == lower_is_better
    verdict = (
        f"level {compared.level} is {'better' if better else 'worse'}, beyond noise"
        if certain
        else "the interval includes zero, so neither is known to be better"
    )
    return (
        f"The {name} of level {compared.level} differs from that of level {compared.against} by "
        f"{signed(compared.difference)} (95 %: {signed(compared.low)} to {signed(compared.high)}) on the same "
        f"{compared.rows:,} requests: {verdict}."
    )


def _plot(result: Result, groups: Sequence[str], metric: str, title: str, direction: str) -> Plot | None:
    points = [
        Point(month.month, _group(level), of.value, of.low, of.high, words=month.fault or "")
        for level in result.levels
        for month in level.months
        if (of := getattr(month, metric)).value is not None
    ]
    if not points:
        return None
    said = []
    for level in result.levels:
        values = {each.month: of for each in level.months if (of := getattr(each, metric).value) is not None}
        if values:
            low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
            said.append(f"level {level.level} from {number(values[low])} in {low} to {number(values[high])} in {high}")
    words = f"{title[:1].upper()}{title[1:]} by month ({direction}): {'; '.join(said)}."
    faults = sorted({each.month for level in result.levels for each in level.months if each.fault})
    if faults:
        words += f" The dashed line is the month of the fault, {', '.join(faults)}."
    return series.over_time(metric, points, groups, words, title=None, times=False, faults=faults)


def _level(level: Level) -> dict[str, Any]:
    return {
        "level": level.level,
        "name": level.name,
        "log_loss": level.log_loss,
        "auc": level.auc,
        "trainings": level.trainings,
        "refused": level.refused,
        "deployments": level.deployments,
        "rollbacks": level.rollbacks,
        "rejected": level.rejected,
        "quarantined": ", ".join(map(str, level.quarantined)) or "none",
        "alerts": level.alerts,
        "wall": sum(level.wall_seconds.values()),
        "cpu": sum(level.cpu_seconds.values()),
        "cpu_by_step": level.cpu_seconds,
    }


def _step(name: str) -> tuple[int, str]:
    return (_STEPS.index(name) if name in _STEPS else len(_STEPS), name)


def _comparison(compared: Comparison) -> dict[str, Any]:
    return {
        "levels": f"{compared.level} against {compared.against}",
        "metric": compared.metric.replace("_", " "),
        "difference": compared.difference,
        "interval": f"{signed(compared.low)} to {signed(compared.high)}",
        "rows": compared.rows,
        "certain": "yes" if compared.low > 0 or compared.high < 0 else "no",
    }


def _fault(level: Level, outcome: FaultOutcome) -> dict[str, Any]:
    return {
        "level": level.level,
        "fault": outcome.fault,
        "column": outcome.column,
        "month": outcome.month,
        "detected": _days(outcome.detected_after_days, "never"),
        "within": "yes" if outcome.within_month else "no",
        "named": "yes" if outcome.named else "no",
        "action": outcome.action or NOTHING,
        "recovered": _days(outcome.recovered_after_days, "never"),
        "log_loss": outcome.log_loss_in_month,
    }


def _days(days: float | None, otherwise: str) -> str:
    return otherwise if days is None else f"{days:.1f} days"


def _month(level: Level, month: Month) -> dict[str, Any]:
    return {
        "level": level.level,
        "month": month.month,
        "rows": month.rows,
        "versions": month.versions,
        "fault": month.fault or "",
        "metrics": [
            {"value": of.value, "text": _interval(of)} for of in (month.auc, month.log_loss, month.calibration)
        ],
    }


def _interval(of: Interval) -> str:
    if of.value is None or of.low is None:
        return number(of.value)
    return f"{number(of.value)} ({number(of.low)} to {number(of.high)})"


def _alarm(level: Level, alarms: FalseAlarms) -> dict[str, Any]:
    subjects = sorted(alarms.subjects.items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        "level": level.level,
        "kind": alarms.kind,
        "judged": alarms.judged,
        "exceeded": alarms.exceeded,
        "share": alarms.exceeded / alarms.judged if alarms.judged else None,
        "rate": percent(alarms.exceeded / alarms.judged) if alarms.judged else NOTHING,
        "subjects": ", ".join(f"{name} ({times})" for name, times in subjects),
    }

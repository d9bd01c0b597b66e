"""Measures a replay: what every level served in every month, against the true labels."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import ml_metadata
import numpy as np
import pandas as pd

from ledger.opening import open_readonly
from ledger.significance import FEWEST_PER_LABEL, RESAMPLED, areas_under_roc, compare
from operations.loop.replay import arrival, steps
from operations.loop.replay.plan import LEVELS, ReplayPlan, level_settings, month_of, of
from operations.loop.replay.recovery import outcome
from operations.loop.replay.result import FILE, Comparison, Event, FalseAlarms, Interval, Level, Month, Result
from operations.loop.replay.steps import Step
from operations.loop.settings import Settings
from operations.monitoring.model_signals import interval
from operations.monitoring.policy import Decision
from operations.monitoring.records import MonitoringRecords
from operations.monitoring.served import ID, Period, served
from operations.monitoring.signals import Window
from pipeline import stamp, store, whole_file

_PROBABILITY = "probability"
_METRICS = ("log_loss", "auc")


def result(settings: Settings, root: Path, plan: ReplayPlan) -> Result:
    """What came of a replay that has been played to its end."""
    truth = _truth(settings, plan)
    levels, answers = [], {}
    for level in plan.levels:
        of_level = level_settings(settings, root, level)
        reader = open_readonly(store.connection(of_level))
        by_span = {span: _answers(of_level, month_of(of(settings), span), truth[span]) for span in plan.spans}
        answers[level] = by_span
        levels.append(_level(of_level, reader, plan, level, truth, by_span))
    labels = np.concatenate([truth[span].to_numpy() for span in plan.spans])
    return Result(
        name=plan.name,
        use_case=settings.use_case.name,
        first=_name(settings, plan.first),
        last=_name(settings, plan.last),
        fault=None if plan.fault is None else f"{plan.fault}@{plan.fault_span}",
        finished=datetime.now(UTC),
        commit=stamp.code_of(settings).commit,
        levels=tuple(levels),
        comparisons=tuple(
            comparison
            for lower, higher in itertools.combinations(plan.levels, 2)
            for comparison in _compared(plan, labels, answers, higher, lower)
        ),
    )


def save(found: Result, root: Path) -> Path:
    """Writes the document, whole or not at all."""
    file = root / FILE
    whole_file.write(file, found.model_dump_json(indent=2) + "\n")
    return file


def _truth(settings: Settings, plan: ReplayPlan) -> dict[int, pd.Series]:
    """The true labels by span: id -> 0 or 1."""
    contract = settings.contract()
    found = {}
    for span in plan.spans:
        rows = arrival.truth(Path(settings.spans), span)
        keys = [rows[key].to_pandas().astype(str) for key in contract.row_key]
        ids = keys[0].str.cat(keys[1:], sep="/") if len(keys) > 1 else keys[0]
        found[span] = pd.Series(rows[contract.label].to_numpy().astype(float), index=ids)
    return found


def _answers(settings: Settings, period: Period, truth: pd.Series) -> np.ndarray:
    """What was answered to the requests of a month, in the order of their labels [rows]."""
    rows = served(Path(settings.payloads), period)
    return rows.set_index(ID)[_PROBABILITY].reindex(truth.index).to_numpy(dtype=float)


def _level(
    settings: Settings,
    reader: ml_metadata.MetadataStore,
    plan: ReplayPlan,
    level: int,
    truth: dict[int, pd.Series],
    answers: dict[int, np.ndarray],
) -> Level:
    done = steps.read(reader, settings.use_case.name)
    records = MonitoringRecords(reader, settings.use_case.name)
    windows, decisions = records.windows(), records.decisions()
    months = tuple(_month(settings, plan, span, truth[span].to_numpy(), answers[span], done) for span in plan.spans)
    labels, scores = (
        np.concatenate([truth[span].to_numpy() for span in plan.spans]),
        np.concatenate(list(answers.values())),
    )
    trained = [each.facts for each in done if each.kind == "training"]
    verdicts = [each.facts for each in done if each.facts.get("action") in ("promote", "reject")]
    acts = [act for each in done for act in each.facts.get("acts", ())]
    wall: dict[str, float] = collections.defaultdict(float)
    cpu: dict[str, float] = collections.defaultdict(float)
    for each in done:
        wall[each.kind] += each.wall_seconds
        cpu[each.kind] += each.cpu_seconds
    return Level(
        level=level,
        name=LEVELS[level],
        months=months,
        log_loss=float(RESAMPLED["log_loss"](labels, scores)(np.ones(len(labels)))),
        auc=float(areas_under_roc(labels, scores[None])[0][0]),
        trainings=len(trained),
        refused=sum(each["outcome"] != "blessed" for each in trained),
        deployments=sum(each.name.endswith("/deploy") for each in done)
        + sum(each["action"] == "promote" for each in verdicts),
        rollbacks=sum(each["action"] == "roll back" and each["outcome"] == "done" for each in acts),
        rejected=sum(each["action"] == "reject" for each in verdicts),
        quarantined=tuple(sorted({span for each in done for span in each.facts.get("quarantined", ())})),
        alerts=_alerts(settings),
        wall_seconds={name: round(value, 1) for name, value in wall.items()},
        cpu_seconds={name: round(value, 1) for name, value in cpu.items()},
        false_alarms=_false_alarms(settings, plan, windows),
        fault=outcome(settings, plan, done, decisions, windows, months),
        events=tuple(sorted(_events(done, decisions), key=lambda each: each.when)),
    )


def _month(
    settings: Settings, plan: ReplayPlan, span: int, labels: np.ndarray, scores: np.ndarray, done: Sequence[Step]
) -> Month:
    month = _name(settings, span)
    positives = int((labels > 0.5).sum())
    enough = FEWEST_PER_LABEL <= positives <= len(labels) - FEWEST_PER_LABEL
    measured = {
        name: Interval(**dict(zip(("value", "low", "high"), interval(name, labels, scores), strict=True)))
        if enough
        else Interval(value=None)
        for name in ("auc", "log_loss", "calibration")
    }
    answered = [each for each in done if each.kind == "serving" and each.name.startswith(f"{month}/")]
    return Month(
        month=month,
        span=span,
        rows=len(labels),
        versions=len({each.facts["version"] for each in answered if each.facts["rows"]}),
        fault=plan.fault if span == plan.fault_span else None,
        **measured,
    )


def _compared(
    plan: ReplayPlan, labels: np.ndarray, answers: dict[int, dict[int, np.ndarray]], level: int, against: int
) -> list[Comparison]:
    one, other = (np.concatenate([answers[which][span] for span in plan.spans]) for which in (against, level))
    names = ("metric", "difference", "low", "high", "rows")
    return [
        Comparison(level=level, against=against, **{name: getattr(test, name) for name in names})
        for test in compare(labels, one, other, _METRICS)
    ]


def _false_alarms(settings: Settings, plan: ReplayPlan, windows: Sequence[Window]) -> tuple[FalseAlarms, ...]:
    """How often signals were exceeded in months that nothing was done to."""
    faulty = None if plan.fault_span is None else month_of(of(settings), plan.fault_span).name
    judged, exceeded = collections.Counter(), collections.Counter()
    subjects: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for window in windows:
        for each in window.signals if window.name != faulty else ():
            if each.value is None or each.threshold is None:
                continue
            judged[each.kind] += 1
            if each.exceeded:
                exceeded[each.kind] += 1
                subjects[each.kind][each.subject or each.name] += 1
    return tuple(
        FalseAlarms(kind=kind, judged=judged[kind], exceeded=exceeded[kind], subjects=dict(subjects[kind]))
        for kind in sorted(judged)
    )


def _events(done: Sequence[Step], decisions: Sequence[Decision]) -> list[Event]:
    found = []
    for step in done:
        facts = step.facts
        if step.kind == "training":
            said = f": {'; '.join(facts['reasons'])}" if facts["outcome"] == "not blessed" else ""
            text = f"Run {facts['run']} is {facts['outcome']}{said}. Why it ran: {facts['why']}"
            found.append(Event(when=step.when, kind="training", text=text))
        elif step.name.endswith("/deploy"):
            found.append(Event(when=step.when, kind="deployment", text=f"The model of run {facts['run']} is served."))
        elif facts.get("action") in ("promote", "reject"):
            kind = "deployment" if facts["action"] == "promote" else "rejection"
            found.append(Event(when=step.when, kind=kind, text=f"{facts['action']} {facts['run']}: {facts['text']}"))
        for act in facts.get("acts", ()):
            kind = "rollback" if act["action"] == "roll back" else "quarantine"
            found.append(Event(when=step.when, kind=kind, text=act["text"]))
    found += [
        Event(when=each.when, kind="decision", text=f"{reason.action}: {reason.text}")
        for each in decisions
        for reason in each.reasons
        if reason.action != "none"
    ]
    return found


def _alerts(settings: Settings) -> int:
    from operations.alerts.dispatcher import outbox_file
    from operations.alerts.outbox import Outbox

    return len(Outbox(outbox_file(settings), (), 0.0).kept(limit=100_000))


def _name(settings: Settings, span: int) -> str:
    return f"{month_of(of(settings), span).begin:%Y-%m}"

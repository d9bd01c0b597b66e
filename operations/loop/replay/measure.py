"""Measures a replay: what every level served in every month, against the true labels."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import ml_metadata
import numpy as np
import pandas as pd

import storage
from ledger.opening import open_readonly
from ledger.significance import compare
from operations import tasks
from operations.loop.replay import steps
from operations.loop.replay.canonical import alerts
from operations.loop.replay.plan import LEVELS, ReplayPlan, level_settings, month_of, of
from operations.loop.replay.recovery import outcome
from operations.loop.replay.result import FILE, Comparison, Event, FalseAlarms, Interval, Level, Month, Result
from operations.loop.replay.steps import Step
from operations.loop.settings import Settings
from operations.monitoring.model_signals import interval, measured
from operations.monitoring.policy import Decision
from operations.monitoring.records import MonitoringRecords
from operations.monitoring.served import ID, SPAN, Period, answered, arrived, served
from operations.monitoring.signals import Window
from pipeline import stamp
from pipeline.store import connection


def result(settings: Settings, root: Path, plan: ReplayPlan) -> Result:
    """What came of a replay that has been played to its end."""
    truth, task = _truth(settings, plan), tasks.task_of(settings.contract().target)
    levels, answers = [], {}
    for level in plan.levels:
        of_level = level_settings(settings, root, level)
        store = open_readonly(connection(of_level))
        by_span = {span: _answers(of_level, task, month_of(of(settings), span), truth[span]) for span in plan.spans}
        answers[level] = by_span
        levels.append(_level(of_level, task, store, plan, level, truth, by_span))
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
            for comparison in _compared(task, plan, labels, answers, higher, lower)
        ),
    )


def save(result: Result, root: Path) -> Path:
    """Writes the document, whole or not at all."""
    storage.write(root / FILE, result.model_dump_json(indent=2) + "\n")
    return root / FILE


def _truth(settings: Settings, plan: ReplayPlan) -> dict[int, pd.Series]:
    """The true labels by span: id -> label."""
    contract = settings.contract()
    rows = arrived(Path(settings.spans), contract)
    assert rows is not None, "requests are logged by their key"
    return {span: rows.loc[rows[SPAN] == span, contract.label].astype(float) for span in plan.spans}


def _answers(settings: Settings, task: tasks.Task, period: Period, truth: pd.Series) -> np.ndarray:
    """What was answered to the requests of a month, in the order of their labels."""
    rows = served(Path(settings.payloads), period).set_index(ID).reindex(truth.index)
    answers = answered(rows, task)
    assert answers is not None, "every level has served models that predict what the contract says"
    return answers


def _level(
    settings: Settings,
    task: tasks.Task,
    store: ml_metadata.MetadataStore,
    plan: ReplayPlan,
    level: int,
    truth: dict[int, pd.Series],
    answers: dict[int, np.ndarray],
) -> Level:
    done = steps.read(store, settings.use_case.name)
    records = MonitoringRecords(store, settings.use_case.name)
    windows, decisions = records.windows(), records.decisions()
    months = tuple(
        _month(settings, task, plan, span, truth[span].to_numpy(), answers[span], done) for span in plan.spans
    )
    labels = np.concatenate([truth[span].to_numpy() for span in plan.spans])
    scores = np.concatenate(list(answers.values()))
    trained = [step.facts for step in done if step.kind == "training"]
    verdicts = [step.facts["action"] for step in done if step.facts.get("action") in ("promote", "reject")]
    acts = [act for step in done for act in step.facts.get("acts", ())]
    kinds = dict.fromkeys(step.kind for step in done)
    return Level(
        level=level,
        name=LEVELS[level],
        months=months,
        quality={metric: measured(metric, labels, scores, task.measures) for metric in _overall(task)},
        trainings=len(trained),
        refused=sum(run["outcome"] != "blessed" for run in trained),
        deployments=sum(step.name.endswith("/deploy") for step in done) + verdicts.count("promote"),
        rollbacks=sum(act["action"] == "roll back" and act["outcome"] == "done" for act in acts),
        rejected=verdicts.count("reject"),
        quarantined=tuple(sorted({span for step in done for span in step.facts.get("quarantined", ())})),
        alerts=len(alerts(settings)),
        wall_seconds={kind: round(sum(s.wall_seconds for s in done if s.kind == kind), 1) for kind in kinds},
        cpu_seconds={kind: round(sum(s.cpu_seconds for s in done if s.kind == kind), 1) for kind in kinds},
        false_alarms=_false_alarms(settings, plan, windows),
        fault=outcome(settings, plan, done, decisions, windows, months, task.loss.name),
        events=tuple(sorted(_events(done, decisions), key=lambda event: event.when)),
    )


def _overall(task: tasks.Task) -> tuple[str, str]:
    """What levels are compared by: the loss, and the metric to show."""
    return task.loss.name, task.quality[0].name


def _month(
    settings: Settings,
    task: tasks.Task,
    plan: ReplayPlan,
    span: int,
    labels: np.ndarray,
    scores: np.ndarray,
    done: Sequence[Step],
) -> Month:
    month = _name(settings, span)
    serving = [step for step in done if step.kind == "serving" and step.name.startswith(f"{month}/")]
    return Month(
        month=month,
        span=span,
        rows=len(labels),
        versions=len({step.facts["version"] for step in serving if step.facts["rows"]}),
        fault=plan.fault if span == plan.fault_span else None,
        quality={metric.name: _interval(task, metric.name, labels, scores) for metric in task.quality},
    )


def _interval(task: tasks.Task, metric: str, labels: np.ndarray, scores: np.ndarray) -> Interval:
    if task.measures.why_not(labels) is not None:
        return Interval(value=None)
    value, low, high = interval(metric, labels, scores, measures=task.measures)
    return Interval(value=value, low=low, high=high)


def _compared(
    task: tasks.Task,
    plan: ReplayPlan,
    labels: np.ndarray,
    answers: dict[int, dict[int, np.ndarray]],
    level: int,
    against: int,
) -> list[Comparison]:
    one, other = (np.concatenate([answers[which][span] for span in plan.spans]) for which in (against, level))
    tests = compare(labels, one, other, _overall(task), measures=task.measures)
    return [Comparison(level=level, against=against, **dataclasses.asdict(test)) for test in tests]


def _false_alarms(settings: Settings, plan: ReplayPlan, windows: Sequence[Window]) -> tuple[FalseAlarms, ...]:
    """How often signals were exceeded in months that nothing was done to."""
    faulty = None if plan.fault_span is None else month_of(of(settings), plan.fault_span).name
    judged = collections.Counter[str]()
    subjects: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for window in windows:
        for signal in window.signals if window.name != faulty else ():
            if signal.value is not None and signal.threshold is not None:
                judged[signal.kind] += 1
                subjects[signal.kind].update([signal.subject or signal.name] * signal.exceeded)
    return tuple(
        FalseAlarms(kind=kind, judged=judged[kind], exceeded=subjects[kind].total(), subjects=dict(subjects[kind]))
        for kind in sorted(judged)
    )


def _events(done: Sequence[Step], decisions: Sequence[Decision]) -> list[Event]:
    events = []
    for step in done:
        facts = step.facts
        if step.kind == "training":
            said = f": {'; '.join(facts['reasons'])}" if facts["outcome"] == "not blessed" else ""
            text = f"Run {facts['run']} is {facts['outcome']}{said}. Why it ran: {facts['why']}"
            events.append(Event(when=step.when, kind="training", text=text))
        elif step.name.endswith("/deploy"):
            events.append(Event(when=step.when, kind="deployment", text=f"The model of run {facts['run']} is served."))
        elif facts.get("action") in ("promote", "reject"):
            kind = "deployment" if facts["action"] == "promote" else "rejection"
            events.append(Event(when=step.when, kind=kind, text=f"{facts['action']} {facts['run']}: {facts['text']}"))
        for act in facts.get("acts", ()):
            kind = "rollback" if act["action"] == "roll back" else "quarantine"
            events.append(Event(when=step.when, kind=kind, text=act["text"]))
    events += [
        Event(when=decision.when, kind="decision", text=f"{reason.action}: {reason.text}")
        for decision in decisions
        for reason in decision.reasons
        if reason.action != "none"
    ]
    return events


def _name(settings: Settings, span: int) -> str:
    return f"{month_of(of(settings), span).begin:%Y-%m}"

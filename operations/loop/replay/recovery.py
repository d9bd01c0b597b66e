"""What a level made of the fault that was injected: when it noticed, what it did, and when nothing was left of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from operations.loop.replay.plan import ReplayPlan, month_of, of
from operations.loop.replay.result import FaultOutcome, Month
from operations.loop.replay.steps import Step
from operations.loop.settings import Settings
from operations.monitoring.policy import Decision
from operations.monitoring.served import Period
from operations.monitoring.signals import Window

_DAY_SECONDS = 86_400


def outcome(
    settings: Settings,
    plan: ReplayPlan,
    done: Sequence[Step],
    decisions: Sequence[Decision],
    windows: Sequence[Window],
    months: Sequence[Month],
    loss: str,
) -> FaultOutcome | None:
    """What became of the fault; None if none was injected. `loss` is the metric of a month that says it."""
    if plan.fault is None or plan.fault_span is None:
        return None
    fault, period = of(settings).faults[plan.fault], month_of(of(settings), plan.fault_span)
    because = [made for made in decisions if made.window_name == period.name and _about(made, fault.column)]
    noticed = min(because, key=lambda decision: decision.when, default=None)
    within = noticed is not None and noticed.when <= period.end
    named = any(
        signal.exceeded and signal.subject == fault.column
        for window in windows
        if window.name == period.name
        for signal in window.signals
    )
    losses = {month.span: month.quality[loss].value for month in months}
    recovered = _recovered(plan, period, fault.requests, done)
    return FaultOutcome(
        fault=plan.fault,
        column=fault.column,
        month=f"{period.begin:%Y-%m}",
        detected_after_days=None if noticed is None else _days(period, noticed.when),
        within_month=within,
        named=named and noticed is not None,
        action=None if noticed is None else noticed.action,
        recovered_after_days=None if recovered is None else _days(period, recovered),
        quality={f"{loss}_in_month": losses.get(plan.fault_span)},
    )


def _about(decision: Decision, column: str) -> bool:
    return any(reason.action != "none" and column in reason.subjects for reason in decision.reasons)


def _recovered(plan: ReplayPlan, period: Period, requests: bool, done: Sequence[Step]) -> datetime | None:
    """From when on neither the requests nor the model that answered them had anything of the fault."""
    learned = {
        step.facts["run"]: plan.fault_span in step.facts["spans"].get("train", ())
        for step in done
        if step.kind == "training"
    }
    answered = [step for step in done if step.kind == "serving" and step.facts["rows"]]
    bad = [index for index, step in enumerate(answered) if learned.get(step.facts["run"])]
    last = period.end if requests else period.begin
    if not bad:
        return last
    if bad[-1] + 1 >= len(answered):
        return None  # it is still served at the end
    after = answered[bad[-1] + 1].facts["from"]
    return max(last, datetime.fromtimestamp(after, tz=period.end.tzinfo))


def _days(period: Period, moment: datetime) -> float:
    return round((moment - period.begin).total_seconds() / _DAY_SECONDS, 2)

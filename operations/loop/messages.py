"""What people are told of what the loop did, or waits for them to do."""

from __future__ import annotations

from collections.abc import Sequence

from operations.alerts.alert import Alert, Severity
from operations.loop.attempts import Attempt
from operations.loop.runs import Result
from operations.loop.settings import Settings
from operations.loop.triggers import Trigger

_SOURCE = "watch"


def sentence(text: str, detail: str | None = None) -> str:
    """A text, and why, as one sentence."""
    whole = f"{text}: {detail}" if detail else text
    return f"{whole[:1].upper()}{whole[1:].rstrip('.')}."


def ended(settings: Settings, result: Result, attempt: Attempt) -> Alert | None:
    """Of a run that came to its end; None of one that made no model to be used."""
    name, run = settings.use_case.name, f"Run {result.run_id}"
    severity: Severity = "warning"
    if result.outcome == "blessed":
        title = f"{name}: a new model waits for a person"
        text = f"{run} made it, and it was blessed. Deploy it with: flightdeck models promote {result.run_id}"
    elif result.outcome == "not blessed":
        title = f"{name}: a new model was not good enough"
        text = f"{run} made it, and it was not blessed: {result.detail}."
    elif result.outcome == "pushed":
        severity, title = "info", f"{name}: version {result.version} is pushed"
        trial = " It is tried beside the served version, if there is one." if settings.canary.mode != "off" else ""
        text = f"{run} made it, and it was blessed.{trial}"
    else:
        return None
    return Alert(
        key=f"{name}/run/{result.run_id}",
        severity=severity,
        title=title,
        text=text,
        source=_SOURCE,
        facts={"run": result.run_id, "because": attempt.because},
    )


def given_up(settings: Settings, result: Result, triggers: Sequence[Trigger]) -> Alert:
    """Of triggers for which no further run is begun."""
    name, starts = settings.use_case.name, settings.continuous.starts
    return Alert(
        key=f"{name}/given up/{result.run_id}",
        severity="critical",
        title=f"{name}: {starts} run{'s' * (starts > 1)} did not end well, and no further one is begun",
        text=f"The last one, {result.run_id}, {result.outcome}: {result.detail or 'no reason is known'}. When that is "
        "mended, start one with: flightdeck run",
        source=_SOURCE,
        facts={"run": result.run_id, "because": "; ".join(each.reason for each in triggers)},
    )


def problem(settings: Settings, step: str, text: str) -> Alert:
    """Of something that the loop cannot do now."""
    name = settings.use_case.name
    return Alert(
        key=f"{name}/hindered/{step}",
        severity="warning",
        title=f"{name}: the loop cannot go on as it should",
        text=f"{text} It is tried again.",
        source=_SOURCE,
        facts={"step": step},
    )


def asked(settings: Settings, trigger: Trigger) -> Alert:
    """Of a trigger at level 0, at which a person trains."""
    name = settings.use_case.name
    return Alert(
        key=f"{name}/trigger/{trigger.key}"[:200],
        severity="warning",
        title=f"{name}: {trigger.reason}"[:200],
        text=f"{sentence(trigger.reason)} Nothing is done about it at level 0; train with: flightdeck run",
        source=_SOURCE,
        facts={"trigger": trigger.kind},
    )

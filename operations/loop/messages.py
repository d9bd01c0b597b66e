"""What people are told of what the loop did, or waits for them to do."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.formats import count
from operations.alerts.alert import Alert, Severity, alert_of
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
    severity: Severity = "warning"
    if result.outcome == "blessed":
        title = "a new model waits for a person"
        text = f"it was blessed. Deploy it with: flightdeck models promote {result.run_id}"
    elif result.outcome == "not blessed":
        title, text = "a new model was not good enough", f"it was not blessed: {result.detail}."
    elif result.outcome == "pushed":
        severity, title, text = "info", f"version {result.version} is pushed", "it was blessed."
        if settings.canary.mode != "off":
            text += " It is a canary first, if a version is served."
    else:
        return None
    key, facts = f"run/{result.run_id}", {"run": result.run_id, "because": attempt.because}
    return alert_of(settings, _SOURCE, key, severity, title, f"Run {result.run_id} made it, and {text}", facts)


def given_up(settings: Settings, result: Result, triggers: Sequence[Trigger]) -> Alert:
    """Of triggers for which no further run is begun."""
    starts = settings.continuous.starts
    return alert_of(
        settings,
        _SOURCE,
        f"given up/{result.run_id}",
        "critical",
        f"{count(starts, 'run')} failed, and no further one is begun",
        f"The last one, {result.run_id}, {result.outcome}: {result.detail or 'no reason is known'}. When that is "
        "mended, start one with: flightdeck run",
        {"run": result.run_id, "because": "; ".join(trigger.reason for trigger in triggers)},
    )


def problem(settings: Settings, step: str, text: str) -> Alert:
    """Of something that the loop cannot do now."""
    title, text = "the loop has a problem", f"{text} It is tried again."
    return alert_of(settings, _SOURCE, f"hindered/{step}", "warning", title, text, {"step": step})


def asked(settings: Settings, trigger: Trigger) -> Alert:
    """Of a trigger at level 0, at which a person trains."""
    text = f"{sentence(trigger.reason)} Nothing is done about it at level 0; train with: flightdeck run"
    key, facts = f"trigger/{trigger.key}", {"trigger": trigger.kind}
    return alert_of(settings, _SOURCE, key, "warning", trigger.reason, text, facts)

"""Windows of one day each, their signals, and decisions about them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from operations.monitoring.policy import Decision, Reason
from operations.monitoring.signals import Signal, Window

START = datetime(2013, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def signal(kind: Any = "drift", subject: str = "a", value: float | None = 0.5, **fields: Any) -> Signal:
    """A signal whose threshold is 0.1, exceeded when its value is beyond that."""
    exceeded = value is not None and value > 0.1
    given = {"name": "distance", "threshold": 0.1, "exceeded": exceeded, "meaning": f"{subject}.", **fields}
    return Signal(kind=kind, subject=subject, value=value, **given)


def window(day: int, version: str = "7", signals: tuple[Signal, ...] = (), **fields: Any) -> Window:
    begin = START + day * DAY
    given = {"name": f"day-{day}", "begin": begin, "end": begin + DAY, "rows": 10, "labelled": 0, **fields}
    return Window(version=version, signals=signals, **given)


def decision(action: Any = "retrain", subject: str = "a", text: str = "a moved", **fields: Any) -> Decision:
    """A decision after the window of `START`, for one reason."""
    reason = Reason(rule="rule", action=action, subjects=(subject,), text=text)
    given = {"window": "day-0", "version": "7", "when": START, **fields}
    return Decision(action=action, reasons=(reason,), **given)

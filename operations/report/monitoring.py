"""The page about served versions: what was seen of them over time, and what was decided and done about it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_metadata

from ledger.executions import Executions
from ledger.formats import count, iso, moment, number
from operations.alerts.outbox import Kept, Outbox, OutboxError, Server
from operations.loop.canary.act import CANARY
from operations.loop.canary.judgement import Verdict
from operations.monitoring.policy import Decision
from operations.monitoring.records import MonitoringRecords
from operations.monitoring.signals import Signal, Window
from operations.registry import Version
from operations.report import series
from operations.report.index import Tile
from operations.report.plots import Plot
from operations.report.series import Point
from operations.tasks import METRICS

FILE = "monitoring.html"
_ORIGINS = {"run": "pushed", "promote": "promoted", "rollback": "rolled back", "unknown": "appeared"}
_LANES = ("versions", "canary", "decisions", "alerts")
_DETAILED = 24  # windows whose every number is on the page, the newest
_ROWS = 40  # of the grid
_ALERTS = 100


@dataclasses.dataclass(frozen=True)
class ServingHistory:
    """What is recorded of a model after its run, oldest first.

    Attributes:
        versions: that were ever served, newest first.
        alerts: newest first; None if there is no outbox.
    """

    windows: tuple[Window, ...]
    decisions: tuple[Decision, ...]
    verdicts: tuple[Verdict, ...]
    versions: tuple[Version, ...] = ()
    alerts: tuple[Kept, ...] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing was ever monitored, decided or alerted."""
        return not (self.windows or self.decisions or self.verdicts or self.alerts)


def gather(
    store: ml_metadata.MetadataStore,
    pipeline: str,
    versions: Sequence[Version] = (),
    outbox: Path | Server | None = None,
) -> ServingHistory:
    """Reads what is recorded of a pipeline; `outbox` is where the alerts are, and is not made if it is not there."""
    records = MonitoringRecords(store, pipeline)
    alerts = None
    if isinstance(outbox, Server) or (outbox is not None and outbox.is_file()):
        with contextlib.suppress(OutboxError):
            alerts = tuple(Outbox(outbox, (), 0).kept(_ALERTS))
    return ServingHistory(
        tuple(records.windows()),
        tuple(records.decisions()),
        tuple(Executions(store, pipeline).all(CANARY, Verdict)),
        tuple(versions),
        alerts,
    )


def page(history: ServingHistory) -> dict[str, Any]:
    """The content of the page about a history that is not empty."""
    versions = list(dict.fromkeys(_version(window) for window in history.windows))
    return {
        "tiles": _tiles(history),
        "events": _events(history),
        "quality": [plot for metric in METRICS if (plot := _quality(history.windows, metric, versions)) is not None],
        **_signals(history.windows, versions),
        "history": history,
        "actions": {(decision.window_name, decision.version): decision.action for decision in history.decisions},
        "detailed": _DETAILED,
        "origins": _ORIGINS,
        "why": _why,
        "origin": _origin,
    }


def _version(window: Window) -> str:
    return f"version {window.version}"


def _tiles(history: ServingHistory) -> list[Tile]:
    tiles: list[Tile] = []
    if served := next((version for version in history.versions if version.served), None):
        when = f"{_ORIGINS[served.origin]} {moment(served.pushed_at)}" if served.pushed_at else ""
        tiles.append(("Served", f"version {served.number}", when))
    if history.windows:
        latest = history.windows[-1]
        exceeded = sum(signal.exceeded for signal in latest.signals)
        detail = f"{count(latest.rows, 'request')}, {latest.labelled:,} labelled"
        tiles.append(("Latest window", latest.name, detail))
        kind = "bad" if exceeded else "good"
        tiles.append(("Exceeded in it", count(exceeded, "signal"), f"of {len(latest.signals)}", kind))
    if history.decisions:
        last = history.decisions[-1]
        tiles.append(("Latest decision", last.action, f"on {last.window}", "good" if last.action == "none" else "bad"))
    if history.verdicts:
        verdict = history.verdicts[-1]
        kind = "good" if verdict.action == "promote" else "bad"
        tiles.append(("Latest canary", verdict.action, f"version {verdict.canary}", kind))
    if history.alerts is not None:
        waiting = sum(not alert.delivered for alert in history.alerts)
        detail = f"{waiting} of them not delivered yet"
        tiles.append(("Alerts", f"{len(history.alerts)}", detail, "bad" if waiting else ""))
    return tiles


def _events(history: ServingHistory) -> Plot | None:
    changes = [
        (version.pushed_at, _ORIGINS[version.origin], "versions", _origin(version))
        for version in history.versions
        if version.pushed_at is not None
    ]
    alerts = [kept.alert for kept in history.alerts or ()]
    verdicts = [(verdict, f"version {verdict.canary}: {verdict.text}") for verdict in history.verdicts]
    events = [(decision.when, decision.action, "decisions", _why(decision)) for decision in history.decisions]
    events += [(verdict.when, verdict.action, "canary", words) for verdict, words in verdicts]
    events += [(alert.when, alert.severity, "alerts", alert.title) for alert in alerts]
    events += changes
    if not events:
        return None
    points = [Point(iso(when), what, 0, choice=lane, words=words) for when, what, lane, words in events]
    words = (
        f"{count(len(changes), 'change')} of the served version, {count(len(history.decisions), 'decision')}, of which "
        f"{sum(decision.action != 'none' for decision in history.decisions)} ask for something, "
        f"{count(len(verdicts), 'canary verdict')} and {count(len(alerts), 'alert')}, in their order."
    )
    lanes = [lane for lane in _LANES if any(point.choice == lane for point in points)]
    return series.events("events", sorted(points, key=lambda point: point.at), lanes, words)


def _quality(windows: Sequence[Window], metric: str, versions: Sequence[str]) -> Plot | None:
    points = [
        _point(window, signal)
        for window in windows
        for signal in window.signals
        if signal.kind == "quality" and (signal.subject or signal.name) == metric and signal.value is not None
    ]
    if not points:
        return None
    last = points[-1]
    interval = f" (95 % from {number(last.low)} to {number(last.high)})" if last.low is not None else ""
    words = f"{metric} in {count(len(points), 'window')}. In the latest: {number(last.value)}{interval}. {last.words}"
    return series.over_time(f"quality-{metric}", points, versions, words)


def _signals(windows: Sequence[Window], versions: Sequence[str]) -> dict[str, Any]:
    """The grid of all signals with a threshold, and the plot of one of them."""
    points = [
        (_point(window, signal), _share(signal))
        for window in windows
        for signal in window.signals
        if signal.value is not None and signal.threshold is not None
    ]
    if not points:
        return {"grid": None, "signal": None, "choices": [], "left_out": 0}
    worst: dict[str, tuple[bool, float]] = {}
    for point, share in points:
        worst[point.choice] = max(worst.get(point.choice, (False, 0.0)), (point.exceeded, share))
    ranked = sorted(worst, key=lambda name: worst[name], reverse=True)
    rows, columns = ranked[:_ROWS], _columns(windows)
    cells = [
        dataclasses.replace(point, at=columns[point.at, point.group], value=share)
        for point, share in points
        if point.choice in rows
    ]
    exceeded = [name for name in ranked if worst[name][0]]
    words = f"{len(ranked)} signals in {count(len(windows), 'window')}, those nearest to their threshold first. "
    words += f"Exceeded at least once: {', '.join(exceeded)}." if exceeded else "None was ever exceeded."
    first = ranked[0]
    shown = [point for point, _ in points]
    of_first = [point for point in shown if point.choice == first]
    about = f"{first} in {count(len(of_first), 'window')}, with its threshold. In the latest: {of_first[-1].words}"
    return {
        "grid": series.grid("signals", cells, rows, words),
        "signal": series.over_time("signal", shown, versions, about, chosen=first),
        "choices": ranked,
        "left_out": len(ranked) - len(rows),
    }


def _columns(windows: Sequence[Window]) -> dict[tuple[str, str], str]:
    """The label of each window and version in the grid; a second version of the same window has a number."""
    labels: dict[tuple[str, str], str] = {}
    times = Counter[str]()
    for window in windows:
        times[window.name] += 1
        again = f" ({times[window.name]})" if times[window.name] > 1 else ""
        labels[iso(window.begin), _version(window)] = window.name + again
    return labels


def _point(window: Window, signal: Signal) -> Point:
    limits = (signal.low, signal.high, signal.threshold, signal.exceeded)
    words, value = signal.meaning, float(signal.value or 0)
    return Point(iso(window.begin), _version(window), value, *limits, words, signal_name(signal))


def signal_name(signal: Signal) -> str:
    """Such as ``drift: price``."""
    return f"{signal.kind}: {signal.subject or signal.name}"


def _share(signal: Signal) -> float:
    """How near a signal is to its threshold: 1 is on it, more is beyond."""
    value, threshold = abs(signal.value or 0.0), abs(signal.threshold or 0.0)
    if not threshold:
        return 2.0 if signal.exceeded else 0.0
    share = value / threshold
    # Where a value must not fall below its threshold, such as an area under a curve, the smaller one is the worse one.
    return threshold / value if (share >= 1) != signal.exceeded and value else share


def _why(decision: Decision) -> str:
    return " ".join(reason.text for reason in decision.reasons) or "No rule was met."


def _origin(version: Version) -> str:
    """Who made a version, and why."""
    parts = [f"version {version.number} {_ORIGINS[version.origin]}"]
    if version.restores is not None:
        parts.append(f"it restores version {version.restores}")
    if version.who:
        parts.append(f"by {version.who}")
    return ", ".join(parts) + (f": {version.reason}" if version.reason else "")

"""One round of monitoring: measure what has not been measured, decide on it, and tell people."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import storage
from operations.alerts.alert import Alert, alert_of
from operations.monitoring.measure import Monitor
from operations.monitoring.policy import LABELLED, Decision, Reason, decide, faulty
from operations.monitoring.records import MonitoringRecords
from operations.monitoring.served import Period, periods
from operations.monitoring.settings import Settings
from operations.monitoring.signals import Window


@dataclasses.dataclass(frozen=True)
class Round:
    """The windows that a round measured, for the first time or again with more labels, and the decisions it made."""

    windows: tuple[Window, ...]
    decisions: tuple[Decision, ...]


def monitor(
    settings: Settings,
    store: Any,
    now: datetime,
    alert: Callable[[Alert], object],
    note: Callable[[str], None] = lambda text: None,
) -> Round:
    """Measures every window that has ended and is not recorded, or whose labels have arrived since.

    Each window is decided on once, when it is first measured; and once more, under the name of the window with
    ``+labels``, when enough of its labels have arrived.

    Windows that end later than `now` are left alone. `note` takes the name of each window that is measured.
    """
    records = MonitoringRecords(store, settings.use_case.name)
    known = {(window.name, window.version): window for window in records.windows()}
    measured: list[Window] = []
    decisions: list[Decision] = []
    with contextlib.closing(Monitor(settings, store)) as measuring:
        for period in periods(storage.at(settings.payloads), settings.monitoring.window):
            # A killed process may have left out a version; and the labels of some requests never arrive.
            if period.end > now or measuring.counted(period) == _counted(known, period):
                continue
            note(period.name)
            for window in measuring.measure(period, list(known.values()), faulty(records.decisions())):
                before = known.get((window.name, window.version))
                if before is not None and before.labelled == window.labelled and before.rows == window.rows:
                    continue
                known[(window.name, window.version)] = window
                decision = _decision(settings, records, [*known.values()], window, relabelled=before is not None)
                # Alerts come first, then the decision is kept, and the window last: after a kill in between, the next
                # round does what is left, and the outbox deduplicates alerts.
                if decision is not None:
                    for reason in decision.reasons:
                        if reason.action != "none":
                            alert(_alert(settings, decision, reason))
                    if records.keep_decision(decision):
                        decisions.append(decision)
                records.keep_window(window, measuring.reference(int(window.version)).model_id)
                measured.append(window)
    return Round(tuple(measured), tuple(decisions))


def _counted(known: Mapping[tuple[str, str], Window], period: Period) -> dict[str, tuple[int, int]]:
    """As `Monitor.counted`, of the recorded windows."""
    return {version: (window.rows, window.labelled) for (name, version), window in known.items() if name == period.name}


def _decision(
    settings: Settings, records: MonitoringRecords, windows: list[Window], latest: Window, relabelled: bool
) -> Decision | None:
    """The decision about a window; None if it was made before, or has to wait for more labels.

    It is made once on labels, so the first few must not use it up. In a window at fault a few are enough: they say
    which span to quarantine.
    """
    name = f"{latest.name}{LABELLED}" if relabelled else latest.name
    earlier = records.decisions()
    if any((decision.window, decision.version) == (name, latest.version) for decision in earlier):
        return None
    monitoring = settings.monitoring
    enough = min(latest.rows, monitoring.fewest_rows, monitoring.fewest_labels)
    if relabelled and latest.labelled < enough and latest.name not in faulty(earlier):
        return None
    decision = decide(monitoring.rules, latest, windows, earlier, latest.end)
    return decision.model_copy(update={"window": name})


def _alert(settings: Settings, decision: Decision, reason: Reason) -> Alert:
    urgent = reason.action in ("quarantine", "roll back", "retrain")
    asked = reason.action if urgent else "a person to look"
    return alert_of(
        settings,
        "monitor",
        f"{reason.rule}/{','.join(reason.subjects)}",
        "critical" if reason.action in ("quarantine", "roll back") else "warning",
        f"{reason.rule}: {', '.join(reason.subjects)}",
        reason.text,
        {"window": decision.window, "version": decision.version, "asked for": asked},
    )

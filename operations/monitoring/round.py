"""One round of monitoring: measure what has not been measured, decide on it, and tell people."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from operations.alerts.alert import Alert
from operations.monitoring.measure import Monitor
from operations.monitoring.policy import LABELLED, Decision, Reason, decide, faulty
from operations.monitoring.records import MonitoringRecords
from operations.monitoring.served import Period, periods
from operations.monitoring.settings import Settings
from operations.monitoring.signals import Window


@dataclasses.dataclass(frozen=True)
class Round:
    """What a round did.

    Attributes:
        windows: those that were measured, or measured again because labels have arrived.
        decisions: those that were made.
    """

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

    Each window is decided on once, when it is first measured with what is known then; and once more, under the name of
    the window with ``+labels``, when enough of its labels have arrived.

    Args:
        settings: of the workspace.
        store: an open metadata store.
        now: windows that end later are left alone.
        alert: takes alerts.
        note: is told what is being measured.
    """
    records = MonitoringRecords(store, settings.use_case.name)
    known = {(each.name, each.version): each for each in records.windows()}
    measuring = Monitor(settings, store)
    measured: list[Window] = []
    decisions: list[Decision] = []
    ended = [each for each in periods(Path(settings.payloads), settings.monitoring.window) if each.end <= now]
    with contextlib.closing(measuring):
        for period in ended:
            # A killed process may have left out a version; and of some requests no label ever arrives.
            if measuring.counted(period) == _counted(known, period):
                continue
            note(period.name)
            at_fault = faulty(records.decisions())
            for window in measuring.measure(period, list(known.values()), at_fault):
                before = known.get((window.name, window.version))
                if before is not None and before.labelled == window.labelled and before.rows == window.rows:
                    continue
                known[(window.name, window.version)] = window
                decision = _decision(settings, records, [*known.values()], window, relabelled=before is not None)
                # First people are told, then the decision is kept, and the window last of all: a process that is
                # killed in between does what is left, and the outbox knows an alert that it has.
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
    return {version: (each.rows, each.labelled) for (name, version), each in known.items() if name == period.name}


def _decision(
    settings: Settings, records: MonitoringRecords, windows: list[Window], latest: Window, relabelled: bool
) -> Decision | None:
    """The decision about a window; None if it was made before, or has to wait for more labels.

    It is made once on labels. A few that come first must not use that up: nothing is judged by them. Of data at fault,
    they tell which span to keep from runs, and so are enough.
    """
    name = f"{latest.name}{LABELLED}" if relabelled else latest.name
    earlier = records.decisions()
    if any((each.window, each.version) == (name, latest.version) for each in earlier):
        return None
    monitoring = settings.monitoring
    enough = min(latest.rows, monitoring.fewest_rows, monitoring.fewest_labels)
    if relabelled and latest.labelled < enough and latest.name not in faulty(earlier):
        return None
    decision = decide(monitoring.rules, latest, windows, earlier, latest.end)
    return decision.model_copy(update={"window": name})


def _alert(settings: Settings, decision: Decision, reason: Reason) -> Alert:
    urgent = reason.action in ("quarantine", "roll back", "retrain")
    return Alert(
        key=f"{settings.use_case.name}/{reason.rule}/{','.join(reason.subjects)}"[:200],
        severity="critical" if reason.action in ("quarantine", "roll back") else "warning",
        title=f"{settings.use_case.name}: {reason.rule}: {', '.join(reason.subjects)}"[:200],
        text=reason.text,
        source="monitor",
        facts={
            "window": decision.window,
            "version": decision.version,
            "asked for": reason.action if urgent else "a person to look",
        },
        when=datetime.now(UTC),
    )

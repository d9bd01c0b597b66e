"""Windows and decisions in ML Metadata, beside the models that they are about."""

from __future__ import annotations

import ml_metadata

from ledger.executions import Executions
from operations.monitoring.policy import Decision
from operations.monitoring.signals import Window

MONITOR = "flightdeck.Monitor"
DECISION = "flightdeck.Decision"


class MonitoringRecords:
    """The windows that were measured of the served models of one pipeline, and the decisions about them."""

    def __init__(self, store: ml_metadata.MetadataStore, pipeline: str) -> None:
        self._executions = Executions(store, pipeline)

    def keep_window(self, window: Window, model_id: int | None = None) -> None:
        """Stores a window as a descendant of the served Model, in place of an older record of it."""
        self._executions.keep(MONITOR, f"{window.name}/{window.version}", window, model_id)

    def keep_decision(self, decision: Decision) -> bool:
        """Stores a decision, unless there is one about its window and version; whether it is new."""
        return self._executions.keep(DECISION, f"{decision.window}/{decision.version}", decision, once=True)

    def windows(self) -> list[Window]:
        """All windows, by their end."""
        return sorted(self._executions.all(MONITOR, Window), key=lambda window: (window.end, window.version))

    def decisions(self) -> list[Decision]:
        """All decisions, by their time."""
        return sorted(self._executions.all(DECISION, Decision), key=lambda decision: decision.when)

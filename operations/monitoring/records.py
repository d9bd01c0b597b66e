"""Windows and decisions in ML Metadata, so that they lie beside the models that they are about."""

from __future__ import annotations

import ml_metadata

from ledger.executions import Executions
from operations.monitoring.policy import Decision
from operations.monitoring.signals import Window

MONITOR = "flightdeck.Monitor"
DECISION = "flightdeck.Decision"


class MonitoringRecords:
    """What was seen of the served models of one pipeline, and what was decided."""

    def __init__(self, store: ml_metadata.MetadataStore, pipeline: str) -> None:
        """Works on an open store.

        Args:
            store: from `ledger.opening.open_store`.
            pipeline: the name of the pipeline.
        """
        self._kept = Executions(store, pipeline)

    def keep_window(self, window: Window, model_id: int | None = None) -> None:
        """Keeps what was seen in a window; what is known of the same window and version is replaced.

        Args:
            window: what was seen.
            model_id: of the served Model, whose descendant this then is.
        """
        self._kept.keep(MONITOR, f"{window.name}/{window.version}", window, model_id)

    def keep_decision(self, decision: Decision) -> bool:
        """Keeps a decision, unless there is one about the same window and version.

        Returns:
            Whether it is new. So that a loop that was killed and starts again decides once.
        """
        return self._kept.keep(DECISION, f"{decision.window}/{decision.version}", decision, once=True)

    def windows(self) -> list[Window]:
        """All windows, by their end."""
        return sorted(self._kept.all(MONITOR, Window), key=lambda each: (each.end, each.version))

    def decisions(self) -> list[Decision]:
        """All decisions, by their time."""
        return sorted(self._kept.all(DECISION, Decision), key=lambda each: each.when)

"""The latest windows as Prometheus gauges: for the exporter, and as a file for node exporter's textfile collector."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import storage
from operations import metrics
from operations.monitoring.signals import Window


def put(windows: Iterable[Window], snapshot: metrics.Snapshot) -> None:
    """Adds the signals of the latest window; versions that did not answer in it are left out."""
    known = list(windows)
    end_of_latest = max((window.end for window in known), default=None)
    for window in (window for window in known if window.end == end_of_latest):
        snapshot.put(metrics.WINDOW_ROWS, window.rows, window.version)
        snapshot.put(metrics.WINDOW_REFUSED, window.refused, window.version)
        snapshot.put(metrics.WINDOW_LABELLED, window.labelled, window.version)
        snapshot.put(metrics.WINDOW_END, window.end.timestamp(), window.version)
        for signal in window.signals:
            if signal.value is None:
                continue
            names = (window.version, signal.kind, signal.name, signal.subject)
            snapshot.put(metrics.SIGNAL, signal.value, *names)
            snapshot.put(metrics.EXCEEDED, signal.exceeded, *names)
            if signal.threshold is not None:
                snapshot.put(metrics.THRESHOLD, signal.threshold, *names)


def write(windows: Iterable[Window], file: Path) -> None:
    """Writes them to a file, atomically.

    Args:
        windows: of any time.
        file: as in ``--collector.textfile.directory``; its name must end in ``.prom``.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    snapshot, registry = metrics.Snapshot(), CollectorRegistry()
    put(windows, snapshot)
    registry.register(snapshot)
    storage.make_folder(file.parent)
    storage.write(file, generate_latest(registry))

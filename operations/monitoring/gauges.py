"""The latest windows as Prometheus gauges: a file for node exporter's textfile collector."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from operations.monitoring.signals import Window


def write(windows: Iterable[Window], file: Path) -> None:
    """Writes the signals of the latest window, atomically; versions that did not answer in it are left out.

    Args:
        windows: of any time.
        file: as in ``--collector.textfile.directory``; its name must end in ``.prom``.
    """
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    known = list(windows)
    end_of_latest = max((window.end for window in known), default=None)
    registry = CollectorRegistry()

    def gauge(name: str, description: str, *labels: str) -> Gauge:
        return Gauge(f"flightdeck_monitor_{name}", description, ("model_version", *labels), registry=registry)

    by_signal = ("kind", "signal", "subject")
    value = gauge("signal", "A signal of the latest window.", *by_signal)
    threshold = gauge("threshold", "What the signal is compared with.", *by_signal)
    exceeded = gauge("exceeded", "1 if the signal is beyond its threshold.", *by_signal)
    rows = gauge("rows", "Requests in the latest window.")
    labelled = gauge("labelled", "Of those, with a label.")
    end = gauge("window_end", "End of the window, Unix time.")
    for window in (window for window in known if window.end == end_of_latest):
        rows.labels(window.version).set(window.rows)
        labelled.labels(window.version).set(window.labelled)
        end.labels(window.version).set(window.end.timestamp())
        for signal in window.signals:
            if signal.value is None:
                continue
            names = (window.version, signal.kind, signal.name, signal.subject)
            value.labels(*names).set(signal.value)
            exceeded.labels(*names).set(signal.exceeded)
            if signal.threshold is not None:
                threshold.labels(*names).set(signal.threshold)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(file), registry)

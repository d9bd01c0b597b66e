"""The latest windows as Prometheus gauges: a file for node exporter's textfile collector."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from operations.monitoring.signals import Window


def write(windows: Iterable[Window], file: Path) -> None:
    """Writes the signals of the latest window, whole or not at all.

    Versions that did not answer in it are left out: what was wrong with one that is gone is wrong no more.

    Args:
        windows: of any time.
        file: as in ``--collector.textfile.directory``; its name must end in ``.prom``.
    """
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    known = list(windows)
    end_of_latest = max((each.end for each in known), default=None)
    latest = {each.version: each for each in known if each.end == end_of_latest}
    registry = CollectorRegistry()
    of = ("model_version", "kind", "signal", "subject")
    value = Gauge("flightdeck_monitor_signal", "A signal of the latest window.", of, registry=registry)
    threshold = Gauge("flightdeck_monitor_threshold", "What the signal is compared with.", of, registry=registry)
    exceeded = Gauge("flightdeck_monitor_exceeded", "1 if the signal is beyond its threshold.", of, registry=registry)
    rows = Gauge("flightdeck_monitor_rows", "Requests in the latest window.", ("model_version",), registry=registry)
    labelled = Gauge("flightdeck_monitor_labelled", "Of those, with a label.", ("model_version",), registry=registry)
    end = Gauge("flightdeck_monitor_window_end", "End of the window, Unix time.", ("model_version",), registry=registry)
    for version, window in latest.items():
        rows.labels(version).set(window.rows)
        labelled.labels(version).set(window.labelled)
        end.labels(version).set(window.end.timestamp())
        for each in window.signals:
            if each.value is None:
                continue
            names = (version, each.kind, each.name, each.subject)
            value.labels(*names).set(each.value)
            exceeded.labels(*names).set(each.exceeded)
            if each.threshold is not None:
                threshold.labels(*names).set(each.threshold)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(file), registry)

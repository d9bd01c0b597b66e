"""The page about the metrics, from the list that the code makes them from."""

from __future__ import annotations

from operations import metrics

_SOURCES = {
    "service": "The service: `flightdeck serve`",
    "exporter": "The exporter: `flightdeck metrics`",
    "process": "The process of either",
}


def page() -> str:
    """The Markdown of the page."""
    lines = ["# Metrics", "", "What Prometheus is told. A histogram also has the label `le`."]
    for source, title in _SOURCES.items():
        lines += ["", f"## {title}", "", "| series | type | labels | unit | meaning |", "|---|---|---|---|---|"]
        for metric in metrics.ALL:
            if metric.source == source:
                series = " ".join(f"`{name}`" for name in metric.series)
                labels = ", ".join(f"`{label}`" for label in metric.labels)
                lines.append(f"| {series} | {metric.kind} | {labels} | {metric.unit} | {metric.help} |")
    return "\n".join(lines) + "\n"

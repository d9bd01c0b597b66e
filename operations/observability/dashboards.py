"""The dashboards of Grafana."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from operations.observability.expressions import check
from operations.observability.rules import EXPORTER_JOB, SERVING_JOB

_WIDTH, _COLUMNS = 24, 2
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclasses.dataclass(frozen=True)
class Query:
    """An expression, and what its series are called: Grafana's template of labels."""

    expression: str
    legend: str = ""

    def __post_init__(self) -> None:
        """Raises a ValueError if the expression names what nobody exports."""
        check(self.expression)


@dataclasses.dataclass(frozen=True)
class Panel:
    """A picture: `lines` over time, or the `number` of now; the unit is Grafana's."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    shows: Literal["lines", "number"] = "lines"


@dataclasses.dataclass(frozen=True)
class Dashboard:
    """Panels on one page; `name` is its file's and Grafana's identifier."""

    name: str
    title: str
    panels: tuple[Panel, ...]


def _panel(title: str, unit: str, *queries: tuple[str, str]) -> Panel:
    return Panel(title, tuple(Query(*query) for query in queries), unit)


def _number(title: str, unit: str, expression: str) -> Panel:
    return Panel(title, (Query(expression),), unit, "number")


def _quantile(share: float, histogram: str, matchers: str = "", by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket{matchers}[5m])))"


def _signals(title: str, kinds: str) -> Panel:
    """What was measured, as a share of what is allowed."""
    of = f'{{kind=~"{kinds}"}}'
    return _panel(
        title,
        "percentunit",
        (f"flightdeck_monitor_signal{of} / flightdeck_monitor_threshold{of}", "{{kind}} {{subject}} {{signal}}"),
    )


_QUALITY = '{kind=~"quality|previous", subject=""}'
_ASKED = '{route=~"predict|infer"}'
_SERVED = "version {{model_version}}"

ALL: tuple[Dashboard, ...] = (
    Dashboard(
        "flightdeck-service",
        "Flightdeck: service",
        (
            _number("Instances that answer", "none", f'sum(up{{job="{SERVING_JOB}"}})'),
            _number("Served version", "none", "max(flightdeck_serving_model_version)"),
            _panel(
                "Requests per second",
                "reqps",
                ("sum by (protocol, status) (rate(flightdeck_serving_requests_total[5m]))", "{{protocol}} {{status}}"),
            ),
            _panel(
                "Time to answer",
                "s",
                (_quantile(0.5, "flightdeck_serving_request_seconds", _ASKED, "protocol"), "median {{protocol}}"),
                (_quantile(0.99, "flightdeck_serving_request_seconds", _ASKED, "protocol"), "p99 {{protocol}}"),
            ),
            _panel("Rows per second", "short", ("sum(rate(flightdeck_serving_rows_total[5m]))", "rows")),
            _panel(
                "Rows per call of the model",
                "short",
                (_quantile(0.5, "flightdeck_serving_batch_rows"), "median"),
                (_quantile(0.99, "flightdeck_serving_batch_rows"), "p99"),
            ),
            _panel(
                "Requests without an answer yet, rows that wait",
                "short",
                ("flightdeck_serving_requests_in_flight", "{{instance}} requests"),
                ("flightdeck_serving_waiting_rows", "{{instance}} rows"),
            ),
            _panel(
                "Values that break the contract, in five minutes",
                "short",
                (
                    "topk(10, sum by (column, outcome) (increase(flightdeck_serving_contract_faults_total[5m])))",
                    "{{column}} {{outcome}}",
                ),
            ),
            _panel(
                "Rows of the payload log per second",
                "short",
                ("sum by (outcome) (rate(flightdeck_serving_payload_rows_total[5m]))", "{{outcome}}"),
            ),
            _panel(
                "Versions",
                "none",
                ("sum by (version) (flightdeck_serving_version_loaded)", "instances with version {{version}}"),
                ("flightdeck_serving_version_load_failures_total", "refused, {{instance}}"),
            ),
            _panel("Time to load the last version", "s", ("flightdeck_serving_version_load_seconds", "{{instance}}")),
            _panel(
                "Answers of the canary per second",
                "reqps",
                (
                    "sum by (version, outcome) (rate(flightdeck_serving_canary_requests_total[5m]))",
                    "version {{version}} {{outcome}}",
                ),
            ),
            _panel("Memory", "bytes", (f'process_resident_memory_bytes{{job="{SERVING_JOB}"}}', "{{instance}}")),
            _panel(
                "Cores in use", "none", (f'rate(process_cpu_seconds_total{{job="{SERVING_JOB}"}}[5m])', "{{instance}}")
            ),
        ),
    ),
    Dashboard(
        "flightdeck-quality",
        "Flightdeck: model quality",
        (
            _panel(
                "Quality on labelled requests",
                "short",
                (
                    f"flightdeck_monitor_signal{_QUALITY}",
                    f"{{{{signal}}}}, {_SERVED}",
                ),
            ),
            _panel(
                "What is asked of it",
                "short",
                (
                    f"flightdeck_monitor_threshold{_QUALITY}",
                    f"{{{{signal}}}}, {_SERVED}",
                ),
            ),
            _panel(
                "Quality of slices",
                "short",
                ('flightdeck_monitor_signal{kind="quality", subject!=""}', "{{signal}} {{subject}}"),
            ),
            _panel(
                "Signals beyond their threshold",
                "none",
                ('sum by (kind) (flightdeck_monitor_exceeded{kind=~"quality|previous|prediction"})', "{{kind}}"),
            ),
            _panel(
                "Labelled share of the latest window",
                "percentunit",
                ("flightdeck_monitor_labelled / flightdeck_monitor_rows", _SERVED),
            ),
            _panel(
                "Median of what is predicted",
                "short",
                (
                    _quantile(0.5, "flightdeck_serving_prediction", by="output, version"),
                    "{{output}}, version {{version}}",
                ),
            ),
            _panel(
                "Evaluation of the last run",
                "short",
                ("flightdeck_pipeline_last_run_metric", "{{metric}} of the {{of}}"),
            ),
            _number("Age of the served version", "s", "time() - max(flightdeck_registry_served_since)"),
        ),
    ),
    Dashboard(
        "flightdeck-drift",
        "Flightdeck: drift",
        (
            _signals("Drift of columns, of what is allowed", "drift"),
            _signals("Skew between training and serving, of what is allowed", "skew"),
            _signals("Predictions and labels, of what is allowed", "prediction|label"),
            _panel(
                "Missing and unseen values",
                "percentunit",
                ('topk(10, flightdeck_monitor_signal{kind=~"missing|unseen"})', "{{kind}} {{subject}}"),
            ),
            _panel(
                "Signals beyond their threshold", "none", ("sum by (kind) (flightdeck_monitor_exceeded)", "{{kind}}")
            ),
            _panel(
                "Rows of the latest window",
                "short",
                ("flightdeck_monitor_rows", f"answered, {_SERVED}"),
                ("flightdeck_monitor_refused", f"refused, {_SERVED}"),
            ),
            _number("Since the latest window", "s", "time() - max(flightdeck_monitor_window_end)"),
            _panel("Decisions", "none", ("sum by (action) (flightdeck_monitor_decisions_total)", "{{action}}")),
        ),
    ),
    Dashboard(
        "flightdeck-loop",
        "Flightdeck: loop",
        (
            _number("Since the last round", "s", "time() - max(flightdeck_loop_last_round)"),
            _number("Steps that cannot be done", "none", "max(flightdeck_loop_problems)"),
            _panel(
                "Spans",
                "none",
                ("max(flightdeck_loop_spans_waiting)", "waiting"),
                ("max(flightdeck_loop_spans_quarantined)", "in quarantine"),
            ),
            _panel(
                "Runs that the loop began",
                "none",
                ("sum by (outcome) (flightdeck_loop_attempts_total)", "{{outcome}}"),
                ("max(flightdeck_loop_run_open)", "open"),
            ),
            _panel(
                "Served version",
                "none",
                ("max(flightdeck_registry_served_version)", "registry"),
                ("flightdeck_serving_model_version", "{{instance}}"),
            ),
            _panel(
                "Versions by what made them",
                "none",
                ("sum by (origin) (flightdeck_registry_changes_total)", "{{origin}}"),
                ("max(flightdeck_registry_versions)", "present"),
            ),
            _panel(
                "Canary",
                "none",
                ("max(flightdeck_registry_canary_version)", "registry"),
                ("flightdeck_serving_canary_version", "{{instance}}"),
            ),
            _panel(
                "Verdicts on canaries",
                "none",
                ("sum by (action) (flightdeck_registry_canary_verdicts_total)", "{{action}}"),
            ),
            _number("Alerts that have not reached people", "none", "max(flightdeck_alerts_pending)"),
            _panel("What the exporter cannot read", "none", ("sum by (part) (flightdeck_exporter_failed)", "{{part}}")),
        ),
    ),
    Dashboard(
        "flightdeck-pipeline",
        "Flightdeck: pipeline",
        (
            _panel(
                "Runs",
                "none",
                ("sum by (outcome) (flightdeck_pipeline_runs_total)", "{{outcome}}"),
                ("max(flightdeck_pipeline_runs_open)", "open"),
            ),
            _panel("Since the last run", "s", ("time() - flightdeck_pipeline_last_run", "{{outcome}}")),
            _number("Time of the last run", "s", "max(flightdeck_pipeline_last_run_seconds)"),
            _number("Memory of the last run", "bytes", "max(flightdeck_pipeline_last_run_peak_bytes)"),
            _panel("Time of its nodes", "s", ("flightdeck_pipeline_last_run_node_seconds", "{{node}}, {{state}}")),
            _panel("Its rows", "short", ("flightdeck_pipeline_last_run_rows", "{{split}}")),
            _panel("Its metrics", "short", ("flightdeck_pipeline_last_run_metric", "{{metric}} of the {{of}}")),
            _panel(
                "Memory of the exporter",
                "bytes",
                (f'process_resident_memory_bytes{{job="{EXPORTER_JOB}"}}', "{{instance}}"),
            ),
        ),
    ),
)


def document(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana imports it."""
    return {
        "uid": dashboard.name,
        "title": dashboard.title,
        "tags": ["flightdeck"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [_document(number, panel) for number, panel in enumerate(dashboard.panels)],
    }


def _document(number: int, panel: Panel) -> dict[str, Any]:
    width, height = _WIDTH // _COLUMNS, 8
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "title": panel.title,
        "type": "timeseries" if panel.shows == "lines" else "stat",
        "datasource": _SOURCE,
        "gridPos": {"x": column * width, "y": row * height, "w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": _targets(panel.queries),
    }


def _targets(queries: Sequence[Query]) -> list[dict[str, Any]]:
    return [
        {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query.expression, "legendFormat": query.legend}
        for number, query in enumerate(queries)
    ]

"""The alert rules of Prometheus: what is wrong, and what to do about it."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from operations.observability.expressions import check

SERVING_JOB, EXPORTER_JOB = "flightdeck-serving", "flightdeck-exporter"
PAGE = "docs/observability.md"


@dataclasses.dataclass(frozen=True)
class Rule:
    """An alert.

    Attributes:
        name: after `Flightdeck`; the page has a section of this name, in words.
        expression: fires for each series that it returns.
        hold: for how long it has to return it, such as ``5m``.
        summary: what is wrong, with Prometheus' templates.
        remedy: what to do.
    """

    name: str
    expression: str
    hold: str
    severity: Literal["critical", "warning", "info"]
    summary: str
    remedy: str

    def __post_init__(self) -> None:
        """Raises a ValueError if the expression names what nobody exports."""
        check(self.expression)

    @property
    def alert(self) -> str:
        """Its name in Prometheus."""
        return f"Flightdeck{self.name}"


_ANSWERING = 'route=~"predict|infer"'

GROUPS: dict[str, tuple[Rule, ...]] = {
    "service": (
        Rule(
            "ServiceDown",
            f'(sum(up{{job="{SERVING_JOB}"}}) or vector(0)) == 0',
            "1m",
            "critical",
            "No instance of the prediction service answers.",
            "Look at the log of `flightdeck serve`, and start it again; it answers with the newest version that loads.",
        ),
        Rule(
            "Errors",
            'sum(rate(flightdeck_serving_requests_total{status=~"5.."}[5m]))'
            " / sum(rate(flightdeck_serving_requests_total[5m])) > 0.01",
            "5m",
            "critical",
            "{{ $value | humanizePercentage }} of the requests fail.",
            "503 means that too many rows wait: add instances. Of others, the service's log has the reason; if they "
            "began with a version, go back: `flightdeck models rollback`.",
        ),
        Rule(
            "Slow",
            "histogram_quantile(0.99, sum by (le)"
            f" (rate(flightdeck_serving_request_seconds_bucket{{{_ANSWERING}}}[5m]))) > 0.5",
            "10m",
            "warning",
            "One request in a hundred takes {{ $value | humanizeDuration }} or more.",
            "Compare the load with what `flightdeck serve bench` measures, and add instances.",
        ),
        Rule(
            "RefusedRows",
            'sum by (column) (increase(flightdeck_serving_contract_faults_total{outcome="refused"}[10m])) > 10',
            "1m",
            "warning",
            "About {{ $value | humanize }} values of {{ $labels.column }} were refused in ten minutes.",
            "A client sends what the model's contract does not allow. The payload log says who: `request_caller`.",
        ),
        Rule(
            "VersionRefused",
            "increase(flightdeck_serving_version_load_failures_total[15m]) > 0",
            "0m",
            "critical",
            "A pushed version does not load on {{ $labels.instance }}; the one before it goes on.",
            "`/v1/models/NAME` says why. Push a model that loads, or go back: `flightdeck models rollback`.",
        ),
        Rule(
            "OtherVersionServed",
            "flightdeck_serving_model_version != on () group_left () max(flightdeck_registry_served_version)",
            "15m",
            "warning",
            "{{ $labels.instance }} answers with version {{ $value }}, which is not the registry's newest.",
            "Look whether that instance sees the folder of versions, and whether it refused the newest one.",
        ),
        Rule(
            "ReplicaBehind",
            "flightdeck_serving_model_version < on () group_left () max(flightdeck_serving_model_version)",
            "2m",
            "warning",
            "{{ $labels.instance }} still answers with version {{ $value }}; another replica has a newer one.",
            "Look whether that replica refused the newer version, and whether it sees what is pushed: a file system "
            "that caches listings must not do so for longer than some seconds.",
        ),
        Rule(
            "NoPayloadLog",
            "sum(increase(flightdeck_serving_rows_total[30m])) > 0"
            ' unless sum(increase(flightdeck_serving_payload_rows_total{outcome="written"}[30m])) > 0',
            "15m",
            "warning",
            "The service answers, and writes no payload log: nothing can be monitored.",
            "Set `serving.payloads.enabled`, and look whether the folder of the log can be written to.",
        ),
        Rule(
            "PayloadsLost",
            'sum by (outcome) (increase(flightdeck_serving_payload_rows_total{outcome=~"dropped|failed"}[15m])) > 0',
            "0m",
            "warning",
            "{{ $value | humanize }} rows of the payload log were {{ $labels.outcome }}.",
            "Failed: the disk is full, or the folder is not writable. Dropped: raise `serving.payloads.buffer_rows`.",
        ),
    ),
    "model quality": (
        Rule(
            "QualityDrop",
            "max by (kind, signal, subject, model_version)"
            ' (flightdeck_monitor_exceeded{kind=~"quality|previous"}) == 1',
            "0m",
            "critical",
            "{{ $labels.signal }} of version {{ $labels.model_version }} is worse than allowed {{ $labels.subject }}",
            "`flightdeck monitor --every` says by how much. Retrain on the newest spans, or go back to the "
            "version before.",
        ),
        Rule(
            "Drift",
            "max by (kind, signal, subject) (flightdeck_monitor_exceeded"
            '{kind=~"drift|skew|missing|unseen|prediction|label"}) == 1',
            "0m",
            "warning",
            "{{ $labels.kind }} {{ $labels.subject }}: {{ $labels.signal }} is beyond its threshold.",
            "`flightdeck monitor` says what it means and what was decided. Skew is always a fault of the data's way.",
        ),
        Rule(
            "MonitorStalled",
            "time() - max(flightdeck_monitor_window_end) > 3 * 86400"
            " and on () sum(increase(flightdeck_serving_rows_total[1d])) > 0",
            "1h",
            "warning",
            "Requests are answered, and no window has been measured for {{ $value | humanizeDuration }}.",
            "Run `flightdeck monitor`; look whether the payload log of the service is the one that it reads.",
        ),
    ),
    "loop": (
        Rule(
            "LoopStalled",
            "time() - max(flightdeck_loop_last_round) > 3600",
            "5m",
            "critical",
            "The loop has made no round for {{ $value | humanizeDuration }}.",
            "`flightdeck watch --status` says who watches. Start it again: what waits is not lost.",
        ),
        Rule(
            "LoopProblem",
            "max(flightdeck_loop_problems) > 0",
            "15m",
            "warning",
            "{{ $value }} steps of the loop cannot be done.",
            "`flightdeck alerts list` has the sentence for each; the loop retries them in every round.",
        ),
        Rule(
            "SpansWait",
            "max(flightdeck_loop_spans_waiting) > 1",
            "6h",
            "warning",
            "{{ $value }} spans have come that no model has learned from.",
            "`flightdeck watch --status` says what waits. At level 0 a person runs `flightdeck run`.",
        ),
        Rule(
            "CanaryRejected",
            'increase(flightdeck_registry_canary_verdicts_total{action="reject"}[1h]) > 0',
            "0m",
            "warning",
            "A canary was rejected; the served version goes on.",
            "`flightdeck canary show` says what it was rejected for.",
        ),
        Rule(
            "RolledBack",
            'increase(flightdeck_registry_changes_total{origin="rollback"}[1h]) > 0',
            "0m",
            "warning",
            "An earlier version of the model was brought back.",
            "`flightdeck models list` says by whom and why. Find out what the version before had learned.",
        ),
        Rule(
            "AlertsWait",
            "max(flightdeck_alerts_pending) > 0",
            "15m",
            "warning",
            "{{ $value }} alerts have not reached people.",
            "`flightdeck alerts list --pending` says which channel refuses them, and why.",
        ),
    ),
    "pipeline": (
        Rule(
            "RunFailed",
            'sum by (outcome) (increase(flightdeck_pipeline_runs_total{outcome=~"failed|killed"}[1h])) > 0',
            "0m",
            "warning",
            "A run of the pipeline was {{ $labels.outcome }}.",
            "`flightdeck runs show latest` names the node and its error; a run that is begun again takes what is done "
            "from the cache.",
        ),
        Rule(
            "ExporterDown",
            f'(sum(up{{job="{EXPORTER_JOB}"}}) or vector(0)) == 0',
            "5m",
            "warning",
            "Nothing is known of runs, windows and the loop: the exporter does not answer.",
            "Start it: `flightdeck metrics`.",
        ),
        Rule(
            "ExporterBlind",
            "max by (part) (flightdeck_exporter_failed) == 1",
            "5m",
            "warning",
            "The exporter cannot read what is known of: {{ $labels.part }}.",
            "Its log has the sentence, such as that the metadata store cannot be reached.",
        ),
    ),
}


def document(hold: str | None = None) -> dict[str, Any]:
    """The rules as Prometheus reads them, on request with one `hold` for all, such as ``0s`` to see them fire."""
    return {
        "groups": [
            {"name": f"flightdeck {name}", "rules": [_document(rule, hold or rule.hold) for rule in rules]}
            for name, rules in GROUPS.items()
        ]
    }


def _document(rule: Rule, hold: str) -> dict[str, Any]:
    return {
        "alert": rule.alert,
        "expr": rule.expression,
        "for": hold,
        "labels": {"severity": rule.severity},
        "annotations": {
            "summary": rule.summary,
            "description": rule.remedy,
            "runbook": f"{PAGE}#{rule.alert.lower()}",
        },
    }

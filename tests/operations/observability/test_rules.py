"""Each alert fires for its fault, and for nothing else: promtool plays series to the rules."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.observability import rules
from tests.services.prometheus import installed

pytestmark = pytest.mark.unit

SERVICE, EXPORTER = 'up{job="flightdeck-serving", instance="%s"}', 'up{job="flightdeck-exporter"}'
UP = {SERVICE % "a": "1+0x400", EXPORTER: "1+0x400"}
ANSWERED = 'flightdeck_serving_requests_total{protocol="v1", route="predict", status="200"}'
FAILED = 'flightdeck_serving_requests_total{protocol="v1", route="predict", status="503"}'
ROWS, WRITTEN = "flightdeck_serving_rows_total", 'flightdeck_serving_payload_rows_total{outcome="written"}'
DROPPED = 'flightdeck_serving_payload_rows_total{outcome="dropped"}'
REFUSED = 'flightdeck_serving_contract_faults_total{column="carrier", outcome="refused"}'
FLAGGED = 'flightdeck_serving_contract_faults_total{column="carrier", outcome="flagged"}'
LOAD_FAILURES = 'flightdeck_serving_version_load_failures_total{instance="a"}'
SERVED = 'flightdeck_serving_model_version{instance="a"}'
NEWER = 'flightdeck_serving_model_version{instance="b"}'
PUSHED = "flightdeck_registry_served_version"
LATEST = 'flightdeck_monitor_exceeded{model_version="7", kind="%s", signal="auc", subject="%s"}'
WITHIN = 'flightdeck_serving_request_seconds_bucket{protocol="v1", route="predict", le="%s"}'
# More than three days before promtool's clock begins, at 0.
WINDOW_END, LONG_AGO = 'flightdeck_monitor_window_end{model_version="7"}', "-300000+0x120"
ROUND, PROBLEMS = "flightdeck_loop_last_round", "flightdeck_loop_problems"
RUN_FAILED = 'flightdeck_pipeline_runs_total{outcome="failed"}'
RUN_PUSHED = 'flightdeck_pipeline_runs_total{outcome="pushed"}'
REJECTED = 'flightdeck_registry_canary_verdicts_total{action="reject"}'
PROMOTED = 'flightdeck_registry_canary_verdicts_total{action="promote"}'
ROLLED_BACK = 'flightdeck_registry_changes_total{origin="rollback"}'
SPANS, WAITING = "flightdeck_loop_spans_waiting", "flightdeck_alerts_pending"
BLIND = 'flightdeck_exporter_failed{part="loop"}'
# Nothing for a quarter of an hour, then it happens once; it has happened before.
HAPPENS, HAPPENED = "0+0x15 1+0x105", "1+0x120"

# An alert; the minute at which it is looked for; series with which it fires then, and with which it does not.
CASES: list[tuple[str, int, dict[str, str], dict[str, str]]] = [
    ("ServiceDown", 20, {SERVICE % "a": "0+0x120"}, {SERVICE % "b": "0+0x120"}),
    ("ExporterDown", 20, {EXPORTER: "0+0x120"}, {}),
    ("Errors", 20, {ANSWERED: "0+60x120", FAILED: "0+2x120"}, {ANSWERED: "0+600x120", FAILED: "0+2x120"}),
    (
        "Slow",
        30,
        {WITHIN % "0.5": "0+90x120", WITHIN % "5": "0+100x120", WITHIN % "+Inf": "0+100x120"},
        {WITHIN % "0.5": "0+100x120", WITHIN % "5": "0+100x120", WITHIN % "+Inf": "0+100x120"},
    ),
    ("RefusedRows", 20, {REFUSED: "0+5x120"}, {FLAGGED: "0+5x120", REFUSED: "70+0x120"}),
    ("VersionRefused", 20, {LOAD_FAILURES: HAPPENS}, {LOAD_FAILURES: HAPPENED}),
    ("OtherVersionServed", 40, {SERVED: "3+0x120", PUSHED: "4+0x120"}, {SERVED: "4+0x120", PUSHED: "4+0x120"}),
    (
        "ReplicaBehind",
        20,
        {SERVED: "3+0x120", NEWER: "4+0x120"},
        {SERVED: "3+0x19 4+0x100", NEWER: "4+0x120"},
    ),
    ("NoPayloadLog", 60, {ROWS: "0+9x120", WRITTEN: "0+0x120"}, {ROWS: "0+9x120", WRITTEN: "0+9x120"}),
    ("PayloadsLost", 20, {DROPPED: HAPPENS}, {DROPPED: HAPPENED, WRITTEN: "0+9x120"}),
    ("QualityDrop", 5, {LATEST % ("quality", ""): "1+0x120"}, {LATEST % ("quality", ""): "0+0x120"}),
    ("Drift", 5, {LATEST % ("drift", "temp"): "1+0x120"}, {LATEST % ("quality", "temp"): "1+0x120"}),
    ("MonitorStalled", 90, {WINDOW_END: LONG_AGO, ROWS: "0+9x120"}, {WINDOW_END: LONG_AGO, ROWS: "9+0x120"}),
    ("LoopStalled", 90, {ROUND: "0+0x120"}, {ROUND: "0+60x120"}),
    ("LoopProblem", 30, {PROBLEMS: "2+0x120"}, {PROBLEMS: "0+0x120"}),
    ("SpansWait", 400, {SPANS: "2+0x400"}, {SPANS: "1+0x400"}),
    ("CanaryRejected", 20, {REJECTED: HAPPENS}, {REJECTED: HAPPENED, PROMOTED: HAPPENS}),
    ("RolledBack", 20, {ROLLED_BACK: HAPPENS}, {ROLLED_BACK: HAPPENED}),
    ("AlertsWait", 30, {WAITING: "3+0x120"}, {WAITING: "0+0x120"}),
    ("RunFailed", 20, {RUN_FAILED: HAPPENS}, {RUN_FAILED: HAPPENED, RUN_PUSHED: HAPPENS}),
    ("ExporterBlind", 20, {BLIND: "1+0x120"}, {BLIND: "0+0x120"}),
]


def played(series: dict[str, str], alert: str, minute: int, fires: bool) -> dict[str, Any]:
    """A test of promtool: series, of a value for each minute, and how many alerts of a name fire then."""
    firing = f'count(ALERTS{{alertname="Flightdeck{alert}", alertstate="firing"}}) or vector(0)'
    expected = [{"labels": "{}", "value": int(fires)}]
    return {
        "name": f"{alert} {'fires' if fires else 'does not fire'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in ({**UP, **series}).items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{minute}m", "exp_samples": expected}],
    }


def test_every_alert_is_played():
    assert {case[0] for case in CASES} == {rule.name for group in rules.GROUPS.values() for rule in group}


def test_alerts_fire_for_their_faults_alone(tmp_path: Path):
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules.document()))
    tests = [
        played(series, alert, minute, fires)
        for alert, minute, faulty, sound in CASES
        for series, fires in ((faulty, True), (sound, False))
    ]
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}))

    done = subprocess.run([installed("promtool"), "test", "rules", file], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr

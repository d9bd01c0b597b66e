"""A run that failed is an error in its trace, at the node that ended it."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from ledger.run_record import NodeOutcome, RunRecord
from pipeline import tracing
from tests.services.collector import collecting

pytestmark = pytest.mark.unit

NOW = datetime(2024, 5, 1, tzinfo=UTC)
ERROR = 2  # of the enumeration StatusCode


def test_a_run_that_failed_says_why_and_where(monkeypatch):
    good = NodeOutcome("Transform", "done", 20.0, 900.0, ended=NOW + timedelta(seconds=25))
    bad = NodeOutcome("Trainer", "failed", 10.0, 950.0, "There is no label.", NOW + timedelta(seconds=35))
    record = RunRecord(
        run_id="a",
        pipeline="flights",
        started=NOW,
        loading_seconds=4.0,
        seconds=40.0,
        outcome="failed",
        reasons=("Trainer failed: There is no label.",),
        nodes=(good, bad),
    )
    with collecting() as collector:
        for name, value in collector.variables.items():
            monkeypatch.setenv(name, value)
        tracing.begin(os.environ, tracing.RUN)
        tracing.run(record)
        tracing.end()

    whole, transform, trainer = sorted(collector.spans["flightdeck-run"], key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in (whole, transform, trainer)] == ["run flights", "Transform", "Trainer"]
    assert whole.start_time_unix_nano == int((NOW - timedelta(seconds=4)).timestamp() * 1e9)
    assert (whole.status.code, whole.status.message) == (ERROR, "Trainer failed: There is no label.")
    assert (trainer.status.code, trainer.status.message) == (ERROR, "There is no label.")
    assert transform.status.code != ERROR
    assert {span.trace_id for span in (transform, trainer)} == {whole.trace_id}


def test_a_run_leaves_no_trace_unless_somebody_collects(monkeypatch):
    with collecting() as collector:
        monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
        tracing.begin(os.environ, tracing.RUN)
        tracing.run(RunRecord(run_id="a", started=NOW, seconds=1.0))
        tracing.end()
    assert not collector.spans

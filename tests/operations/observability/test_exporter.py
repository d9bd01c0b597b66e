"""What the exporter says is what the records hold, when Prometheus asks."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from errors import FlightdeckError
from flightdeck.settings import Settings, read_settings
from ledger.opening import open_store
from ledger.recorder import Recorder
from ledger.run_record import NodeOutcome
from operations import metrics
from operations.alerts.alert import Alert
from operations.alerts.dispatcher import open_outbox
from operations.loop import heartbeat
from operations.loop.attempts import Attempts
from operations.loop.loop import folder_of
from operations.loop.triggers import Trigger
from operations.monitoring.quarantine import quarantine
from operations.monitoring.records import MonitoringRecords
from operations.observability import exporter
from pipeline import store
from tests.operations.monitoring.windows import decision, signal, window
from tests.world import LOCAL

pytestmark = pytest.mark.unit

NOW = datetime(2024, 5, 1, tzinfo=UTC)
Samples = dict[tuple[str, ...], float]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(LOCAL, [f"workspace={tmp_path / 'workspace'}", f"data.spans={tmp_path / 'spans'}"])


@pytest.fixture
def recorded(settings: Settings) -> Recorder:
    """A store in which two runs were recorded: one pushed what it learned from spans 1 to 3, one failed."""
    Path(settings.workspace).mkdir()
    recorder = Recorder(open_store(store.connection(settings)))
    pipeline = settings.use_case.name
    node = NodeOutcome("Trainer", "done", 12.5, 900.0)
    facts = {"pipeline": pipeline, "started": NOW, "spans": {"train": [1, 2], "eval": [3]}, "rows": {"train": 90}}
    ended = {"nodes": (node,), "seconds": 60.0, "metrics": {"auc": 0.75}, "champion_metrics": {"auc": 0.5}}
    recorder.write("a", outcome="pushed", **facts, **ended)
    recorder.write("b", outcome="failed", pipeline=pipeline, started=NOW)
    for span in range(1, 7):
        (Path(settings.spans) / f"span-{span:03d}").mkdir(parents=True)
    return recorder


def told(settings: Settings) -> Samples:
    """What Prometheus reads: (name, values of the labels, in alphabetical order of these) -> value."""
    registry = exporter.registry_of(settings)
    return {
        (sample.name.removeprefix("flightdeck_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_runs_are_counted_by_outcome_and_the_last_one_that_ended_is_described(settings, recorded):
    seen = told(settings)

    assert seen["pipeline_runs_total", "pushed"] == seen["pipeline_runs_total", "failed"] == 1
    assert seen["pipeline_runs_total", "killed"] == 0
    assert seen["pipeline_last_run_seconds",] == 60
    assert seen["pipeline_last_run_node_seconds", "Trainer", "done"] == 12.5
    assert seen["pipeline_last_run_rows", "train"] == 90
    assert seen["pipeline_last_run_metric", "auc", "challenger"] == 0.75
    assert seen["pipeline_last_run_metric", "auc", "champion"] == 0.5
    assert seen["pipeline_last_run", "failed"] == NOW.timestamp()


def test_spans_wait_that_are_newer_than_all_that_was_learned_from_and_not_in_quarantine(settings, recorded):
    assert told(settings)["loop_spans_waiting",] == 3
    quarantine(settings, 5, "a broken sensor")
    seen = told(settings)
    assert (seen["loop_spans_waiting",], seen["loop_spans_quarantined",]) == (2, 1)


def test_the_latest_window_and_all_decisions_are_told(settings, recorded):
    records = MonitoringRecords(open_store(store.connection(settings)), settings.use_case.name)
    records.keep_window(window(1, signals=(signal(value=0.9),)))
    records.keep_window(window(2, signals=(signal(value=0.05),), refused=4))
    records.keep_decision(decision("retrain"))

    seen = told(settings)

    assert seen["monitor_signal", "drift", "7", "distance", "a"] == 0.05
    assert seen["monitor_exceeded", "drift", "7", "distance", "a"] == 0
    assert (seen["monitor_rows", "7"], seen["monitor_refused", "7"]) == (10, 4)
    assert seen["monitor_decisions_total", "retrain"] == 1
    assert seen["monitor_decisions_total", "roll back"] == 0


def test_the_loop_its_runs_and_alerts_that_wait_are_told(settings, recorded):
    seen = told(settings)
    assert ("loop_last_round",) not in seen  # it never made one, and is not late
    assert (seen["loop_run_open",], seen["alerts_pending",]) == (0, 0)

    folder_of(settings).mkdir()
    heartbeat.write(folder_of(settings), heartbeat.Heartbeat(when=NOW, problems={"spans": "There is none."}))
    attempts = Attempts(settings, open_store(store.connection(settings)))
    trigger = Trigger(kind="new span", key="span 4", reason="span 4 is new", when=NOW)
    attempts.end(attempts.begin("a", [trigger], NOW), "failed", "", NOW)
    attempts.begin("b", [trigger], NOW)
    open_outbox(settings)[0].put(Alert(key="a", severity="warning", title="a", text="a", source="test"))

    seen = told(settings)
    assert (seen["loop_last_round",], seen["loop_problems",]) == (NOW.timestamp(), 1)
    assert (seen["loop_attempts_total", "failed"], seen["loop_attempts_total", "pushed"]) == (1, 0)
    assert (seen["loop_run_open",], seen["alerts_pending",]) == (1, 1)


def test_what_cannot_be_read_is_shown_and_the_rest_is_told(settings, recorded, caplog):
    folder_of(settings).mkdir()
    (folder_of(settings) / "last-round.json").write_text("{")

    seen = told(settings)

    failed = {labels[1] for labels, value in seen.items() if labels[0] == "exporter_failed" and value}
    assert failed == {"loop"}
    assert seen["pipeline_runs_total", "pushed"] == 1
    assert [record.message for record in caplog.records] == [
        f"loop: The last round of the loop cannot be read from {folder_of(settings) / 'last-round.json'}."
    ]


def test_before_the_first_run_it_answers_and_says_what_is_missing(settings):
    seen = told(settings)
    assert {labels[0] for labels in seen} == {"exporter_failed"}
    assert set(seen.values()) == {1}
    assert not Path(settings.workspace).exists()


@pytest.fixture
def address(settings, recorded) -> Iterator[str]:
    with exporter.serving(settings, "127.0.0.1", 0) as url:
        yield url


def test_it_is_scraped_over_http_and_tells_of_itself(address):
    text = requests.get(f"{address}/metrics", timeout=30).text
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"flightdeck_pipeline_runs", metrics.MEMORY.name, metrics.STARTED.name} <= names


def test_a_port_that_is_taken_is_one_sentence(settings, address):
    port = int(address.rpartition(":")[2])
    with (
        pytest.raises(FlightdeckError, match="choose another with --port"),
        exporter.serving(settings, "127.0.0.1", port),
    ):
        pass


def test_only_metrics_of_the_list_can_be_told():
    with pytest.raises(ValueError, match="has the labels"):
        metrics.Snapshot().put(metrics.RUNS, 1)

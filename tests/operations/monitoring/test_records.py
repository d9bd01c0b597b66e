"""Windows and decisions in a real metadata store."""

from datetime import UTC, datetime

import pytest
from ml_metadata.proto import metadata_store_pb2

from ledger.opening import open_store
from operations.monitoring.policy import Decision
from operations.monitoring.records import MONITOR, MonitoringRecords
from operations.monitoring.signals import Window
from tests.ledger.seeding import sqlite
from tests.operations.monitoring import windows
from tests.operations.monitoring.windows import signal

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path):
    return open_store(sqlite(tmp_path / "metadata.sqlite"))


@pytest.fixture
def records(store):
    return MonitoringRecords(store, "ours")


def window(month: int, labelled: int = 0) -> Window:
    return windows.window(31 * month, name=f"2013-{month:02d}", labelled=labelled, signals=(signal(value=0.1 + 0.2),))


def decision(month: int, action="alert") -> Decision:
    return windows.decision(action, window=f"2013-{month:02d}", when=datetime(2013, month, 28, tzinfo=UTC))


def test_what_is_kept_is_read_back_in_the_order_of_time(records):
    records.keep_window(window(3))
    records.keep_window(window(2))
    records.keep_decision(decision(3))
    records.keep_decision(decision(2))

    assert records.windows() == [window(2), window(3)]
    assert records.decisions() == [decision(2), decision(3)]


def test_a_window_is_measured_again_when_its_labels_have_arrived(records):
    records.keep_window(window(2))
    records.keep_window(window(2, labelled=10))

    assert [window.labelled for window in records.windows()] == [10]


def test_a_window_is_decided_on_once(records):
    assert records.keep_decision(decision(2, "retrain"))
    assert not records.keep_decision(decision(2, "none"))

    assert [decision.action for decision in records.decisions()] == ["retrain"]


def test_the_pipelines_of_one_store_do_not_mix(store, records):
    records.keep_window(window(2))

    assert MonitoringRecords(store, "theirs").windows() == []
    assert MonitoringRecords(store, "theirs").decisions() == []


def test_a_window_is_a_descendant_of_the_model_that_was_served(store, records):
    type_id = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Model"))
    (model_id,) = store.put_artifacts([metadata_store_pb2.Artifact(type_id=type_id, uri="somewhere")])

    records.keep_window(window(2), model_id)
    records.keep_window(window(2, labelled=5), model_id)

    (event,) = store.get_events_by_artifact_ids([model_id])
    (execution,) = store.get_executions_by_id([event.execution_id])
    assert event.type == metadata_store_pb2.Event.INPUT
    assert execution.type == MONITOR
    assert execution.last_known_state == metadata_store_pb2.Execution.COMPLETE

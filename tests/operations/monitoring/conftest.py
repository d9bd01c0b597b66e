"""A monitor of a workspace of its own, whose versions are compared with nothing."""

from datetime import UTC, datetime

import pytest

from flightdeck.settings import read_settings
from ledger.opening import open_store
from ledger.run_record import RunRecord
from operations.monitoring import measure
from operations.monitoring.reference import Reference
from pipeline import store
from tests.world import LOCAL

DAY = datetime(2013, 7, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path):
    return read_settings(LOCAL, [f"workspace={tmp_path}", "monitoring.fewest_rows=1000", "alerts.webhook=false"])


@pytest.fixture
def monitor(settings, monkeypatch):
    from tensorflow_metadata.proto.v0 import statistics_pb2

    def nothing_known(_settings, _reader, version):
        nothing = statistics_pb2.DatasetFeatureStatisticsList(datasets=[statistics_pb2.DatasetFeatureStatistics()])
        return Reference(str(version), version, RunRecord(run_id="r", started=DAY), nothing, nothing, None)

    monkeypatch.setattr(measure, "reference", nothing_known)
    return measure.Monitor(settings, open_store(store.connection(settings)))

"""What a version is compared with, read where its run has left it."""

import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from ledger.recorder import Recorder
from operations.monitoring.reference import reference_of
from tests.operations.test_registry import Factory

pytestmark = pytest.mark.unit


def test_the_statistics_of_a_run_are_read_in_a_folder_and_in_a_bucket(place, tmp_path):
    factory = Factory(tmp_path / "workspace")
    factory.push("run", factory.train("run"), 1)
    for split in ("train", "eval"):
        measured = statistics_pb2.DatasetFeatureStatisticsList()
        measured.datasets.add(name=split)
        (place / f"Split-{split}").mkdir(parents=True)
        (place / f"Split-{split}" / "FeatureStats.pb").write_bytes(measured.SerializeToString())
    statistics = factory.executions.artifact("ExampleStatistics", str(place))
    factory.executions.execute("run", "StatisticsGen", {}, {"statistics": statistics})
    Recorder(factory.store).write("run", kind="run", outcome="pushed")

    found = reference_of(factory.settings, factory.store, 1)

    assert (found.training.datasets[0].name, found.newest.datasets[0].name) == ("train", "eval")

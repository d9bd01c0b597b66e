"""A round of the monitor that is killed: the next one does what is left, and nobody is told less."""

import types
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightdeck.settings import read_settings
from ledger.opening import open_store
from operations.monitoring import round as rounds
from operations.monitoring.records import MonitoringRecords
from pipeline.store import connection
from tests.operations.monitoring.windows import signal, window
from tests.world import LOCAL

pytestmark = pytest.mark.unit

JULY, AUGUST = datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 8, 1, tzinfo=UTC)
VERSIONS = ("1", "2")


class TwoVersions:
    """In place of what measures with TFDV: two versions answered five requests each, and a column was unseen."""

    def __init__(self, settings, store) -> None:
        pass

    labelled, measured, at_fault = 5, 0, True

    def measure(self, period, before, faulty):
        TwoVersions.measured += 1
        column = signal("unseen", "column", value=1.0, threshold=0.0, exceeded=self.at_fault)
        dates = {"name": period.name, "begin": JULY, "end": AUGUST}
        return [window(0, version, (column,), rows=5, labelled=self.labelled, **dates) for version in VERSIONS]

    def counted(self, period) -> dict[str, tuple[int, int]]:
        return dict.fromkeys(VERSIONS, (5, self.labelled))

    def reference(self, version):
        return types.SimpleNamespace(model_id=None)

    def close(self) -> None:
        pass


@pytest.fixture
def settings(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(rounds, "Monitor", TwoVersions)
    made = read_settings(LOCAL, [f"workspace={tmp_path}", "monitoring.window=month"])
    folder = Path(made.payloads) / "2013-07-01"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"time": pa.array([JULY], pa.timestamp("us", tz="UTC"))}), folder / "all.parquet")
    return made


@pytest.fixture
def store(settings):
    return open_store(connection(settings))


@pytest.mark.parametrize("survived", [0, 1])
def test_the_next_round_tells_decides_and_keeps_what_a_killed_one_did_not(settings, store, survived):
    told = []

    def alert(about) -> None:
        if len(told) == survived:
            raise KeyboardInterrupt
        told.append(about.facts["version"])

    with pytest.raises(KeyboardInterrupt):
        rounds.monitor(settings, store, AUGUST, alert)
    told_again: list[str] = []
    rounds.monitor(settings, store, AUGUST, lambda alert: told_again.append(alert.facts["version"]))
    records = MonitoringRecords(store, settings.use_case.name)
    assert sorted({*told, *told_again}) == list(VERSIONS)
    assert [window.version for window in records.windows()] == list(VERSIONS)
    assert sorted(decision.version for decision in records.decisions()) == list(VERSIONS)


def test_what_is_settled_is_left_alone(settings, store):
    told = []
    first = rounds.monitor(settings, store, AUGUST, told.append)
    again = rounds.monitor(settings, store, AUGUST, told.append)
    assert (len(first.windows), len(first.decisions), len(told)) == (2, 2, 2)
    assert again == rounds.Round((), ())


def test_a_window_whose_labels_do_not_come_is_not_measured_again_and_again(settings, store, monkeypatch):
    monkeypatch.setattr(TwoVersions, "measured", 0)
    monkeypatch.setattr(TwoVersions, "labelled", 3)
    for _ in range(3):
        rounds.monitor(settings, store, AUGUST, lambda alert: None)
    assert TwoVersions.measured == 1

    monkeypatch.setattr(TwoVersions, "labelled", 4)
    rounds.monitor(settings, store, AUGUST, lambda alert: None)
    assert TwoVersions.measured == 2


def test_labels_that_come_little_by_little_repeat_no_alert(settings, store, monkeypatch):
    told = []
    for labelled in (0, 2, 3, 4):
        monkeypatch.setattr(TwoVersions, "labelled", labelled)
        rounds.monitor(settings, store, AUGUST, told.append)

    assert [alert.facts["window"] for alert in told] == [*["2013-07-01"] * 2, *["2013-07-01+labels"] * 2]
    assert [window.labelled for window in MonitoringRecords(store, settings.use_case.name).windows()] == [4, 4]


def test_a_few_labels_do_not_use_up_the_decision_on_labels(settings, store, monkeypatch):
    monkeypatch.setattr(TwoVersions, "at_fault", False)
    decided = []
    for labelled in (0, 1, 4, 5):
        monkeypatch.setattr(TwoVersions, "labelled", labelled)
        decided.append([decision.window for decision in rounds.monitor(settings, store, AUGUST, print).decisions])

    assert decided == [["2013-07-01"] * 2, [], [], ["2013-07-01+labels"] * 2]

"""When requests come, and how spans arrive."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operations.loop.replay import arrival, plan, traffic

pytestmark = pytest.mark.unit


def test_requests_are_spread_evenly_within_their_month(settings):
    period = plan.month_of(plan.of(settings), 2)
    at = traffic.times(period, 28)
    assert at[0] == period.begin.timestamp()
    assert at[-1] == period.end.timestamp() - 86_400
    assert set((at[1:] - at[:-1]).tolist()) == {86_400.0}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source" / "span-007"
    folder.mkdir(parents=True)
    rows = pa.table({"moment": [3, 1, 2], "temp": pa.array([212.0, 32.0, None], pa.float32())})
    pq.write_table(rows, folder / "rows.parquet")
    return tmp_path / "source"


def test_a_span_arrives_as_it_is_and_once(settings, source):
    made = plan.make(settings, "2", "3:9", None, None)
    arrived = arrival.arrive(settings, made, source, 7)
    assert pq.read_table(arrived / "rows.parquet").equals(arrival.truth(source, 7))
    (arrived / "rows.parquet").unlink()
    assert list(arrival.arrive(settings, made, source, 7).iterdir()) == []


def test_a_fault_is_in_what_is_asked_and_in_what_arrives_and_nowhere_else(settings, source):
    made = plan.make(settings, "2", "3:9", "celsius@7", None)
    asked = arrival.requests(settings, made, source, 7)
    assert asked.to_pydict() == {"moment": [1, 2, 3], "temp": [0.0, None, 100.0]}
    arrived = pq.read_table(arrival.arrive(settings, made, source, 7) / "rows.parquet")
    assert arrived["temp"].to_pylist() == [100.0, 0.0, None]
    elsewhere = plan.make(settings, "2", "3:9", "celsius@8", None)
    assert arrival.requests(settings, elsewhere, source, 7)["temp"].to_pylist() == [32.0, None, 212.0]


def test_requests_do_not_show_a_fault_of_the_labels(settings, source, tmp_path):
    rows = arrival.truth(source, 7).append_column("arrived_late", pa.array([0, 1, 1]))
    pq.write_table(rows, source / "span-007" / "rows.parquet")
    made = plan.make(settings, "2", "3:9", "poisoned@7", None)
    assert arrival.requests(settings, made, source, 7).equals(rows.sort_by("moment"))

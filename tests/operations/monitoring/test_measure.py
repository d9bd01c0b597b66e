"""Windows of two versions, of a single request, and of rows that were refused; and what each is compared with."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flightdeck.settings import read_settings
from ledger.opening import open_store
from ledger.run_record import RunRecord
from operations.inference.payload_table import CALLER, FAULTS, ID, REFUSED, SECONDS, SHADOW, TIME, VERSION
from operations.monitoring import measure
from operations.monitoring.measure import Baseline, rows_by_window
from operations.monitoring.policy import decide
from operations.monitoring.reference import Reference
from operations.monitoring.served import period_of
from operations.monitoring.signals import Signal, Window
from pipeline import store
from tests.operations.loop.canary.traffic import write_log
from tests.operations.monitoring import windows
from tests.world import LOCAL

pytestmark = pytest.mark.component
DAY = datetime(2013, 7, 1, tzinfo=UTC)
YESTERDAY, TODAY = DAY - timedelta(days=1), period_of(DAY, "day")
ROWS = 2400


@pytest.fixture
def settings(tmp_path):
    return read_settings(LOCAL, [f"workspace={tmp_path}", "monitoring.fewest_rows=1000"])


@pytest.fixture
def monitor(settings, monkeypatch):
    """A monitor whose versions are compared with nothing."""
    from tensorflow_metadata.proto.v0 import statistics_pb2

    def nothing_known(_settings, _reader, version):
        nothing = statistics_pb2.DatasetFeatureStatisticsList(datasets=[statistics_pb2.DatasetFeatureStatistics()])
        return Reference(str(version), version, RunRecord(run_id="r", started=DAY), nothing, nothing, None)

    monkeypatch.setattr(measure, "reference_of", nothing_known)
    return measure.Monitor(settings, open_store(store.connection(settings)))


def month(number: int):
    return period_of(datetime(2013, number, 1, tzinfo=UTC), "month")


def window(number: int, rows: int, version: str = "1") -> Window:
    of = month(number)
    return windows.window(0, version, name=of.name, begin=of.begin, end=of.end, rows=rows)


@pytest.mark.parametrize(
    ("before", "faulty", "expected"),
    [
        ([], set(), None),
        ([window(5, 2000), window(6, 2000)], set(), Baseline(month(6), 1)),
        ([window(5, 2000), window(6, 2000)], {"2013-06-01"}, Baseline(month(5), 2)),
        ([window(5, 2000), window(6, 10)], set(), Baseline(month(5), 2)),  # too small to compare with
        ([window(6, 600), window(6, 600, "2")], set(), Baseline(month(6), 1)),  # two versions, one month
        ([window(3, 2000), window(6, 2000)], {"2013-06-01"}, Baseline(month(3), 2)),  # nobody asked meanwhile
        ([window(7, 2000), window(8, 2000)], set(), None),  # not of the same time, or later
    ],
)
def test_a_window_is_compared_with_the_last_good_one(monitor, before, faulty, expected):
    assert monitor._baseline(rows_by_window(month(7), before), faulty) == expected


def test_requests_are_counted_over_all_versions_of_a_window():
    before = [window(5, 1000), window(6, 60, "1"), window(6, 940, "2"), window(7, 5)]
    assert rows_by_window(month(7), before) == {month(5): 1000, month(6): 1000}


def log(settings, name: str, rows: int = ROWS, day: datetime = DAY, **columns: Any) -> None:
    """A day of requests of one row each, evenly spread, and each further than the one before."""
    table = {
        ID: [f"{name}-{number}" for number in range(rows)],
        TIME: [day + timedelta(seconds=86_000 * number / rows) for number in range(rows)],
        VERSION: np.full(rows, 1),
        SHADOW: np.zeros(rows, bool),
        SECONDS: np.full(rows, None, np.float32),
        "carrier": "UA",
        "distance": np.linspace(100, 1300, rows, dtype=np.float32),
        "probability": np.full(rows, 0.2, np.float32),
    }
    write_log(Path(settings.payloads), {**table, **columns}, name)


def refuse(settings, name: str, rows: int, caller: str) -> None:
    """Requests with a carrier that is not allowed, and without the distance that is never missing."""
    faults = {"carrier": "ZZ", "distance": np.full(rows, np.nan, np.float32), FAULTS: "carrier, distance"}
    log(settings, name, rows, **faults, **{REFUSED: True, CALLER: caller})


def signals(window: Window) -> dict[tuple[str, str], Signal]:
    return {(signal.kind, signal.subject or signal.name): signal for signal in window.signals}


def test_a_version_that_came_at_noon_is_not_blamed_for_having_seen_no_morning(settings, monitor):
    log(settings, "yesterday", day=YESTERDAY)
    log(settings, "today", **{VERSION: np.repeat([1, 2], ROWS // 2)})

    (before,) = monitor.measure(period_of(YESTERDAY, "day"))
    both = monitor.measure(TODAY, [before])

    assert [(window.version, window.rows) for window in both] == [("1", ROWS // 2), ("2", ROWS // 2)]
    for window in both:
        seen = signals(window)
        assert seen["drift", "distance"].value < 0.01
        assert not seen["drift", "distance"].exceeded
        assert seen["traffic", "requests"].value == ROWS


def test_a_single_request_is_no_window_however_many_rows_it_has(settings, monitor):
    together = {TIME: [YESTERDAY] * ROWS, SECONDS: np.full(ROWS, 0.01, np.float32)}
    log(settings, "yesterday", **together, distance=np.linspace(100, 9000, ROWS, dtype=np.float32))
    log(settings, "today")

    (single,) = monitor.measure(period_of(YESTERDAY, "day"))
    (window,) = monitor.measure(TODAY, [single])

    assert single.rows == ROWS
    assert {signal.kind for signal in single.signals}.isdisjoint({"drift", "missing", "prediction"})
    # Nor is the next one compared with it: the model's evaluation split has nothing to compare with here.
    assert {"missing", "unseen"} <= {signal.kind for signal in window.signals}
    assert "drift" not in {signal.kind for signal in window.signals}


def test_refused_rows_are_seen_with_their_callers_and_change_nothing_else(settings, monitor):
    log(settings, "yesterday", day=YESTERDAY)
    (before,) = monitor.measure(period_of(YESTERDAY, "day"))
    log(settings, "answered")
    (without,) = monitor.measure(TODAY, [before])
    refuse(settings, "refused", 280, "web shop")
    refuse(settings, "more", 20, "till 3")
    (window,) = monitor.measure(TODAY, [before])

    assert (window.rows, window.refused) == (ROWS, 300)
    assert monitor.counted(TODAY) == {"1": (ROWS, 0)}
    seen = signals(window)
    for key in (("unseen", "carrier"), ("missing", "distance")):
        assert seen[key].value == pytest.approx(300 / 2700)
        assert (seen[key].exceeded, seen[key].refused) == (True, True)
        assert seen[key].meaning.endswith("the callers are web shop (280), till 3 (20)")
    # What was answered is as it was: nothing has drifted, nobody has come or gone.
    others, as_before = (
        {key: signal for key, signal in signals(measured).items() if key[0] not in ("unseen", "missing")}
        for measured in (window, without)
    )
    assert others == as_before
    assert ("drift", "distance") in others

    decision = decide(settings.monitoring.rules, window, [window], [], DAY + timedelta(days=1))
    assert (decision.action, decision.spans) == ("alert", ())
    (reason,) = decision.reasons
    assert set(reason.subjects) == {"carrier", "distance"}
    assert "web shop (280)" in reason.text


def test_a_version_that_refused_all_day_is_seen(settings, monitor):
    refuse(settings, "refused", 300, "web shop")

    (window,) = monitor.measure(TODAY)

    assert (window.version, window.rows, window.refused, window.labelled) == ("1", 0, 300, 0)
    assert monitor.counted(TODAY) == {"1": (0, 0)}
    assert signals(window)["unseen", "carrier"].value == 1.0


def test_answered_rows_at_fault_are_a_fault_of_the_data_whatever_else_was_refused(settings, monitor):
    log(settings, "answered")
    log(settings, "flagged", 300, **{"carrier": "ZZ", FAULTS: "carrier"})
    refuse(settings, "refused", 300, "web shop")

    (window,) = monitor.measure(TODAY)

    signal = signals(window)["unseen", "carrier"]
    assert signal.value == pytest.approx(600 / 3000)
    assert (signal.exceeded, signal.refused) == (True, False)
    assert decide(settings.monitoring.rules, window, [window], [], DAY + timedelta(days=1)).action == "quarantine"

"""Which earlier window another one is compared with, and how far it lies back."""

from datetime import UTC, datetime

import pytest

from flightdeck.settings import read_settings
from ledger.opening import open_store
from operations.monitoring.measure import Baseline, Monitor, rows_by_window
from operations.monitoring.served import period_of
from operations.monitoring.signals import Window
from pipeline import store
from tests.world import LOCAL

pytestmark = pytest.mark.unit


def month(number: int):
    return period_of(datetime(2013, number, 1, tzinfo=UTC), "month")


def window(number: int, rows: int, version: str = "1") -> Window:
    of = month(number)
    return Window(name=of.name, begin=of.begin, end=of.end, version=version, rows=rows, labelled=rows, signals=())


@pytest.fixture(scope="module")
def monitor(tmp_path_factory):
    settings = read_settings(LOCAL, [f"workspace={tmp_path_factory.mktemp('w')}", "monitoring.fewest_rows=1000"])
    return Monitor(settings, open_store(store.connection(settings)))


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

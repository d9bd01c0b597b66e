"""What stands at the axes of a plot, as it is drawn."""

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
import vl_convert

from ledger.run_record import RunRecord
from operations.report import plots, series
from operations.report.curves import Curve

pytestmark = pytest.mark.unit
BEGIN = datetime(2026, 11, 28, 20, 5, 26, tzinfo=UTC)
MINUTE = r"\d{4}-\d\d-\d\d \d\d:\d\d"


def labels(spec: dict) -> list[list[str]]:
    """The labels of the axes, those of the horizontal one first."""
    drawn = ElementTree.fromstring(vl_convert.vegalite_to_svg({**spec, "width": 600}))
    return [
        [str(text.text) for text in group.iter("{http://www.w3.org/2000/svg}text")]
        for group in drawn.iter("{http://www.w3.org/2000/svg}g")
        if "role-axis-label" in group.get("class", "")
    ]


def history(*values: float) -> plots.Plot:
    records = [
        RunRecord(run_id=f"r{at}", started=BEGIN + at * timedelta(seconds=20), outcome="pushed", metrics={"auc": value})
        for at, value in enumerate(values)
    ]
    return plots.history(records, {}, "auc", None)


def test_the_only_run_stands_at_its_time_and_its_value():
    (moment,), value = labels(history(0.7123).spec)

    assert re.fullmatch(MINUTE, moment)
    assert value == ["0.7123"]


def test_runs_within_a_minute_stand_at_whole_times_and_equal_ones_at_their_value():
    times, value = labels(history(0.7, 0.7, 0.7).spec)

    assert times
    assert all(re.fullmatch(r"\d\d:\d\d(:\d\d)?", time) for time in times)
    assert value == ["0.7"]


@pytest.mark.parametrize("value", [27_020, 0.0042])
def test_a_number_of_any_size_is_written_as_it_is(value: float):
    assert labels(history(value).spec)[1] == [f"{value:,}"]


def test_the_only_window_of_a_signal_and_the_only_event_stand_at_their_time():
    point = series.Point("2026-11-28T20:05:26Z", "version 1", 0.31, choice="decisions", words="Why.")
    signal = series.over_time("signal", [point], ["version 1"], "Words.")
    (at_time,), value = labels(signal.spec)
    ((event,), _) = labels(series.events("events", [point], ["decisions"], "Words.").spec)

    assert re.fullmatch(MINUTE, at_time)
    assert re.fullmatch(MINUTE, event)
    assert value == ["0.31"]


def test_the_only_epoch_of_a_training_stands_at_its_loss():
    (plot,) = plots.training([Curve("loss", "train", ((1, 0.4321),))])

    assert labels(plot.spec) == [["1"], ["0.4321"]]

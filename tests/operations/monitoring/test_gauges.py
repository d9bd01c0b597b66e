"""What Prometheus is told."""

from datetime import UTC, datetime, timedelta

import pytest

from operations.monitoring import gauges
from operations.monitoring.signals import Signal, Window

pytestmark = pytest.mark.unit


def window(day: int, version: str, exceeded: bool) -> Window:
    begin = datetime(2013, 7, day, tzinfo=UTC)
    signal = Signal(kind="drift", name="l_infty", subject="a", value=0.5, threshold=0.1, exceeded=exceeded, meaning="")
    return Window(
        name=f"{begin:%Y-%m-%d}",
        begin=begin,
        end=begin + timedelta(days=1),
        version=version,
        rows=10,
        labelled=0,
        signals=(signal,),
    )


def test_a_version_that_answers_no_more_is_forgotten_or_its_alarm_would_never_end(tmp_path):
    file = tmp_path / "monitoring" / "flightdeck.prom"

    gauges.write([window(1, "1", True), window(2, "2", False), window(2, "1", False), window(3, "2", True)], file)

    lines = [line for line in file.read_text().splitlines() if line.startswith("flightdeck_monitor_exceeded")]
    assert [(line.split('model_version="')[1][0], line.rpartition(" ")[2]) for line in lines] == [("2", "1.0")]
    gauges.write([], file)
    assert "flightdeck_monitor_exceeded{" not in file.read_text()

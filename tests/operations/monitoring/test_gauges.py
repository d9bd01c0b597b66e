"""What Prometheus is told."""

import pytest

from operations.monitoring import gauges
from tests.operations.monitoring.windows import signal, window

pytestmark = pytest.mark.unit


def test_a_version_that_answers_no_more_is_forgotten_or_its_alarm_would_never_end(tmp_path):
    file = tmp_path / "monitoring" / "flightdeck.prom"

    seen = [(1, "1", 0.5), (2, "2", 0.0), (2, "1", 0.0), (3, "2", 0.5)]
    gauges.write([window(day, version, (signal(value=value),)) for day, version, value in seen], file)

    lines = [line for line in file.read_text().splitlines() if line.startswith("flightdeck_monitor_exceeded")]
    assert [(line.split('model_version="')[1][0], line.rpartition(" ")[2]) for line in lines] == [("2", "1.0")]
    gauges.write([], file)
    assert "flightdeck_monitor_exceeded{" not in file.read_text()

"""What the service refused is not answered, and yet seen by the monitor; and what it sees is not taken for a fault."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from operations.inference import payload_log, payload_table
from operations.inference.columns import Column
from operations.inference.payload_table import Payload
from operations.monitoring.policy import decide
from operations.monitoring.served import period_of
from operations.monitoring.signals import Signal, Window

pytestmark = pytest.mark.component
DAY = datetime(2013, 7, 1, tzinfo=UTC)
PERIOD = period_of(DAY, "day")
ROWS = 2400
INPUTS = {"carrier": Column("carrier", "string", (None, 1)), "distance": Column("distance", "float32", (None, 1))}


def log(
    settings, name: str, rows: int, carrier: str, distance: float | None = None, day: datetime = DAY, **facts
) -> None:
    """A day of requests of one row each, evenly spread; without a distance, each has one of its own."""
    carriers = np.full((rows, 1), carrier, object)
    distances = np.linspace(100, 1300, rows) if distance is None else np.full(rows, distance)
    columns = {"carrier": carriers, "distance": distances.astype(np.float32).reshape(-1, 1)}
    times = day.timestamp() + np.linspace(0, 86_000, rows)
    answers = {"probability": np.full((rows, 1), 0.2, np.float32)}
    payload = Payload([f"{name}-{row}" for row in range(rows)], times, 1, INPUTS, columns, None, answers, **facts)
    payload_log.write(Path(settings.payloads), payload_table.as_table(payload), name)


def refuse(settings, name: str, rows: int, caller: str) -> None:
    """Requests with a carrier that is not allowed, and without the distance that is never missing."""
    faults: list[str | None] = ["carrier, distance"] * rows
    log(settings, name, rows, "ZZ", float("nan"), refused=True, faults=faults, caller=caller)


def signals(window: Window) -> dict[tuple[str, str], Signal]:
    return {(each.kind, each.subject or each.name): each for each in window.signals}


def test_refused_rows_are_seen_with_their_callers_and_change_nothing_else(settings, monitor):
    log(settings, "yesterday", ROWS, "UA", day=DAY - timedelta(days=1))
    (before,) = monitor.measure(period_of(DAY - timedelta(days=1), "day"))
    log(settings, "answered", ROWS, "UA")
    (without,) = monitor.measure(PERIOD, [before])
    refuse(settings, "refused", 280, "web shop")
    refuse(settings, "more", 20, "till 3")
    (window,) = monitor.measure(PERIOD, [before])

    assert (window.rows, window.refused) == (ROWS, 300)
    assert monitor.counted(PERIOD) == {"1": (ROWS, 0)}
    found = signals(window)
    for kind, column in (("unseen", "carrier"), ("missing", "distance")):
        signal = found[kind, column]
        assert signal.value == pytest.approx(300 / 2700)
        assert (signal.exceeded, signal.refused) == (True, True)
        assert signal.meaning.endswith("the callers are web shop (280), till 3 (20)")
    # What was answered is as it was: nothing has drifted, nobody has come or gone.
    others = {key: each for key, each in found.items() if key[0] not in ("unseen", "missing")}
    assert others == {key: each for key, each in signals(without).items() if key[0] not in ("unseen", "missing")}
    assert ("drift", "distance") in others

    decision = decide(settings.monitoring.rules, window, [window], [], DAY + timedelta(days=1))
    assert decision.action == "alert"
    assert decision.spans == ()
    (reason,) = decision.reasons
    assert set(reason.subjects) == {"carrier", "distance"}
    assert "web shop (280)" in reason.text


def test_a_version_that_refused_all_day_is_seen(settings, monitor):
    refuse(settings, "refused", 300, "web shop")

    (window,) = monitor.measure(PERIOD)

    assert (window.version, window.rows, window.refused, window.labelled) == ("1", 0, 300, 0)
    assert monitor.counted(PERIOD) == {"1": (0, 0)}
    assert signals(window)["unseen", "carrier"].value == 1.0


def test_answered_rows_at_fault_are_a_fault_of_the_data_whatever_else_was_refused(settings, monitor):
    log(settings, "answered", ROWS, "UA")
    log(settings, "flagged", 300, "ZZ", faults=["carrier"] * 300)
    refuse(settings, "refused", 300, "web shop")

    (window,) = monitor.measure(PERIOD)

    signal = signals(window)["unseen", "carrier"]
    assert signal.value == pytest.approx(600 / 3000)
    assert (signal.exceeded, signal.refused) == (True, False)
    decision = decide(settings.monitoring.rules, window, [window], [], DAY + timedelta(days=1))
    assert decision.action == "quarantine"

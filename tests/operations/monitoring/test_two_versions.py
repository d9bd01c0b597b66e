"""A window in which one version takes over from another, and one that is a single request."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from operations.inference import payload_log, payload_table
from operations.monitoring.served import period_of

pytestmark = pytest.mark.component
DAY = datetime(2013, 7, 1, tzinfo=UTC)
ROWS = 2400


def log(settings, day: datetime, versions: np.ndarray, together: bool = False, far: float = 1300) -> None:
    """A day of requests, each half a minute later and half a mile further than the one before; or all in one."""
    rows = {
        payload_table.ID: [f"{day:%d}-{number}" for number in range(ROWS)],
        payload_table.TIME: [day + timedelta(seconds=0 if together else 30 * number) for number in range(ROWS)],
        payload_table.VERSION: versions,
        payload_table.SHADOW: np.zeros(ROWS, bool),
        payload_table.SECONDS: np.full(ROWS, 0.01 if together else None, np.float32),
        "distance": np.linspace(100, far, ROWS, dtype=np.float32),
        "probability": np.full(ROWS, 0.2, np.float32),
    }
    table = pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)
    table = table.set_column(1, payload_table.TIME, table[payload_table.TIME].cast(pa.timestamp("us", tz="UTC")))
    payload_log.write(Path(settings.payloads), table, f"all-{day:%Y%m%d}")


def test_a_version_that_came_at_noon_is_not_blamed_for_having_seen_no_morning(settings, monitor):
    log(settings, DAY, np.full(ROWS, 1))
    log(settings, DAY + timedelta(days=1), np.repeat([1, 2], ROWS // 2))

    (before,) = monitor.measure(period_of(DAY, "day"))
    windows = monitor.measure(period_of(DAY + timedelta(days=1), "day"), [before])

    assert [(each.version, each.rows) for each in windows] == [("1", ROWS // 2), ("2", ROWS // 2)]
    for window in windows:
        seen = {(each.kind, each.subject or each.name): each for each in window.signals}
        assert seen["drift", "distance"].value < 0.01
        assert not seen["drift", "distance"].exceeded
        assert seen["traffic", "requests"].value == ROWS


def test_a_single_request_is_no_window_however_many_rows_it_has(settings, monitor):
    log(settings, DAY, np.full(ROWS, 1), together=True, far=9000)
    log(settings, DAY + timedelta(days=1), np.full(ROWS, 1))

    (single,) = monitor.measure(period_of(DAY, "day"))
    (window,) = monitor.measure(period_of(DAY + timedelta(days=1), "day"), [single])

    assert single.rows == ROWS
    assert {each.kind for each in single.signals}.isdisjoint({"drift", "missing", "prediction"})
    # Nor is the next one compared with it: the model's evaluation split has nothing to compare with here.
    assert {"missing", "unseen"} <= {each.kind for each in window.signals}
    assert not [each.meaning for each in window.signals if each.kind == "drift"]

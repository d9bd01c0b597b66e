"""A replay of the flights' other two targets: labels of other flights are noticed, and nothing learns from them."""

import json
from pathlib import Path

import pytest

from operations.loop.replay.result import Result
from tests.operations.loop.replay import small_replay
from tests.operations.monitoring.worlds import TASKS

pytestmark = pytest.mark.proof

OPTIONS = ("--level", "2", "--months", "3:4", "--fault", "shuffled@4", "--name", "tried", "--json")


@pytest.fixture(scope="module")
def spans(prepared: Path, tmp_path_factory) -> Path:
    from data.prepare import slice_spans

    folder = tmp_path_factory.mktemp("replayed")
    slice_spans(prepared, folder, rows_per_span=small_replay.OTHER_ROWS, spans=(1, 2, 3, 4))
    return folder


@pytest.mark.parametrize("task", small_replay.OTHER_TARGETS)
def test_labels_of_other_flights_are_put_into_quarantine(task, spans, tmp_path):
    said = small_replay.play(tmp_path, spans, *OPTIONS, of=small_replay.OTHER_TARGETS[task])

    (level,) = Result.model_validate(json.loads(said)).levels
    assert level.fault is not None
    assert (level.fault.column, level.fault.action, level.fault.named) == (TASKS[task].target.label, "quarantine", True)
    assert level.quarantined == (4,)
    march, april = level.months
    assert (march.rows, april.rows, april.versions) == (4000, 4000, 2)  # the canary of March took over in April
    for month in level.months:
        assert all(of.low <= of.value <= of.high for of in month.quality.values())
    loss = TASKS[task].loss.name
    assert level.fault.quality == {f"{loss}_in_month": april.quality[loss].value}

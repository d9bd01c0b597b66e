"""A replay on real flights, few of them: a fault is noticed, and a replay that is killed ends as if it had not been."""

import json
from pathlib import Path

import pytest

from ledger.opening import open_readonly
from operations.loop.replay import canonical, plan
from operations.loop.replay.result import Result
from pipeline.store import connection
from tests.operations.loop.replay import small_replay

pytestmark = pytest.mark.proof

OPTIONS = ("--level", "1,2", "--months", "3:5", "--fault", "renamed@4", "--name", "tried")
KILLS = 6


@pytest.fixture(scope="module")
def spans(prepared: Path, tmp_path_factory) -> Path:
    from data.prepare import slice_spans

    folder = tmp_path_factory.mktemp("replayed")
    slice_spans(prepared, folder, rows_per_span=small_replay.ROWS, spans=(1, 2, 3, 4, 5))
    return folder


@pytest.fixture(scope="module")
def undisturbed(spans: Path, tmp_path_factory) -> tuple[Path, Result]:
    workspace = tmp_path_factory.mktemp("undisturbed")
    said = small_replay.play(workspace, spans, *OPTIONS, "--json")
    return workspace, Result.model_validate(json.loads(said))


def test_level_2_notices_the_fault_names_the_column_and_learns_nothing_from_it(undisturbed):
    _, result = undisturbed
    (level,) = [each for each in result.levels if each.level == 2]
    assert level.fault is not None
    assert (level.fault.column, level.fault.within_month, level.fault.named) == ("carrier", True, True)
    assert level.fault.action == "quarantine"
    assert level.quarantined == (4,)
    assert level.fault.recovered_after_days == 30  # with the month
    assert level.trainings == 2  # at the beginning and after March; not on April


def test_what_is_measured_is_what_was_answered(undisturbed, spans):
    _, result = undisturbed
    for level in result.levels:
        assert [each.rows for each in level.months] == [small_replay.ROWS] * 3
        assert all(auc.low <= auc.value <= auc.high for auc in (each.quality["auc"] for each in level.months))
    assert {(each.level, each.against) for each in result.comparisons} == {(2, 1)}
    assert {each.rows for each in result.comparisons} == {3 * small_replay.ROWS}


def test_a_model_of_level_1_is_served_a_month_late(undisturbed):
    workspace, result = undisturbed
    told = _told(workspace, Path("unused"), 1)
    assert [each["run_id"] for each in told["versions"]] == ["replay-2013-02", "replay-2013-03"]
    assert [each.deployments for each in result.levels if each.level == 1] == [2]


def test_a_replay_that_was_killed_again_and_again_ends_like_one_that_was_not(undisturbed, spans, tmp_path):
    workspace, _ = undisturbed
    killed = small_replay.play_killed(tmp_path, spans, KILLS, (10.0, 18.0), 6, "--level", "2", *OPTIONS[2:])
    assert killed == KILLS
    once, again = (_told(each, spans, 2) for each in (workspace, tmp_path))
    for key in once:
        assert again[key] == once[key], key


def _told(workspace: Path, spans: Path, level: int):
    settings = plan.level_settings(small_replay.settings(workspace, spans), workspace / "replay" / "tried", level)
    store = open_readonly(connection(settings))
    assert canonical.problems(settings, store) == []
    return canonical.record(settings, store)

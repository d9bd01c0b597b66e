"""No trigger is lost, none is handled twice, and what waits goes into one run."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flightdeck.settings import read_settings
from ledger.opening import open_store
from operations.loop.attempts import Attempts, backoff, given_up, waiting
from operations.loop.settings import Continuous
from operations.loop.triggers import PastRun, Trigger
from pipeline import store
from tests.world import LOCAL

pytestmark = pytest.mark.unit

NOW = datetime(2024, 5, 1, tzinfo=UTC)
CONTINUOUS = Continuous(starts=3, retry_seconds=60)


def later(**by: float) -> datetime:
    return NOW + timedelta(**by)


def triggers(*keys: str) -> list[Trigger]:
    return [Trigger(kind="new span", key=key, reason=f"{key} is new", when=NOW) for key in keys]


def opened(folder: Path) -> Attempts:
    settings = read_settings(LOCAL, [f"workspace={folder}"])
    return Attempts(settings, open_store(store.connection(settings)))


@pytest.fixture
def attempts(tmp_path):
    return opened(tmp_path)


def waits(attempts: Attempts, *keys: str, runs: tuple[PastRun, ...] = (), settings: Continuous = CONTINUOUS):
    return waiting(triggers(*keys), attempts.all(), runs, settings)


def keys(waiting) -> list[str]:
    return [waits.trigger.key for waits in waiting]


@pytest.mark.parametrize(
    ("outcome", "starts", "pause"),
    [
        ("failed", 1, timedelta(seconds=60)),
        ("killed", 1, timedelta()),
        ("stopped", 0, timedelta()),
        pytest.param("pushed", None, None, id="pushed: it is handled once"),
    ],
)
def test_a_trigger_waits_again_only_when_its_run_did_not_come_to_its_end(attempts, outcome, starts, pause):
    assert keys(waits(attempts, "a")) == ["a"]
    attempt = attempts.begin("run", triggers("a"), NOW)
    assert waits(attempts, "a") == []
    attempts.end(attempt, outcome, "why", NOW)

    expected = [] if pause is None else [(starts, NOW + pause)]
    assert [(waiting.starts, waiting.due) for waiting in waits(attempts, "a")] == expected


@pytest.mark.parametrize(("succeeded", "expected"), [(True, []), (False, ["a"])])
def test_a_record_of_a_run_says_what_it_has_handled_whoever_keeps_the_attempts(attempts, succeeded, expected):
    run = PastRun("elsewhere", NOW, succeeded, triggers=("a",))

    assert keys(waits(attempts, "a", runs=(run,))) == expected


def test_a_run_that_failed_is_tried_again_with_backoff_and_then_no_more(attempts):
    pauses, last = [], []
    for start in range(3):
        attempt = attempts.begin(f"run-{start}", triggers("a"), later(hours=start))
        last.append([trigger.key for trigger in given_up(attempt, attempts.all(), CONTINUOUS)])
        attempts.end(attempt, "failed", "a disk is full", later(hours=start))
        pauses += [(waiting.due - later(hours=start)).total_seconds() for waiting in waits(attempts, "a")]

    assert pauses == [60, 120]
    assert last == [[], [], ["a"]]
    assert waits(attempts, "a") == []


def test_something_new_has_all_its_starts(attempts):
    settings = Continuous(starts=2, retry_seconds=60)
    attempts.end(attempts.begin("one", triggers("a"), NOW), "failed", "why", NOW)
    attempt = attempts.begin("two", triggers("a", "b"), later(seconds=60))
    assert [trigger.key for trigger in given_up(attempt, attempts.all(), settings)] == ["a"]
    attempts.end(attempt, "failed", "", later(seconds=61))

    assert keys(waits(attempts, "a", "b", settings=settings)) == ["b"]


def test_people_read_the_first_few_reasons(attempts):
    attempt = attempts.begin("run", triggers(*"abcde"), NOW)

    assert attempt.because == "a is new; b is new; c is new; and 2 more"


def test_attempts_are_kept_with_their_triggers_and_their_outcome(attempts, tmp_path):
    for number, outcome in enumerate(("pushed", "not blessed")):
        attempt = attempts.begin(f"run-{number}", triggers(outcome), later(hours=number))
        attempts.refer(attempt, f"id-{number}")
        attempts.end(attempts.open(), outcome, "a reason", later(hours=number, minutes=1))

    older, newest = opened(tmp_path).all()

    facts = (newest.run_id, newest.outcome, newest.detail, newest.reference)
    assert facts == ("run-1", "not blessed", "a reason", "id-1")
    assert newest.reasons == {"not blessed": "not blessed is new"}
    assert older.ended == later(minutes=1)
    assert attempts.open() is None


def test_another_workspace_of_the_same_store_has_attempts_of_its_own(attempts, tmp_path):
    attempts.begin("run", triggers("a"), NOW)
    connection = store.connection(read_settings(LOCAL, [f"workspace={tmp_path}"]))
    other = Attempts(read_settings(LOCAL, [f"workspace={tmp_path / 'other'}"]), open_store(connection))

    assert (other.open(), other.all()) == (None, [])


@pytest.mark.parametrize(("starts", "seconds"), [(1, 60), (2, 120), (3, 240), (20, 3600)])
def test_backoff_grows_up_to_an_hour(starts, seconds):
    assert backoff(starts, 60) == seconds

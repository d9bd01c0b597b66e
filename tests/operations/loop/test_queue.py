"""No trigger is lost, none is handled twice, and what waits goes into one run."""

import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from operations.loop.queue import Queue, QueueError
from operations.loop.triggers import Trigger

pytestmark = pytest.mark.unit

NOW = datetime(2024, 5, 1, tzinfo=UTC)


def later(**by: float) -> datetime:
    return NOW + timedelta(**by)


def trigger(key: str) -> Trigger:
    return Trigger(kind="new span", key=key, reason=f"{key} is new", when=NOW)


def keys(found) -> list[str]:
    return [each.key for each in found]


@pytest.fixture
def queue(tmp_path):
    return Queue(tmp_path / "queue.sqlite")


def waiting(queue: Queue) -> list[str]:
    return [each.trigger.key for each in queue.waiting()]


def test_a_trigger_that_is_found_again_is_the_same_in_every_state(queue):
    assert queue.put(trigger("a"))
    assert not queue.put(trigger("a"))
    queue.take("run", NOW)
    assert not queue.put(trigger("a"))
    queue.done("run", "pushed", "", NOW)
    assert not queue.put(trigger("a"))
    assert waiting(queue) == []


def test_all_that_waits_is_one_run_and_what_comes_meanwhile_the_next(queue):
    queue.put(trigger("a"))
    queue.put(trigger("b"))
    first = queue.take("one", NOW)
    queue.put(trigger("c"))
    queue.put(trigger("d"))

    assert keys(first.triggers) == ["a", "b"]
    assert queue.take("two", NOW) is None  # one at a time
    queue.done("one", "pushed", "", NOW)
    assert keys(queue.take("two", NOW).triggers) == ["c", "d"]


def test_a_run_that_failed_is_tried_again_after_growing_pauses_and_then_no_more(queue):
    queue.put(trigger("a"))
    moments, given_up = [], []
    for start in range(3):
        queue.take(f"run-{start}", later(hours=start))
        given_up += queue.last_start(f"run-{start}", 3)
        queue.failed(f"run-{start}", "failed", "a disk is full", later(hours=start), 3, 60)
        moments += [(each.due - later(hours=start)).total_seconds() for each in queue.waiting()]

    assert moments == [60, 120]
    assert keys(given_up) == ["a"]
    assert waiting(queue) == []
    assert not queue.put(trigger("a"))


def test_a_pause_ends_early_for_something_new_which_has_all_its_starts(queue):
    queue.put(trigger("a"))
    queue.take("one", NOW)
    queue.failed("one", "failed", "", NOW, 2, 60)

    assert queue.take("two", later(seconds=59)) is None
    queue.put(trigger("b"))
    assert keys(queue.take("two", later(seconds=1)).triggers) == ["a", "b"]
    assert keys(queue.last_start("two", 2)) == ["a"]
    queue.failed("two", "failed", "", NOW, 2, 60)
    assert waiting(queue) == ["b"]


def test_a_run_that_a_person_stopped_does_not_count(queue):
    queue.put(trigger("a"))
    for _ in range(5):
        assert queue.take("run" + str(_), NOW)
        queue.give_back("run" + str(_), "stopped", NOW)
    (kept,) = queue.waiting()
    assert kept.starts == 0


def test_what_holds_no_more_is_withdrawn_and_may_come_back(queue):
    queue.put(trigger("a"))
    queue.put(trigger("b"))

    assert keys(queue.withdraw_others({"b"})) == ["a"]
    assert waiting(queue) == ["b"]
    assert queue.put(trigger("a"))
    assert sorted(waiting(queue)) == ["a", "b"]


def test_what_a_run_has_taken_is_not_withdrawn(queue):
    queue.put(trigger("a"))
    queue.take("run", NOW)

    assert queue.withdraw_others(set()) == []
    assert keys(queue.open_run().triggers) == ["a"]


def test_people_read_the_first_few_reasons(queue):
    for key in "abcde":
        queue.put(trigger(key))

    assert queue.take("run", NOW).because == "a is new; b is new; c is new; and 2 more"


def test_people_are_told_once(queue):
    queue.put(trigger("a"))
    queue.told(["a"])
    queue.put(trigger("a"))
    assert [each.told for each in queue.waiting()] == [True]


def test_runs_are_remembered_with_their_triggers_newest_first(queue):
    for number, outcome in enumerate(("pushed", "not blessed")):
        queue.put(trigger(outcome))
        queue.take(f"run-{number}", later(hours=number))
        queue.refer(f"run-{number}", f"id-{number}")
        queue.done(f"run-{number}", outcome, "a reason", later(hours=number, minutes=1))

    newest, older = queue.runs(5)

    assert (newest.run_id, newest.outcome, newest.detail, newest.reference) == (
        "run-1",
        "not blessed",
        "a reason",
        "id-1",
    )
    assert newest.reasons == {"not blessed": "not blessed is new"}
    assert older.ended == later(minutes=1)
    assert queue.open_run() is None


def _take_and_die(file: Path) -> None:
    queue = Queue(file)
    queue.put(trigger("a"))
    queue.take("run", NOW)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_took_is_known_to_the_next(queue, tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_take_and_die, args=(tmp_path / "queue.sqlite",))
    process.start()
    process.join()

    left = queue.open_run()
    assert (left.run_id, keys(left.triggers)) == ("run", ["a"])
    queue.failed(left.run_id, "killed", "its process was killed", NOW, 3, 0)
    assert waiting(queue) == ["a"]


def test_a_file_that_is_no_queue_is_one_sentence(tmp_path):
    (tmp_path / "queue.sqlite").write_text("this is not a database, but long enough to look at" * 40)

    with pytest.raises(QueueError, match=r"The queue of triggers .* cannot be used"):
        Queue(tmp_path / "queue.sqlite")

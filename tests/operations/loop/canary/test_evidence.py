"""What counts for a canary, and what does not."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from flightdeck.settings import read_settings
from ledger.opening import open_store
from operations.loop.canary.evidence import Evidence, gather
from operations.loop.canary.judgement import judge
from operations.monitoring.quarantine import quarantine
from operations.monitoring.records import MonitoringRecords
from operations.registry import Version
from operations.serving import canary_record
from operations.serving.canary_record import CanaryRecord
from tests.ledger.seeding import sqlite
from tests.operations.loop.canary.traffic import DAY, answer, label, world
from tests.operations.monitoring import worlds
from tests.operations.monitoring.windows import decision
from tests.world import ROOT

pytestmark = pytest.mark.unit
SERVED, CANARY = 3, 50
NEXT_DAY = DAY + timedelta(days=1)


class Workspace:
    """A workspace in which both versions have answered."""

    def __init__(self, workspace: Path, mode: str = "shadow", config: str = "local") -> None:
        self.settings = read_settings(
            ROOT / "config" / f"{config}.yaml", [f"workspace={workspace}", f"canary.mode={mode}"]
        )
        self.log, self.spans = Path(self.settings.payloads), Path(self.settings.spans)
        self.store = open_store(sqlite(workspace / "metadata.sqlite"))

    def seen(self, until=NEXT_DAY + timedelta(days=1)) -> Evidence:
        served, canary = (Version(number, self.log, model_id=number) for number in (SERVED, CANARY))
        return gather(self.settings, self.store, canary, served, until)

    def at_fault(self, day: str) -> None:
        MonitoringRecords(self.store, self.settings.use_case.name).keep_decision(decision("quarantine", window=day))


def test_rows_that_both_answered_are_paired_whatever_their_order(tmp_path):
    made = Workspace(tmp_path)
    names, good, noisy, labels = world(100, noise=0.5)
    answer(made.log, SERVED, names, good)
    label(made.spans, 4, names, labels)
    # The same ids at other times are no pairs.
    answer(made.log, CANARY, names[:60][::-1], noisy[:60], shadow=True, seconds=0.2)
    assert made.seen().by_canary.rows == 0
    answer(made.log, CANARY, names[:60], noisy[:60], shadow=True, seconds=0.2)

    seen = made.seen()

    assert (seen.by_canary.rows, seen.by_served.rows, seen.paired) == (60, 60, True)
    (labels_of_canary, by_canary), (labels_of_served, by_served) = seen.by_canary.labelled, seen.by_served.labelled
    order, expected = np.argsort(by_served), np.argsort(good[:60])
    np.testing.assert_allclose(by_served[order], good[:60][expected], rtol=1e-6)
    np.testing.assert_allclose(by_canary[order], noisy[:60][expected], rtol=1e-6)
    np.testing.assert_array_equal(labels_of_canary[order], labels[:60][expected])
    np.testing.assert_array_equal(labels_of_served, labels_of_canary)
    assert (seen.by_canary.p99_seconds, seen.by_served.p99_seconds) == (pytest.approx(0.2), pytest.approx(0.01))


@pytest.mark.parametrize(("task", "config"), [("multiclass", "lateness"), ("regression", "delay")])
def test_answers_of_every_task_are_paired_and_judged(tmp_path, task, config):
    made, of = Workspace(tmp_path, config=config), worlds.world(task, 3000, noise=2.0)
    names, output = [f"r{number}" for number in range(3000)], of.task.output
    answer(made.log, SERVED, names, of.good, output=output)
    answer(made.log, CANARY, names[:2500][::-1], of.noisy[:2500][::-1], shadow=True, output=output)
    assert made.seen().by_canary.rows == 0  # other times
    answer(made.log, CANARY, names[:2500], of.noisy[:2500], shadow=True, output=output)
    label(made.spans, 4, names[:2400], of.labels[:2400], made.settings.contract())

    seen = made.seen()

    assert (seen.task, seen.by_canary.rows, labelled(seen)) == (of.task, 2500, 2400)
    order = np.lexsort(seen.by_served.predictions.reshape(2500, -1).T)
    expected = np.lexsort(of.good[:2500].astype(np.float32).reshape(2500, -1).T)
    for answers, predictions in ((seen.by_served, of.good), (seen.by_canary, of.noisy)):
        np.testing.assert_allclose(answers.predictions[order], predictions[:2500][expected], rtol=1e-6)
        np.testing.assert_array_equal(
            answers.labels[order][:10], np.where(expected < 2400, of.labels[expected], np.nan)[:10]
        )
    lenient = made.settings.canary.model_copy(update={"prediction_distance": 1.0})
    assert judge(seen, lenient).action == "reject"
    assert f"{of.task.loss.name}_difference" in judge(seen, lenient).numbers


def test_answers_of_another_task_are_counted_and_not_compared(tmp_path):
    made = Workspace(tmp_path, config="delay")
    names, good, noisy, labels = world(100, noise=0.5)
    answer(made.log, SERVED, names, good)
    answer(made.log, CANARY, names, noisy, shadow=True)
    label(made.spans, 4, names, labels, made.settings.contract())

    assert (made.seen().by_canary.rows, labelled(made.seen())) == (100, 0)


def labelled(seen: Evidence) -> int:
    return len(seen.by_canary.labelled[0])


@pytest.fixture
def paired(tmp_path) -> Workspace:
    """Two days of answers of both to the same requests, and their labels."""
    made = Workspace(tmp_path)
    for seed, day in ((1, DAY), (2, NEXT_DAY)):
        names, good, noisy, labels = world(100, noise=0.5, seed=seed)
        answer(made.log, SERVED, names, good, day)
        answer(made.log, CANARY, names, noisy, day, shadow=True)
        label(made.spans, 3 + seed, names, labels)
    return made


def test_windows_whose_data_are_at_fault_do_not_count(paired):
    assert (paired.seen().by_canary.rows, paired.seen().left_out) == (200, 0)
    paired.at_fault("2013-07-02+labels")

    seen = paired.seen()

    assert (seen.by_canary.rows, seen.left_out, labelled(seen)) == (100, 100, 100)


def test_labels_of_a_span_in_quarantine_do_not_count(paired):
    quarantine(paired.settings, 5, "turned round")

    assert (paired.seen().by_canary.rows, labelled(paired.seen())) == (200, 100)


def test_what_was_asked_later_or_answered_by_another_version_does_not_count(paired):
    assert paired.seen(NEXT_DAY).by_canary.rows == 100
    names, good, *_ = world(100, seed=3)
    answer(paired.log, 2, names, good, DAY - timedelta(days=1))
    answer(paired.log, CANARY, names, good, DAY - timedelta(days=1), shadow=True)

    assert paired.seen().by_canary.rows == 200


def test_in_a_split_each_has_rows_of_its_own_of_the_same_time(tmp_path):
    made = Workspace(tmp_path, "split")
    names, good, noisy, labels = world(400)
    before, *_ = world(50, seed=2)
    answer(made.log, SERVED, before, np.full(50, 0.9))
    answer(made.log, SERVED, names[:300], good[:300], NEXT_DAY)
    answer(made.log, CANARY, names[300:], noisy[300:], NEXT_DAY)
    label(made.spans, 4, names, labels)

    seen = made.seen()

    assert (seen.paired, seen.by_canary.rows, seen.by_served.rows) == (False, 100, 300)
    assert len(seen.by_served.labelled[0]) == 300
    np.testing.assert_array_equal(np.sort(seen.by_canary.labelled[0]), np.sort(labels[300:]))


def test_in_a_split_evidence_begins_anew_with_another_served_version(tmp_path):
    made = Workspace(tmp_path, "split")
    names, good, noisy, labels = world(400)
    answer(made.log, 2, names[:200], good[:200])
    answer(made.log, CANARY, names[200:], noisy[200:])
    label(made.spans, 4, names, labels)
    # The version that was served has been rolled back since, and the one in its place has not been asked yet.
    assert (made.seen().by_canary.rows, labelled(made.seen())) == (0, 0)
    later, good, noisy, _ = world(100, seed=2)
    answer(made.log, SERVED, later[:60], good[:60], NEXT_DAY)
    answer(made.log, CANARY, later[60:], noisy[60:], NEXT_DAY)

    seen = made.seen()

    assert (seen.by_canary.rows, seen.by_served.rows, seen.left_out) == (40, 60, 0)


def test_failures_are_those_of_every_service(tmp_path):
    made = Workspace(tmp_path)
    canary_record.write(made.log, CANARY, CanaryRecord(answered=5, failed=2, failure="out of range", dropped_rows=7))
    other = made.log / "canary" / str(CANARY) / "elsewhere-1.json"
    other.write_text('{"answered": 1, "failed": 1, "failure": "", "dropped_rows": 0, "does_not_load": "damaged"}')

    assert made.seen().counts == CanaryRecord(6, 3, "out of range", 7, "damaged")
    other.write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        made.seen()

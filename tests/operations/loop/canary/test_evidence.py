"""What counts for a canary, and what does not."""

from datetime import timedelta
from pathlib import Path

import ml_metadata
import numpy as np
import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from flightdeck.settings import read_settings
from operations.loop.canary.evidence import Evidence, gather
from operations.monitoring.policy import Decision
from operations.monitoring.quarantine import quarantine
from operations.monitoring.records import MonitoringRecords
from operations.registry import Version
from operations.serving import canary_record
from operations.serving.canary_record import CanaryRecord
from tests.operations.loop.canary.traffic import DAY, answer, label, world

pytestmark = pytest.mark.unit
SERVED, CANARY = 3, 50
NEXT_DAY = DAY + timedelta(days=1)


class Workspace:
    """A workspace in which both versions have answered."""

    def __init__(self, workspace: Path, mode: str = "shadow") -> None:
        self.settings = read_settings(Path("config/local.yaml"), [f"workspace={workspace}", f"canary.mode={mode}"])
        self.log, self.spans = Path(self.settings.payloads), Path(self.settings.spans)
        connection = mlmd.ConnectionConfig()
        connection.fake_database.SetInParent()
        self.store = ml_metadata.MetadataStore(connection)

    def seen(self, until=NEXT_DAY + timedelta(days=1)) -> Evidence:
        served, canary = (Version(number, self.log, model_id=number) for number in (SERVED, CANARY))
        return gather(self.settings, self.store, canary, served, until)

    def at_fault(self, day: str) -> None:
        decision = Decision(window=day, version=str(SERVED), when=NEXT_DAY, action="quarantine", reasons=())
        MonitoringRecords(self.store, self.settings.use_case.name).keep_decision(decision)


@pytest.fixture
def shadowed(tmp_path) -> Workspace:
    """Two days of shadow answers; the labels of the first have arrived."""
    made = Workspace(tmp_path)
    for seed, day in ((1, DAY), (2, NEXT_DAY)):
        names, good, noisy, labels = world(100, noise=0.5, seed=seed)
        answer(made.log, SERVED, names, good, day)
        answer(made.log, CANARY, names[:60][::-1], noisy[:60], day, shadow=True, seconds=0.2)
        if seed == 1:
            label(made.spans, 4, names, labels)
    return made


def test_rows_that_both_answered_are_paired_whatever_their_order(shadowed):
    names, good, noisy, labels = world(100, noise=0.5)
    # An id at a time: the canary was logged in another order, but for the same ids at other times there is no pair.
    assert shadowed.seen().answered == 0
    answer(shadowed.log, CANARY, names[:60], noisy[:60], shadow=True, seconds=0.2)

    seen = shadowed.seen()

    assert (seen.answered, seen.labelled, seen.paired) == (60, 60, True)
    np.testing.assert_allclose(sorted(seen.canary_answers), sorted(noisy[:60]), rtol=1e-6)
    np.testing.assert_allclose(sorted(seen.served_answers), sorted(good[:60]), rtol=1e-6)
    order = np.argsort(good[:60])
    np.testing.assert_array_equal(seen.labels[np.argsort(seen.served_labelled)], labels[:60][order])
    np.testing.assert_allclose(seen.canary_labelled[np.argsort(seen.served_labelled)], noisy[:60][order], rtol=1e-6)
    assert (seen.canary_p99_seconds, seen.served_p99_seconds) == (pytest.approx(0.2), pytest.approx(0.01))


@pytest.fixture
def paired(tmp_path) -> Workspace:
    """The same, in one order."""
    made = Workspace(tmp_path)
    for seed, day in ((1, DAY), (2, NEXT_DAY)):
        names, good, noisy, labels = world(100, noise=0.5, seed=seed)
        answer(made.log, SERVED, names, good, day)
        answer(made.log, CANARY, names, noisy, day, shadow=True)
        label(made.spans, 3 + seed, names, labels)
    return made


def test_windows_whose_data_are_at_fault_do_not_count(paired):
    assert (paired.seen().answered, paired.seen().left_out) == (200, 0)
    paired.at_fault("2013-07-02+labels")

    seen = paired.seen()

    assert (seen.answered, seen.left_out, seen.labelled) == (100, 100, 100)


def test_labels_of_a_span_in_quarantine_do_not_count(paired):
    quarantine(paired.settings, 5, "turned round")

    seen = paired.seen()

    assert (seen.answered, seen.labelled) == (200, 100)


def test_what_was_asked_later_does_not_count(paired):
    assert paired.seen(NEXT_DAY).answered == 100


def test_what_another_version_answered_does_not_count(paired):
    names, good, *_ = world(100, seed=3)
    answer(paired.log, 2, names, good, DAY - timedelta(days=1))
    answer(paired.log, CANARY, names, good, DAY - timedelta(days=1), shadow=True)

    assert paired.seen().answered == 200


def test_in_a_split_each_has_rows_of_its_own_of_the_same_time(tmp_path):
    made = Workspace(tmp_path, "split")
    names, good, noisy, labels = world(400)
    before, *_ = world(50, seed=2)
    answer(made.log, SERVED, before, np.full(50, 0.9))
    answer(made.log, SERVED, names[:300], good[:300], NEXT_DAY)
    answer(made.log, CANARY, names[300:], noisy[300:], NEXT_DAY)
    label(made.spans, 4, names, labels)

    seen = made.seen()

    assert (seen.paired, seen.answered, len(seen.served_answers)) == (False, 100, 300)
    assert (len(seen.labels), len(seen.served_labels)) == (100, 300)
    np.testing.assert_array_equal(np.sort(seen.labels), np.sort(labels[300:]))


def test_in_a_split_evidence_begins_anew_with_another_served_version(tmp_path):
    made = Workspace(tmp_path, "split")
    names, good, noisy, labels = world(400)
    answer(made.log, 2, names[:200], good[:200])
    answer(made.log, CANARY, names[200:], noisy[200:])
    label(made.spans, 4, names, labels)
    # The version that was served has been rolled back since, and the one in its place has not been asked yet.
    assert (made.seen().answered, made.seen().labelled) == (0, 0)
    later, good, noisy, _ = world(100, seed=2)
    answer(made.log, SERVED, later[:60], good[:60], NEXT_DAY)
    answer(made.log, CANARY, later[60:], noisy[60:], NEXT_DAY)

    seen = made.seen()

    assert (seen.answered, len(seen.served_answers), seen.left_out) == (40, 60, 0)


def test_failures_are_those_of_every_service(tmp_path):
    made = Workspace(tmp_path)
    canary_record.write(made.log, CANARY, CanaryRecord(answered=5, failed=2, failure="out of range", dropped_rows=7))
    other = made.log / "canary" / str(CANARY) / "elsewhere-1.json"
    other.write_text('{"answered": 1, "failed": 1, "failure": "", "dropped_rows": 0, "does_not_load": "damaged"}')

    seen = made.seen()

    assert (seen.requests, seen.failed, seen.failure) == (6, 3, "out of range")
    assert (seen.dropped, seen.does_not_load) == (7, "damaged")
    other.write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        made.seen()


def test_one_that_has_the_served_model_is_told(paired):
    same = Version(SERVED, paired.log, model_id=7), Version(CANARY, paired.log, model_id=7)
    assert gather(paired.settings, paired.store, same[1], same[0], NEXT_DAY).same_model
    assert not paired.seen().same_model

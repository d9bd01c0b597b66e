"""Notes and tags: nothing else is lost, whoever writes at the same time."""

import subprocess
import sys

import pytest

from ledger.annotations import add_note, set_tag
from ledger.opening import LedgerError, open_writable
from ledger.runs import Runs
from tests.ledger.seeding import Seeder, held, reopened
from tests.world import ROOT

pytestmark = pytest.mark.unit
WRITERS, NOTES = 3, 5


@pytest.fixture
def run(seeder: Seeder) -> str:
    return seeder.run("a-run", 0.6)


def test_a_note_is_kept_with_who_and_when(seeder, run):
    record = add_note(open_writable(seeder.connection), "a-r", "  a wider network\n", who="ann")

    assert [(each.text, each.who) for each in record.notes] == [("a wider network", "ann")]
    assert Runs(reopened(seeder.connection)).find(run).notes == record.notes


def test_notes_and_tags_change_nothing_else(seeder, run):
    before = seeder.properties(run)

    store = open_writable(seeder.connection)
    add_note(store, run, "first")
    add_note(store, run, "second, 日本, \"quoted\" and 'single'")
    set_tag(store, run, "good")
    set_tag(store, run, "v1.2/best:so-far")

    after = seeder.properties(run)
    assert {name: after[name] for name in before} == before
    record = Runs(reopened(seeder.connection)).find(run)
    assert [each.text for each in record.notes] == ["first", "second, 日本, \"quoted\" and 'single'"]
    assert record.tags == ("good", "v1.2/best:so-far")


def test_a_tag_is_taken_away_and_can_come_back(seeder, run):
    store = open_writable(seeder.connection)
    set_tag(store, run, "good")
    set_tag(store, run, "good")

    assert set_tag(store, run, "good", present=False).tags == ()
    with pytest.raises(LedgerError, match="has no tag good; it has none"):
        set_tag(store, run, "good", present=False)
    assert set_tag(store, run, "good").tags == ("good",)


@pytest.mark.parametrize("tag", ["", "two words", "a,b", "-x", "`", "x" * 65, "a\nb"])
def test_what_cannot_be_a_tag(seeder, run, tag):
    with pytest.raises(LedgerError, match="cannot be a tag"):
        set_tag(open_writable(seeder.connection), run, tag)


def test_an_empty_and_an_endless_note_are_refused(seeder, run):
    store = open_writable(seeder.connection)
    with pytest.raises(LedgerError, match="is empty"):
        add_note(store, run, " \n")
    with pytest.raises(LedgerError, match="10,001 characters"):
        add_note(store, run, "x" * 10_001)


def test_a_run_that_does_not_exist_is_not_made(seeder, run):
    with pytest.raises(LedgerError, match="has no run another"):
        add_note(open_writable(seeder.connection), "another", "text")
    assert [each.run_id for each in Runs(reopened(seeder.connection)).all()] == [run]


def test_a_note_that_meets_another_writer_waits_for_it(seeder, run):
    store = open_writable(seeder.connection, patience=60)
    with held(seeder.connection.sqlite.filename_uri, seconds=1, begin="IMMEDIATE"):
        record = add_note(store, run, "after all")

    assert [each.text for each in record.notes] == ["after all"]


def test_a_writer_that_does_not_end_is_one_sentence_and_nothing_is_written(seeder, run):
    store = open_writable(seeder.connection, patience=0.3)
    with (
        held(seeder.connection.sqlite.filename_uri, seconds=120, begin="IMMEDIATE"),
        pytest.raises(LedgerError, match="is locked by another process"),
    ):
        add_note(store, run, "too early")

    assert not Runs(reopened(seeder.connection)).find(run).notes


def test_notes_of_several_processes_and_the_run_s_own_facts_are_all_kept(seeder, run):
    """The processes write at once, on the same file, while the run itself goes on recording."""
    path = seeder.connection.sqlite.filename_uri
    program = (
        "import sys\n"
        "from ledger.annotations import add_note, set_tag\n"
        "from ledger.opening import open_writable\n"
        "from tests.ledger.seeding import sqlite\n"
        f"store = open_writable(sqlite({path!r}), patience=60)\n"
        f"for each in range({NOTES}):\n"
        f"    add_note(store, {run!r}, f'{{sys.argv[1]}}-{{each}}', who=sys.argv[1])\n"
        f"set_tag(store, {run!r}, sys.argv[1])\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, f"w{number}"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for number in range(WRITERS)
    ]
    for step in range(10):
        seeder.recorder.write(run, metrics={"auc": step / 10}, peak_mb=float(step))
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * WRITERS, errors

    record = Runs(reopened(seeder.connection)).find(run)

    wanted = {f"w{number}-{each}" for number in range(WRITERS) for each in range(NOTES)}
    assert {each.text for each in record.notes} == wanted
    assert record.tags == ("w0", "w1", "w2")
    assert record.metrics == {"auc": 0.9}
    assert record.hyperparameters["epochs"] == 3

"""Notes and tags: what can be one, and that adding one changes nothing else."""

import pytest

from ledger.annotations import add_note, set_tag
from ledger.opening import LedgerError, open_readonly, open_writable
from ledger.runs import Runs
from tests.ledger.seeding import Seeder, held

pytestmark = pytest.mark.unit


@pytest.fixture
def run(seeder: Seeder) -> str:
    return seeder.run("a-run", 0.6)


def test_notes_and_tags_are_kept_and_change_nothing_else(seeder, run):
    before = seeder.properties(run)
    store, odd = open_writable(seeder.connection), "second, 日本, \"quoted\" and 'single'"

    add_note(store, "a-r", "  first\n", who="ann")
    add_note(store, run, odd, who="bob")
    set_tag(store, run, "good")
    record = set_tag(store, run, "v1.2/best:so-far")

    after = seeder.properties(run)
    assert {name: after[name] for name in before} == before
    assert Runs(open_readonly(seeder.connection)).find(run) == record
    assert [(note.text, note.who) for note in record.notes] == [("first", "ann"), (odd, "bob")]
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


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a-run", " \n", "is empty"),
        ("a-run", "x" * 10_001, "10,001 characters"),
        ("another", "text", "has no run another"),
    ],
)
def test_what_cannot_be_a_note_is_refused_and_no_run_is_made(seeder, run, name, text, said):
    with pytest.raises(LedgerError, match=said):
        add_note(open_writable(seeder.connection), name, text)
    assert [record.run_id for record in Runs(open_readonly(seeder.connection)).all()] == [run]


def test_a_note_that_meets_another_writer_waits_for_it_but_not_for_ever(seeder, run):
    file = seeder.connection.sqlite.filename_uri
    impatient, patient = (open_writable(seeder.connection, patience) for patience in (0.3, 60))
    with held(file, begin="IMMEDIATE"), pytest.raises(LedgerError, match="is locked by another process"):
        add_note(impatient, run, "too early")
    with held(file, seconds=1, begin="IMMEDIATE"):
        record = add_note(patient, run, "after all")

    assert [note.text for note in record.notes] == ["after all"]

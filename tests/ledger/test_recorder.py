"""The record of a run in ML Metadata: nothing that one writer says is lost by another."""

import multiprocessing
from datetime import UTC, datetime

import pytest

from ledger.opening import open_store
from ledger.recorder import Recorder, RecordError
from ledger.run_record import NodeOutcome, State
from tests.ledger.seeding import sqlite

pytestmark = pytest.mark.unit


@pytest.fixture
def recorder(seeder):
    return seeder.recorder


def ended(node_id: str, state: State = "done", error: str | None = None) -> NodeOutcome:
    return NodeOutcome(node_id, state, seconds=1.0, peak_mb=100.0, error=error)


def test_what_is_written_is_read_back_to_the_last_bit(recorder):
    facts = {
        "kind": "trial",
        "parent": "earlier",
        "started": datetime(2013, 7, 1, 9, 30, tzinfo=UTC),
        "outcome": "not blessed",
        "reasons": ("auc is 0.1, and must be at least 0.5", "zweitens: \u00e4rgerlich"),
        "dirty": False,
        "spans": {"train": [1, 2], "eval": [3]},
        "metrics": {"auc": 0.1 + 0.2, "tiny": 5e-324},
        "hyperparameters": {"hidden_units": [64, 32], "learning_rate": 0.002, "xla": False},
        "champion_saw": (3,),
        "model_id": 7,
    }

    recorder.write("run", **facts)

    record = recorder.read("run")
    assert {name: getattr(record, name) for name in facts} == facts


def test_a_second_writer_adds_and_takes_nothing_away(seeder, recorder):
    recorder.write("run", outcome="running", documents={"settings": "a" * 64}, tags=("first",))
    other = Recorder(open_store(seeder.connection))

    other.write("run", outcome="pushed", documents={"slices": "b" * 64})
    recorder.write("run", version="12")

    record = other.read("run")
    assert (record.outcome, record.version, record.tags) == ("pushed", "12", ("first",))
    assert record.documents == {"settings": "a" * 64, "slices": "b" * 64}


def _annotate(path: str, who: str, count: int) -> None:
    recorder = Recorder(open_store(sqlite(path)))
    for number in range(count):
        recorder.note("run", f"{who} {number}", who)
        recorder.node("run", ended(f"{who}{number}"))
    recorder.tag("run", who)


def test_writers_at_the_same_time_lose_nothing_and_neither_does_the_run_itself(seeder, recorder):
    recorder.write("run", outcome="running", hyperparameters={"epochs": 3})
    context, people = multiprocessing.get_context("spawn"), ("ann", "bob", "eve")
    file = seeder.connection.sqlite.filename_uri
    writers = [context.Process(target=_annotate, args=(file, who, 8)) for who in people]
    for writer in writers:
        writer.start()
    for step in range(10):
        recorder.write("run", metrics={"auc": step / 10}, peak_mb=float(step))
    for writer in writers:
        writer.join(120)

    record = recorder.read("run")

    assert {note.text for note in record.notes} == {f"{who} {number}" for who in people for number in range(8)}
    assert (len(record.notes), len(record.nodes), record.tags) == (24, 24, people)
    assert (record.metrics, record.hyperparameters) == ({"auc": 0.9}, {"epochs": 3})


def test_nodes_are_in_the_order_in_which_they_ended_and_a_retry_replaces_its_attempt(recorder):
    recorder.node("run", ended("Zeta"))
    recorder.node("run", ended("Trainer", "failed", error="no space left"))
    recorder.node("run", ended("Alpha"))
    recorder.node("run", ended("Trainer"))

    nodes = recorder.read("run").nodes

    assert [(node.node_id, node.state) for node in nodes] == [("Zeta", "done"), ("Alpha", "done"), ("Trainer", "done")]


def test_equal_documents_are_kept_once(seeder, recorder):
    first = recorder.put_document({"b": 1, "a": [1, 2]})
    again = Recorder(open_store(seeder.connection)).put_document({"a": [1, 2], "b": 1})

    assert first == again
    assert recorder.document(first) == {"a": [1, 2], "b": 1}
    assert len(seeder.store.get_contexts_by_type("flightdeck.Document")) == 1


def test_what_is_not_there_is_said(recorder):
    with pytest.raises(RecordError, match="has no run nowhere"):
        recorder.read("nowhere")
    with pytest.raises(RecordError, match="has no document"):
        recorder.document("f" * 64)
    with pytest.raises(KeyError):
        recorder.write("run", colour="red")


def test_runs_of_other_programs_are_read_as_far_as_they_go(seeder):
    seeder.run("ours", outcome="pushed")
    seeder.foreign("theirs")
    seeder.spoil("theirs", "flavour", "3")

    records = {record.run_id: record for record in seeder.recorder.all()}

    assert (records["theirs"].outcome, records["theirs"].settings) == ("running", None)
    assert records["ours"].outcome == "pushed"

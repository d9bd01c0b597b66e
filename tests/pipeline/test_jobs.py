"""The profile of a node: where its page is written, what it names, and when there is none."""

import time

import pytest

from pipeline import node
from pipeline.interruption import InterruptedRunError
from pipeline.runners import jobs
from tests.ledger.seeding import sqlite

pytestmark = pytest.mark.component


def run_fn() -> None:
    time.sleep(0.1)


def launched(state: str):
    def launch(*_: object, **__: object) -> node.NodeOutcome:
        run_fn()
        return node.NodeOutcome("Trainer", state, 0.1, 1.0)

    return launch


def interrupted(*_: object, **__: object) -> None:
    run_fn()
    raise InterruptedRunError("stopped")


@pytest.fixture
def plan(monkeypatch, tmp_path):
    monkeypatch.setattr(jobs, "_bound", lambda plan: None)
    return jobs.Plan(jobs.Compiled("", {}), "a-run", sqlite(tmp_path / "metadata.sqlite"))


@pytest.mark.parametrize("state", ["done", "failed"])
def test_a_node_that_ran_has_a_page_that_names_its_functions(monkeypatch, plan, tmp_path, state):
    monkeypatch.setattr(node, "launch", launched(state))

    outcome = jobs.launch(plan, "Trainer", tmp_path / "profile" / "Trainer.html")

    assert outcome.state == state
    (page,) = (tmp_path / "profile").iterdir()
    text = page.read_text(encoding="utf-8")
    assert (page.name, text[:15]) == ("Trainer.html", "<!DOCTYPE html>")
    assert "run_fn" in text


def test_a_node_that_was_interrupted_outside_its_component_has_one_too(monkeypatch, plan, tmp_path):
    monkeypatch.setattr(node, "launch", interrupted)

    with pytest.raises(InterruptedRunError):
        jobs.launch(plan, "Trainer", tmp_path / "Trainer.html")

    assert "run_fn" in (tmp_path / "Trainer.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("state", "wanted"), [("cached", True), ("done", False)])
def test_there_is_none_of_a_reused_result_or_unasked(monkeypatch, plan, tmp_path, state, wanted):
    monkeypatch.setattr(node, "launch", launched(state))

    jobs.launch(plan, "Trainer", tmp_path / "profile" / "Trainer.html" if wanted else None)

    assert not (tmp_path / "profile").exists()

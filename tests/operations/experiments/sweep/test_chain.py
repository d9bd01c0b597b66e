"""The chain: of several workers that want the same place, exactly one gets it."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import ml_metadata
import pytest

from ledger.lease import Owner
from ledger.opening import open_store
from operations.experiments.sweep.chain import Chain, Event
from tests.ledger.seeding import sqlite
from tests.world import ROOT

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path: Path) -> ml_metadata.MetadataStore:
    return open_store(sqlite(tmp_path / "metadata.sqlite"))


def event(**fields) -> Event:
    return Event(**({"kind": "begun", "trial": 0, "owner": Owner.me()} | fields))


def test_processes_that_add_at_once_get_a_place_each(store, tmp_path) -> None:
    command = [sys.executable, "-m", "tests.operations.experiments.sweep.chain_worker", "15"]
    command.append(str(tmp_path / "metadata.sqlite"))
    workers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    reports = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]

    events = [[link.event.trial, link.event.token] for link in Chain(store, "sweep").refresh()]
    assert sorted(added for report in reports for added in report) == events
    assert [trial for trial, _ in events] == list(range(60))


def test_who_has_not_read_everything_adds_nothing(store) -> None:
    first, second = Chain(store, "sweep"), Chain(store, "sweep")
    assert first.append(event(trial=0)) is not None

    assert second.append(event(trial=1)) is None
    assert [link.event.trial for link in second.refresh()] == [0]
    assert second.append(event(trial=1)) is not None
    assert [link.event.trial for link in first.refresh()] == [0, 1]


def test_an_event_that_was_written_before_the_connection_broke_is_known_as_ones_own(store, monkeypatch) -> None:
    call, broken = ml_metadata.MetadataStore._call_method, []

    def write_and_say_that_it_could_not(store, method, request, response) -> None:
        call(store, method, request, response)
        if method == "PutArtifacts" and not broken:
            broken.append(method)
            raise ml_metadata.errors.UnavailableError("lost connection")

    chain = Chain(store, "sweep")
    monkeypatch.setattr(ml_metadata.MetadataStore, "_call_method", write_and_say_that_it_could_not)
    mine = event()
    link = chain.append(mine)

    assert broken
    assert link is not None
    assert link.event == mine
    assert [link.event for link in chain.refresh()] == [mine]


def test_sweeps_do_not_see_each_other_s_events(store) -> None:
    Chain(store, "one").append(event())

    assert Chain(store, "two").refresh() == []


def test_numbers_survive_to_the_last_digit(store) -> None:
    values = {"rate": 0.1 + 0.2, "units": "16-8", "xla": False, "layers": 2}
    Chain(store, "sweep").append(event(values=values, score=1 / 3, kind="finished"))

    (link,) = Chain(store, "sweep").refresh()
    assert link.event.values == values
    assert link.event.score == 1 / 3
    assert Counter(type(value) for value in link.event.values.values()) == Counter([float, str, bool, int])

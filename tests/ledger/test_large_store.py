"""A store with 1,000 runs and 20,000 artifacts answers every question; `benchmarks.ledger` measures how fast."""

import functools
import json
import os
import subprocess
import sys

import pytest

from benchmarks import ledger
from ledger.opening import open_readonly
from ledger.runs import Runs
from tests.ledger.seeding import Seeder, calls
from tests.world import ROOT

RUNS = 1000


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(ledger.on_sqlite, id="SQLite", marks=pytest.mark.e2e),
        pytest.param(ledger.on_mariadb, id="MariaDB", marks=pytest.mark.kubeflow),
    ],
)
def filled(request):
    """The store, and the name of a run in the middle."""
    with request.param() as place:
        yield place, ledger.generate(place, RUNS)[RUNS // 2]


@pytest.mark.parametrize(
    "question", ["list --sort auc --limit 0", "best --metric auc", "show RUN", "lineage RUN", "note RUN good"]
)
def test_a_question_is_answered(filled, question):
    place, run = filled
    words = question.replace("RUN", run).split()

    command = [sys.executable, "-m", "flightdeck", "runs", *words, "--json", *place.options]
    environment = {**os.environ, **place.environment}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)

    assert done.returncode == 0, done.stderr
    # The best is one among them all; the others are about the run that was asked for, or hold it.
    expected = "auc" if question.startswith("best") else run
    assert expected in json.dumps(json.loads(done.stdout))


@pytest.mark.unit
@pytest.mark.parametrize("question", [Runs.all, Runs.best, functools.partial(Runs.find, name="run-1")])
def test_more_runs_do_not_mean_more_queries(seeder: Seeder, monkeypatch, question):
    def queries(more: int) -> int:
        for _ in range(more):
            seeder.run(f"run-{len(Runs(seeder.store).all())}", 0.6)
        store = open_readonly(seeder.connection)
        return len(calls(monkeypatch, store, lambda: question(Runs(store))))

    assert queries(3) == queries(20)

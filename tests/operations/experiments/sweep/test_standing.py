"""What the events of a chain come to."""

import pytest

from ledger.lease import Owner
from operations.experiments.sweep.chain import Event, Link
from operations.experiments.sweep.record import failure
from operations.experiments.sweep.standing import Standing

pytestmark = pytest.mark.unit
OWNER = Owner(pid=1, started=1.0)


def links(*events: dict) -> list[Link]:
    return [
        Link(Event(**{"owner": OWNER, "token": str(number)} | fields), number, number)
        for number, fields in enumerate(events)
    ]


def test_the_best_is_by_the_direction_of_the_objective_and_the_earliest_of_equals() -> None:
    standing = Standing()
    standing.apply(links(*({"kind": "begun", "trial": number} for number in range(4))))
    scores = {3: 0.7, 0: 0.5, 1: 0.7, 2: 0.6}
    standing.apply(links(*({"kind": "finished", "trial": trial, "score": score} for trial, score in scores.items())))
    best, worst = standing.best(higher_is_better=True), standing.best(higher_is_better=False)
    assert best is not None
    assert worst is not None
    assert (best.number, worst.number) == (1, 0)


def test_an_end_that_comes_after_the_end_changes_nothing() -> None:
    standing = Standing()
    counted = standing.apply(
        links(
            {"kind": "begun", "trial": 0},
            {"kind": "taken", "trial": 0},
            {"kind": "finished", "trial": 0, "score": 0.7},
            {"kind": "failed", "trial": 0, "error": "too late"},
            {"kind": "taken", "trial": 0},
            {"kind": "begun", "trial": 0},
        )
    )
    assert [link.number for link in counted] == [0, 1, 2]
    (trial,) = standing.done()
    assert (trial.score, trial.starts, trial.error) == (0.7, 2, None)
    assert standing.running() == []


def test_a_sweep_without_a_result_says_why() -> None:
    standing = Standing()
    assert standing.best(True) is None
    assert failure(standing) == "no trial was run"
    standing.apply(links({"kind": "begun", "trial": 0}, {"kind": "failed", "trial": 0, "error": "it diverged"}))
    assert standing.best(True) is None
    assert failure(standing) == "all 1 trials failed; the first one because it diverged"

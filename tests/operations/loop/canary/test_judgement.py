"""Verdicts, as tables of cases."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operations.loop.canary.evidence import Answers, Evidence
from operations.loop.canary.judgement import judge
from operations.registry import Version
from operations.serving.canary_record import CanaryRecord
from operations.serving.settings import Canary
from tests.operations.monitoring import worlds

pytestmark = pytest.mark.unit
SETTINGS = Canary(mode="shadow", rows=2000, labels=1000, may_lose=0.005, may_fail=0.001, prediction_distance=0.1)
ROWS = 4000


def evidence(
    rows: int = ROWS, labelled: int = ROWS, noise: float = 0.0, shift: float = 0.0, counts: Any = None, **changes: Any
) -> Evidence:
    """Both answered the same rows, the canary with some noise and a shift on the scale of log odds."""
    random = np.random.default_rng(1)
    odds = random.normal(-1, 1, ROWS)
    labels = (random.random(ROWS) < 1 / (1 + np.exp(-odds))).astype(float)
    labels[labelled:] = np.nan
    served = 1 / (1 + np.exp(-odds))
    canary = 1 / (1 + np.exp(-(odds + shift + noise * random.normal(size=ROWS))))
    seen = Evidence(
        canary=Version(50, Path(), model_id=7),
        served=Version(3, Path(), model_id=6),
        until=datetime(2013, 7, 1, tzinfo=UTC),
        paired=True,
        by_canary=Answers(rows, canary[:rows], labels[:rows]),
        by_served=Answers(rows, served[:rows], labels[:rows]),
        left_out=0,
        counts=CanaryRecord(**{"answered": rows, **(counts or {})}),
        task=worlds.TASKS["binary"],
    )
    return dataclasses.replace(seen, **changes)


def split(noise: float = 0.0) -> Evidence:
    """Each answered half of the rows."""
    both, half = evidence(noise=noise), ROWS // 2
    halves = (slice(None, half), both.by_canary), (slice(half, None), both.by_served)
    ours, theirs = (Answers(half, of.predictions[which], of.labels[which]) for which, of in halves)
    return dataclasses.replace(both, paired=False, by_canary=ours, by_served=theirs)


@pytest.mark.parametrize(
    ("seen", "changes", "action", "says"),
    [
        pytest.param(evidence(), {}, "promote", "not certainly beyond", id="as good"),
        pytest.param(evidence(noise=0.8), {}, "reject", "all of it beyond", id="worse"),
        pytest.param(evidence(noise=0.8), {"may_lose": 0.5}, "promote", "not certainly", id="it may be worse by that"),
        pytest.param(evidence(noise=0.8, labelled=999), {}, "promote", "not compared: 999", id="too few labels"),
        pytest.param(evidence(labelled=0), {"wait_for_labels": True}, "wait", "labels", id="labels are waited for"),
        pytest.param(evidence(noise=0.8), {"wait_for_labels": True}, "reject", "beyond", id="and came"),
        pytest.param(evidence(shift=2.5, labelled=0), {}, "reject", "Jensen-Shannon", id="answers differ"),
        pytest.param(evidence(shift=2.5), {"prediction_distance": 1.0}, "reject", "log loss", id="then its quality"),
        pytest.param(evidence(rows=1999, labelled=1999), {}, "wait", "1,999 rows of the 2,000", id="too few rows"),
        pytest.param(evidence(rows=0), {}, "wait", "answered 0", id="nothing yet"),
        pytest.param(evidence(rows=0, left_out=500), {}, "wait", "500 of windows whose data", id="data at fault"),
        pytest.param(evidence(counts={"failed": 5}), {}, "reject", "failed to answer 5", id="it fails too often"),
        pytest.param(evidence(counts={"failed": 4}), {}, "promote", "log loss", id="it may fail once in a thousand"),
        pytest.param(
            evidence(counts={"answered": 60, "failed": 3}), {}, "reject", "2 are allowed", id="of requests of many rows"
        ),
        pytest.param(evidence(rows=0, counts={"failed": 3}), {}, "reject", "2 are allowed", id="it fails at once"),
        pytest.param(evidence(rows=0, counts={"failed": 2}), {}, "wait", "answered", id="not often enough to tell"),
        pytest.param(
            evidence(counts={"failed": 1}), {"may_fail": 0.0}, "reject", "0 are allowed", id="it may not fail at all"
        ),
        pytest.param(evidence(counts={"does_not_load": "damaged"}), {}, "reject", "damaged", id="it does not load"),
        pytest.param(evidence(served=None), {}, "promote", "Nothing is served", id="the first"),
        pytest.param(evidence(canary=Version(50, Path())), {}, "reject", "does not know", id="nobody knows it"),
        pytest.param(
            evidence(served=Version(3, Path(), model_id=7)), {}, "reject", "served already", id="the same model again"
        ),
        pytest.param(split(), {"rows": 1000}, "promote", "not certainly", id="as good, on other rows"),
        pytest.param(split(noise=2.0), {"rows": 9, "prediction_distance": 1.0}, "reject", "beyond", id="worse there"),
    ],
)
def test_what_becomes_of_a_canary(seen, changes, action, says):
    verdict = judge(seen, SETTINGS.model_copy(update=changes))

    assert (verdict.action, verdict.canary, verdict.when) == (action, 50, seen.until)
    assert says in verdict.text


def of_task(task: str, noise: float = 0.0, shift: float = 0.0, paired: bool = True) -> Evidence:
    """As `evidence`, of any task; the canary has noise, and the world has changed by a shift that it knows of."""
    of = worlds.world(task, ROWS, noise, shift=shift)
    unaware = worlds.world(task, ROWS).good if shift else of.good
    ours, theirs = Answers(ROWS, of.noisy, of.labels), Answers(ROWS, unaware, of.labels)
    if not paired:
        other = worlds.world(task, ROWS, seed=2)
        theirs = Answers(ROWS, other.good, other.labels)
    return evidence(by_canary=ours, by_served=theirs, paired=paired, task=of.task)


LENIENT = SETTINGS.model_copy(update={"prediction_distance": 1.0})


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("task", worlds.TASKS)
def test_a_canary_of_any_task_is_rejected_if_it_is_worse_and_only_then(task, paired):
    loss = worlds.TASKS[task].loss
    good, worse = (judge(of_task(task, noise, paired=paired), LENIENT) for noise in (0.0, 1.5))

    assert (good.action, worse.action) == ("promote", "reject")
    assert "not certainly beyond" in good.text
    assert f"Its {loss.title} is " in worse.text
    assert "all of it beyond" in worse.text
    assert worse.numbers[f"{loss.name}_difference_low"] > 0
    tolerant = LENIENT.model_copy(update={"may_lose": 9.0, "rmse_may_grow": 9.0})
    assert judge(of_task(task, 1.5, paired=paired), tolerant).action == "promote"


@pytest.mark.parametrize("task", worlds.TASKS)
def test_a_canary_of_any_task_is_rejected_if_its_answers_are_others_or_no_numbers(task):
    broken = of_task(task)
    broken.by_canary.predictions.reshape(ROWS, -1)[[3, 5], 0] = np.nan, np.inf
    constant = of_task(task)
    constant.by_canary.predictions[:] = constant.by_canary.predictions[:1]

    assert judge(of_task(task, shift=2.0), SETTINGS).text.startswith("Its answers (")
    assert judge(of_task(task, shift=2.0), SETTINGS).action == "reject"
    assert judge(of_task(task, shift=2.0), LENIENT).action == "promote"
    assert judge(broken, SETTINGS).text == "2 of its answers are not numbers."
    assert judge(constant, SETTINGS).action == "reject"


def test_the_error_of_a_canary_may_grow_by_a_share_of_that_of_the_served_version():
    seen = of_task("regression", noise=0.2)
    ours, theirs = (Answers(ROWS, 1000 * of.predictions, 1000 * of.labels) for of in (seen.by_canary, seen.by_served))
    seen = dataclasses.replace(seen, by_canary=ours, by_served=theirs)

    verdict = judge(seen, LENIENT)

    assert verdict.numbers["rmse_difference"] > 100
    assert verdict.action == "promote"
    assert judge(seen, LENIENT.model_copy(update={"rmse_may_grow": 0.0})).action == "reject"


def test_an_answer_that_is_no_number_is_a_reason_to_reject():
    seen = evidence()
    seen.by_canary.predictions[3] = np.nan

    assert judge(seen, SETTINGS).text == "1 of its answers are not numbers."


def test_a_model_that_gives_no_probability_is_judged_by_its_failures_alone():
    nothing = dict.fromkeys(("by_canary", "by_served"), Answers(ROWS, np.empty(0), np.empty(0)))

    assert judge(evidence(**nothing), SETTINGS).action == "promote"
    assert judge(evidence(**nothing, counts={"failed": 50}), SETTINGS).action == "reject"


def test_the_verdict_keeps_the_numbers_that_decided_it():
    seen = evidence(noise=0.8)
    seen = dataclasses.replace(seen, by_canary=dataclasses.replace(seen.by_canary, p99_seconds=0.02))

    verdict = judge(seen, SETTINGS)

    assert verdict.numbers["answered"] == ROWS
    assert verdict.numbers["canary_p99_seconds"] == 0.02
    assert "served_p99_seconds" not in verdict.numbers
    low, value, high = (verdict.numbers[f"log_loss_difference{end}"] for end in ("_low", "", "_high"))
    assert SETTINGS.may_lose < low < value < high
    assert value == pytest.approx(verdict.numbers["log_loss_canary"] - verdict.numbers["log_loss_served"])


def test_a_difference_on_other_rows_is_less_sure_than_on_the_same():
    few = SETTINGS.model_copy(update={"rows": 1})
    paired, apart = (judge(seen(noise=0.2), few) for seen in (evidence, split))

    def width(verdict) -> float:
        return verdict.numbers["log_loss_difference_high"] - verdict.numbers["log_loss_difference_low"]

    assert width(apart) > 3 * width(paired)

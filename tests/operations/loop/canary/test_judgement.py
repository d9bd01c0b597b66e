"""Verdicts, as tables of cases."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.contract import Target
from operations.loop.canary.evidence import Answers, Evidence
from operations.loop.canary.judgement import judge
from operations.registry import Version
from operations.serving.canary_record import CanaryRecord
from operations.serving.settings import Canary
from operations.tasks import task_of

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
        task=task_of(Target(label="late")),
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

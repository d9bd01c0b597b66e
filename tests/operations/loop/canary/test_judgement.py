"""Verdicts, as tables of cases."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from operations.loop.canary.evidence import Evidence
from operations.loop.canary.judgement import judge
from operations.serving.settings import Canary

pytestmark = pytest.mark.unit
SETTINGS = Canary(mode="shadow", rows=2000, labels=1000, may_lose=0.005, may_fail=0.001, prediction_distance=0.1)
ROWS = 4000


def evidence(
    rows: int = ROWS, labelled: int = ROWS, noise: float = 0.0, shift: float = 0.0, **changes: Any
) -> Evidence:
    """Both answered the same rows, the canary with some noise and a shift on the scale of log odds."""
    random = np.random.default_rng(1)
    odds = random.normal(-1, 1, rows)
    labels = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
    served = 1 / (1 + np.exp(-odds))
    canary = 1 / (1 + np.exp(-(odds + shift + noise * random.normal(size=rows))))
    found = Evidence(
        canary=50,
        model_id=7,
        served=3,
        until=datetime(2013, 7, 1, tzinfo=UTC),
        paired=True,
        answered=rows,
        left_out=0,
        requests=rows,
        failed=0,
        failure="",
        dropped=0,
        does_not_load="",
        canary_answers=canary,
        served_answers=served,
        labels=labels[:labelled],
        canary_labelled=canary[:labelled],
        served_labels=labels[:labelled],
        served_labelled=served[:labelled],
    )
    return dataclasses.replace(found, **changes)


def split(noise: float = 0.0) -> Evidence:
    """Each answered half of the rows."""
    both = evidence(noise=noise)
    half = ROWS // 2
    return dataclasses.replace(
        both,
        paired=False,
        answered=half,
        canary_answers=both.canary_answers[:half],
        labels=both.labels[:half],
        canary_labelled=both.canary_labelled[:half],
        served_answers=both.served_answers[half:],
        served_labels=both.served_labels[half:],
        served_labelled=both.served_labelled[half:],
    )


NOTHING: dict[str, Any] = {"answered": 0, "requests": 0, **{name: np.empty(0) for name in (
    "canary_answers", "served_answers", "labels", "canary_labelled", "served_labels", "served_labelled")}}  # fmt: skip


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
        pytest.param(evidence(**NOTHING), {}, "wait", "answered 0", id="nothing yet"),
        pytest.param(evidence(**NOTHING, left_out=500), {}, "wait", "500 of windows whose data", id="data at fault"),
        pytest.param(evidence(failed=5), {}, "reject", "failed to answer 5", id="it fails too often"),
        pytest.param(evidence(failed=4), {}, "promote", "log loss", id="it may fail once in a thousand"),
        pytest.param(evidence(requests=60, failed=3), {}, "reject", "2 are allowed", id="of requests of many rows"),
        pytest.param(evidence(**NOTHING, failed=3), {}, "reject", "2 are allowed", id="it fails at once"),
        pytest.param(evidence(**NOTHING, failed=2), {}, "wait", "answered", id="not often enough to tell"),
        pytest.param(evidence(failed=1), {"may_fail": 0.0}, "reject", "0 are allowed", id="it may not fail at all"),
        pytest.param(evidence(does_not_load="it is damaged"), {}, "reject", "damaged", id="it does not load"),
        pytest.param(evidence(served=None), {}, "promote", "Nothing is served", id="the first"),
        pytest.param(evidence(model_id=None), {}, "reject", "does not know", id="nobody knows it"),
        pytest.param(evidence(same_model=True), {}, "reject", "served already", id="the same model again"),
        pytest.param(split(), {"rows": 1000}, "promote", "not certainly", id="as good, on other rows"),
        pytest.param(split(noise=2.0), {"rows": 9, "prediction_distance": 1.0}, "reject", "beyond", id="worse there"),
    ],
)
def test_what_becomes_of_a_version_on_trial(seen, changes, action, says):
    verdict = judge(seen, SETTINGS.model_copy(update=changes))

    assert (verdict.action, verdict.canary, verdict.when) == (action, 50, seen.until)
    assert says in verdict.text


def test_an_answer_that_is_no_number_is_a_reason_to_reject():
    answers = evidence().canary_answers.copy()
    answers[3] = np.nan

    assert judge(evidence(canary_answers=answers), SETTINGS).text == "1 of its answers are not numbers."


def test_a_model_that_gives_no_probability_is_judged_by_its_failures_alone():
    nothing: dict[str, Any] = {name: np.empty(0) for name in NOTHING if name not in ("answered", "requests")}

    assert judge(evidence(**nothing), SETTINGS).action == "promote"
    assert judge(evidence(**nothing, failed=50), SETTINGS).action == "reject"


def test_the_verdict_keeps_the_numbers_that_decided_it():
    verdict = judge(evidence(noise=0.8, canary_p99_seconds=0.02), SETTINGS)

    assert verdict.numbers["answered"] == ROWS
    assert verdict.numbers["canary_p99_seconds"] == 0.02
    assert "served_p99_seconds" not in verdict.numbers
    low, value, high = (verdict.numbers[f"log_loss_difference{end}"] for end in ("_low", "", "_high"))
    assert SETTINGS.may_lose < low < value < high
    assert value == pytest.approx(verdict.numbers["log_loss_canary"] - verdict.numbers["log_loss_served"])


def test_a_difference_on_other_rows_is_less_sure_than_on_the_same():
    paired, apart = (
        judge(evidence(noise=0.2), SETTINGS),
        judge(split(noise=0.2), SETTINGS.model_copy(update={"rows": 1})),
    )

    def width(verdict) -> float:
        return verdict.numbers["log_loss_difference_high"] - verdict.numbers["log_loss_difference_low"]

    assert width(apart) > 3 * width(paired)

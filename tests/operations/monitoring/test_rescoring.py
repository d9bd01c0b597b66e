"""Whether the version before would have been better on the same requests."""

import numpy as np
import pandas as pd
import pytest

from operations.inference.model import load
from operations.monitoring import rescoring
from operations.monitoring.model_signals import measured
from operations.monitoring.rescoring import RescoringError, compared
from operations.monitoring.settings import Monitoring
from operations.tasks import METRICS, task_of
from tests.operations.loop.canary.traffic import world
from tests.operations.monitoring import worlds
from tests.operations.serving import small_model

SETTINGS = Monitoring(fewest_labels=1000)
BINARY = worlds.TASKS["binary"]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("served_noise", "previous_noise", "may_win", "exceeded"),
    [
        pytest.param(0.8, 0.0, 0.002, True, id="the one before was better"),
        pytest.param(0.8, 0.0, 0.5, False, id="but not by more than it may be"),
        pytest.param(0.0, 0.8, 0.002, False, id="the one before was worse"),
        pytest.param(0.0, 0.0, 0.002, False, id="both alike"),
    ],
)
def test_the_version_before_is_compared_on_the_same_rows(served_noise, previous_noise, may_win, exceeded):
    _, _, served, labels = world(4000, served_noise)
    _, _, previous, _ = world(4000, previous_noise)

    result = compared(BINARY, labels, served, previous, 6, SETTINGS.model_copy(update={"previous_may_win": may_win}))

    assert (result.kind, result.subject, result.threshold) == ("previous", "log_loss", may_win)
    assert result.exceeded is exceeded
    assert result.low <= result.value <= result.high
    assert "version 6" in result.meaning


@pytest.mark.unit
def test_too_few_labels_or_too_few_of_one_kind_tell_nothing():
    _, good, noisy, labels = world(1000, 0.8)

    for result in (
        compared(BINARY, labels[:999], noisy[:999], good[:999], 6, SETTINGS),
        compared(BINARY, 0 * labels, noisy, good, 6, SETTINGS),
    ):
        assert (result.value, result.exceeded) == (None, False)
        assert "cannot be told" in result.meaning


@pytest.mark.unit
@pytest.mark.parametrize(
    ("task", "loss", "unit"), [("multiclass", "log_loss", ""), ("regression", "rmse", " minutes,")]
)
def test_the_version_before_is_compared_by_the_loss_of_the_task(task, loss, unit):
    of = worlds.world(task, 4000, noise=1.0)

    better, worse = (
        compared(of.task, of.labels, *both, 6, SETTINGS) for both in ((of.noisy, of.good), (of.good, of.noisy))
    )

    assert (better.name, better.subject, better.exceeded) == (f"{loss}_difference", loss, True)
    assert not worse.exceeded
    assert better.value == pytest.approx(-worse.value)
    assert f"the {METRICS[loss].title} is {METRICS[loss].number(of_model(of, of.noisy), 4)}{unit}" in better.meaning
    unknown = compared(of.task, of.labels[:999], of.noisy[:999], of.good[:999], 6, SETTINGS)
    assert (unknown.name, unknown.value, unknown.exceeded) == (f"{loss}_difference", None, False)


def of_model(of: worlds.World, predictions: np.ndarray) -> float:
    return measured(of.task.loss.name, of.labels, predictions, of.task.measures)


@pytest.mark.unit
def test_an_error_in_a_unit_is_compared_by_a_share_of_it():
    of = worlds.world("regression", 4000, noise=1.0)

    small, large = (
        compared(of.task, scale * of.labels, scale * of.noisy, scale * of.good, 6, SETTINGS)
        for scale in (0.001, 1000.0)
    )

    assert small.threshold * 1e6 == pytest.approx(large.threshold)
    assert large.threshold == pytest.approx(SETTINGS.previous_rmse_may_win * 1000 * of_model(of, of.good))
    assert (small.exceeded, large.exceeded) == (True, True)


ROWS = [{"amount": 20.0, "count": 10, "colour": "red"}, {"amount": None, "count": None, "colour": None}]
LOGGED = pd.DataFrame(ROWS).astype({"count": "Int64"})
ANSWERS = {"binary": small_model.probability, "multiclass": small_model.probabilities, "regression": small_model.value}


@pytest.mark.component
@pytest.mark.parametrize("task", ANSWERS)
def test_logged_requests_are_answered_as_they_were_when_they_came(models, of_tasks, task):
    model, asked = load({"binary": models[0.0], **of_tasks}[task], 6), task_of(small_model.TARGETS[task])

    result = rescoring.answers(asked, model, LOGGED)

    np.testing.assert_allclose(result, [ANSWERS[task](0.0, row) for row in ROWS], rtol=1e-5)
    with pytest.raises(RescoringError, match="takes colour, which the payload log"):
        rescoring.answers(asked, model, LOGGED.drop(columns="colour"))
    for other in ANSWERS.keys() - {task}:
        with pytest.raises(RescoringError, match=f"it predicts {model.task.phrase}"):
            rescoring.answers(task_of(small_model.TARGETS[other]), model, LOGGED)


@pytest.mark.component
def test_a_version_that_tells_other_classes_apart_is_not_compared(of_tasks):
    model, target = load(of_tasks["multiclass"], 6), small_model.TARGETS["multiclass"]
    turned = target.model_copy(update={"classes": target.classes[::-1]})

    with pytest.raises(RescoringError, match="it predicts the probabilities of early"):
        rescoring.answers(task_of(turned), model, LOGGED)

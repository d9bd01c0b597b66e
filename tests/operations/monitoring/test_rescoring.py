"""Whether the version before would have been better on the same requests."""

import numpy as np
import pandas as pd
import pytest

from operations.inference.model import load
from operations.monitoring import rescoring
from operations.monitoring.model_signals import measured
from operations.monitoring.rescoring import RescoringError, compared
from operations.monitoring.settings import Monitoring
from operations.tasks import METRICS
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


@pytest.mark.component
def test_logged_requests_are_answered_as_they_were_when_they_came(tmp_path):
    model = load(small_model.write(tmp_path / "model", 0.5), 6)
    rows = [{"amount": 20.0, "count": 10, "colour": "red"}, {"amount": None, "count": None, "colour": None}]
    logged = pd.DataFrame(rows).astype({"count": "Int64"})

    result = rescoring.answers(BINARY, model, logged)

    np.testing.assert_allclose(result, [small_model.probability(0.5, row) for row in rows], rtol=1e-5)
    with pytest.raises(RescoringError, match="takes colour, which the payload log"):
        rescoring.answers(BINARY, model, logged.drop(columns="colour"))
    with pytest.raises(RescoringError, match="gives no value"):
        rescoring.answers(worlds.TASKS["regression"], model, logged)

"""Significance against independent computations, and under the hypothesis of no difference."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from ledger import measures, significance

pytestmark = pytest.mark.unit


def two_models(rows: int, seed: int, gain: float = 0.0, decimals: int = 3) -> tuple[np.ndarray, ...]:
    """Labels, and two correlated scores with ties; the second sees `gain` more of the label."""
    random = np.random.default_rng(seed)
    labels = (random.random(rows) < 0.3).astype(float)
    seen = random.normal(size=rows) + labels
    scores = (1 / (1 + np.exp(1 - seen - more * labels - 0.5 * random.normal(size=rows))) for more in (0.0, gain))
    return labels, *(np.round(of_model, decimals) for of_model in scores)


def naive_delong(labels: np.ndarray, *scores: np.ndarray) -> tuple[list[float], np.ndarray]:
    """DeLong, DeLong and Clarke-Pearson's formulas as they are printed, pair by pair."""

    def psi(positive: float, negative: float) -> float:
        return 1.0 if positive > negative else 0.5 if positive == negative else 0.0

    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    areas, v10, v01 = [], [], []
    for score in scores:
        pairs = np.array([[psi(score[i], score[j]) for j in negatives] for i in positives])
        areas.append(pairs.mean())
        v10.append(pairs.mean(axis=1))
        v01.append(pairs.mean(axis=0))
    s10 = np.array([[np.sum((a - a.mean()) * (b - b.mean())) / (len(positives) - 1) for a in v10] for b in v10])
    s01 = np.array([[np.sum((a - a.mean()) * (b - b.mean())) / (len(negatives) - 1) for a in v01] for b in v01])
    return areas, s10 / len(positives) + s01 / len(negatives)


@pytest.mark.parametrize("decimals", [1, 2, 9])
def test_delong_is_what_the_printed_formulas_give_with_and_without_ties(decimals):
    labels, first, second = two_models(150, seed=4, gain=0.5, decimals=decimals)
    areas, covariance = naive_delong(labels, first, second)

    fast_areas, fast_covariance = significance.areas_under_roc(labels, np.stack([first, second]))

    np.testing.assert_allclose(fast_areas, areas, rtol=1e-12)
    np.testing.assert_allclose(fast_covariance, covariance, rtol=1e-9)
    result = significance.delong(labels, first, second)
    assert (result.first, result.second, result.rows) == (*fast_areas, 150)
    assert fast_areas == pytest.approx([sklearn_metrics.roc_auc_score(labels, of) for of in (first, second)], abs=1e-12)
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert result.p_value == pytest.approx(2 * stats.norm.sf(abs(areas[1] - areas[0]) / error), rel=1e-9)
    low, high = stats.norm.interval(0.95, loc=areas[1] - areas[0], scale=error)
    assert (result.low, result.high) == pytest.approx((low, high), rel=1e-9)


def test_every_resampled_metric_is_that_of_scikit_learn_on_the_rows_and_on_a_resample():
    labels, scores, _ = two_models(400, seed=3, decimals=1)
    called = scores > 0.5
    drawn = np.random.default_rng(0).integers(0, 400, 400)
    for rows in (np.arange(400), drawn):
        y, p, c = labels[rows], scores[rows], called[rows]
        expected = {
            "log_loss": sklearn_metrics.log_loss(y, np.clip(p, 1e-7, 1 - 1e-7)),
            "brier": sklearn_metrics.brier_score_loss(y, p),
            "auc_precision_recall": sklearn_metrics.average_precision_score(y, p),
            "binary_accuracy": sklearn_metrics.accuracy_score(y, c),
            "precision": sklearn_metrics.precision_score(y, c),
            "recall": sklearn_metrics.recall_score(y, c),
            "calibration": p.mean() / y.mean(),
            "mean_prediction": p.mean(),
        }
        weights = np.bincount(rows, minlength=400).astype(float)
        for name, value in expected.items():
            assert measures.RESAMPLED[name](labels, scores)(weights) == pytest.approx(value, abs=1e-9), name


def test_the_interval_of_a_mean_is_that_of_scipys_paired_bootstrap():
    labels, first, second = two_models(500, seed=5, gain=0.4)
    differences = (second - labels) ** 2 - (first - labels) ** 2
    expected = stats.bootstrap((differences,), np.mean, n_resamples=4000, method="percentile", random_state=1)

    (result,) = significance.bootstrap(labels, first, second, ["brier"], seed=0, resamples=4000)

    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert result.difference == pytest.approx(differences.mean())
    assert result.low == pytest.approx(expected.confidence_interval.low, abs=0.05 * width)
    assert result.high == pytest.approx(expected.confidence_interval.high, abs=0.05 * width)


def test_without_a_difference_one_in_twenty_is_called_one():
    # Two models that are equally good: 400 evaluations. 5 % of 400 are 20, with a standard deviation of 4.4.
    delong = resampled = 0
    for seed in range(400):
        labels, first, second = two_models(200, seed)
        delong += significance.delong(labels, first, second).beyond_noise
        (loss,) = significance.bootstrap(labels, first, second, ["log_loss"], seed, resamples=200)
        resampled += loss.beyond_noise
    assert 8 <= delong <= 34
    assert 6 <= resampled <= 38


def test_a_real_difference_is_found_in_the_metrics_that_single_rows_can_tell():
    metrics = ["log_loss", "example_count", "auc", "brier"]

    loss, auc, brier = significance.compare(*two_models(5000, seed=1, gain=0.5), metrics)

    assert [test.metric for test in (loss, auc, brier)] == ["log_loss", "auc", "brier"]
    assert auc.beyond_noise
    assert auc.low > 0
    assert brier.beyond_noise
    assert brier.high < 0


def test_more_rows_make_the_interval_narrower():
    few, many = (significance.delong(*two_models(rows, seed=1)) for rows in (1000, 16000))

    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(1 / 4, rel=0.15)


def test_a_model_does_not_differ_from_itself_and_half_its_scores_only_in_losses():
    labels, scores, _ = two_models(300, seed=1, decimals=9)

    for test in significance.compare(labels, scores, scores, ["auc", *measures.RESAMPLED]):
        assert (test.difference, test.p_value, test.beyond_noise) == (0.0, 1.0, False), test.metric
    auc, loss = significance.compare(labels, scores, scores / 2, ["auc", "log_loss"])
    assert (auc.beyond_noise, loss.beyond_noise) == (False, True)


def test_the_same_seed_gives_the_same_answer_and_another_one_nearly_so():
    data = two_models(500, seed=1, gain=0.2)

    once, again, other = (significance.bootstrap(*data, ["log_loss"], seed) for seed in (0, 0, 1))

    assert once == again != other
    assert once[0].low == pytest.approx(other[0].low, abs=0.25 * (once[0].high - once[0].low))


@pytest.mark.parametrize(
    ("labels", "scores", "said"),
    [
        (np.zeros(50), np.full(50, 0.5), "0 of the 50 rows are positive"),
        (np.ones(50), np.full(50, 0.5), "50 of the 50 rows are positive"),
        (np.r_[np.ones(25), np.full(25, 0.3)], np.full(50, 0.5), "not all 0 or 1"),
        (np.r_[np.ones(25), np.zeros(25)], np.r_[np.full(49, 0.5), np.nan], "not all of the scores are numbers"),
    ],
)
def test_rows_that_cannot_tell_anything_say_why(labels, scores, said):
    assert said in (measures.BINARY.why_not(labels, scores) or "")


def test_holm_is_what_the_definition_says():
    p_values = [0.01, 0.04, 0.03, 0.005]
    assert significance.holm(p_values) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([]) == []
    for order in itertools.permutations(range(4)):
        shuffled = significance.holm([p_values[index] for index in order])
        assert [shuffled[order.index(index)] for index in range(4)] == pytest.approx(significance.holm(p_values))

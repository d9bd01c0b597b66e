"""Whether two models differ on the same rows by more than the choice of rows explains.

The noise meant here is that of the evaluation split: would another draw of as many rows have given the same answer? It
is not that of training: a model that is trained again with another seed differs too, and no single run tells by how
much. Needs numpy alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ledger.measures import BINARY, Measures

LEVEL = 0.95
RESAMPLES = 1000
DELONG = "DeLong test"
BOOTSTRAP = "paired bootstrap"
BY_DEVIATION = "paired bootstrap, its standard deviation"
UNPAIRED = "bootstrap of two samples"
# To know a standard deviation; a quantile in the tails needs many more.
_FEW_RESAMPLES = 200
_QUANTILE = 1.959963984540054  # of the standard normal distribution, at (1 + LEVEL) / 2


@dataclasses.dataclass(frozen=True)
class SignificanceTest:
    """How much a metric of the second model exceeds that of the first, and how sure that is.

    Attributes:
        first: the metric of the first model on these rows; `second` is that of the second.
        difference: second - first; `low` and `high` are the ends of its 95 % confidence interval.
        p_value: of the hypothesis that there is no difference, two-sided.
        test: what was done to know.
        rows: on how many rows.
    """

    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    test: str
    rows: int

    @property
    def beyond_noise(self) -> bool:
        """Whether the difference is larger than sampling noise: at the level of 95 %."""
        return self.p_value < 1 - LEVEL


def compare(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    metrics: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
    measures: Measures = BINARY,
) -> list[SignificanceTest]:
    """Compares two models on the same rows by several metrics.

    Args:
        labels: as of the task, [rows].
        first: the predictions of the first model, [rows] or [rows, classes].
        second: those of the second.
        metrics: names as in the records; those that cannot be computed from single rows are left out.
        seed: of the bootstrap, which draws the same rows for both models and all metrics.
        resamples: of the bootstrap.
        measures: of the task.

    Returns:
        A difference per metric that is known here, in the given order: `auc` by DeLong's test, others by bootstrap.
    """
    tests = {name: delong(labels, first, second) for name in metrics if name in measures.by_delong}
    resampled = [name for name in metrics if name in measures.resampled]
    tests |= {
        test.metric: test for test in bootstrap(labels, first, second, resampled, seed, resamples, measures=measures)
    }
    return [tests[name] for name in metrics if name in tests]


def compare_one_of_many(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, metric: str, measures: Measures, seed: int = 0
) -> SignificanceTest | None:
    """The test of a slice among many, by its p-value small enough to be corrected for them; None for unknown metrics.

    The bootstrap's p-value is no smaller than 2 / (resamples + 1). So if there is no exact test the difference is taken
    to be normally distributed, with the standard deviation of the resamples (Efron and Tibshirani 1993, chapter 13).
    """
    if metric in measures.by_delong:
        return delong(labels, first, second)
    if metric not in measures.resampled:
        return None
    seen, drawn = _resampled(labels, first, second, [metric], seed, _FEW_RESAMPLES, measures)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < 2 or not np.isfinite(seen).all():
        return None
    ((one, other),) = seen.tolist()
    return _by_deviation(metric, one, other, float(drawn.std(ddof=1)), BY_DEVIATION, len(labels))


def delong(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> SignificanceTest:
    """DeLong's test for two correlated areas under the ROC curve; arguments as of `compare`, some labels of each kind.

    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988); in O(n log n) by midranks, Sun and Xu, IEEE Signal
    Processing Letters 21 (2014).
    """
    areas, covariance = areas_under_roc(labels, np.stack([first, second]))
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Scores in the same order have a variance of zero, or by rounding somewhat less or more.
    error = math.sqrt(variance) if variance > 1e-18 else 0.0
    return _by_deviation("auc", float(areas[0]), float(areas[1]), error, DELONG, len(labels))


def areas_under_roc(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas under the ROC curve, a tie counting half, and DeLong's estimate of their covariance.

    Args:
        labels: 0 or 1, [rows].
        scores: of several models, [models, rows].

    Returns:
        The areas, [models], and the covariance matrix, [models, models].
    """
    positive = labels > 0.5
    positives, negatives = int(positive.sum()), int((~positive).sum())
    areas, among_positives, among_negatives = [], [], []
    for of_model in scores:
        everywhere = _midranks(of_model)
        # For each positive row the share of negatives below it, and the other way round.
        over = (everywhere[positive] - _midranks(of_model[positive])) / negatives
        under = 1.0 - (everywhere[~positive] - _midranks(of_model[~positive])) / positives
        areas.append(over.mean())
        among_positives.append(over)
        among_negatives.append(under)
    covariance = np.atleast_2d(np.cov(among_positives)) / positives + np.atleast_2d(np.cov(among_negatives)) / negatives
    return np.array(areas), covariance


def bootstrap(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    metrics: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
    measures: Measures = BINARY,
) -> list[SignificanceTest]:
    """The paired bootstrap: rows are drawn with replacement, the same for both models (Efron and Tibshirani 1993).

    The interval is the percentile interval, the p-value what belongs to it: twice the smaller share of resamples on
    one side of zero, and at least 2 / (resamples + 1). Arguments as of `compare`; the metrics are names in `resampled`
    of the measures.
    """
    if not metrics:
        return []
    seen, drawn = _resampled(labels, first, second, metrics, seed, resamples, measures)
    tests = []
    for index, name in enumerate(metrics):
        # A resample in which a metric is not defined, such as a precision without predictions, says nothing.
        differences = drawn[np.isfinite(drawn[:, index]), index]
        if len(differences) and np.isfinite(seen[index]).all():
            tests.append(_by_percentiles(name, seen[index, 0], seen[index, 1], differences, BOOTSTRAP, len(labels)))
    return tests


def _resampled(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    metrics: Sequence[str],
    seed: int,
    resamples: int,
    measures: Measures,
) -> tuple[np.ndarray, np.ndarray]:
    """The metrics of both models on the rows, [metrics, 2], and by how much they differ on each resample.

    The differences, second - first, are [resamples, metrics].
    """
    rows = len(labels)
    of = measures.resampled
    pairs = [(of[name](labels, first), of[name](labels, second)) for name in metrics]
    everything = np.ones(rows)
    seen = np.array([[one(everything), other(everything)] for one, other in pairs])
    random = np.random.default_rng(seed)
    drawn = np.empty((resamples, len(metrics)))
    for index in range(resamples):
        weights = resample(random, rows)
        drawn[index] = [other(weights) - one(weights) for one, other in pairs]
    return seen, drawn


def bootstrap_of_two_samples(
    metric: str,
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    seed: int = 0,
    resamples: int = RESAMPLES,
    measures: Measures = BINARY,
) -> SignificanceTest:
    """The two-sample bootstrap: the rows of each model are drawn with replacement by themselves.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 8. The interval is much wider than that of
    the same models on the same rows, whose luck they share.

    Args:
        metric: a name in `resampled` of the measures.
        first: labels, [its rows], and predictions of the first model, [its rows] or [its rows, classes].
        second: those of the second.
        seed: of the drawing.
        resamples: how often to draw.
        measures: of the task.
    """
    random = np.random.default_rng(seed)
    one, other = measures.resampled[metric](*first), measures.resampled[metric](*second)
    rows, other_rows = len(first[0]), len(second[0])
    differences = np.array(
        [other(resample(random, other_rows)) - one(resample(random, rows)) for _ in range(resamples)]
    )
    before, after = one(np.ones(rows)), other(np.ones(other_rows))
    return _by_percentiles(metric, before, after, differences, UNPAIRED, rows + other_rows)


def resample(random: np.random.Generator, rows: int) -> np.ndarray:
    """How often each row is drawn when as many are drawn with replacement, float64 [rows]."""
    return np.bincount(random.integers(0, rows, rows), minlength=rows).astype(np.float64)


def _by_percentiles(
    metric: str, first: float, second: float, differences: np.ndarray, test: str, rows: int
) -> SignificanceTest:
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    side = min((differences <= 0).sum(), (differences >= 0).sum())
    p_value = min(1.0, 2 * (int(side) + 1) / (len(differences) + 1))
    first, second, low, high = map(float, (first, second, low, high))
    return SignificanceTest(metric, first, second, second - first, low, high, p_value, test, rows)


def _by_deviation(metric: str, first: float, second: float, deviation: float, test: str, rows: int) -> SignificanceTest:
    """The test of a normally distributed difference with this standard deviation."""
    difference = second - first
    low, high = difference - _QUANTILE * deviation, difference + _QUANTILE * deviation
    if deviation:
        p_value = math.erfc(abs(difference) / deviation / math.sqrt(2))
    else:
        p_value = 1.0 if abs(difference) < 1e-12 else 0.0
    return SignificanceTest(metric, first, second, difference, low, high, p_value, test, rows)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for asking many questions at once (Holm, Scandinavian Journal of Statistics 6, 1979).

    Without it one in twenty slices would differ by chance.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse.reshape(-1)]

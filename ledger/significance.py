"""Whether two models differ on the same rows by more than the choice of rows explains.

The noise meant here is that of the evaluation split: would another draw of as many rows have given the same answer? It
is not that of training: a model that is trained again with another seed differs too, and no single run tells by how
much. Needs numpy alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

LEVEL = 0.95
RESAMPLES = 1000
# Of a slice or split; below, neither test is to be trusted.
FEWEST_PER_LABEL = 10
DELONG = "DeLong test"
BOOTSTRAP = "paired bootstrap"
UNPAIRED = "bootstrap of two samples"
# The clipping of the metric LogLoss, Keras's (keras.config.epsilon()).
_EPSILON = 1e-7
_DECISION = 0.5
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
) -> list[SignificanceTest]:
    """Compares two models on the same rows by several metrics.

    Args:
        labels: 0 or 1, [rows].
        first: the probabilities of the first model, [rows].
        second: those of the second.
        metrics: names as in the records; those that cannot be computed from single rows are left out.
        seed: of the bootstrap, which draws the same rows for both models and all metrics.
        resamples: of the bootstrap.

    Returns:
        A difference per metric that is known here, in the given order: `auc` by DeLong's test, others by bootstrap.
    """
    tests: dict[str, SignificanceTest] = {}
    if "auc" in metrics:
        tests["auc"] = delong(labels, first, second)
    resampled = [name for name in metrics if name in RESAMPLED]
    tests |= {test.metric: test for test in bootstrap(labels, first, second, resampled, seed, resamples)}
    return [tests[name] for name in metrics if name in tests]


def why_not(labels: np.ndarray, *scores: np.ndarray) -> str | None:
    """Why these rows cannot tell anything: the end of a sentence, None if they can."""
    positives = int((labels > 0.5).sum())
    if not np.isin(labels, (0, 1)).all():
        return "their labels are not all 0 or 1"
    if min(positives, len(labels) - positives) < FEWEST_PER_LABEL:
        return f"{positives} of the {len(labels)} rows are positive, and at least {FEWEST_PER_LABEL} of each are needed"
    if not all(np.isfinite(of_model).all() for of_model in scores):
        return "not all of the scores are numbers"
    return None


def delong(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> SignificanceTest:
    """DeLong's test for two correlated areas under the ROC curve; arguments as of `compare`, some labels of each kind.

    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988); in O(n log n) by midranks, Sun and Xu, IEEE Signal
    Processing Letters 21 (2014).
    """
    areas, covariance = areas_under_roc(labels, np.stack([first, second]))
    difference = float(areas[1] - areas[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Scores in the same order have a variance of zero, or by rounding somewhat less or more.
    error = math.sqrt(variance) if variance > 1e-18 else 0.0
    first_area, second_area = map(float, areas)
    low, high = difference - _QUANTILE * error, difference + _QUANTILE * error
    p_value = _two_sided(difference, error)
    return SignificanceTest("auc", first_area, second_area, difference, low, high, p_value, DELONG, len(labels))


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
) -> list[SignificanceTest]:
    """The paired bootstrap: rows are drawn with replacement, the same for both models (Efron and Tibshirani 1993).

    The interval is the percentile interval, the p-value what belongs to it: twice the smaller share of resamples on
    one side of zero, and at least 2 / (resamples + 1). Arguments as of `compare`; the metrics are names in `RESAMPLED`.
    """
    if not metrics:
        return []
    rows = len(labels)
    measures = [(RESAMPLED[name](labels, first), RESAMPLED[name](labels, second)) for name in metrics]
    everything = np.ones(rows)
    seen = np.array([[one(everything), other(everything)] for one, other in measures])
    random = np.random.default_rng(seed)
    drawn = np.empty((resamples, len(metrics)))
    for index in range(resamples):
        weights = resample(random, rows)
        drawn[index] = [other(weights) - one(weights) for one, other in measures]
    tests = []
    for index, name in enumerate(metrics):
        # A resample in which a metric is not defined, such as a precision without predictions, says nothing.
        differences = drawn[np.isfinite(drawn[:, index]), index]
        if len(differences) and np.isfinite(seen[index]).all():
            tests.append(_by_percentiles(name, seen[index, 0], seen[index, 1], differences, BOOTSTRAP, rows))
    return tests


def bootstrap_of_two_samples(
    metric: str,
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> SignificanceTest:
    """The two-sample bootstrap: the rows of each model are drawn with replacement by themselves.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 8. The interval is much wider than that of
    the same models on the same rows, whose luck they share.

    Args:
        metric: a name in `RESAMPLED`.
        first: labels, 0 or 1, and probabilities of the first model, both [its rows].
        second: those of the second.
        seed: of the drawing.
        resamples: how often to draw.
    """
    random = np.random.default_rng(seed)
    one, other = RESAMPLED[metric](*first), RESAMPLED[metric](*second)
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


_Measure = Callable[[np.ndarray], float]


def _log_loss(labels: np.ndarray, scores: np.ndarray) -> _Measure:
    clipped = np.clip(scores, _EPSILON, 1 - _EPSILON)
    return _ratio(-(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)))


def _average_precision(labels: np.ndarray, scores: np.ndarray) -> _Measure:
    """The area under the precision-recall curve as a step function; Keras's interpolates, and differs a little."""
    order = np.argsort(-scores, kind="stable")
    # The last row of each run of equal scores: rows with the same score are called together.
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    positives = np.flatnonzero(labels[order] > 0.5)
    end_of_positive = ends[np.searchsorted(ends, positives)]
    last_positive = np.searchsorted(positives, end_of_positive, side="right") - 1
    positive_rows = order[positives]

    def measure(weights: np.ndarray) -> float:
        called = np.cumsum(weights[order])[end_of_positive]
        drawn = weights[positive_rows]
        right = np.cumsum(drawn)
        if not len(right) or not right[-1]:
            return float("nan")
        # The mean, over the positives, of the precision at the score of each.
        return _dot(drawn, right[last_positive] / np.maximum(called, 1.0)) / float(right[-1])

    return measure


def _ratio(above: np.ndarray, below: np.ndarray | None = None) -> _Measure:
    """The sum over the drawn rows by another one; without that, the mean."""

    def measure(weights: np.ndarray) -> float:
        total = len(above) if below is None else _dot(weights, below)
        return _dot(weights, above) / total if total else float("nan")

    return measure


def _called(scores: np.ndarray) -> np.ndarray:
    return (scores > _DECISION).astype(float)


def _dot(one: np.ndarray, other: np.ndarray) -> float:
    # Not `@`: the threads of BLAS take a hundred times longer than the product when the cores are busy.
    return float(np.einsum("i,i->", one, other))


# Metrics that the bootstrap knows, by the names that records have for them, and Keras's and TFMA's.
RESAMPLED: Mapping[str, Callable[[np.ndarray, np.ndarray], _Measure]] = {
    **dict.fromkeys(("log_loss", "binary_crossentropy", "binary_cross_entropy"), _log_loss),
    **dict.fromkeys(("brier", "mean_squared_error"), lambda labels, scores: _ratio((scores - labels) ** 2)),
    "calibration": lambda labels, scores: _ratio(scores, labels),  # mean prediction by mean label, as TFMA's
    "mean_prediction": lambda labels, scores: _ratio(scores),
    "auc_precision_recall": _average_precision,
    "binary_accuracy": lambda labels, scores: _ratio((_called(scores) == (labels > 0.5)).astype(float)),
    "precision": lambda labels, scores: _ratio(_called(scores) * labels, _called(scores)),
    "recall": lambda labels, scores: _ratio(_called(scores) * labels, labels),
}


def _midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse.reshape(-1)]


def _two_sided(difference: float, error: float) -> float:
    """The p-value of a normally distributed difference with this standard error."""
    if not error:
        return 1.0 if abs(difference) < 1e-12 else 0.0
    return math.erfc(abs(difference) / error / math.sqrt(2))

"""What the answers of a window say: their distribution, and, once labels have arrived, how good they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ledger.significance import FEWEST_PER_LABEL, RESAMPLED, areas_under_roc, resample
from operations.monitoring.settings import Monitoring
from operations.monitoring.signals import Signal

BINS = 20
RESAMPLES = 200
_QUANTILE = 1.959963984540054  # of the standard normal distribution, at 97.5 %
QUALITY = ("auc", "log_loss", "calibration")


def prediction_drift(served: np.ndarray, reference: np.ndarray, settings: Monitoring) -> Signal:
    """The distance between the predictions of a window and those of the evaluation, probabilities [rows]."""
    value, threshold = prediction_distance(served, reference), settings.prediction_distance
    exceeded = value > threshold
    return Signal(
        kind="prediction",
        name="prediction_distance",
        value=value,
        threshold=threshold,
        exceeded=exceeded,
        meaning=f"the predictions (mean {served.mean():.3f}) are {value:.3f} from those of the evaluation (mean "
        f"{reference.mean():.3f}) by Jensen-Shannon divergence, {'more than' if exceeded else 'within'} {threshold:g}",
    )


def prediction_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The Jensen-Shannon divergence of two histograms of equal widths; base 2, between 0 and 1.

    Lin, "Divergence Measures Based on the Shannon Entropy", IEEE Trans. Inf. Theory 37 (1991). Takes probabilities,
    [rows] and [other rows].
    """
    from scipy.spatial.distance import jensenshannon

    counts = [np.histogram(values, bins=BINS, range=(0, 1))[0] for values in (one, other)]
    return float(jensenshannon(*counts, base=2) ** 2)


def quality(
    labels: np.ndarray,
    scores: np.ndarray,
    slices: Mapping[str, np.ndarray],
    expected: Mapping[str, float],
    settings: Monitoring,
) -> list[Signal]:
    """AUC, log loss and calibration with 95 % intervals, of the window and of its slices.

    A number is exceeded when all of its interval is beyond the threshold. The interval of AUC is DeLong's (Biometrics
    44, 1988), the others' the percentiles of a bootstrap.

    Labels are 0 or 1 [rows], scores probabilities [rows], slices name -> which rows, bool [rows]; expected are the
    metrics of the served model's evaluation, by name.
    """
    signals = []
    for subject, rows in {"": slice(None), **slices}.items():
        signals += [_quality(name, subject, labels[rows], scores[rows], expected, settings) for name in QUALITY]
    return signals


def _judgeable(labels: np.ndarray, fewest: int) -> bool:
    """Whether so many labels have arrived, and enough of each class."""
    positives = int((labels > 0.5).sum())
    return len(labels) >= fewest and FEWEST_PER_LABEL <= positives <= len(labels) - FEWEST_PER_LABEL


def _quality(
    name: str, subject: str, labels: np.ndarray, scores: np.ndarray, expected: Mapping[str, float], settings: Monitoring
) -> Signal:
    where = f" on {subject}" if subject else ""
    rows = f"{len(labels):,} labelled requests"
    lowest, highest = _bounds(name, expected, settings)
    threshold = highest if lowest is None else lowest
    if not _judgeable(labels, 2 * FEWEST_PER_LABEL if subject else settings.fewest_labels):
        meaning = f"{name}{where} cannot be told from {rows}, {int((labels > 0.5).sum()):,} of them positive"
        return Signal(kind="quality", name=name, subject=subject, value=None, threshold=threshold, meaning=meaning)
    value, low, high = interval(name, labels, scores)
    above = highest is not None and low > highest
    exceeded = above or (lowest is not None and high < lowest)
    bounds = [f"at least {lowest:.3f}"] if lowest is not None else []
    bounds += [f"at most {highest:.3f}"] if highest is not None else []
    asked = f", and {' and '.join(bounds)} is expected" if bounds and not subject else ""
    # Slices are shown, and not judged by the threshold of the whole: each has a level of its own.
    return Signal(
        kind="quality",
        name=name,
        subject=subject,
        value=value,
        low=low,
        high=high,
        threshold=None if subject else highest if above else threshold,
        exceeded=exceeded and not subject,
        meaning=f"{name}{where} is {value:.3f} ({low:.3f} to {high:.3f}) on {rows}{asked}",
    )


def _bounds(name: str, expected: Mapping[str, float], settings: Monitoring) -> tuple[float | None, float | None]:
    """The lowest and the highest value that is accepted."""
    if name == "auc" and "auc" in expected:
        return expected["auc"] - settings.auc_may_lose, None
    if name == "log_loss" and "log_loss" in expected:
        return None, expected["log_loss"] + settings.log_loss_may_lose
    if name == "calibration":
        return settings.calibration
    return None, None


def interval(name: str, labels: np.ndarray, scores: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """A metric and its 95 % confidence interval: value, lower end, upper end.

    The metric is ``auc`` or one of `ledger.significance.RESAMPLED`; labels are 0 or 1 [rows], scores probabilities
    [rows].
    """
    if name == "auc":
        areas, covariance = areas_under_roc(labels, scores[None])
        error = float(np.sqrt(max(float(covariance[0, 0]), 0.0)))
        value = float(areas[0])
        return value, max(0.0, value - _QUANTILE * error), min(1.0, value + _QUANTILE * error)
    measure = RESAMPLED[name](labels, scores)
    random = np.random.default_rng(seed)
    drawn = [measure(resample(random, len(labels))) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(measure(np.ones(len(labels)))), float(low), float(high)


def label_reliability(
    label: str,
    labels: np.ndarray,
    answers: Mapping[str, np.ndarray],
    expected: Mapping[str, float],
    settings: Monitoring,
) -> Signal | None:
    """Whether any model still separates the positive rows from the negative ones; if none does, the labels are doubted.

    The world changes a model's quality gradually. When the served model and the one before it both fall to chance
    within a window, the labels are the likelier cause: flipped, joined to other rows, of another definition. The share
    of positive ones need not show it. Labels flipped at random with probability p leave 1 - 2p of the AUC above 0.5, at
    equal classes (Menon et al., "Learning from Corrupted Binary Labels via Class-Probability Estimation", ICML 2015).

    Labels, 0 or 1 [rows], are of the column `label`; answers are model -> its probabilities [rows]; expected are the
    metrics of the served model's evaluation, by name.

    Returns:
        The AUC of the best model; exceeded when all of its interval is below the threshold. None if there are too few
        labels, or the model was never better than chance.
    """
    promised = expected.get("auc", 0.5)
    if promised <= 0.5 or not _judgeable(labels, settings.fewest_labels):
        return None
    intervals = {model: interval("auc", labels, scores) for model, scores in answers.items()}
    best = max(intervals, key=lambda model: intervals[model][0])
    value, low, high = intervals[best]
    threshold = 0.5 + settings.auc_kept * (promised - 0.5)
    exceeded = high < threshold
    return Signal(
        kind="label",
        name="auc_kept",
        subject=label,
        value=value,
        low=low,
        high=high,
        threshold=threshold,
        exceeded=exceeded,
        meaning=f"{label}: {best} tells the labels from each other with an AUC of {value:.3f} ({low:.3f} to "
        f"{high:.3f}), {'less than' if exceeded else 'and at least'} {threshold:.3f}"
        f"{', so they may mean nothing' if exceeded else ' is left'}; the evaluation promised {promised:.3f}",
    )


def traffic(rows: int, before: Sequence[int], settings: Monitoring) -> Signal:
    """The number of requests, compared with the median of the windows before."""
    if not before:
        meaning = f"{rows:,} requests, the first window"
        return Signal(kind="traffic", name="requests", value=float(rows), meaning=meaning)
    usual = float(np.median(before))
    low, high = (bound * usual for bound in settings.traffic)
    exceeded = not low <= rows <= high
    return Signal(
        kind="traffic",
        name="requests",
        value=float(rows),
        threshold=low if rows < low else high,
        exceeded=exceeded,
        meaning=f"{rows:,} requests, {'outside of' if exceeded else 'within'} {low:,.0f} to {high:,.0f}; the median of "
        f"the {len(before)} windows before is {usual:,.0f}",
    )


def p99(seconds: np.ndarray) -> float | None:
    """The 99th percentile of the seconds of each row, which are nan where not measured; None if none was measured."""
    known = seconds[np.isfinite(seconds)]
    return float(np.quantile(known, 0.99)) if len(known) else None


def latency(seconds: np.ndarray, settings: Monitoring) -> Signal | None:
    """The p99 of the latency, from the seconds of each row; None if it was not measured."""
    value = p99(seconds)
    if value is None:
        return None
    limit = settings.latency_p99_seconds
    exceeded = limit is not None and value > limit
    asked = "" if limit is None else f", {'more than' if exceeded else 'within'} {limit:g} s"
    return Signal(
        kind="latency",
        name="p99_seconds",
        value=value,
        threshold=limit,
        exceeded=exceeded,
        meaning=f"one answer in a hundred took longer than {value:.4f} s{asked}",
    )

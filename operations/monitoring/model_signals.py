"""What the answers of a window say: their distribution, and, once labels have arrived, how good they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ledger.measures import BINARY, FEWEST_PER_LABEL, Measures
from ledger.significance import areas_under_roc, resample
from operations.monitoring.settings import Monitoring
from operations.monitoring.signals import Signal
from operations.tasks import Metric, Task

RESAMPLES = 200
_QUANTILE = 1.959963984540054  # of the standard normal distribution, at 97.5 %
_CHANCE = 0.5  # the AUC of who knows nothing


def prediction_drift(task: Task, served: np.ndarray, reference: np.ndarray, settings: Monitoring) -> Signal:
    """The distance between the predictions of a window and those of the evaluation: see `Task.distance`."""
    value, threshold = task.distance(served, reference), settings.prediction_distance
    exceeded = value > threshold
    return Signal(
        kind="prediction",
        name="prediction_distance",
        value=value,
        threshold=threshold,
        exceeded=exceeded,
        meaning=f"the predictions ({task.summary(served)}) are {value:.3f} from those of the evaluation "
        f"({task.summary(reference)}) by Jensen-Shannon divergence, {'more than' if exceeded else 'within'} "
        f"{threshold:g}",
    )


def quality(
    task: Task,
    labels: np.ndarray,
    predictions: np.ndarray,
    slices: Mapping[str, np.ndarray],
    expected: Mapping[str, float],
    settings: Monitoring,
) -> list[Signal]:
    """The metrics of a task with 95 % intervals, of the window and of its slices.

    A number is exceeded when all of its interval is beyond the threshold. The interval of AUC is DeLong's (Biometrics
    44, 1988), the others' the percentiles of a bootstrap.

    Labels and predictions are those of the task, slices name -> which rows, bool [rows]; expected are the metrics of
    the served model's evaluation, by name.
    """
    signals = []
    for subject, rows in {"": slice(None), **slices}.items():
        of_rows = labels[rows], predictions[rows]
        signals += [_quality(task, metric, subject, *of_rows, expected, settings) for metric in task.quality]
    return signals


def _quality(
    task: Task,
    metric: Metric,
    subject: str,
    labels: np.ndarray,
    predictions: np.ndarray,
    expected: Mapping[str, float],
    settings: Monitoring,
) -> Signal:
    name, where = metric.name, f" on {subject}" if subject else ""
    rows = f"{len(labels):,} labelled requests"
    lowest, highest = metric.bounds(expected, settings)
    threshold = highest if lowest is None else lowest
    fewest = 2 * FEWEST_PER_LABEL if subject else settings.fewest_labels
    if len(labels) < fewest or not task.judgeable(labels, metric):
        meaning = f"{name}{where} cannot be told from {rows}{task.counted(labels)}"
        return Signal(kind="quality", name=name, subject=subject, value=None, threshold=threshold, meaning=meaning)
    value, low, high = interval(name, labels, predictions, measures=task.measures)
    above = highest is not None and low > highest
    exceeded = above or (lowest is not None and high < lowest)
    bounds = [f"at least {metric.number(lowest)}"] if lowest is not None else []
    bounds += [f"at most {metric.number(highest)}"] if highest is not None else []
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
        meaning=f"{name}{where} is {metric.number(value)}{task.unit(metric)} ({metric.number(low)} to "
        f"{metric.number(high)}) on {rows}{asked}",
    )


def measured(name: str, labels: np.ndarray, predictions: np.ndarray, measures: Measures) -> float:
    """A metric of the task that the measures are of."""
    if name in measures.by_delong:
        return float(areas_under_roc(labels, predictions[None])[0][0])
    return float(measures.resampled[name](labels, predictions)(np.ones(len(labels))))


def interval(
    name: str, labels: np.ndarray, predictions: np.ndarray, seed: int = 0, measures: Measures = BINARY
) -> tuple[float, float, float]:
    """A metric and its 95 % confidence interval: value, lower end, upper end; arguments as of `measured`."""
    if name in measures.by_delong:
        areas, covariance = areas_under_roc(labels, predictions[None])
        error = float(np.sqrt(max(float(covariance[0, 0]), 0.0)))
        value = float(areas[0])
        return value, max(0.0, value - _QUANTILE * error), min(1.0, value + _QUANTILE * error)
    measure = measures.resampled[name](labels, predictions)
    random = np.random.default_rng(seed)
    drawn = [measure(resample(random, len(labels))) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(measure(np.ones(len(labels)))), float(low), float(high)


def separation(task: Task, labels: np.ndarray, predictions: np.ndarray) -> tuple[float, float, float] | None:
    """How well predictions tell labels from each other: an AUC and its 95 % interval; None if no label is asked about.

    Of several questions, such as one for each class, it is the mean. The mean of their intervals is not narrower than
    the interval of that, whatever they have to do with each other.
    """
    answers = [interval("auc", *contrast) for contrast in task.contrasts(labels, predictions)]
    if not answers:
        return None
    area, low, high = np.mean(answers, axis=0).tolist()
    return area, low, high


def label_reliability(
    task: Task,
    labels: np.ndarray,
    answers: Mapping[str, np.ndarray],
    promised: float | None,
    settings: Monitoring,
) -> Signal | None:
    """Whether any model still tells the labels from each other; if none does, the labels are doubted.

    The world changes a model's quality gradually. When the served model and the one before it both fall to chance
    within a window, the labels are the likelier cause: flipped, joined to other rows, of another definition. The share
    of positive ones need not show it. Labels flipped at random with probability p leave 1 - 2p of the AUC above 0.5, at
    equal classes (Menon et al., "Learning from Corrupted Binary Labels via Class-Probability Estimation", ICML 2015).

    Labels are those of the window [rows]; answers are model -> its predictions [rows]; promised is the `separation` of
    the served model's evaluation, None if that is not known.

    Returns:
        The AUC of the best model; exceeded when all of its interval is below the threshold. None if there are too few
        labels, or the model was never better than chance.
    """
    if promised is None or promised <= _CHANCE or len(labels) < settings.fewest_labels:
        return None
    separations = {model: separation(task, labels, predictions) for model, predictions in answers.items()}
    intervals = {model: of_model for model, of_model in separations.items() if of_model is not None}
    if not intervals:
        return None
    best = max(intervals, key=lambda model: intervals[model][0])
    value, low, high = intervals[best]
    threshold = _CHANCE + settings.auc_kept * (promised - _CHANCE)
    exceeded = high < threshold
    return Signal(
        kind="label",
        name="auc_kept",
        subject=task.target.label,
        value=value,
        low=low,
        high=high,
        threshold=threshold,
        exceeded=exceeded,
        meaning=f"{task.target.label}: {best} tells the labels from each other with an AUC of {value:.3f} ({low:.3f} "
        f"to {high:.3f}), {'less than' if exceeded else 'and at least'} {threshold:.3f}"
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

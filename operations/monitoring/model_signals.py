"""What the answers of a window say: their distribution, and, once labels have arrived, how good they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ledger.significance import FEWEST_PER_LABEL, RESAMPLED, areas_under_roc
from operations.monitoring.settings import Monitoring
from operations.monitoring.signals import Signal

if TYPE_CHECKING:
    import numpy as np

BINS = 20
RESAMPLES = 200
_QUANTILE = 1.959963984540054  # of the standard normal distribution, at 97.5 %
QUALITY = ("auc", "log_loss", "calibration")


def prediction_drift(served: np.ndarray, reference: np.ndarray, settings: Monitoring) -> Signal:
    """How far the predictions of a window are from those that the model made when it was evaluated.

    Args:
        served: probabilities [rows].
        reference: probabilities of the evaluation split [rows].
        settings: have the threshold.
    """
    value = prediction_distance(served, reference)
    exceeded = value > settings.prediction_distance
    return Signal(
        kind="prediction",
        name="prediction_distance",
        value=value,
        threshold=settings.prediction_distance,
        exceeded=exceeded,
        meaning=f"the predictions (mean {served.mean():.3f}) are {value:.3f} from those of the evaluation (mean "
        f"{reference.mean():.3f}) by Jensen-Shannon divergence, "
        f"{'more than' if exceeded else 'within'} {settings.prediction_distance:g}",
    )


def prediction_distance(one: np.ndarray, other: np.ndarray) -> float:
    """How far predictions are from others: the Jensen-Shannon divergence of histograms of equal widths.

    Base 2, between 0 and 1; Lin, IEEE Trans. Inf. Theory 37 (1991).

    Args:
        one: probabilities [rows].
        other: probabilities [other rows].
    """
    import numpy as np
    from scipy.spatial.distance import jensenshannon

    counts = [np.histogram(values, bins=BINS, range=(0, 1))[0] for values in (one, other)]
    return float(jensenshannon(*counts, base=2) ** 2)


def quality(
    labels: np.ndarray,
    scores: np.ndarray,
    slices: Mapping[str, np.ndarray],
    expected: Mapping[str, float],
    settings: Monitoring,
    seed: int = 0,
) -> list[Signal]:
    """AUC, log loss and calibration with 95 % intervals, of the window and of its slices.

    A number is exceeded when all of its interval is beyond the threshold: chance alone is no reason to act. The
    interval of AUC is DeLong's (Biometrics 44, 1988), the others' the percentiles of a bootstrap.

    Args:
        labels: 0 or 1 [rows].
        scores: probabilities [rows].
        slices: name -> which rows, bool [rows].
        expected: the metrics of the served model's evaluation, by name.
        settings: how much worse the window may be.
        seed: of the bootstrap.
    """
    signals = []
    for subject, chosen in {"": None, **slices}.items():
        those, their = (labels, scores) if chosen is None else (labels[chosen], scores[chosen])
        signals += [_quality(name, subject, those, their, expected, settings, seed) for name in QUALITY]
    return signals


def _quality(
    name: str,
    subject: str,
    labels: np.ndarray,
    scores: np.ndarray,
    expected: Mapping[str, float],
    settings: Monitoring,
    seed: int,
) -> Signal:
    where = f" on {subject}" if subject else ""
    low_bound, high_bound = _bounds(name, expected, settings)
    threshold = low_bound if low_bound is not None else high_bound
    positives = int((labels > 0.5).sum())
    rows = len(labels)
    if rows < (settings.fewest_labels if not subject else 2 * FEWEST_PER_LABEL) or not (
        FEWEST_PER_LABEL <= positives <= rows - FEWEST_PER_LABEL
    ):
        return Signal(
            kind="quality",
            name=name,
            subject=subject,
            value=None,
            threshold=threshold,
            meaning=f"{name}{where} cannot be told from {rows:,} labelled requests, {positives:,} of them positive",
        )
    value, low, high = interval(name, labels, scores, seed)
    below = low_bound is not None and high < low_bound
    above = high_bound is not None and low > high_bound
    # Slices are shown, and not judged by the threshold of the whole: each has a level of its own.
    exceeded = (below or above) and not subject
    if below:
        threshold = low_bound
    elif above:
        threshold = high_bound
    bounds = [f"at least {low_bound:.3f}"] if low_bound is not None else []
    bounds += [f"at most {high_bound:.3f}"] if high_bound is not None else []
    asked = f", and {' and '.join(bounds)} is expected" if bounds and not subject else ""
    return Signal(
        kind="quality",
        name=name,
        subject=subject,
        value=value,
        low=low,
        high=high,
        threshold=None if subject else threshold,
        exceeded=exceeded,
        meaning=f"{name}{where} is {value:.3f} ({low:.3f} to {high:.3f}) on {rows:,} labelled requests{asked}",
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
    """A metric and its 95 % confidence interval.

    Args:
        name: ``auc``, or one of `ledger.significance.RESAMPLED`.
        labels: 0 or 1 [rows].
        scores: probabilities [rows].
        seed: of the bootstrap.

    Returns:
        Value, lower end, upper end.
    """
    import numpy as np

    if name == "auc":
        areas, covariance = areas_under_roc(labels, scores[None])
        error = float(np.sqrt(max(float(covariance[0, 0]), 0.0)))
        value = float(areas[0])
        return value, max(0.0, value - _QUANTILE * error), min(1.0, value + _QUANTILE * error)
    measure = RESAMPLED[name](labels, scores)
    rows, random = len(labels), np.random.default_rng(seed)
    drawn = [
        measure(np.bincount(random.integers(0, rows, rows), minlength=rows).astype(np.float64))
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(measure(np.ones(rows))), float(low), float(high)


def label_reliability(
    label: str,
    labels: np.ndarray,
    answers: Mapping[str, np.ndarray],
    expected: Mapping[str, float],
    settings: Monitoring,
) -> Signal | None:
    """Whether any model still tells the positive rows from the negative ones; if none does, the labels are doubted.

    The world moves a model's quality by degrees. One that was good and has fallen to chance within a window, together
    with the one before it, on data that look as ever, has more likely been given labels that mean nothing: turned
    round, joined to other rows, of another definition. The share of positive ones need not show it. Labels that are
    turned round at random with probability p leave 1 - 2p of the AUC above 0.5, at equal classes (Menon et al.,
    "Learning from Corrupted Binary Labels via Class-Probability Estimation", ICML 2015).

    Args:
        label: the name of the label.
        labels: 0 or 1 [rows].
        answers: which model -> its probabilities [rows].
        expected: the metrics of the served model's evaluation, by name.
        settings: say which share of the AUC above 0.5 must be left, and by how many labels that can be told.

    Returns:
        The AUC of the best of the models; exceeded when all of its interval is below the threshold. None if it cannot
        be told.
    """
    rows, positives = len(labels), int((labels > 0.5).sum())
    promised = expected.get("auc", 0.5)
    if (
        promised <= 0.5
        or rows < settings.fewest_labels
        or not (FEWEST_PER_LABEL <= positives <= rows - FEWEST_PER_LABEL)
    ):
        return None
    found = {which: interval("auc", labels, scores) for which, scores in answers.items()}
    best = max(found, key=lambda which: found[which][0])
    value, low, high = found[best]
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
    """The number of requests, beside that of the windows before.

    Args:
        rows: of this window.
        before: of earlier windows of the same length.
        settings: have the bounds.
    """
    import numpy as np

    if not before:
        return Signal(
            kind="traffic", name="requests", value=float(rows), meaning=f"{rows:,} requests, the first window"
        )
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
    """The slowest answer but for one in a hundred; None if there is none.

    Args:
        seconds: of each row; nan where it was not measured.
    """
    import numpy as np

    known = seconds[np.isfinite(seconds)]
    return float(np.quantile(known, 0.99)) if len(known) else None


def latency(seconds: np.ndarray, settings: Monitoring) -> Signal | None:
    """How long requests waited for their answers; None if that was not measured.

    Args:
        seconds: of each row; nan where it was not measured.
        settings: may have a threshold.
    """
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

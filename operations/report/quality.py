"""How good probabilities are, from labels and scores: curves, calibration, and confusion at every threshold."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.stats import binomtest

_POINTS = 200  # of a curve: as many as a picture can show
_GROUPS = 10  # of the calibration
_BARS = 25  # of the histogram of scores


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How many rows are on which side of a threshold; a score at the threshold counts as positive."""

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def rows(self) -> int:
        """All of them."""
        return self.true_positives + self.false_positives + self.true_negatives + self.false_negatives

    @property
    def precision(self) -> float | None:
        """Of those called positive, the share that is."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """Of the positives, the share that is called so."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def false_positive_rate(self) -> float | None:
        """Of the negatives, the share that is called positive."""
        return _share(self.false_positives, self.false_positives + self.true_negatives)

    @property
    def accuracy(self) -> float | None:
        """The share that is called what it is."""
        return _share(self.true_positives + self.true_negatives, self.rows)

    @property
    def called(self) -> float | None:
        """The share that is called positive."""
        return _share(self.true_positives + self.false_positives, self.rows)


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows with neighbouring scores: their mean score, the share of positives, and its 95 % interval."""

    rows: int
    predicted: float
    observed: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Ranking:
    """How well scores put positives before negatives; None, or no points, if all labels are the same.

    Attributes:
        auc: area under the receiver operating characteristic.
        average_precision: the step-wise area under precision over recall.
        roc: (false positive rate, true positive rate), from (0, 0) to (1, 1).
        precision_recall: (recall, precision), recall ascending.
    """

    auc: float | None
    average_precision: float | None
    roc: list[tuple[float, float]]
    precision_recall: list[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Quality(Ranking):
    """What labels and scores tell.

    Attributes:
        rows: labelled rows.
        base_rate: the share of positives.
        groups: tenths of the rows by score.
        calibration_error: mean distance between predicted and observed over the groups, weighted by rows.
        histogram: (low, high, positives, negatives) of the scores.
        chosen: the confusion at the threshold that was asked for.
        thresholds: the confusion at 0, 0.01 and so on to 1.
    """

    rows: int
    base_rate: float
    groups: list[Group]
    calibration_error: float
    histogram: list[tuple[float, float, int, int]]
    chosen: Confusion
    thresholds: list[Confusion]

    @property
    def cells(self) -> list[list[float]]:
        """The confusion at each threshold as the page's script takes it."""
        return [
            [at.threshold, at.true_positives, at.false_positives, at.true_negatives, at.false_negatives]
            for at in self.thresholds
        ]


def assess(labels: Any, scores: Any, threshold: float) -> Quality:
    """Measures scores against labels.

    Args:
        labels: array of 0 and 1, shape [rows]; rows whose label or score is not a number are left out.
        scores: array of probabilities, shape [rows].
        threshold: what is at least this is called positive.

    Raises:
        ValueError: no row has both a label and a score.
    """
    labels, scores = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    known = np.isfinite(labels) & np.isfinite(scores)
    labels, scores = labels[known] > 0.5, scores[known]
    rows, positives = len(labels), int(labels.sum())
    if not rows:
        raise ValueError("no row has both a label and a score")
    groups, error = calibrated(labels, scores)
    edges = np.linspace(0, 1, _BARS + 1)
    bars = (edges[:-1].round(4), edges[1:].round(4), *(np.histogram(scores[of], edges)[0] for of in (labels, ~labels)))
    return Quality(
        **vars(ranked(labels, scores)),
        rows=rows,
        base_rate=positives / rows,
        groups=groups,
        calibration_error=error,
        histogram=list(zip(*(column.tolist() for column in bars), strict=True)),
        chosen=_confusion(labels, scores, threshold),
        thresholds=[_confusion(labels, scores, step / 100) for step in range(101)],
    )


def ranked(labels: Any, scores: Any) -> Ranking:
    """Measures how well scores, [rows], put those before the others whose label, bool [rows], is true."""
    rows, positives = len(labels), int(labels.sum())
    if not 0 < positives < rows:
        return Ranking(None, None, [], [])
    # Cumulated from the highest score down, at the last row of each run of equal scores.
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(labels[order])[ends]
    tpr = np.append(0.0, hits / positives)
    fpr = np.append(0.0, (ends + 1 - hits) / (rows - positives))
    precision = hits / (ends + 1)
    return Ranking(
        auc=float(np.trapezoid(tpr, fpr)),
        average_precision=float(np.sum(np.diff(tpr) * precision)),
        roc=_thinned(fpr, tpr),
        precision_recall=_thinned(tpr[1:], precision),
    )


def calibrated(labels: Any, scores: Any) -> tuple[list[Group], float]:
    """Tenths of the rows by score, whose labels are bool [rows]; and how far scores and labels are apart in these."""
    order = np.argsort(-scores, kind="stable")
    groups = [_group(labels[part], scores[part]) for part in np.array_split(order[::-1], _GROUPS) if len(part)]
    return groups, sum(group.rows * abs(group.predicted - group.observed) for group in groups) / len(labels)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _thinned(x: Any, y: Any) -> list[tuple[float, float]]:
    """At most so many points of a curve, evenly along its length, the first and the last among them."""
    along = np.append(0.0, np.cumsum(np.hypot(np.diff(x), np.diff(y))))
    wanted = np.searchsorted(along, np.linspace(0, along[-1], _POINTS))
    shown = np.unique(np.concatenate([[0], wanted.clip(max=len(x) - 1), [len(x) - 1]]))
    return [(round(float(x[at]), 5), round(float(y[at]), 5)) for at in shown]


def _group(labels: Any, scores: Any) -> Group:
    # Wilson's interval also holds for small shares (J. Am. Stat. Assoc. 22, 1927).
    interval = binomtest(int(labels.sum()), len(labels)).proportion_ci(0.95, method="wilson")
    return Group(len(labels), float(scores.mean()), float(labels.mean()), float(interval.low), float(interval.high))


def _confusion(labels: Any, scores: Any, threshold: float) -> Confusion:
    called = scores >= threshold
    hits, alarms, positives = int((called & labels).sum()), int(called.sum()), int(labels.sum())
    return Confusion(threshold, hits, alarms - hits, len(labels) - positives - (alarms - hits), positives - hits)

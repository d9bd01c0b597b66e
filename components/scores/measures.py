"""How good answers are on some rows, by single numbers, such as those that permutation importance compares.

Labels are float64 [rows]; answers are float64 [rows], or [rows, classes]. Where a measure is not defined, it is NaN.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

# The clipping of Keras's cross entropies (keras.config.epsilon()).
_EPSILON = 1e-7


def area_under_roc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the area under the ROC curve, a tie counting half (Mann and Whitney); NaN without both labels."""
    positive = labels > 0.5
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives or not np.isfinite(scores).all():
        return float("nan")
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean log loss in nats, probabilities clipped to [1e-7, 1 - 1e-7] like in Keras."""
    clipped = np.clip(probabilities, _EPSILON, 1.0 - _EPSILON)
    return float(-np.mean(labels * np.log(clipped) + (1.0 - labels) * np.log1p(-clipped))) if len(labels) else np.nan


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the share of rows whose most probable class, of equal ones the first, is that of the label."""
    if not len(labels) or not np.isfinite(probabilities).all():
        return float("nan")
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def cross_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean log loss in nats of probabilities of classes, clipped as those of `log_loss`."""
    of_label = np.take_along_axis(probabilities, labels.astype(np.int64)[:, np.newaxis], axis=1)
    return float(-np.mean(np.log(np.clip(of_label, _EPSILON, 1.0 - _EPSILON)))) if len(labels) else np.nan


def r2(labels: np.ndarray, values: np.ndarray) -> float:
    """Returns the share of the labels' variance that the values explain; NaN if all labels are equal."""
    spread = np.sum((labels - labels.mean()) ** 2) if len(labels) else 0.0
    return float(1.0 - np.sum((labels - values) ** 2) / spread) if spread else np.nan


def rmse(labels: np.ndarray, values: np.ndarray) -> float:
    """Returns the root of the mean squared error, in the unit of the label."""
    return float(np.sqrt(np.mean((labels - values) ** 2))) if len(labels) else np.nan

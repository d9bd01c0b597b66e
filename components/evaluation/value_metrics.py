"""Metrics of numbers, the same for single rows and for batches of rows: see `row_metrics`."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.evaluation.row_metrics import CombinedMetric, DerivedMetric, SumCombiner


class MAE(CombinedMetric):
    """The mean absolute error, in the unit of the label."""

    def __init__(self, name: str = "mae"):
        super().__init__(_AbsoluteErrorCombiner, name)


class RMSE(CombinedMetric):
    """The root of the mean squared error, in the unit of the label."""

    def __init__(self, name: str = "rmse"):
        super().__init__(_SquaredErrorCombiner, name)


class R2(CombinedMetric):
    """The share of the labels' variance that is explained; where all labels are equal 0, or 1 if all errors are 0."""

    def __init__(self, name: str = "r2"):
        super().__init__(_VarianceCombiner, name)


class _AbsoluteErrorCombiner(SumCombiner):
    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Any:
        return np.array([np.dot(np.abs(labels - predictions), weights), weights.sum()])

    def value(self, totals: Any) -> float:
        error, weight = totals
        return float(error / weight) if weight else float("nan")


class _SquaredErrorCombiner(SumCombiner):
    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Any:
        return np.array([np.dot((labels - predictions) ** 2, weights), weights.sum()])

    def value(self, totals: Any) -> float:
        error, weight = totals
        return float(np.sqrt(error / weight)) if weight else float("nan")


class _Listed(SumCombiner):
    """Keeps the totals of each extract, for what is no sum of them."""

    def create_accumulator(self) -> list[np.ndarray]:
        """Returns an empty list."""
        return []


class _VarianceCombiner(_Listed):
    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Any:
        weight = weights.sum()
        mean = np.dot(labels, weights) / weight if weight else 0.0
        spread, error = np.dot((labels - mean) ** 2, weights), np.dot((labels - predictions) ** 2, weights)
        return [np.array([weight, mean, spread, error])]

    def value(self, totals: Any) -> float:
        # Not from the sum of squares: of labels far from zero that is nearly the square of their sum.
        weights, means, spreads, errors = np.transpose(totals)
        if not weights.any():
            return float("nan")
        mean = np.dot(means, weights) / weights.sum()
        spread, error = spreads.sum() + np.dot((means - mean) ** 2, weights), errors.sum()
        return float(1.0 - error / spread) if spread else float(not error)


class _ErrorsByLabelCombiner(_Listed):
    """Adds up weights, and absolute errors by weight, of each label: float64 [3, distinct labels], labels ascending."""

    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Any:
        return [_by_label(labels, weights, weights * np.abs(labels - predictions))]

    def value(self, totals: Any) -> np.ndarray:
        return _by_label(*np.concatenate(totals, axis=1))


def _by_label(labels: np.ndarray, weights: np.ndarray, errors: np.ndarray) -> np.ndarray:
    distinct, which = np.unique(labels, return_inverse=True)
    return np.stack([distinct, np.bincount(which, weights), np.bincount(which, errors)])


class DecileMAE(DerivedMetric):
    """The mean absolute error of a tenth of a slice: of the rows with the smallest labels (1) to the largest (10).

    Rows of equal labels between two deciles belong to both in proportion, so that each decile is a tenth of the weight.
    """

    combiner = _ErrorsByLabelCombiner

    def __init__(self, decile: int, name: str = "mae"):
        super().__init__(name, decile=decile)

    def derived(self, value: np.ndarray) -> float:
        """Returns the error of the decile, by its weight."""
        _, weights, errors = value
        reached, decile = np.concatenate([[0.0], np.cumsum(weights)]), self.kwargs["decile"]
        ends = np.array([decile - 1, decile]) * reached[-1] / 10
        below = np.interp(ends, reached, np.concatenate([[0.0], np.cumsum(errors)]))
        return float((below[1] - below[0]) / (ends[1] - ends[0])) if reached[-1] else float("nan")

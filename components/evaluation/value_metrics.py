"""Metrics of numbers, the same for single rows and for batches of rows: see `row_metrics`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from components.evaluation.row_metrics import DerivedMetric, MeanCombiner, RowMetric, SumCombiner

_DECILES = 10


class _AbsoluteErrorCombiner(MeanCombiner):
    def numbers(self, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        return np.abs(labels - predictions)


class _SquaredErrorCombiner(MeanCombiner):
    def numbers(self, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        return (labels - predictions) ** 2

    def value(self, totals: np.ndarray) -> float:
        return math.sqrt(super().value(totals))


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


class _DecilesCombiner(_Listed):
    """The mean absolute error of each decile, float64 [10]."""

    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Any:
        return [_by_label(labels, np.ones_like(labels), weights, weights * np.abs(labels - predictions))]

    def value(self, totals: Any) -> np.ndarray:
        labels, rows, weights, errors = _by_label(*np.concatenate(totals, axis=1))
        ends = np.quantile(np.repeat(labels, rows.astype(np.int64)), np.arange(1, _DECILES) / _DECILES)
        decile = np.searchsorted(ends, labels, side="left")
        weights, errors = (np.bincount(decile, of_label, _DECILES) for of_label in (weights, errors))
        return np.divide(errors, weights, out=np.full(_DECILES, np.nan), where=weights > 0)


def _by_label(labels: np.ndarray, *values: np.ndarray) -> np.ndarray:
    """Returns the distinct labels, ascending, and the sums of the values of each: [1 + values, distinct labels]."""
    distinct, which = np.unique(labels, return_inverse=True)
    return np.stack([distinct, *(np.bincount(which, of_row) for of_row in values)])


class MAE(RowMetric):
    """The mean absolute error, in the unit of the label."""

    usual_name, combiner = "mae", _AbsoluteErrorCombiner


class RMSE(RowMetric):
    """The root of the mean squared error, in the unit of the label."""

    usual_name, combiner = "rmse", _SquaredErrorCombiner


class R2(RowMetric):
    """The share of the labels' variance that is explained; where all labels are equal 0, or 1 if all errors are 0."""

    usual_name, combiner = "r2", _VarianceCombiner


class DecileMAE(DerivedMetric):
    """The mean absolute error of a tenth of the rows of a slice: of those with the smallest labels is decile 1.

    Equal labels share a decile, so that one may be larger than others; of one without rows there is no error, NaN.
    """

    usual_name, combiner = "mae", _DecilesCombiner

    def derived(self, value: np.ndarray) -> float:
        """Returns the error of the decile."""
        return float(value[self.kwargs["decile"] - 1])

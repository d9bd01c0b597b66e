"""TFMA's metrics of binary classification in NumPy: TFMA's own combiners loop over the rows in Python.

`register` puts them in the place of TFMA's, under the same names and with the same values. Only what is added up over
rows is computed here; what follows from the totals, such as an area under a curve, TFMA computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from tensorflow_model_analysis.metrics import (
    binary_confusion_matrices,
    calibration,
    calibration_histogram,
    confusion_matrix_metrics,
    metric_types,
)
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation.row_metrics import SumCombiner
from errors import FlightdeckError

_MEANS = (calibration.Calibration, calibration.MeanLabel, calibration.MeanPrediction)
# TFMA adds it to a threshold, so that a prediction equal to the threshold is below.
_EPSILON = 1e-7


def register() -> None:
    """Replaces TFMA's classes in its registry of metrics; calling it again changes nothing."""
    for name, kind in metric_types.registered_metrics().items():
        if kind.__module__ == confusion_matrix_metrics.__name__ or kind in _MEANS:
            metric_types.register_metric(type(name, (InVectors, kind), {"__module__": __name__}))


class InVectors(metric_types.Metric):
    """Comes before a metric of TFMA among the bases of a class."""

    def computations(
        self, eval_config: config_pb2.EvalConfig | None = None, **settings: Any
    ) -> metric_types.MetricComputations:
        """Creates TFMA's computations with the combiners of this module."""
        return list(_in_vectors(super().computations(eval_config=eval_config, **settings), eval_config))


def _in_vectors(computations: Iterable[Any], eval_config: config_pb2.EvalConfig | None) -> Iterator[Any]:
    stock = None
    for computation in computations:
        (key,) = computation.keys
        if isinstance(computation, metric_types.MetricComputation):
            stock = computation.combiner
            if isinstance(stock, calibration._WeightedLabelsPredictionsExamplesCombiner):
                yield computation._replace(combiner=_MeansCombiner(key, eval_config))
        elif key.name.startswith(binary_confusion_matrices.BINARY_CONFUSION_MATRICES_NAME):
            assert stock is not None, "TFMA lists what a computation is derived from before it"
            nothing = computation.result(stock.extract_output(stock.create_accumulator()))
            yield metric_types.MetricComputation(
                [key], None, _matrices_combiner(stock, nothing[key].thresholds, key, eval_config)
            )
        else:
            yield computation


class _Means(NamedTuple):
    total_weighted_labels: float
    total_weighted_predictions: float
    total_weighted_examples: float


class _MeansCombiner(SumCombiner):
    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.array([np.dot(labels, weights), np.dot(predictions, weights), weights.sum()])

    def value(self, totals: np.ndarray) -> _Means:
        return _Means(*(float(total) for total in np.broadcast_to(totals, 3)))


def _matrices_combiner(stock: Any, thresholds: list[float], *which: Any) -> _MatricesCombiner:
    if isinstance(stock, calibration_histogram._CalibrationHistogramCombiner) and len(thresholds) > 1:
        return _BucketedMatricesCombiner(len(thresholds), *which)
    return _ExactMatricesCombiner(thresholds, *which)


class _MatricesCombiner(SumCombiner):
    """Adds up weights by the interval between thresholds in which a prediction is: float64 [2, thresholds + 1]."""

    def thresholds(self) -> np.ndarray:
        raise NotImplementedError

    def intervals(self, predictions: np.ndarray) -> np.ndarray:
        """Returns how many thresholds are below each prediction."""
        raise NotImplementedError

    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if not ((labels >= 0.0) & (labels <= 1.0)).all():
            raise FlightdeckError("A confusion matrix needs labels between 0 and 1.")
        if np.isnan(predictions).any():
            raise FlightdeckError("A prediction is not a number, so there is no confusion matrix.")
        intervals, size = self.intervals(predictions), len(self.thresholds()) + 1
        return np.stack([np.bincount(intervals, part, size) for part in (weights * (1 - labels), weights * labels)])

    def value(self, totals: np.ndarray) -> binary_confusion_matrices.Matrices:
        thresholds = self.thresholds()
        cumulative = np.cumsum(np.broadcast_to(totals, [2, len(thresholds) + 1]), axis=1)
        below = cumulative[:, np.searchsorted(np.sort(thresholds), thresholds)]
        (tn, fn), (fp, tp) = below, cumulative[:, -1:] - below
        return binary_confusion_matrices.Matrices(thresholds.tolist(), tp, tn, fp, fn)


class _ExactMatricesCombiner(_MatricesCombiner):
    def __init__(self, thresholds: list[float], *which: Any):
        super().__init__(*which)
        self._thresholds = thresholds

    def thresholds(self) -> np.ndarray:
        return np.array(self._thresholds)

    def intervals(self, predictions: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.sort(self._thresholds), predictions, side="left")


class _BucketedMatricesCombiner(_MatricesCombiner):
    """As TFMA does it for many thresholds: each prediction counts as the lower end of its one of 10,000 buckets."""

    def __init__(self, number: int, *which: Any):
        super().__init__(*which)
        # Not the thresholds: Beam pickles and compresses a combiner several times.
        self._number = number

    def thresholds(self) -> np.ndarray:
        inner = np.arange(1, self._number - 1) / (self._number - 1)
        return np.concatenate([[-_EPSILON], inner, [1.0 + _EPSILON]])

    def intervals(self, predictions: np.ndarray) -> np.ndarray:
        buckets = calibration_histogram.DEFAULT_NUM_BUCKETS
        lower_ends = (np.clip(np.floor(predictions * buckets + 1), 1, buckets + 1) - 1) / buckets
        return np.searchsorted(self.thresholds() + _EPSILON, lower_ends, side="right")

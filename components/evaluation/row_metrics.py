"""Metrics that count rows, not extracts, so that they are the same for single rows and for batches of rows.

TFMA's own `ExampleCount` counts extracts, and its cross entropies average within an extract first. Name these in an
EvalConfig with `MetricConfig(class_name="RowCount", module="components.evaluation.row_metrics")`; TFMA prefers a
registered class of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

# The clipping of Keras's binary cross entropy (keras.config.epsilon()).
_EPSILON = 1e-7


def _computations(combiner: type[SumCombiner]) -> Callable[..., metric_types.MetricComputations]:
    def computations(
        name: str,
        eval_config: config_pb2.EvalConfig | None = None,
        model_name: str = "",
        output_name: str = "",
        example_weighted: bool = False,
    ) -> metric_types.MetricComputations:
        key = metric_types.MetricKey(
            name=name, model_name=model_name, output_name=output_name, example_weighted=example_weighted
        )
        return [metric_types.MetricComputation([key], None, combiner(key, eval_config))]

    return computations


class RowCount(metric_types.Metric):
    """The number of examples of a slice, or the sum of their weights where the metrics are weighted.

    It is called `example_count`, as TFMA's own, because that is the column TFMA's views look for.
    """

    row_wise = True

    def __init__(self, name: str = "example_count"):
        super().__init__(metric_util.merge_per_key_computations(_computations(_RowCountCombiner)), name=name)

    @property
    def compute_confidence_interval(self) -> bool:
        """False: a count has no uncertainty."""
        return False


class LogLoss(metric_types.Metric):
    """The mean binary cross entropy of a probability in nats, lower is better.

    The probability is clipped to [1e-7, 1 - 1e-7] like in Keras; TFMA's `BinaryCrossEntropy` is infinite or
    NaN for a probability of exactly 0 or 1, and equal to this one otherwise.
    """

    row_wise = True

    def __init__(self, name: str = "log_loss"):
        super().__init__(metric_util.merge_per_key_computations(_computations(_LogLossCombiner)), name=name)


class SumCombiner(beam.CombineFn):
    """Adds up what `totals` says of the rows of each extract of a slice."""

    def __init__(self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None):
        self._key = key
        self._eval_config = eval_config

    def create_accumulator(self) -> np.ndarray:
        """Returns zero."""
        return np.zeros(())

    def add_input(self, accumulator: np.ndarray, element: metric_types.StandardMetricInputs) -> np.ndarray:
        """Returns the sum with the totals of an extract."""
        for label, prediction, weight in metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            example_weighted=bool(self._key.example_weighted),
            flatten=False,
        ):
            rows = label.astype(np.float64).ravel()
            weights = np.broadcast_to(weight.astype(np.float64).ravel(), rows.shape)
            accumulator = accumulator + self.totals(rows, prediction.astype(np.float64).ravel(), weights)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        """Returns the sum."""
        return sum(accumulators, np.zeros(()))

    def extract_output(self, accumulator: np.ndarray) -> dict[metric_types.MetricKey, Any]:
        """Returns the metric by its key."""
        return {self._key: self.value(accumulator)}

    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Returns an array that may be added to those of other rows; all given are float64 [rows]."""
        raise NotImplementedError

    def value(self, totals: np.ndarray) -> Any:
        """Returns what the metric is, given the totals of all rows."""
        raise NotImplementedError


class _RowCountCombiner(SumCombiner):
    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return weights.sum()

    def value(self, totals: np.ndarray) -> float:
        return float(totals)


class _LogLossCombiner(SumCombiner):
    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        probability = np.clip(predictions, _EPSILON, 1.0 - _EPSILON)
        losses = -(labels * np.log(probability) + (1.0 - labels) * np.log1p(-probability))
        return np.array([np.dot(losses, weights), weights.sum()])

    def value(self, totals: np.ndarray) -> float:
        loss, weight = totals
        return float(loss / weight) if weight else float("nan")

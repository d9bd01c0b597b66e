"""Metrics that count rows, not extracts, so that they are the same for single rows and for batches of rows.

TFMA's own `ExampleCount` counts extracts, and its cross entropies average within an extract first. Name these in an
EvalConfig with `MetricConfig(class_name="RowCount", module="components.evaluation.row_metrics")`; TFMA prefers a
registered class of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

# The clipping of Keras's binary cross entropy (keras.config.epsilon()).
_EPSILON = 1e-7


def _computations(combiner: type[_WeightedTotalCombiner]) -> Callable[..., metric_types.MetricComputations]:
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


class _WeightedTotalCombiner(beam.CombineFn):
    """Sums up (weighted value, weight) over the rows of all extracts of a slice."""

    def __init__(self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None):
        self._key = key
        self._eval_config = eval_config

    def create_accumulator(self) -> tuple[float, float]:
        return 0.0, 0.0

    def add_input(
        self, accumulator: tuple[float, float], element: metric_types.StandardMetricInputs
    ) -> tuple[float, float]:
        total, weight_total = accumulator
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
            total += float(np.dot(self.values(rows, prediction.astype(np.float64).ravel()), weights))
            weight_total += float(weights.sum())
        return total, weight_total

    def merge_accumulators(self, accumulators: Iterable[tuple[float, float]]) -> tuple[float, float]:
        totals = list(accumulators)
        return sum(total for total, _ in totals), sum(weight for _, weight in totals)

    def values(self, label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class _RowCountCombiner(_WeightedTotalCombiner):
    def values(self, label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        del prediction
        return np.zeros_like(label)

    def extract_output(self, accumulator: tuple[float, float]) -> dict[metric_types.MetricKey, float]:
        return {self._key: accumulator[1]}


class _LogLossCombiner(_WeightedTotalCombiner):
    def values(self, label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        probability = np.clip(prediction, _EPSILON, 1.0 - _EPSILON)
        return -(label * np.log(probability) + (1.0 - label) * np.log1p(-probability))

    def extract_output(self, accumulator: tuple[float, float]) -> dict[metric_types.MetricKey, float]:
        total, weight = accumulator
        return {self._key: total / weight if weight else float("nan")}

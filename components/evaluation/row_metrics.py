"""Metrics that count rows, not extracts, so that they are the same for single rows and for batches of rows.

TFMA's own `ExampleCount` counts extracts, and its cross entropies average within an extract first. Name these in an
EvalConfig with `MetricConfig(class_name="RowCount", module="components.evaluation.row_metrics")`; TFMA prefers a
registered class of the same name. Those of several classes are in `class_metrics`, those of numbers in `value_metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from errors import FlightdeckError

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


class CombinedMetric(metric_types.Metric):
    """A metric that is the value of a combiner."""

    row_wise = True

    def __init__(self, combiner: type[SumCombiner], name: str):
        super().__init__(metric_util.merge_per_key_computations(_computations(combiner)), name=name)


class DerivedMetric(metric_types.Metric):
    """A metric that follows from the value of a combiner, which is computed once for all that follow from it.

    Attributes:
        combiner: Whose value it is.
    """

    row_wise = True
    combiner: ClassVar[type[SumCombiner]]

    def __init__(self, name: str, **settings: Any):
        super().__init__(metric_util.merge_per_key_computations(self._computations), name=name, **settings)

    def derived(self, value: Any) -> Any:
        """Returns the metric, given the value of the combiner for all rows of a slice."""
        raise NotImplementedError

    def _computations(
        self,
        name: str,
        eval_config: config_pb2.EvalConfig | None = None,
        model_name: str = "",
        output_name: str = "",
        example_weighted: bool = False,
        **settings: Any,
    ) -> metric_types.MetricComputations:
        del settings
        where = {"model_name": model_name, "output_name": output_name, "example_weighted": example_weighted}
        key = metric_types.MetricKey(name=name, **where)
        # TFMA keeps to itself what begins with an underscore.
        whole = metric_types.MetricKey(name=f"_{self.combiner.__name__.strip('_')}", **where)
        return [
            metric_types.MetricComputation([whole], None, self.combiner(whole, eval_config)),
            metric_types.DerivedMetricComputation([key], lambda values: {key: self.derived(values[whole])}),
        ]


class RowCount(CombinedMetric):
    """The number of examples of a slice, or the sum of their weights where the metrics are weighted.

    It is called `example_count`, as TFMA's own, because that is the column TFMA's views look for.
    """

    def __init__(self, name: str = "example_count"):
        super().__init__(_RowCountCombiner, name)

    @property
    def compute_confidence_interval(self) -> bool:
        """False: a count has no uncertainty."""
        return False


class LogLoss(CombinedMetric):
    """The mean binary cross entropy of a probability in nats, lower is better.

    The probability is clipped to [1e-7, 1 - 1e-7] like in Keras; TFMA's `BinaryCrossEntropy` is infinite or
    NaN for a probability of exactly 0 or 1, and equal to this one otherwise.
    """

    def __init__(self, name: str = "log_loss"):
        super().__init__(_LogLossCombiner, name)


class SumCombiner(beam.CombineFn):
    """Adds up what `totals` says of the rows of each extract of a slice.

    Attributes:
        whole_answers: Whether `totals` is given all numbers that a model answers per row, float64 [rows, width], and
            not the only one, [rows].
    """

    whole_answers: ClassVar[bool] = False

    def __init__(self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None):
        self._key = key
        self._eval_config = eval_config

    def create_accumulator(self) -> Any:
        """Returns zero."""
        return np.zeros(())

    def add_input(self, accumulator: Any, element: metric_types.StandardMetricInputs) -> Any:
        """Returns the sum with the totals of an extract; raises a FlightdeckError if it has more numbers per row."""
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
            answers = prediction.astype(np.float64).reshape(len(rows), -1)
            if not self.whole_answers:
                if answers.shape[1] > 1:
                    raise FlightdeckError(
                        f"A metric of one number per row was asked for, and the model answers with {answers.shape[1]}; "
                        "choose those of components.evaluation.class_metrics."
                    )
                answers = answers.ravel()
            accumulator = accumulator + self.totals(rows, answers, weights)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        """Returns the sum."""
        return sum(accumulators, self.create_accumulator())

    def extract_output(self, accumulator: Any) -> dict[metric_types.MetricKey, Any]:
        """Returns the metric by its key."""
        return {self._key: self.value(accumulator)}

    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Any:
        """Returns what may be added to that of other rows, such as an array; all given are float64 [rows]."""
        raise NotImplementedError

    def value(self, totals: Any) -> Any:
        """Returns what the metric is, given the totals of all rows."""
        raise NotImplementedError


class _RowCountCombiner(SumCombiner):
    whole_answers = True

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

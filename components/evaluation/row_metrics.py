"""Metrics that count rows, not extracts, so that they are the same for single rows and for batches of rows.

TFMA's own `ExampleCount` counts extracts, and its cross entropies average within an extract first. Name these in an
EvalConfig with `MetricConfig(class_name="RowCount", module="components.evaluation.row_metrics")`; TFMA prefers a
registered class of the same name. Those of several classes are in `class_metrics`, those of numbers in `value_metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from errors import FlightdeckError

# The clipping of Keras's binary cross entropy (keras.config.epsilon()).
_EPSILON = 1e-7


class RowMetric(metric_types.Metric):
    """A metric that is what a combiner makes of all rows of a slice.

    Attributes:
        usual_name: What it is called where nobody names it.
    """

    row_wise = True
    usual_name: ClassVar[str]
    combiner: ClassVar[type[SumCombiner]]

    def __init__(self, name: str = "", **settings: Any):
        merged = metric_util.merge_per_key_computations(self._computations)
        super().__init__(merged, name=name or self.usual_name, **settings)

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
        key = metric_types.MetricKey(
            name=name, model_name=model_name, output_name=output_name, example_weighted=example_weighted
        )
        return self.computed(key, eval_config)

    def computed(
        self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None
    ) -> metric_types.MetricComputations:
        """Returns what computes the metric of a key."""
        return [self.combined(key, eval_config)]

    def combined(
        self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None
    ) -> metric_types.MetricComputation:
        """Returns what computes the value of the combiner under a key."""
        return metric_types.MetricComputation([key], None, self.combiner(key, eval_config))


class DerivedMetric(RowMetric):
    """A metric that follows from the value of a combiner, which is computed once for all that follow from it."""

    @property
    def source(self) -> str:
        """The name of that value."""
        return self.combiner.__name__.strip("_")

    def derived(self, value: Any) -> Any:
        """Returns the metric, given the value of the combiner for all rows of a slice."""
        raise NotImplementedError

    def computed(
        self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None
    ) -> metric_types.MetricComputations:
        """Returns what computes the value of the combiner, and the metric from it."""
        # TFMA keeps to itself what begins with an underscore.
        whole = key._replace(name=f"_{self.source}")
        return [
            self.combined(whole, eval_config),
            metric_types.DerivedMetricComputation([key], lambda values: {key: self.derived(values[whole])}),
        ]


class RowCombiner(beam.CombineFn):
    """Sees the rows of a slice, extract by extract."""

    def __init__(self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None):
        self._key = key
        self._eval_config = eval_config

    def rows(self, element: metric_types.StandardMetricInputs) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields labels, [rows], answers, [rows, width], and weights, [rows], of an extract: float64."""
        for label, prediction, weight in metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            example_weighted=bool(self._key.example_weighted),
            flatten=False,
        ):
            labels = label.astype(np.float64).ravel()
            weights = np.broadcast_to(weight.astype(np.float64).ravel(), labels.shape)
            yield labels, prediction.astype(np.float64).reshape(len(labels), -1), weights


class SumCombiner(RowCombiner):
    """Adds up what `totals` says of the rows of each extract of a slice.

    Attributes:
        whole_answers: Whether `totals` is given all numbers that a model answers per row, float64 [rows, width], and
            not the only one, [rows].
    """

    whole_answers: ClassVar[bool] = False

    def create_accumulator(self) -> Any:
        """Returns zero."""
        return np.zeros(())

    def add_input(self, accumulator: Any, element: metric_types.StandardMetricInputs) -> Any:
        """Returns the sum with the totals of an extract; raises a FlightdeckError if it has more numbers per row."""
        for labels, answers, weights in self.rows(element):
            if not self.whole_answers:
                if answers.shape[1] > 1:
                    raise FlightdeckError(
                        f"A metric of one number per row was asked for, and the model answers with {answers.shape[1]}; "
                        "choose those of components.evaluation.class_metrics."
                    )
                answers = answers.ravel()
            accumulator = accumulator + self.totals(labels, answers, weights)
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


class MeanCombiner(SumCombiner):
    """The mean of a number per row, by the weights of the rows; of no rows it is NaN."""

    def numbers(self, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        """Returns the number of each row, float64 [rows]; both given are as of `totals`."""
        raise NotImplementedError

    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Returns their sum, and that of the weights."""
        return np.array([np.dot(self.numbers(labels, predictions), weights), weights.sum()])

    def value(self, totals: np.ndarray) -> float:
        """Returns the mean."""
        total, weight = totals
        return float(total / weight) if weight else float("nan")


class _RowCountCombiner(SumCombiner):
    whole_answers = True

    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return weights.sum()

    def value(self, totals: np.ndarray) -> float:
        return float(totals)


class _LogLossCombiner(MeanCombiner):
    def numbers(self, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        probability = np.clip(predictions, _EPSILON, 1.0 - _EPSILON)
        return -(labels * np.log(probability) + (1.0 - labels) * np.log1p(-probability))


class RowCount(RowMetric):
    """The number of examples of a slice, or the sum of their weights where the metrics are weighted.

    It is called `example_count`, as TFMA's own, because that is the column TFMA's views look for.
    """

    usual_name, combiner = "example_count", _RowCountCombiner

    @property
    def compute_confidence_interval(self) -> bool:
        """False: a count has no uncertainty."""
        return False


class LogLoss(RowMetric):
    """The mean binary cross entropy of a probability in nats, lower is better.

    The probability is clipped to [1e-7, 1 - 1e-7] like in Keras; TFMA's `BinaryCrossEntropy` is infinite or
    NaN for a probability of exactly 0 or 1, and equal to this one otherwise.
    """

    usual_name, combiner = "log_loss", _LogLossCombiner

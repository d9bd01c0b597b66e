"""What is predicted decides the last layer, the loss, the metric of training, and what the signatures answer.

There is one head per task, and nothing else in this package asks which task it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from data.contract import Target

PROBABILITY, PROBABILITIES, VALUE = "probability", "probabilities", "value"
_QUANTILES = 21


@dataclass(frozen=True)
class Head(ABC):
    """The end of a network, and how it learns.

    Attributes:
        target: What is predicted.
        scale: Mean and deviation of the training labels, for a network that answers in their unit; else None.
        quantiles: Of the training labels of such a network, from the smallest to the largest, without repetition.
        output: The name of the last layer with weights, and of the output of the network.
        metric: What is measured besides the loss after each epoch.
        direction: Whether the largest (max) or the smallest (min) value of the metric is the best.
        reads: What the last layer depends on besides the layers before it: see `models.warm_start`.
    """

    target: Target
    scale: tuple[float, float] | None = None
    quantiles: tuple[float, ...] = ()

    output: ClassVar[str]
    metric: ClassVar[str]
    direction: ClassVar[str] = "max"
    reads: ClassVar[tuple[str, ...]] = ()

    def fitted(self, labels: tf.Tensor) -> Head:
        """Returns the head for a network that learns from these labels, float32 [rows, 1]."""
        del labels
        return self

    @abstractmethod
    def layer(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the output of a new network, float32 [None, width]: float16 cannot tell values near 1 apart."""

    @abstractmethod
    def loss(self) -> keras.losses.Loss:
        """Returns what training minimises; the labels are float32 [rows, 1]."""

    @abstractmethod
    def measured(self) -> keras.metrics.Metric:
        """Returns the metric of that name."""


class BinaryHead(Head):
    """``probability``, float32 [None, 1]: that the label is 1."""

    output, metric = PROBABILITY, "auc"

    def layer(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        """Adds a logistic unit."""
        return keras.layers.Dense(1, activation="sigmoid", name=self.output, dtype="float32")(hidden)

    def loss(self) -> keras.losses.Loss:
        """Returns the cross-entropy."""
        return keras.losses.BinaryCrossentropy()

    def measured(self) -> keras.metrics.Metric:
        """Returns the area under the ROC curve."""
        return keras.metrics.AUC(name=self.metric)


class MulticlassHead(Head):
    """``probabilities``, float32 [None, classes]: of each class, in the order of the contract."""

    output, metric = PROBABILITIES, "accuracy"
    reads = ("classes",)

    def layer(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        """Adds a unit per class."""
        classes = len(self.target.classes)
        return keras.layers.Dense(classes, activation="softmax", name=self.output, dtype="float32")(hidden)

    def loss(self) -> keras.losses.Loss:
        """Returns the cross-entropy."""
        return keras.losses.SparseCategoricalCrossentropy()

    def measured(self) -> keras.metrics.Metric:
        """Returns the share of rows whose most probable class is theirs."""
        return keras.metrics.SparseCategoricalAccuracy(name=self.metric)


class RegressionHead(Head):
    """``value``, float32 [None, 1], in the unit of the label."""

    output, metric, direction = VALUE, "rmse", "min"

    def fitted(self, labels: tf.Tensor) -> Head:
        """Returns the head whose last layer need not learn the mean and the deviation of these labels."""
        mean, deviation = float(np.mean(labels, dtype=np.float64)), float(np.std(labels, dtype=np.float64))
        quantiles = np.unique(np.quantile(labels, np.linspace(0, 1, _QUANTILES), method="inverted_cdf"))
        return replace(self, scale=(mean, deviation or 1.0), quantiles=tuple(quantiles.tolist()))

    def layer(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        """Adds a linear unit, and brings it to the scale of the labels."""
        mean, deviation = self.scale or (0.0, 1.0)
        unit = keras.layers.Dense(1, name=self.output, dtype="float32")(hidden)
        scaled: Any = keras.ops.add(keras.ops.multiply(unit, deviation), mean)
        return scaled

    def loss(self) -> keras.losses.Loss:
        """Returns the mean squared error: its best answer is the mean, as R² asks for."""
        return keras.losses.MeanSquaredError()

    def measured(self) -> keras.metrics.Metric:
        """Returns the root of the mean squared error, in the unit of the label."""
        return keras.metrics.RootMeanSquaredError(name=self.metric)


_HEADS: dict[str, type[Head]] = {
    "binary": BinaryHead,
    "multiclass": MulticlassHead,
    "regression": RegressionHead,
}


def head(target: Target) -> Head:
    """Returns the head for what is predicted."""
    return _HEADS[target.task](target)

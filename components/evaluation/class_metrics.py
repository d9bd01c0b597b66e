"""Metrics of several classes, the same for single rows and for batches of rows: see `row_metrics`.

A model answers with a probability of each class, and the most probable one is its answer; of equal ones the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow_model_analysis.metrics import multi_class_confusion_matrix_metrics

from components.evaluation.row_metrics import DerivedMetric, MeanCombiner, RowMetric, SumCombiner
from errors import FlightdeckError

# The clipping of Keras's cross entropies (keras.config.epsilon()).
_EPSILON = 1e-7


def _classes(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """The labels as numbers of classes, int64; raises a FlightdeckError if one is none that the model answers for."""
    classes = predictions.shape[1]
    known = np.isin(labels, range(classes))
    if not known.all():
        raise FlightdeckError(
            f"A label is {labels[~known][0]:g}, and the model answers for the classes 0 to {classes - 1}."
        )
    return labels.astype(np.int64)


class _LogLossCombiner(MeanCombiner):
    whole_answers = True

    def numbers(self, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        of_label = np.take_along_axis(predictions, _classes(labels, predictions)[:, np.newaxis], axis=1).ravel()
        return -np.log(np.clip(of_label, _EPSILON, 1.0 - _EPSILON))


class LogLoss(RowMetric):
    """The mean cross entropy in nats, lower is better; probabilities are clipped to [1e-7, 1 - 1e-7] like in Keras."""

    usual_name, combiner = "log_loss", _LogLossCombiner


class _ConfusionMatrixCombiner(SumCombiner):
    """Adds up weights by the class of the label and the answered one: float64 [classes, classes]."""

    whole_answers = True

    def totals(self, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        numbers, classes = _classes(labels, predictions), predictions.shape[1]
        if np.isnan(predictions).any():
            raise FlightdeckError("A prediction is not a number, so there is no confusion matrix.")
        cells = np.bincount(numbers * classes + predictions.argmax(axis=1), weights, classes * classes)
        return cells.reshape(classes, classes)

    def value(self, totals: np.ndarray) -> np.ndarray:
        return totals


class _OfMatrix(DerivedMetric):
    combiner = _ConfusionMatrixCombiner


class Accuracy(_OfMatrix):
    """The share of rows whose answer is right."""

    usual_name = "accuracy"

    def derived(self, value: np.ndarray) -> float:
        """Returns what is on the diagonal, by all."""
        return _share(value.trace(), value.sum())


class MacroF1(_OfMatrix):
    """The mean of the F1 scores of the classes that the slice, or the answers to it, have."""

    usual_name = "macro_f1"

    def derived(self, value: np.ndarray) -> float:
        """Returns the mean of the harmonic means of precision and recall."""
        right, both = value.diagonal(), value.sum(axis=0) + value.sum(axis=1)
        return float(np.mean(2.0 * right[both > 0] / both[both > 0])) if both.any() else 0.0


class ClassPrecision(_OfMatrix):
    """Of the rows for which a class was answered, the share whose label it is; 0 if it never was, as in Keras.

    TFMA's own is no number then, which no threshold lets pass.
    """

    usual_name = "precision"

    def derived(self, value: np.ndarray) -> float:
        """Returns what is right in the column of the class."""
        number = self.kwargs["number"]
        return _share(value[number, number], value[:, number].sum())


class ClassRecall(_OfMatrix):
    """Of the rows whose label is a class, the share for which it was answered; 0 if there are none, as in Keras."""

    usual_name = "recall"

    def derived(self, value: np.ndarray) -> float:
        """Returns what is right in the row of the class."""
        number = self.kwargs["number"]
        return _share(value[number, number], value[number].sum())


class ConfusionMatrix(_OfMatrix):
    """The weights of the rows by the class of the label and the answered one, in the form of TFMA's own."""

    usual_name = "confusion_matrix"

    def derived(self, value: np.ndarray) -> multi_class_confusion_matrix_metrics.Matrices:
        """Returns the cells that are not empty, at a threshold of 0."""
        entry = multi_class_confusion_matrix_metrics.MatrixEntryKey
        cells = {entry(int(label), int(answer)): float(value[label, answer]) for label, answer in np.argwhere(value)}
        return multi_class_confusion_matrix_metrics.Matrices({0.0: cells})


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0

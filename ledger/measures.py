"""The metrics that single rows can tell, of rows that are drawn again and again.

There is one class per task, and nothing else in this package asks which task a run has. Needs numpy alone.
"""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

# Of a slice, split or class; below, no test is to be trusted.
FEWEST_PER_LABEL = 10
DECILES = 10
# The clipping of the metric LogLoss, Keras's (keras.config.epsilon()).
_EPSILON = 1e-7
_DECISION = 0.5

# From how often each row is drawn, float64 [rows], to a metric; NaN where it is not defined.
Measure = Callable[[np.ndarray], float]
# From labels [rows] and predictions [rows] or [rows, classes] to a measure.
_Of = Callable[[np.ndarray, np.ndarray], Measure]


class Measures(ABC):
    """How the predictions of a task are measured.

    Attributes:
        output: the name of the predictions in a file of scores.
        by_delong: the metrics that DeLong's test compares; others are resampled.
        further: metrics that are compared although records lack them: name -> which values are better.
    """

    output: ClassVar[str]
    by_delong: ClassVar[frozenset[str]] = frozenset()
    further: ClassVar[Mapping[str, str]] = {}

    @property
    @abstractmethod
    def resampled(self) -> Mapping[str, _Of]:
        """The metrics by the names that records have for them, and Keras's and TFMA's."""

    @abstractmethod
    def why_not(self, labels: np.ndarray, *predictions: np.ndarray) -> str | None:
        """Why these rows cannot tell anything: the end of a sentence, None if they can."""


@dataclasses.dataclass(frozen=True)
class BinaryMeasures(Measures):
    """Of labels that are 0 or 1 and the probability of 1, both [rows]."""

    output = "probability"
    by_delong = frozenset({"auc"})
    # The Brier score needs no threshold and no clipping, and costs nothing once there are scores.
    further: ClassVar[Mapping[str, str]] = {"brier": "lower"}

    @property
    def resampled(self) -> Mapping[str, _Of]:
        """Those of the probability, and those of calling more than a half positive."""
        return RESAMPLED

    def why_not(self, labels: np.ndarray, *predictions: np.ndarray) -> str | None:
        """Both labels are needed, each often enough."""
        positives = int((labels > 0.5).sum())
        if not np.isin(labels, (0, 1)).all():
            return "their labels are not all 0 or 1"
        if min(positives, len(labels) - positives) < FEWEST_PER_LABEL:
            return (
                f"{positives} of the {len(labels)} rows are positive, and at least {FEWEST_PER_LABEL} of each are "
                "needed"
            )
        return _no_numbers(*predictions)


@dataclasses.dataclass(frozen=True)
class MulticlassMeasures(Measures):
    """Of labels that are the number of a class, [rows], and the probability of each class, [rows, classes].

    A row is called what is most probable. Of a class with few rows, or called seldom, no metric is defined.
    """

    classes: tuple[str, ...]

    output = "probabilities"

    @property
    def resampled(self) -> Mapping[str, _Of]:
        """Those of all classes, and precision and recall of each."""
        return {
            **dict.fromkeys(("accuracy", "sparse_categorical_accuracy"), lambda labels, p: _ratio(_right(labels, p))),
            **dict.fromkeys(("log_loss", "sparse_categorical_crossentropy"), _log_loss_of_classes),
            "macro_f1": _macro_f1,
            **{f"precision/{name}": functools.partial(_precision, number) for number, name in enumerate(self.classes)},
            **{f"recall/{name}": functools.partial(_recall, number) for number, name in enumerate(self.classes)},
        }

    def why_not(self, labels: np.ndarray, *predictions: np.ndarray) -> str | None:
        """At least two classes are needed, each often enough."""
        count = len(self.classes)
        if not np.isin(labels, np.arange(count)).all():
            return f"their labels are not all numbers of the {count} classes"
        if any(of_model.shape != (len(labels), count) for of_model in predictions):
            return f"not all of their predictions are probabilities of the {count} classes"
        often = int((np.bincount(labels.astype(np.intp), minlength=count) >= FEWEST_PER_LABEL).sum())
        if often < 2:
            return f"{often} of the {count} classes have at least {FEWEST_PER_LABEL} rows, and two are needed"
        return _no_numbers(*predictions)


@dataclasses.dataclass(frozen=True)
class RegressionMeasures(Measures):
    """Of labels and predictions that are numbers in the same unit, both [rows]."""

    output = "value"

    @property
    def resampled(self) -> Mapping[str, _Of]:
        """Those of all rows, and the mean absolute error of each decile of the label."""
        return _OF_NUMBERS

    def why_not(self, labels: np.ndarray, *predictions: np.ndarray) -> str | None:
        """As many rows are needed as of two classes."""
        if len(labels) < 2 * FEWEST_PER_LABEL:
            return f"there are {len(labels)} of them, and at least {2 * FEWEST_PER_LABEL} are needed"
        if not np.isfinite(labels).all():
            return "not all of the labels are numbers"
        return _no_numbers(*predictions)


BINARY = BinaryMeasures()
_BY_TASK: Mapping[str, Callable[[Mapping[str, Any]], Measures]] = {
    "binary": lambda target: BINARY,
    "multiclass": lambda target: MulticlassMeasures(tuple(target["classes"])),
    "regression": lambda target: RegressionMeasures(),
}


def of(target: Mapping[str, Any]) -> Measures:
    """The measures for what is predicted: `task`, and `classes` where it has some; empty, as of old runs: binary.

    Raises a KeyError for a task that is not known here.
    """
    return _BY_TASK[target.get("task", "binary")](target)


def deciles(labels: np.ndarray) -> np.ndarray:
    """The tenth of the rows that each row is in by its label, int [rows] from 1 to 10; equal labels share one."""
    inner = np.quantile(labels, np.arange(1, DECILES) / DECILES)
    return np.searchsorted(inner, labels, side="left") + 1


def _no_numbers(*predictions: np.ndarray) -> str | None:
    finite = all(np.isfinite(of_model).all() for of_model in predictions)
    return None if finite else "not all of the scores are numbers"


def _log_loss(labels: np.ndarray, scores: np.ndarray) -> Measure:
    clipped = np.clip(scores, _EPSILON, 1 - _EPSILON)
    return _ratio(-(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)))


def _average_precision(labels: np.ndarray, scores: np.ndarray) -> Measure:
    """The area under the precision-recall curve as a step function; Keras's interpolates, and differs a little."""
    order = np.argsort(-scores, kind="stable")
    # The last row of each run of equal scores: rows with the same score are called together.
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    positives = np.flatnonzero(labels[order] > 0.5)
    end_of_positive = ends[np.searchsorted(ends, positives)]
    last_positive = np.searchsorted(positives, end_of_positive, side="right") - 1
    positive_rows = order[positives]

    def measure(weights: np.ndarray) -> float:
        called = np.cumsum(weights[order])[end_of_positive]
        drawn = weights[positive_rows]
        right = np.cumsum(drawn)
        if not len(right) or not right[-1]:
            return float("nan")
        # The mean, over the positives, of the precision at the score of each.
        return _dot(drawn, right[last_positive] / np.maximum(called, 1.0)) / float(right[-1])

    return measure


def _right(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return (probabilities.argmax(axis=1) == labels).astype(float)


def _log_loss_of_classes(labels: np.ndarray, probabilities: np.ndarray) -> Measure:
    of_label = np.take_along_axis(probabilities, labels.astype(np.intp)[:, None], axis=1)[:, 0]
    return _ratio(-np.log(np.clip(of_label, _EPSILON, 1 - _EPSILON)))


def _macro_f1(labels: np.ndarray, probabilities: np.ndarray) -> Measure:
    """The mean of 2 TP / (2 TP + FP + FN) over the classes that a drawn row has, or is called."""
    count = probabilities.shape[1]
    cells = labels.astype(np.intp) * count + probabilities.argmax(axis=1)

    def measure(weights: np.ndarray) -> float:
        confusion = np.bincount(cells, weights, count * count).reshape(count, count)
        either = confusion.sum(axis=0) + confusion.sum(axis=1)
        there = either > 0
        return float((2 * np.diagonal(confusion)[there] / either[there]).mean()) if there.any() else float("nan")

    return measure


def _precision(number: int, labels: np.ndarray, probabilities: np.ndarray) -> Measure:
    return _mean_of(probabilities.argmax(axis=1) == number, labels == number)


def _recall(number: int, labels: np.ndarray, probabilities: np.ndarray) -> Measure:
    return _mean_of(labels == number, probabilities.argmax(axis=1) == number)


def _error_of_decile(decile: int, labels: np.ndarray, values: np.ndarray) -> Measure:
    return _mean_of(deciles(labels) == decile, np.abs(values - labels))


def _mean_of(chosen: np.ndarray, values: np.ndarray) -> Measure:
    """The mean over the chosen rows, bool [rows]; never defined if they are too few to draw from."""
    rows, mean = np.flatnonzero(chosen), _ratio(values[chosen].astype(float), np.ones(int(chosen.sum())))
    return (lambda weights: mean(weights[rows])) if len(rows) >= FEWEST_PER_LABEL else lambda weights: float("nan")


def _rmse(labels: np.ndarray, values: np.ndarray) -> Measure:
    squared = _ratio((values - labels) ** 2)
    return lambda weights: squared(weights) ** 0.5


def _r2(labels: np.ndarray, values: np.ndarray) -> Measure:
    """One minus the squared error by that of the mean label of the drawn rows."""
    centred = labels - labels.mean()
    error, square, mean = _ratio((values - labels) ** 2), _ratio(centred**2), _ratio(centred)
    rounding = 1e-12 * float(np.ptp(labels)) ** 2

    def measure(weights: np.ndarray) -> float:
        variance = square(weights) - mean(weights) ** 2
        return 1 - error(weights) / variance if variance > rounding else float("nan")

    return measure


def _ratio(above: np.ndarray, below: np.ndarray | None = None) -> Measure:
    """The sum over the drawn rows by another one; without that, the mean."""

    def measure(weights: np.ndarray) -> float:
        total = len(above) if below is None else _dot(weights, below)
        return _dot(weights, above) / total if total else float("nan")

    return measure


def _called(scores: np.ndarray) -> np.ndarray:
    return (scores > _DECISION).astype(float)


def _dot(one: np.ndarray, other: np.ndarray) -> float:
    # Not `@`: the threads of BLAS take a hundred times longer than the product when the cores are busy.
    return float(np.einsum("i,i->", one, other))


RESAMPLED: Mapping[str, _Of] = {
    **dict.fromkeys(("log_loss", "binary_crossentropy", "binary_cross_entropy"), _log_loss),
    **dict.fromkeys(("brier", "mean_squared_error"), lambda labels, scores: _ratio((scores - labels) ** 2)),
    "calibration": lambda labels, scores: _ratio(scores, labels),  # mean prediction by mean label, as TFMA's
    "mean_prediction": lambda labels, scores: _ratio(scores),
    "auc_precision_recall": _average_precision,
    "binary_accuracy": lambda labels, scores: _ratio((_called(scores) == (labels > 0.5)).astype(float)),
    "precision": lambda labels, scores: _ratio(_called(scores) * labels, _called(scores)),
    "recall": lambda labels, scores: _ratio(_called(scores) * labels, labels),
}
_OF_NUMBERS: Mapping[str, _Of] = {
    **dict.fromkeys(("mae", "mean_absolute_error"), lambda labels, values: _ratio(np.abs(values - labels))),
    "mean_squared_error": lambda labels, values: _ratio((values - labels) ** 2),
    **dict.fromkeys(("rmse", "root_mean_squared_error"), _rmse),
    "r2": _r2,
    "calibration": lambda labels, values: _ratio(values, labels),
    "mean_prediction": lambda labels, values: _ratio(values),
    **{f"mae/decile_{number}": functools.partial(_error_of_decile, number) for number in range(1, DECILES + 1)},
}

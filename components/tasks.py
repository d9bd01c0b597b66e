"""What is predicted decides what the components ask of a model, measure of it and keep: one strategy per task.

Nothing else on this floor asks which task it is. Importing this module loads neither TensorFlow nor NumPy.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from errors import FlightdeckError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_ROW_METRICS = "components.evaluation.row_metrics"
_CLASS_METRICS = "components.evaluation.class_metrics"
_VALUE_METRICS = "components.evaluation.value_metrics"
_DECILES = range(1, 11)
# The thresholds at which the receiver operating characteristic is sampled for pictures.
_ROC_THRESHOLDS = tuple(step / 40 for step in range(41))
# How far from 1 the probabilities of a row may add up to: a softmax over a thousand classes is as exact in float32.
_SUM_TOLERANCE = 1e-4


class TargetError(FlightdeckError):
    """A label that the task cannot have, such as a class number without a class. The text is one sentence."""


class Measure(NamedTuple):
    """How good answers are: a function of labels and answers, and whether a worse model makes it drop or rise."""

    name: str
    worse: Literal["drop", "rise"]
    of: Callable[[np.ndarray, np.ndarray], float]

    @property
    def loss(self) -> str:
        """The name of what is lost by it."""
        return f"{self.name}_{self.worse}"

    def lost(self, before: float, after: float) -> float:
        """Returns by how much it became worse."""
        return before - after if self.worse == "drop" else after - before


class Outcome(NamedTuple):
    """A number per row whose mean is compared between groups of rows.

    Attributes:
        measure: what the mean is called.
        kind: `share` if the numbers are 0 and 1, else `mean`.
        values: float64 [rows].
        counts: which rows count, bool [rows].
        of: the class that it is about, where there are several.
    """

    measure: str
    kind: Literal["share", "mean"]
    values: np.ndarray
    counts: np.ndarray
    of: str = ""


@dataclass(frozen=True)
class Task(ABC):
    """A kind of prediction.

    Attributes:
        label: The feature that holds the truth.
        classes: The names of the classes 0, 1, and so on, where there are more than two.
        name: Of the task.
        output: What a model's answer is called, as the output of a signature and as a column.
        metrics: Module -> names of the metrics that an evaluation can have; those without one are TFMA's or Keras's.
        pictures: Metrics that are computed besides, for pictures: fields of TFMA's MetricConfig.
        shown_as: The name of KFP's artifact with the picture; empty if there is none.
        has_threshold: Whether a threshold makes a decision of an answer.
        disparities: What is compared between groups of people: the measures of `outcomes`.
    """

    label: str
    classes: tuple[str, ...] = ()

    name: ClassVar[str]
    output: ClassVar[str]
    metrics: ClassVar[Mapping[str, Sequence[str]]]
    pictures: ClassVar[Sequence[Mapping[str, str]]] = ()
    shown_as: ClassVar[str] = ""
    has_threshold: ClassVar[bool] = False
    disparities: ClassVar[Sequence[str]] = ("selection_rate", "true_positive_rate")

    @property
    def target(self) -> str:
        """What `of` makes the same task of."""
        return json.dumps({"task": self.name, "label": self.label, "classes": self.classes})

    @property
    def width(self) -> int:
        """How many numbers a model answers per row."""
        return 1

    @abstractmethod
    def labels(self, values: np.ndarray) -> pa.Array:
        """Returns labels, float64 [rows], in the type in which they are kept; raises a TargetError if one is none."""

    @abstractmethod
    def measures(self) -> Sequence[Measure]:
        """Returns by what the importance of columns is measured, that first by which they are sorted."""

    def mistakes(self, labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Returns how wrong each answer is, float64 [rows], by labels [rows] and answers [rows] or [rows, width]."""
        return abs(labels - answers)

    @abstractmethod
    def fault(self, answers: np.ndarray, rows: Sequence[int]) -> str | None:
        """Returns what is wrong with finite answers, float64 [rows, width]: the end of a sentence; else None."""

    @abstractmethod
    def outcomes(self, labels: np.ndarray, answers: np.ndarray, threshold: float) -> list[Outcome]:
        """Returns what is compared between groups of rows.

        Args:
            labels: float64 [rows].
            answers: float64 [rows, width].
            threshold: the least probability that counts as positive, where there is one.
        """

    def parts(self, metric: str) -> dict[str, dict[str, Any]]:
        """Returns the single metrics of one that has several values: reported name -> configuration; else nothing."""
        del metric
        return {}

    def fits(self, metric: str, module: str) -> bool:
        """Returns whether an evaluation can have a metric; one of somebody else's module always can."""
        return metric in self.metrics.get(module, ()) or module not in _MODULES

    def shown(self, values: Iterable[Any]) -> dict[str, Any]:
        """Returns the picture as KFP's ClassificationMetrics has it, from the MetricValues of TFMA."""
        del values
        return {}


class BinaryTask(Task):
    """Whether something is so: one probability per row."""

    name, output, has_threshold, shown_as = "binary", "probability", True, "roc"
    metrics: ClassVar = {
        _ROW_METRICS: ("RowCount", "LogLoss"),
        "": ("AUC", "AUCPrecisionRecall", "Precision", "Recall"),
    }
    pictures = ({"class_name": "ConfusionMatrixAtThresholds", "config": json.dumps({"thresholds": _ROC_THRESHOLDS})},)

    def labels(self, values: np.ndarray) -> pa.Array:
        """Returns int8, or float64 if one is neither 0 nor 1."""
        import numpy as np
        import pyarrow as pa

        return pa.array(values.astype(np.int8) if np.isin(values, (0.0, 1.0)).all() else values)

    def measures(self) -> Sequence[Measure]:
        """Returns the area under the ROC curve, and the log loss."""
        from components.scores import measures

        return Measure("auc", "drop", measures.area_under_roc), Measure("log_loss", "rise", measures.log_loss)

    def fault(self, answers: np.ndarray, rows: Sequence[int]) -> str | None:
        """Returns which answer is no probability."""
        return _no_probability(answers, rows)

    def outcomes(self, labels: np.ndarray, answers: np.ndarray, threshold: float) -> list[Outcome]:
        """Returns whether a row was called positive, of all rows and of the positive ones."""
        return _called("", answers[:, 0] >= threshold, labels > 0.5)

    def fits(self, metric: str, module: str) -> bool:
        """Returns whether it can: most of TFMA's metrics are for this task."""
        return not module or super().fits(metric, module)

    def shown(self, values: Iterable[Any]) -> dict[str, Any]:
        """Returns the receiver operating characteristic, thresholds descending."""
        curve = [
            {
                "confidenceThreshold": matrix.threshold,
                "falsePositiveRate": matrix.false_positives / max(matrix.false_positives + matrix.true_negatives, 1.0),
                "recall": matrix.true_positives / max(matrix.true_positives + matrix.false_negatives, 1.0),
            }
            for value in values
            for matrix in value.confusion_matrix_at_thresholds.matrices
        ]
        return {"confidenceMetrics": curve[::-1]}


class MulticlassTask(Task):
    """Which of several classes: a probability of each per row."""

    name, output, shown_as = "multiclass", "probabilities", "confusion_matrix"
    metrics: ClassVar = {
        _CLASS_METRICS: ("Accuracy", "LogLoss", "MacroF1", "ClassPrecision", "ClassRecall"),
        _ROW_METRICS: ("RowCount",),
        "": ("SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"),
    }
    pictures = ({"class_name": "ConfusionMatrix", "module": _CLASS_METRICS},)

    @property
    def width(self) -> int:
        """One number per class."""
        return len(self.classes)

    def labels(self, values: np.ndarray) -> pa.Array:
        """Returns numbers of classes, int64."""
        import numpy as np
        import pyarrow as pa

        if not (known := np.isin(values, range(self.width))).all():
            raise TargetError(
                f"The label {self.label} is {values[~known][0]:g} in some rows, which is no class: the classes are "
                f"{', '.join(f'{number} ({name})' for number, name in enumerate(self.classes))}."
            )
        return pa.array(values, pa.int64())

    def measures(self) -> Sequence[Measure]:
        """Returns the accuracy, and the log loss."""
        from components.scores import measures

        return Measure("accuracy", "drop", measures.accuracy), Measure("log_loss", "rise", measures.cross_entropy)

    def mistakes(self, labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Returns the probability of the other classes; a label that is no class counts as right."""
        import numpy as np

        known = np.isin(labels, range(self.width))
        of_label = answers[np.arange(len(labels)), np.where(known, labels, 0).astype(np.int64)]
        return np.where(known, 1.0 - of_label, 0.0)

    def fault(self, answers: np.ndarray, rows: Sequence[int]) -> str | None:
        """Returns which answers are no probabilities, or do not add up to 1."""
        import numpy as np

        if fault := _no_probability(answers, rows):
            return fault
        sums = answers.sum(axis=1)
        if (wrong := np.flatnonzero(np.abs(sums - 1.0) > _SUM_TOLERANCE)).size:
            return f"does not add up to 1 over the classes, but to {sums[wrong[0]]:.6g} for example {rows[wrong[0]]}"
        return None

    def outcomes(self, labels: np.ndarray, answers: np.ndarray, threshold: float) -> list[Outcome]:
        """Returns, for each class, whether it was the most probable one, of all rows and of those whose label it is."""
        del threshold
        called = answers.argmax(axis=1)
        return [
            outcome
            for number, name in enumerate(self.classes)
            for outcome in _called(name, called == number, labels == number)
        ]

    def parts(self, metric: str) -> dict[str, dict[str, Any]]:
        """Returns the metrics of each class."""
        family = {"ClassPrecision": "precision", "ClassRecall": "recall"}.get(metric)
        numbers = enumerate(self.classes) if family else ()
        return {f"{family}/{name}": {"name": f"{family}/{name}", "number": number} for number, name in numbers}

    def shown(self, values: Iterable[Any]) -> dict[str, Any]:
        """Returns the confusion matrix: a row per class of the label, a column per class that was answered."""
        rows = [[0.0] * self.width for _ in self.classes]
        for value in values:
            for matrix in value.multi_class_confusion_matrix_at_thresholds.matrices:
                for entry in matrix.entries:
                    rows[entry.actual_class_id][entry.predicted_class_id] += entry.num_weighted_examples
        named = [{"displayName": name} for name in self.classes]
        return {"confusionMatrix": {"annotationSpecs": named, "rows": [{"row": row} for row in rows]}}


class RegressionTask(Task):
    """How much: a number in the unit of the label."""

    name, output, disparities = "regression", "value", ("mean_error",)
    metrics: ClassVar = {
        _VALUE_METRICS: ("RMSE", "MAE", "R2", "DecileMAE"),
        _ROW_METRICS: ("RowCount",),
        "": ("MeanLabel", "MeanPrediction", "Calibration", "MeanAbsoluteError", "RootMeanSquaredError"),
    }

    def labels(self, values: np.ndarray) -> pa.Array:
        """Returns float64."""
        import numpy as np
        import pyarrow as pa

        if not np.isfinite(values).all():
            raise TargetError(f"The label {self.label} is not a finite number in some rows; leave them out.")
        return pa.array(values)

    def measures(self) -> Sequence[Measure]:
        """Returns R², and the root of the mean squared error."""
        from components.scores import measures

        return Measure("r2", "drop", measures.r2), Measure("rmse", "rise", measures.rmse)

    def fault(self, answers: np.ndarray, rows: Sequence[int]) -> str | None:
        """Returns None: any finite number can be right."""
        del answers, rows

    def outcomes(self, labels: np.ndarray, answers: np.ndarray, threshold: float) -> list[Outcome]:
        """Returns by how much the answer exceeds the label."""
        del threshold
        error = answers[:, 0] - labels
        return [Outcome("mean_error", "mean", error, error == error)]

    def parts(self, metric: str) -> dict[str, dict[str, Any]]:
        """Returns the metrics of each decile."""
        deciles = _DECILES if metric == "DecileMAE" else ()
        return {f"mae/decile_{decile}": {"name": f"mae/decile_{decile}", "decile": decile} for decile in deciles}


_TASKS: dict[str, type[Task]] = {kind.name: kind for kind in (BinaryTask, MulticlassTask, RegressionTask)}
_MODULES = {module for kind in _TASKS.values() for module in kind.metrics}


def of(target: str) -> Task:
    """Returns the task of a target, which is JSON: `task`, `label`, and `classes` where there are several."""
    document = json.loads(target)
    return _TASKS[document["task"]](document["label"], tuple(document["classes"]))


def _called(of: str, called: np.ndarray, truth: np.ndarray) -> list[Outcome]:
    """How often something was said, and how often of the rows of which it is true."""
    said, everything = called.astype(float), truth | ~truth
    return [
        Outcome("selection_rate", "share", said, everything, of),
        Outcome("true_positive_rate", "share", said, truth, of),
    ]


def _no_probability(answers: np.ndarray, rows: Sequence[int]) -> str | None:
    import numpy as np

    if not (outside := (answers < 0) | (answers > 1)).any():
        return None
    at, column = np.argwhere(outside)[0]
    return f"is not a probability: {answers[at, column]:.6g} for example {rows[at]} is outside [0, 1]"

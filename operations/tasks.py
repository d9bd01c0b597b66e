"""What is predicted decides how answers are told, described and counted, and how they are judged once labels arrive.

There is one strategy per task, and nothing else in operations asks which task it is. Requests are answered through this
module: it imports neither TensorFlow nor pandas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from data.contract import Target
from ledger import measures
from ledger.measures import FEWEST_PER_LABEL

if TYPE_CHECKING:
    import pyarrow as pa

PROBABILITY, PROBABILITIES, VALUE = "probability", "probabilities", "value"
CLASS = "class"

_DECADES = tuple(step * 10.0**power for power in range(-1, 6) for step in (1, 2, 5))
BINS = 20
_MOST_CLASSES = 3  # whose shares a sentence names


@dataclass(frozen=True)
class Metric:
    """A metric of quality.

    Attributes:
        name: as in the records and in `ledger.measures`.
        title: for people.
        better: which values are better; 1 is right if neither.
        setting: of the section ``monitoring``: by how much it may be worse than in the evaluation; if neither is
            better, the lowest and the highest value.
        in_unit: whether it is in the unit of the label; by how much it may be worse is then a share of it.
        every_class: whether it takes enough rows of every class, and not of two.
        formula: in words, where that is the better title of a plot.
    """

    name: str
    title: str
    better: Literal["higher", "lower", "neither"]
    setting: str
    in_unit: bool = False
    every_class: bool = False
    formula: str = ""

    def allowance(self, of: float, setting: float) -> float:
        """By how much a value may be worse than another one."""
        return of * setting if self.in_unit else setting

    def bounds(self, expected: Mapping[str, float], settings: Any) -> tuple[float | None, float | None]:
        """The lowest and the highest value that is accepted, by the metrics of an evaluation and its setting."""
        setting = getattr(settings, self.setting)
        if self.better == "neither":
            return setting
        if (promised := expected.get(self.name)) is None:
            return None, None
        allowance = self.allowance(promised, setting)
        return (promised - allowance, None) if self.better == "higher" else (None, promised + allowance)

    def number(self, value: float, digits: int = 3, signed: bool = False) -> str:
        """A value in words: with so many digits behind the point; if it is in a unit, with one more in all."""
        if self.in_unit:
            return np.format_float_positional(value, digits + 1, fractional=False, trim="-", sign=signed)
        return f"{value:{'+' if signed else ''}.{digits}f}"

    def difference(self, value: float, low: float, high: float) -> str:
        """A difference and its interval in words."""
        middle, lowest, highest = (self.number(number, 4, signed=True) for number in (value, low, high))
        return f"{middle} ({lowest} to {highest})"


AUC = Metric("auc", "AUC", "higher", "auc_may_lose")
LOG_LOSS = Metric("log_loss", "log loss", "lower", "log_loss_may_lose")
CALIBRATION = Metric("calibration", "calibration", "neither", "calibration", formula="mean prediction by mean label")
ACCURACY = Metric("accuracy", "accuracy", "higher", "accuracy_may_lose")
MACRO_F1 = Metric("macro_f1", "macro F1", "higher", "macro_f1_may_lose", every_class=True)
R2 = Metric("r2", "R²", "higher", "r2_may_lose")
RMSE = Metric("rmse", "RMSE", "lower", "rmse_may_grow", in_unit=True)
MAE = Metric("mae", "MAE", "lower", "mae_may_grow", in_unit=True)
METRICS = {metric.name: metric for metric in (AUC, LOG_LOSS, CALIBRATION, ACCURACY, MACRO_F1, R2, RMSE, MAE)}


@dataclass(frozen=True)
class Task(ABC):
    """How the answers of a model are told, and how they are judged.

    To judge, labels are float64 [rows] (0 or 1, the number of a class, or a number in the unit of the label), and
    predictions float64 [rows] or [rows, classes].

    Attributes:
        target: what is predicted.
        quantiles: of the labels that the model was trained on; empty if it does not say.
        output: the numeric output of the model's signatures, float32 [rows, width].
        quality: what is measured once labels have arrived; the first one is the one to show if there is room for one.
        loss: what two versions are compared by.
        previous_setting: of the section ``monitoring``: by how much the version before may win.
        canary_setting: of the section ``canary``: by how much a canary may lose.
        label_setting: of the section ``monitoring``: how far labels may be from earlier ones by `distance`; empty if
            the schema says it, whose measure suits shares of classes, but no number with a few extremes.
    """

    target: Target
    quantiles: tuple[float, ...] = ()

    output: ClassVar[str]
    quality: ClassVar[tuple[Metric, ...]]
    loss: ClassVar[Metric] = LOG_LOSS
    previous_setting: ClassVar[str] = "previous_may_win"
    canary_setting: ClassVar[str] = "may_lose"
    label_setting: ClassVar[str] = ""

    @property
    def width(self) -> int:
        """How many numbers the answer to a row has."""
        return 1

    @property
    @abstractmethod
    def phrase(self) -> str:
        """What is predicted, in words."""

    @property
    def added(self) -> Mapping[str, str]:
        """What `named` adds to the outputs of the graph: name -> type, [rows] each."""
        return {}

    def named(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs of the graph, and the names of what they only number."""
        return dict(outputs)

    @property
    def parameters(self) -> Mapping[str, dict[str, Any]]:
        """What metadata say of an output beside its type and its shape: output -> name -> value."""
        return {}

    @property
    def elements(self) -> Mapping[str, dict[str, Any]]:
        """JSON schemas of one value of each output; none for outputs that the OpenAPI document leaves open."""
        return {}

    def observed(self, outputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Returns what a histogram of predictions counts, by the name that it has there."""
        return outputs

    @property
    @abstractmethod
    def buckets(self) -> Sequence[float]:
        """The upper bounds of that histogram."""

    def like(self, other: Task) -> bool:
        """Whether an answer means the same as one of another model, whatever the label is called."""
        return self.target.model_copy(update={"label": ""}) == other.target.model_copy(update={"label": ""})

    @cached_property
    def measures(self) -> measures.Measures:
        """The metrics as functions of labels and predictions."""
        return measures.of(self.target.model_dump())

    def answered(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Returns the predictions among the outputs of a model; None if they are of another form."""
        values = outputs.get(self.output)
        if values is None or values.size != len(values) * self.width:
            return None
        return values.astype(float).reshape(-1 if self.width == 1 else values.shape)

    @property
    def names(self) -> tuple[str, str]:
        """The columns of a payload log that may hold the predictions: the second one, unless it has the first."""
        return column_of(self.output, [self.output]), self.output

    def logged(self, columns: Collection[str]) -> str | None:
        """The column of a payload log with these columns that holds the predictions; None if none does."""
        return next((name for name in self.names if name in columns), None)

    def predictions(self, column: pa.Array | pa.ChunkedArray) -> np.ndarray | None:
        """Returns the predictions in a column of the payload log, nan where it is null; None if of another form."""
        import pyarrow as pa
        import pyarrow.compute as pc

        values: Any = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if pa.types.is_list(values.type) and self.width > 1:
            given = values.drop_null()
            if not pc.all(pc.equal(pc.list_value_length(given), self.width), min_count=0).as_py():
                return None
            rows = np.full((len(values), self.width), np.nan)
            numbers = given.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
            rows[values.is_valid().to_numpy(zero_copy_only=False)] = numbers.reshape(-1, self.width)
            return rows
        if (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)) and self.width == 1:
            return values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return None

    @abstractmethod
    def distance(self, predictions: np.ndarray, reference: np.ndarray) -> float:
        """Returns how far predictions are from those of a reference: a Jensen-Shannon divergence, from 0 to 1.

        Lin, "Divergence Measures Based on the Shannon Entropy", IEEE Trans. Inf. Theory 37 (1991).
        """

    @abstractmethod
    def judgeable(self, labels: np.ndarray, metric: Metric) -> bool:
        """Returns whether the labels differ enough for a metric."""

    @abstractmethod
    def contrasts(self, labels: np.ndarray, predictions: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns questions about the labels, each with the answers, 0 or 1, and scores that rank them, both [rows].

        A model that knows anything ranks the answers better than chance, even where shares of classes, scales and
        means are not any more what it has learned. None are returned of labels that do not differ enough.
        """

    @abstractmethod
    def summary(self, values: np.ndarray) -> str:
        """Returns labels or predictions in a few words, such as ``mean 0.213``."""

    def counted(self, labels: np.ndarray) -> str:
        """Returns how many labels are of the kind of which there may be too few, in words that follow a number."""
        del labels
        return ""

    def unit(self, metric: Metric) -> str:
        """Returns the unit of a metric with a space before it; empty if it has none."""
        return f" {self.target.unit}" if metric.in_unit and self.target.unit else ""


class BinaryTask(Task):
    """``probability``, float32 [rows, 1]: that the label is 1."""

    output = PROBABILITY
    quality = (AUC, LOG_LOSS, CALIBRATION)

    @property
    def phrase(self) -> str:
        """What is predicted, in words."""
        return "a probability"

    @property
    def buckets(self) -> Sequence[float]:
        """Steps of 0.05."""
        return _SHARES

    def distance(self, predictions: np.ndarray, reference: np.ndarray) -> float:
        """Compares histograms of equal widths."""
        return _of_probabilities(predictions, reference)

    def judgeable(self, labels: np.ndarray, metric: Metric) -> bool:
        """Asks for enough rows of either label."""
        positives = int((labels > 0.5).sum())
        return FEWEST_PER_LABEL <= positives <= len(labels) - FEWEST_PER_LABEL

    def contrasts(self, labels: np.ndarray, predictions: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Asks whether the label is 1."""
        return [(labels, predictions)] if self.judgeable(labels, AUC) else []

    def summary(self, values: np.ndarray) -> str:
        """Returns the mean."""
        return f"mean {values.mean():.3f}"

    def counted(self, labels: np.ndarray) -> str:
        """Counts the positive ones."""
        return f", {int((labels > 0.5).sum()):,} of them positive"


class MulticlassTask(Task):
    """``probabilities``, float32 [rows, classes], and ``class``, the name of the most probable one."""

    output = PROBABILITIES
    quality = (ACCURACY, LOG_LOSS, MACRO_F1)

    @property
    def width(self) -> int:
        """How many classes there are."""
        return len(self.target.classes)

    @property
    def phrase(self) -> str:
        """What is predicted, in words."""
        return f"the probabilities of {', '.join(self.target.classes)}"

    @property
    def added(self) -> Mapping[str, str]:
        """The name of a class."""
        return {CLASS: "string"}

    @cached_property
    def _names(self) -> np.ndarray:
        return np.array(self.target.classes, object)

    def named(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Adds the name of the most probable class, the first one if there are several: text, objects [rows].

        Where a probability is NaN, it is the empty text, which stands for a missing one.
        """
        probabilities = outputs[self.output]
        names = self._names[probabilities.argmax(axis=1)]
        names[np.isnan(probabilities).any(axis=1)] = ""
        return {**outputs, CLASS: names}

    @property
    def parameters(self) -> Mapping[str, dict[str, Any]]:
        """Which class each of the probabilities is of."""
        return {self.output: {"labels": list(self.target.classes)}}

    @property
    def elements(self) -> Mapping[str, dict[str, Any]]:
        """Probabilities and names; null and the empty text where an answer is no number."""
        return {
            self.output: {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            CLASS: {"type": "string", "enum": [*self.target.classes, ""]},
        }

    def observed(self, outputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Returns the probability of the class that was answered, by class: how often it was, and how certainly."""
        probabilities = outputs[self.output]
        probabilities = probabilities[~np.isnan(probabilities).any(axis=1)]
        answered, highest = probabilities.argmax(axis=1), probabilities.max(axis=1)
        return {
            f"{self.output}/{self.target.classes[number]}": highest[answered == number]
            for number in np.unique(answered).tolist()
        }

    @property
    def buckets(self) -> Sequence[float]:
        """Steps of 0.05."""
        return _SHARES

    def distance(self, predictions: np.ndarray, reference: np.ndarray) -> float:
        """Compares the probabilities of each class as those of a binary task, and returns the largest distance.

        Their means would not show that a model has become surer, or less sure.
        """
        classes = zip(predictions.T, reference.T, strict=True)
        return max(_of_probabilities(of_class, expected) for of_class, expected in classes)

    def judgeable(self, labels: np.ndarray, metric: Metric) -> bool:
        """Asks for enough rows of two classes, or of every one."""
        enough = self._counts(labels) >= FEWEST_PER_LABEL
        return bool(enough.all() if metric.every_class else enough.sum() >= 2)

    def contrasts(self, labels: np.ndarray, predictions: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Asks for each class whether the label is that."""
        counts = self._counts(labels)
        enough = np.minimum(counts, len(labels) - counts) >= FEWEST_PER_LABEL
        return [((labels == number).astype(float), predictions[:, number]) for number in np.flatnonzero(enough)]

    def summary(self, values: np.ndarray) -> str:
        """Returns the shares of the most frequent classes."""
        shares = values.mean(axis=0) if values.ndim > 1 else self._counts(values) / max(1, len(values))
        most = sorted(np.argsort(-shares, kind="stable")[:_MOST_CLASSES])
        return ", ".join(f"{self.target.classes[number]} {shares[number]:.1%}" for number in most)

    def counted(self, labels: np.ndarray) -> str:
        """Counts those of the rarest class."""
        counts = self._counts(labels)
        rarest = int(counts.argmin())
        return f", {counts[rarest]:,} of them {self.target.classes[rarest]}"

    def _counts(self, labels: np.ndarray) -> np.ndarray:
        """How many rows each class has, int64 [classes]."""
        return np.bincount(labels.astype(np.int64), minlength=self.width)


class RegressionTask(Task):
    """``value``, float32 [rows, 1], in the unit of the label."""

    output = VALUE
    quality = (R2, RMSE, MAE)
    loss = RMSE
    previous_setting = "previous_rmse_may_win"
    canary_setting = "rmse_may_grow"
    label_setting = "label_distance"

    @property
    def phrase(self) -> str:
        """What is predicted, in words."""
        return f"a number in {self.target.unit}" if self.target.unit else "a number"

    @property
    def parameters(self) -> Mapping[str, dict[str, Any]]:
        """The unit, if there is one."""
        return {self.output: {"unit": self.target.unit}} if self.target.unit else {}

    @property
    def elements(self) -> Mapping[str, dict[str, Any]]:
        """A number, or null where the answer is none."""
        return {self.output: {"type": ["number", "null"]}}

    @property
    def buckets(self) -> Sequence[float]:
        """The quantiles of the labels, so that predictions like them fill all buckets alike; else 1, 2, 5, 10, ..."""
        return self.quantiles or (*(-bound for bound in reversed(_DECADES)), 0.0, *_DECADES)

    def distance(self, predictions: np.ndarray, reference: np.ndarray) -> float:
        """Compares histograms whose bins hold as many values of the reference each, be they predictions or labels.

        The values between two bins are a bin of their own: there may be many of one.
        """
        ends = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS))
        bins = [np.searchsorted(ends, of) + np.searchsorted(ends, of, "right") for of in (predictions, reference)]
        return _divergence(*(np.bincount(numbers, minlength=2 * len(ends) + 1) for numbers in bins))

    def judgeable(self, labels: np.ndarray, metric: Metric) -> bool:
        """Asks for labels that differ at all."""
        return bool(len(labels) and labels.min() < labels.max())

    def contrasts(self, labels: np.ndarray, predictions: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Asks whether the label is above the median."""
        above = labels > np.median(labels) if len(labels) else np.zeros(0, bool)
        enough = FEWEST_PER_LABEL <= above.sum() <= len(labels) - FEWEST_PER_LABEL
        return [(above.astype(float), predictions)] if enough else []

    def summary(self, values: np.ndarray) -> str:
        """Returns the mean."""
        return f"mean {RMSE.number(values.mean())}{self.unit(RMSE)}"


def _of_probabilities(predictions: np.ndarray, reference: np.ndarray) -> float:
    return _divergence(*(np.histogram(values, bins=BINS, range=(0, 1))[0] for values in (predictions, reference)))


def _divergence(one: np.ndarray, other: np.ndarray) -> float:
    """The Jensen-Shannon divergence of two histograms, with the logarithm to base 2."""
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(one, other, base=2) ** 2)


_SHARES = tuple(bound / 20 for bound in range(1, 21))
_TASKS: dict[str, type[Task]] = {
    "binary": BinaryTask,
    "multiclass": MulticlassTask,
    "regression": RegressionTask,
}


def task_of(target: Target | None, quantiles: Sequence[float] = ()) -> Task:
    """Returns the strategy for what is predicted; a version of before there were tasks says none: one probability."""
    target = target or Target(label="")
    return _TASKS[target.task](target, tuple(quantiles))


def column_of(output: str, columns: Collection[str]) -> str:
    """The name of an output in a table that has the columns of the model, too, one of which may be called like it."""
    return output if output not in columns else f"predicted_{output}"

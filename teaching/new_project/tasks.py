"""What a label may be: one of two values, one of several, or a number.

There is one kind of label per task, with templates of its own under ``templates/tasks``, and nothing else in this
package asks which task it is.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from data import table
from data.contract import Task
from data.table import plain
from errors import FlightdeckError
from ledger.formats import count
from teaching.new_project import columns, leaks
from teaching.new_project.columns import Inferred

if TYPE_CHECKING:
    import pandas as pd

FEWEST_ROWS = 100
FEWEST_OF_A_CLASS = 20
MOST_CLASSES = columns.MOST_LISTED
MOST_NUMBERED = 10
"""Whole numbers of which more are different are taken for a quantity, and not for classes."""

# What means yes and no where both stand together, in lower case.
_PAIRS = (
    ("1", "0"),
    ("1.0", "0.0"),
    ("true", "false"),
    ("yes", "no"),
    ("y", "n"),
    ("t", "f"),
    ("positive", "negative"),
)
# What a number may be measured in, as the last word of a name.
_UNITS = (
    *("mm", "cm", "km", "mg", "g", "kg", "lb", "ms", "sec", "seconds", "min", "minutes", "hours", "days", "weeks"),
    *("months", "years", "usd", "eur", "gbp", "chf", "mpg", "kwh", "percent", "pct"),
)
_RARE = 0.03
_GAIN = 0.05  # What a model must make good of what is missing to certainty where nothing is known.


class LabelError(FlightdeckError):
    """A label that this project's models cannot predict."""


@dataclass(frozen=True)
class Values:
    """The values of a label, as the table has them."""

    values: pd.Series

    @property
    def name(self) -> str:
        """Of the column."""
        return str(self.values.name)

    @cached_property
    def moments(self) -> bool:
        """Whether they are moments."""
        return columns.are_moments(self.values)

    @cached_property
    def numbers(self) -> pd.Series | None:
        """The values as numbers, if they are any."""
        return None if self.moments else columns.as_numbers(self.values)

    @cached_property
    def whole(self) -> bool:
        """Whether they are whole numbers that a float64 can tell."""
        known = None if self.numbers is None else self.numbers.dropna()
        return known is not None and bool((known % 1 == 0).all()) and float(known.abs().max()) < columns.EXACT

    @cached_property
    def counts(self) -> pd.Series:
        """The rows of each value as text, the most frequent first."""
        return plain(self.values).value_counts()

    @property
    def distinct(self) -> int:
        """How many are different; of numbers, a word for nothing is none of them."""
        return len(self.counts) if self.numbers is None else self.numbers.nunique()

    @cached_property
    def untidy(self) -> tuple[str, str, str] | None:
        """What is wrong with texts that should be numbers, see `columns.untidy`."""
        words = self.numbers is None and not self.moments
        return columns.untidy(plain(self.values).dropna(), self.name) if words else None

    @property
    def listed(self) -> str:
        """The number of different values, and some of them."""
        texts = [columns.quotable(str(value)) for value in self.counts.index]
        some = f"{', '.join(texts[:5])}{', ...' if len(texts) > 5 else ''}" or "all are missing"
        return f"{count(len(texts), 'value')} ({some})"

    def require(self, rows: int, classes: str = "") -> None:
        """Refuses a label of too few rows."""
        if rows < FEWEST_ROWS:
            raise LabelError(
                f"There are {rows} rows with the label '{self.name}': a pipeline that trains and evaluates needs "
                f"{FEWEST_ROWS}{classes}."
            )


@dataclass(frozen=True)
class Label(ABC):
    """The column to predict.

    Attributes:
        name: in the table, and then in the contract.
        task: of the contract.
        measure: of how well one column tells it.
        ranged: whether its range is a guess, which a person has to review.
        each_span: what each span must have rows of.
        lacking: what is wrong with spans that have not.
        or_lack: the same among other reasons.
    """

    name: str

    task: ClassVar[Task]
    measure: ClassVar[str] = "AUC"
    ranged: ClassVar[bool] = False
    each_span: ClassVar[str]
    lacking: ClassVar[str]
    or_lack: ClassVar[str]

    @classmethod
    @abstractmethod
    def fits(cls, values: Values) -> bool:
        """Whether it is this task, if nobody says so, and if it is none of those before in the registry."""

    @classmethod
    @abstractmethod
    def of(cls, values: Values, positive: str | None) -> Label:
        """The label of these values; raises a LabelError if it cannot be of this task."""

    @abstractmethod
    def prepared(self, values: pd.Series) -> pd.Series:
        """The values as the contract has them: numbers, and missing; raises a TableError at another value."""

    @property
    @abstractmethod
    def column(self) -> Inferred:
        """The column of the contract."""

    @property
    def distinct(self) -> int:
        """How many different values each span must have."""
        return 2

    @property
    def rare(self) -> bool:
        """Whether one of its values is so rare that a network soon learns its rows by heart."""
        return False

    @property
    @abstractmethod
    def meaning(self) -> str:
        """Of the column in the contract."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """What the screen says of the rows, after their number."""

    @property
    @abstractmethod
    def document(self) -> dict[str, Any]:
        """What the JSON document says of it."""

    @abstractmethod
    def strength(self, use: str, values: pd.Series, labels: pd.Series) -> tuple[float, str]:
        """How well a column tells the label alone, and which class of it, if it is only one of several."""

    def told(self, column: Inferred) -> str:
        """That strength in words."""
        of_class = f" for {columns.quotable(column.tells)}" if column.tells else ""
        return f"{self.measure} {column.alone or 0.0:.3f}{of_class}"


@dataclass(frozen=True)
class BinaryLabel(Label):
    """One of two values; `rate` is the share of the positive one."""

    positive: str
    negative: str
    rate: float

    task = "binary"
    each_span, lacking, or_lack = "of both labels", "some have rows of one label only", ", or lack a label"

    @classmethod
    def fits(cls, values: Values) -> bool:
        """Two values, whatever they are."""
        return values.distinct <= 2

    @classmethod
    def of(cls, values: Values, positive: str | None) -> BinaryLabel:
        """Refuses it if neither value is plainly the positive one and nobody said which it is, or one has few rows."""
        name, counts = values.name, values.counts
        if len(counts) != 2:
            raise LabelError(
                f"The label '{name}' has {values.listed}, and the task binary needs exactly two: make a column that "
                "says yes or no, and name that."
            )
        texts = [str(value) for value in counts.index]
        if positive is not None and positive not in texts:
            raise LabelError(
                f"--positive {positive} is not a value of the label '{name}', which is {texts[0]} or {texts[1]}."
            )
        lowered = {value.lower(): value for value in texts}
        chosen = positive or next((lowered[yes] for yes, no in _PAIRS if set(lowered) == {yes, no}), None)
        if chosen is None:
            raise LabelError(
                f"The label '{name}' is {texts[0]} or {texts[1]}: say which one is predicted, such as "
                f"--positive {texts[1]}."
            )
        rarest, rows = counts.min(), counts.sum()
        if rows < FEWEST_ROWS or rarest < FEWEST_OF_A_CLASS:
            raise LabelError(
                f"There are {rows} rows with the label '{name}', {rarest} of them {counts.idxmin()}: a pipeline "
                f"that trains and evaluates needs {FEWEST_ROWS}, and {FEWEST_OF_A_CLASS} of either value."
            )
        negative = next(value for value in texts if value != chosen)
        return cls(name, chosen, negative, float(counts[chosen] / rows))

    def prepared(self, values: pd.Series) -> pd.Series:
        """1 for the positive value, 0 for the negative one."""
        return table.label(values, self.positive, self.negative)

    @property
    def column(self) -> Inferred:
        """0 or 1."""
        return Inferred(self.name, "int64", "label", range=(0.0, 1.0))

    @property
    def rare(self) -> bool:
        """Below three in a hundred."""
        return min(self.rate, 1 - self.rate) < _RARE

    @property
    def meaning(self) -> str:
        """Which value is which."""
        return f"1 where the table says {self.positive}, 0 where it says {self.negative}. TO BE REVIEWED."

    @property
    def summary(self) -> str:
        """The share of the positive value."""
        return f"{self.rate:.1%} of them with {self.name} = {self.positive}"

    @property
    def document(self) -> dict[str, Any]:
        """The same."""
        return {"positive_rate": round(self.rate, 6)}

    def strength(self, use: str, values: pd.Series, labels: pd.Series) -> tuple[float, str]:
        """The area under the ROC curve."""
        return leaks.auc(use, values, labels), ""


@dataclass(frozen=True)
class MulticlassLabel(Label):
    """One of several values.

    Attributes:
        rows: of each class, in their order: numbers ascending, texts by alphabet.
        numeric: whether the classes are numbers.
    """

    rows: Mapping[str, int]
    numeric: bool

    task = "multiclass"
    each_span, lacking, or_lack = "of every class", "some have no row of a class", ", or lack a class"

    @classmethod
    def fits(cls, values: Values) -> bool:
        """Texts, or whole numbers that are few or codes; but not texts that should be numbers, unless they are few."""
        if values.distinct <= MOST_NUMBERED:
            return values.numbers is None or values.whole
        return values.untidy is None if values.numbers is None else values.whole and columns.is_code(values.name)

    @classmethod
    def of(cls, values: Values, positive: str | None) -> MulticlassLabel:
        """Refuses too many classes, or too few rows of one."""
        name, numeric = values.name, values.numbers is not None
        _refuse_moments(values)
        _refuse_positive(values, positive, cls.task)
        counts = plain(values.numbers).value_counts() if values.numbers is not None else values.counts
        remedies = ["predict the number itself with --task regression"] if numeric else []
        if len(counts) < 3:
            raise LabelError(
                f"The label '{name}' has {values.listed}, and the task multiclass needs at least three: the task "
                "binary predicts one of two."
            )
        if len(counts) > MOST_CLASSES:
            raise LabelError(
                f"The label '{name}' has {values.listed}, and at most {MOST_CLASSES} classes can be told apart: "
                f"{' or '.join(['merge those that are alike', *remedies])}."
            )
        values.require(int(counts.sum()), f", and {FEWEST_OF_A_CLASS} of every class")
        order = sorted(map(str, counts.index), key=float if numeric else None)
        rows = {value: int(counts[value]) for value in order}
        if few := [value for value in order if rows[value] < FEWEST_OF_A_CLASS]:
            listed = ", ".join(f"{rows[value]} of {columns.quotable(value)}" for value in few)
            raise LabelError(
                f"The label '{name}' has too few rows of some classes ({listed}), and each needs {FEWEST_OF_A_CLASS}: "
                f"{' or '.join(['merge them with others', 'leave their label empty', *remedies])}."
            )
        return cls(name, rows, numeric)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.rows)

    @property
    def shares(self) -> dict[str, float]:
        """Of the rows, by class."""
        return {value: rows / sum(self.rows.values()) for value, rows in self.rows.items()}

    @property
    def least_accuracy(self) -> float:
        """What a model must reach: more than one that always says the most frequent class."""
        largest = max(self.shares.values())
        return round(largest + _GAIN * (1 - largest), 2)

    def prepared(self, values: pd.Series) -> pd.Series:
        """The number of the class."""
        return table.class_numbers(table.numbers(values) if self.numeric else values, self.classes)

    @property
    def column(self) -> Inferred:
        """From 0 on."""
        return Inferred(self.name, "int64", "label", range=(0.0, len(self.rows) - 1.0))

    @property
    def distinct(self) -> int:
        """All classes."""
        return len(self.rows)

    @property
    def meaning(self) -> str:
        """Where the names of the numbers are."""
        return "The number of the class, counted from 0 in the list of classes above. TO BE REVIEWED."

    @property
    def summary(self) -> str:
        """The shares of the largest classes."""
        largest = sorted(self.shares.items(), key=lambda share: -share[1])
        shown = [f"{share:.1%} are {columns.quotable(value)}" for value, share in largest[:5]]
        more = ["..."] if len(largest) > 5 else []
        return f"{len(largest)} classes of {self.name}: {', '.join([*shown, *more])}"

    @property
    def document(self) -> dict[str, Any]:
        """The rows of each class."""
        return {"task": self.task, "class_rows": dict(self.rows)}

    def strength(self, use: str, values: pd.Series, labels: pd.Series) -> tuple[float, str]:
        """The mean area of one class against the others; or the area of the one that it tells beyond doubt."""
        areas = leaks.aucs(use, values, labels, len(self.rows))
        mean, best = sum(areas) / len(areas), max(areas)
        if mean < leaks.STRONG and best >= leaks.CERTAIN:
            return best, self.classes[areas.index(best)]
        return mean, ""


@dataclass(frozen=True)
class RegressionLabel(Label):
    """A number.

    Attributes:
        whole: whether it is stored as int64, and not as float32.
        lowest: that was seen, as `highest`.
        mean: of all rows, as `std`.
        range: that is possible.
    """

    whole: bool
    lowest: float
    highest: float
    mean: float
    std: float
    range: tuple[float, float]

    task = "regression"
    measure, ranged = "rank R\u00b2", True
    each_span, lacking, or_lack = "with different labels", "some have one label only", ", or have one label only"

    @classmethod
    def fits(cls, values: Values) -> bool:
        """What is left: numbers, and what should be some."""
        return True

    @classmethod
    def of(cls, values: Values, positive: str | None) -> RegressionLabel:
        """Refuses what is no number, or cannot be stored as one."""
        name = values.name
        _refuse_moments(values)
        _refuse_positive(values, positive, cls.task)
        if values.numbers is None:
            wrong = f"It holds '{columns.quotable(str(values.counts.index[0]))}'"
            wrong, remedy, _ = values.untidy or (wrong, "--task multiclass predicts which of several values it is", "")
            raise LabelError(f"The label '{name}' is no number ({wrong[0].lower()}{wrong[1:]}): {remedy}.")
        known: Any = values.numbers.dropna()
        values.require(len(known))
        if (reaches := float(known.abs().max())) > table.LARGEST["float32"]:
            raise LabelError(
                f"The label '{name}' reaches {reaches:.3g}, and float32 ends at {table.LARGEST['float32']:.2g}: "
                "give it another unit."
            )
        mean, std = float(known.mean()), float(known.std(ddof=0))
        return cls(name, values.whole, float(known.min()), float(known.max()), mean, std, columns.possible(known))

    @property
    def unit(self) -> str | None:
        """What the last word of the name says."""
        words = re.findall(r"[a-z]+", self.name.lower())
        return words[-1] if words and words[-1] in _UNITS else None

    @property
    def may_lose(self) -> float:
        """By how much the error of a model may grow, in the unit of the label: a fiftieth of the deviation."""
        return float(f"{self.std / 50:.1g}")

    def prepared(self, values: pd.Series) -> pd.Series:
        """The number."""
        return table.numbers(values)

    @property
    def column(self) -> Inferred:
        """With the range that is possible."""
        return Inferred(self.name, "int64" if self.whole else "float32", "label", range=self.range)

    @property
    def meaning(self) -> str:
        """For a person to say."""
        return "The number to predict. TO BE REVIEWED."

    @property
    def summary(self) -> str:
        """What was seen."""
        return f"{self.name} from {self.lowest:,.6g} to {self.highest:,.6g}, mean {self.mean:,.6g}, std {self.std:,.6g}"

    @property
    def document(self) -> dict[str, Any]:
        """The same."""
        seen = {"min": self.lowest, "max": self.highest, "mean": round(self.mean, 6), "std": round(self.std, 6)}
        return {"task": self.task, "unit": self.unit, "label": seen}

    def strength(self, use: str, values: pd.Series, labels: pd.Series) -> tuple[float, str]:
        """The share of the variance of its ranks."""
        return leaks.rank_r2(use, values, labels), ""


def _refuse_moments(values: Values) -> None:
    if values.moments:
        raise LabelError(
            f"The label '{values.name}' holds moments: make a column of what is predicted of them, such as the days "
            "until then, and name that."
        )


def _refuse_positive(values: Values, positive: str | None, task: Task) -> None:
    if positive is not None:
        raise LabelError(
            f"--positive {positive} says which of two values is predicted, and the label '{values.name}', with "
            f"{values.listed}, has the task {task}: leave it out."
        )


# In the order in which they are asked whether they fit.
_LABELS: dict[Task, type[Label]] = {
    "binary": BinaryLabel,
    "multiclass": MulticlassLabel,
    "regression": RegressionLabel,
}


def decide(values: pd.Series, task: Task | None = None, positive: str | None = None) -> Label:
    """The label that a column is: of a task that somebody names, or of the first one that fits.

    Raises:
        LabelError: it cannot be predicted, with what to do.
    """
    seen = Values(values)
    if len(seen.counts) < 2:
        raise LabelError(
            f"The label '{seen.name}' has {seen.listed}, so there is nothing to predict: name another column."
        )
    kind = _LABELS[task] if task else next(kind for kind in _LABELS.values() if kind.fits(seen))
    return kind.of(seen, positive)

"""What the columns of a table seem to be: type, use, and whether one gives the label away. A person reviews it all."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Sized
from typing import TYPE_CHECKING, Any, Literal

from data.table import TableError, moments, numbers, plain
from operations.new_project import leaks

if TYPE_CHECKING:
    import pandas as pd

Use = Literal["number", "category", "text", "key", "time", "outcome", "label"]

MOST_LISTED = 50
"""A category with more values than this is not listed in the contract: nobody would review the list."""

_TEXT_WORDS = 2.5
_EXACT = 2**53  # From here on, float64 takes neighbouring whole numbers for the same one.
_FEW_UNIQUE = 0.5
_CODE = re.compile(
    r"(?i:(^|[_ .-])(id|code|zip|zipcode|postcode|tract|area|zone|station)$)|(?<=[a-z])(Id|ID|Code|Zip|Area|Zone)$"
)
_INDEX = re.compile(r"^(unnamed: ?\d+|index|rownames?|row_?(id|number)|rank)$", re.IGNORECASE)
_MOMENT = re.compile(r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$")
_WHOLE = re.compile(r"^[+-]?(0|[1-9]\d*)$")


@dataclasses.dataclass(frozen=True)
class Inferred:
    """One column, as far as its values tell.

    Attributes:
        name: of the column.
        type: of the contract.
        use: what it is for: a number, a category or a text to learn from; or none of these.
        nullable: whether a value is missing.
        values: of a category that is listed, the most frequent first.
        open: whether other values are likely to come.
        range: that is possible, with much room around what was seen.
        heavy_tailed: whether a few values are far larger than all others.
        alone: how well this column alone tells the label, as the area under the ROC curve; None if it was not asked.
        note: what a person should know who reviews this, one sentence; empty if it is plain.
        unit: of a moment that is stored as a number: ``s`` or ``ms`` since 1970.
    """

    name: str
    type: Literal["int64", "float32", "string", "timestamp"]
    use: Use
    nullable: bool = False
    values: tuple[str, ...] | None = None
    open: bool = False
    range: tuple[float, float] | None = None
    heavy_tailed: bool = False
    alone: float | None = None
    note: str = ""
    unit: str | None = None

    @property
    def suspect(self) -> bool:
        """Whether it tells the label so well that it is set aside until somebody says when it becomes known."""
        return self.alone is not None and self.alone >= leaks.STRONG


def infer(
    frame: pd.DataFrame,
    label: pd.Series,
    name: str,
    time: str | None,
    known: Collection[str] = (),
    after: Collection[str] = (),
) -> tuple[list[Inferred], dict[str, str]]:
    """Says what the columns are.

    Args:
        frame: the table, rows without a label left out.
        label: 0 or 1 per row.
        name: of the label's column.
        time: the column that orders the rows; None if there is none.
        known: columns of which somebody says that they are known at prediction time.
        after: columns of which somebody says that they are not.

    Returns:
        The columns in the order of the table, and the columns that are left out, each with the reason.
    """
    found, dropped = [], {}
    for each in frame.columns:
        values: Any = frame[each]
        if each == name:
            found.append(Inferred(each, "int64", "label", range=(0.0, 1.0)))
        elif each == time:
            found.append(_time(values))
        elif not simple(values):
            dropped[each] = "its values are neither numbers, texts nor moments"
        elif (values := _cleaned(values)).nunique() == 0:
            dropped[each] = "it has no value"
        elif values.nunique() == 1 and values.notna().all():
            dropped[each] = "it has the same value in every row"
        elif _INDEX.match(each) and values.is_unique:
            dropped[each] = "it numbers the rows of the file"
        elif (counted := _as_numbers(values)) is not None and counted.isna().all():
            dropped[each] = "it has no finite number"
        else:
            inferred = _column(values)
            if each in after:
                inferred = dataclasses.replace(inferred, use="outcome", note="Known only after the prediction.")
            elif each not in known:
                inferred = _judged(inferred, values, label)
            found.append(inferred)
    return found, dropped


def simple(values: pd.Series) -> bool:
    """Whether the values are numbers, texts, truth or moments, and no lists, bytes or lengths of time."""
    if values.dtype.kind in "iufbM":
        return True
    return values.dtype.kind == "O" and all(isinstance(each, str) or not isinstance(each, Sized) for each in values)


def _cleaned(values: pd.Series) -> pd.Series:
    """Texts without blanks around them, and missing where nothing else is there; other values as they are."""
    return plain(values) if values.dtype.kind == "O" else values


def _time(values: pd.Series) -> Inferred:
    if values.isna().any():
        raise TableError(
            f"The time '{values.name}' is missing in {int(values.isna().sum())} rows; fill it in or leave them out."
        )
    name = str(values.name)
    if _are_moments(values):
        return Inferred(name, "timestamp", "time")
    try:
        counted = numbers(values)
    except TableError as error:
        raise TableError(f"The time '{name}' must be moments in ISO 8601 or numbers: {error}") from error
    unit = _epoch(counted)
    if unit is not None:
        note = f"It was {'milli' * (unit == 'ms')}seconds since 1970; usecase/prepare.py makes moments of it."
        return Inferred(name, "timestamp", "time", unit=unit, note=note)
    whole = bool((counted % 1 == 0).all())
    return Inferred(name, "int64" if whole else "float32", "time", range=_range(counted))


def _epoch(counted: pd.Series) -> str | None:
    """Seconds, or milliseconds, between 1990 and 2100: whatever grows like a year or a number of days is neither."""
    for unit, factor in (("s", 1), ("ms", 1000)):
        if counted.between(631e6 * factor, 4102e6 * factor).all():
            return unit
    return None


def _column(values: pd.Series) -> Inferred:
    name, nullable = str(values.name), bool(values.isna().any())
    if _are_moments(values):
        note = "A moment cannot be a feature: derive a number from it in usecase/prepare.py, such as an hour or an age."
        return Inferred(name, "timestamp", "key", nullable=nullable, note=note)
    counted = _as_numbers(values)
    return _words(values, name, nullable) if counted is None else _number(counted, name)


def _are_moments(values: pd.Series) -> bool:
    if values.dtype.kind == "M":
        return True
    if values.dtype.kind in "iufb":
        return False
    known = values.dropna().astype("string")
    if known.empty or not known.str.match(_MOMENT).all():
        return False
    try:
        moments(known)
    except TableError:
        return False
    return True


def _as_numbers(values: pd.Series) -> pd.Series | None:
    """The values as numbers, or None: digits with leading zeros are names, and so are more than a float64 can tell."""
    try:
        counted = numbers(values)
    except TableError:
        return None
    if values.dtype.kind in "iu":
        return None if (counted.abs() >= _EXACT).any() else counted
    if values.dtype.kind in "fb":
        return counted
    digits = values.dropna().astype("string").str.strip()
    return None if digits.str.match(r"^[+-]?(0\d+|\d{16,})$").any() else counted


def _number(counted: pd.Series, name: str) -> Inferred:
    import numpy as np

    known = counted.dropna()
    nullable = len(known) < len(counted)
    whole = bool((known % 1 == 0).all()) and float(known.abs().max()) < _EXACT
    if whole and not nullable and known.is_unique and _CODE.search(name):
        return Inferred(name, "string", "key")
    if whole and _CODE.search(name) and set(known.unique()) != {0.0, 1.0}:
        note = "Its name says that its numbers are names; if it is a quantity, list it under features.numeric."
        return Inferred(name, "int64", "category", nullable=nullable, range=_range(known), note=note)
    spread = float(known.std()) if len(known) > 1 else 0.0
    skewness = float(((known - known.mean()) ** 3).mean() / spread**3) if spread else 0.0
    heavy = bool(np.isfinite(skewness) and skewness > 3)
    kind: Any = "int64" if whole else "float32"
    return Inferred(name, kind, "number", nullable=nullable, range=_range(known), heavy_tailed=heavy)


def _words(values: pd.Series, name: str, nullable: bool) -> Inferred:
    known = plain(values).dropna()
    counts = known.value_counts()
    words = float(known.str.split().str.len().mean())
    if words < _TEXT_WORDS and len(counts) == len(known) == len(values):
        return Inferred(name, "string", "key")
    if words >= _TEXT_WORDS and len(counts) > MOST_LISTED:
        note = "Free text: its words are hashed. It may name people: see whether the model should read that."
        return Inferred(name, "string", "text", nullable=nullable, note=note)
    if len(counts) <= MOST_LISTED:
        closed = len(counts) <= 10 and counts.min() >= 10
        listed = tuple(str(value) for value in counts.index)
        return Inferred(name, "string", "category", nullable=nullable, values=listed, open=not closed)
    note = f"{len(counts):,} values, which are not listed; those too rare in training count as unseen."
    if len(counts) > _FEW_UNIQUE * len(known):
        note += " Most are rare: is it rather a key?"
    return Inferred(name, "string", "category", nullable=nullable, note=note)


def _judged(inferred: Inferred, values: pd.Series, label: pd.Series) -> Inferred:
    """The same with its strength alone; what all but gives the label away is set aside until somebody objects."""
    if inferred.use == "number":
        alone = leaks.of_numbers(numbers(values), label)
    elif inferred.use == "category":
        alone = leaks.of_categories(plain(values), label)
    else:
        return inferred
    if alone >= leaks.STRONG:
        note = f"Set aside: alone it all but gives the label away (AUC {alone:.3f}). Is it known at prediction time?"
        return dataclasses.replace(inferred, use="outcome", alone=alone, note=note)
    return dataclasses.replace(inferred, alone=alone)


def _range(known: pd.Series) -> tuple[float, float]:
    """What was seen and as much again on either side, in round numbers; below zero only if that was seen."""
    low, high = float(known.min()), float(known.max())
    width = max(high - low, abs(high) / 2, 1e-6)
    lowest = 0.0 if low >= 0 else _round(low - width, down=True)
    if {*known.unique()} <= {0.0, 1.0}:
        return 0.0, 1.0
    return lowest, _round(high + width, down=False)


def _round(value: float, down: bool) -> float:
    """To two digits, away from what was seen."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    rounded = (math.floor if down else math.ceil)(value / step) * step
    return float(f"{rounded:.6g}")

"""What the columns of a table seem to be: type, use, and whether one gives the label away. A person reviews it all."""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Sized
from typing import TYPE_CHECKING, Any, Literal

from data.table import LARGEST, NO_NUMBER, TableError, moments, numbers, parsed, plain, require_near
from teaching.new_project import leaks, sensitive

if TYPE_CHECKING:
    import pandas as pd

    from teaching.new_project.tasks import Label

Use = Literal["number", "category", "text", "key", "time", "outcome", "label"]

MOST_LISTED = 50
"""A category with more values than this is not listed in the contract: nobody would review the list."""

_TEXT_WORDS = 2.5
EXACT = 2**53  # From here on, float64 takes neighbouring whole numbers for the same one.
_LARGEST = LARGEST["float32"]  # How a number is stored.
_FEW_UNIQUE = 0.5
_ALMOST = 0.9
_CODE = re.compile(
    r"(?i:(^|[_ .-])(id|code|zip|zipcode|postcode|tract|area|zone|station)$)|(?<=[a-z])(Id|ID|Code|Zip|Area|Zone)$"
)
# What numbers the rows under such a name says nothing. Of these, an index or a rank may be a quantity as well.
_INDEX = re.compile(r"^(unnamed: ?\d+|row[_ .]?(names?|id|number|no|index)|index|rank)$", re.IGNORECASE)
_QUANTITY = re.compile(r"^(index|rank)$", re.IGNORECASE)
_MOMENT = re.compile(
    r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?( ?(UTC|Z)| ?[+-]\d{2}(:?\d{2})?)?)?$", re.IGNORECASE
)
_WHOLE = re.compile(r"^[+-]?(0|[1-9]\d*)$")
_NAME = re.compile(r"^[+-]?(0\d+|\d{16,})$")
# A sign, a currency before or behind, groups of three digits, a comma or point, per cent; (1.00) is -1 to accountants.
_WRITTEN = re.compile(
    r"^\(?[+-]?\s?[$\u20ac\u00a3\u00a5]?\s?[+-]?(\d{1,3}([\s,.'\u2019]\d{3})+|\d+)([.,]\d+)?\s?[%$\u20ac\u00a3\u00a5]?\)?$"
)
# Letters that Unicode does not take apart.
_LETTERS = str.maketrans(
    {"\u00df": "ss", "\u1e9e": "SS", "\u00e6": "ae", "\u00c6": "AE", "\u00f8": "o", "\u00d8": "O", "\u0153": "oe"}
    | {"\u0152": "OE", "\u0142": "l", "\u0141": "L", "\u0111": "d", "\u0110": "D", "\u00f0": "d", "\u0131": "i"}
)


@dataclasses.dataclass(frozen=True)
class Inferred:
    """One column, as far as its values tell.

    Attributes:
        type: of the contract.
        use: what it is for: a number, a category or a text to learn from; or none of these.
        nullable: whether a value is missing.
        values: of a category that is listed, the most frequent first.
        open: whether other values are likely to come.
        range: that is possible, with much room around what was seen.
        heavy_tailed: whether a few values are far larger than all others.
        alone: how well this column alone tells the label, as the task measures it; None if it was not asked.
        tells: the one class that `alone` is about, if it is not about all of them.
        note: what a person should know who reviews this, on one line; empty if it is plain.
        unit: of a moment that is stored as a number: ``s`` or ``ms`` since 1970.
        untidy: whether it is text only because its numbers or moments are not written as such; ``note`` has an example.
        sensitive: whether its name suggests that people must not be judged by it, so that no model reads it.
        groups: of a sensitive number: the bounds between the groups in which it is looked at.
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
    tells: str = ""
    note: str = ""
    unit: str | None = None
    untidy: bool = False
    sensitive: bool = False
    groups: tuple[float, ...] = ()

    @property
    def suspect(self) -> bool:
        """Whether it tells the label so well that it is set aside until somebody says when it becomes known."""
        return self.alone is not None and self.alone >= leaks.STRONG


def infer(
    frame: pd.DataFrame,
    labels: pd.Series,
    label: Label,
    time: str | None,
    known: Collection[str] = (),
    after: Collection[str] = (),
    not_sensitive: Collection[str] = (),
) -> tuple[list[Inferred], dict[str, str]]:
    """Says what the columns are.

    A person may have said which are known at prediction time, or only after it, and which are not sensitive, whatever
    their names are.

    Returns:
        The columns in the order of the table, and the columns that are left out, each with the reason.

    Raises:
        TableError: the time is missing in a row, or cannot put rows in order.
    """
    found, dropped = [], {}
    for column in frame.columns:
        values: Any = frame[column]
        if column == label.name:
            found.append(label.column)
        elif column == time:
            found.append(_time(values))
        elif not simple(values):
            dropped[column] = "its values are neither numbers, texts nor moments"
        elif (values := _cleaned(values)).nunique() == 0:
            dropped[column] = "it has no value"
        elif values.nunique() == 1 and values.notna().all():
            dropped[column] = "it has the same value in every row"
        elif (counted := as_numbers(values)) is not None and (reason := _useless(counted, column)):
            dropped[column] = reason
        else:
            inferred = _column(values, counted)
            if column in after:
                inferred = dataclasses.replace(inferred, use="outcome", note="Known only after the prediction.")
            elif column not in known:
                inferred = _judged(inferred, values, labels, label)
            if column not in not_sensitive:
                inferred = _marked(inferred, counted)
            found.append(inferred)
    return found, dropped


def tensor_names(names: Iterable[str], taken: Collection[str] = ()) -> dict[str, str]:
    """The names that columns have in the contract: ASCII letters, digits and underscores, as tensors must have.

    Accents are taken off, what no ASCII letter stands for is left out, and a column of which nothing is left is called
    by its place, from 1 on. A name that can stay stays; another one that becomes the same gets underscores behind it.
    """
    names = list(names)
    made = {old: _ascii(old) or f"column_{place}" for place, old in enumerate(names, start=1)}
    used = {*taken, *(old for old, new in made.items() if old == new and old not in taken)}
    for old, new in made.items():
        if old == new and old not in taken:
            continue
        while new in used:
            new += "_"
        used.add(new)
        made[old] = new
    return made


def _ascii(name: str) -> str:
    apart = unicodedata.normalize("NFKD", name.translate(_LETTERS))
    letters = "".join(letter for letter in apart if not unicodedata.combining(letter))
    new = re.sub(r"[^A-Za-z0-9_]+", "_", letters).strip("_")
    return f"c_{new}" if new[:1].isdigit() else new


def is_code(name: str) -> bool:
    """Whether a column of that name holds names, though they may be digits."""
    return _CODE.search(name) is not None


def simple(values: pd.Series) -> bool:
    """Whether the values are numbers, texts, truth or moments, and no lists, bytes or lengths of time."""
    if values.dtype.kind in "iufbM":
        return True
    return values.dtype.kind == "O" and all(isinstance(value, str) or not isinstance(value, Sized) for value in values)


def _cleaned(values: pd.Series) -> pd.Series:
    """Texts without blanks around them, and missing where nothing else is there; other values as they are."""
    return plain(values) if values.dtype.kind == "O" else values


def _useless(counted: pd.Series, name: str) -> str:
    """Why a column of numbers is left out; empty if it is not."""
    known = counted.dropna()
    if known.empty:
        return "it has no finite number"
    if _INDEX.match(name) and _numbers_rows(counted):
        return "it numbers the rows of the file"
    if (reaches := float(known.abs().max())) > _LARGEST:
        return f"it reaches {reaches:.3g}, and float32 ends at {_LARGEST:.2g}"
    return ""


def _numbers_rows(counted: Any) -> bool:
    """Whether they are different whole numbers from a stretch of as many as there are rows, in any order."""
    import pandas as pd

    if counted.isna().any() or not counted.is_unique or (counted % 1 != 0).any():
        return False
    index: Any = counted.index
    # Rows without a label are gone, and their numbers with them; the frame's own still show how many there were.
    rows = int(index.max() - index.min()) + 1 if pd.api.types.is_integer_dtype(index) else 0
    return counted.max() - counted.min() < max(rows, len(counted))


def _time(values: pd.Series) -> Inferred:
    if values.isna().any():
        raise TableError(
            f"The time '{values.name}' is missing in {int(values.isna().sum())} rows; fill it in or leave them out."
        )
    name = str(values.name)
    if are_moments(values):
        try:
            require_near(moments(values), name)
        except TableError as error:
            raise TableError(f"The time {error}") from error
        return Inferred(name, "timestamp", "time")
    try:
        counted = numbers(values)
    except TableError as error:
        raise TableError(_wrong_time(values)) from error
    if counted.isna().any() or (counted.abs() > _LARGEST).any():
        raise TableError(_wrong_time(values))
    unit = _epoch(counted)
    if unit is not None:
        note = f"It was {'milli' * (unit == 'ms')}seconds since 1970; usecase/prepare.py makes moments of it."
        return Inferred(name, "timestamp", "time", unit=unit, note=note)
    whole = bool((counted % 1 == 0).all())
    return Inferred(name, "int64" if whole else "float32", "time", range=possible(counted))


def _wrong_time(values: pd.Series) -> str:
    """Says which value is not as most are: the first that is no number, or no moment if no more are numbers."""
    import pandas as pd

    text: Any = plain(values)
    right = text.str.match(_MOMENT).fillna(False) & parsed(text).notna()
    what, such = "moment", "2020-10-18 or 2020-10-18 09:30:00"
    # Compared in float64, where a number that is infinite or too large for float32 is none.
    counted: Any = pd.to_numeric(text, errors="coerce")
    counted = counted.astype("float64")
    finite = counted.abs() <= _LARGEST
    if finite.sum() > right.sum():
        right, what, such = finite, "number", str(text[finite].iloc[0])
    wrong = quotable(str(text[~right].iloc[0]))
    return (
        f"The time '{values.name}' must be moments in ISO 8601 or numbers, and holds '{wrong}', which is not a {what} "
        f"such as {such}."
    )


def _epoch(counted: pd.Series) -> str | None:
    """Seconds, or milliseconds, between 1990 and 2100: whatever grows like a year or a number of days is neither."""
    for unit, factor in (("s", 1), ("ms", 1000)):
        if counted.between(631e6 * factor, 4102e6 * factor).all():
            return unit
    return None


def _column(values: pd.Series, counted: pd.Series | None) -> Inferred:
    name, nullable = str(values.name), bool(values.isna().any())
    if counted is not None:
        return _number(counted, name, _taken_for_missing(values, counted))
    if are_moments(values):
        note = "A moment cannot be a feature: derive a number from it in usecase/prepare.py, such as an hour or an age."
        return Inferred(name, "timestamp", "key", nullable=nullable, note=note)
    return _words(values, name, nullable)


def are_moments(values: pd.Series) -> bool:
    """Whether all are moments, or texts in ISO 8601."""
    if values.dtype.kind == "M":
        return True
    if values.dtype.kind in "iufb":
        return False
    known: Any = values.dropna().astype("string")
    return not known.empty and bool(known.str.match(_MOMENT).all() and parsed(known).notna().all())


def as_numbers(values: pd.Series) -> pd.Series | None:
    """The values as numbers, or None: digits with leading zeros are names, and so are more than a float64 can tell."""
    try:
        counted = numbers(values)
    except TableError:
        return None
    if values.dtype.kind in "iu":
        return None if (counted.abs() >= EXACT).any() else counted
    if values.dtype.kind in "fb":
        return counted
    text = values.dropna().astype("string").str.strip()
    # Without any number, a word for nothing is a category like another.
    if counted.isna().all() and (text.str.lower().isin(NO_NUMBER) & (text.str.lower() != "nan")).any():
        return None
    return None if text.str.match(_NAME).any() else counted


def _taken_for_missing(values: pd.Series, counted: pd.Series) -> str:
    """A note if a word stands for nothing, or is infinite; empty if not."""
    taken: Any = values[values.notna() & counted.isna()]
    return f"'{quotable(str(taken.iloc[0]))}' is taken for a missing value." if len(taken) else ""


def untidy(known: Any, name: str) -> tuple[str, str, str] | None:
    """What a person should do about texts of which nearly all are moments or numbers; None if that is not so.

    Returns:
        What is wrong with them, how to correct it in the table, and how else in usecase/prepare.py.
    """
    import pandas as pd

    shaped = known.str.match(_MOMENT)
    if shaped.mean() >= _ALMOST and (right := shaped & parsed(known).notna()).mean() >= _ALMOST:
        return _almost(known[~right], "moments")
    known = known[~known.str.lower().isin(NO_NUMBER)]
    counted: Any = pd.to_numeric(known, errors="coerce")
    named = known.str.match(_NAME)
    bare = counted.notna() & ~named
    right = bare | (known.str.match(_WRITTEN) & ~named)
    if known.empty or bare.all() or right.mean() < _ALMOST:
        return None
    if is_code(name) and known[right].str.match(_WHOLE).all():
        return None  # Names, of which most happen to be digits.
    if not right.all():
        return _almost(known[~right], "numbers")
    example = quotable(known[~bare].iloc[0])
    wrong = f"All values are numbers but for signs and separators, as in '{example}'"
    return wrong, "take them away in the table", "or"


def _almost(wrong: Any, what: str) -> tuple[str, str, str]:
    found = f"Almost all values are {what}; '{quotable(wrong.iloc[0])}' is not"
    return found, "correct the table", f"or make {what} of them"


def quotable(text: str) -> str:
    """On one line of a comment or message, and short."""
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return shown if len(shown) <= 40 else f"{shown[:39]}\u2026"


def _number(counted: pd.Series, name: str, note: str) -> Inferred:
    import numpy as np

    known = counted.dropna()
    nullable = len(known) < len(counted)
    whole = bool((known % 1 == 0).all()) and float(known.abs().max()) < EXACT
    names_rows = is_code(name) or (_INDEX.match(name) and not _QUANTITY.match(name))
    if whole and not nullable and known.is_unique and names_rows:
        return Inferred(name, "string", "key")
    if whole and is_code(name) and set(known.unique()) != {0.0, 1.0}:
        note = f"Its name says that its numbers are names; if it is a quantity, list it under features.numeric. {note}"
        return Inferred(name, "int64", "category", nullable=nullable, range=possible(known), note=note.strip())
    spread = float(known.std()) if len(known) > 1 else 0.0
    skewness = float(((known - known.mean()) ** 3).mean() / spread**3) if spread else 0.0
    heavy = bool(np.isfinite(skewness) and skewness > 3)
    kind: Any = "int64" if whole else "float32"
    return Inferred(name, kind, "number", nullable=nullable, range=possible(known), heavy_tailed=heavy, note=note)


def _words(values: pd.Series, name: str, nullable: bool) -> Inferred:
    known = plain(values).dropna()
    counts = known.value_counts()
    words = float(known.str.split().str.len().mean())
    problem = untidy(known, name)
    remark = "{}: {}, {} in usecase/prepare.py.".format(*problem) if problem else ""
    if not problem and words < _TEXT_WORDS and len(counts) == len(known) == len(values):
        return Inferred(name, "string", "key")
    inferred = Inferred(name, "string", "category", nullable=nullable, note=remark, untidy=bool(problem))
    if words >= _TEXT_WORDS and len(counts) > MOST_LISTED:
        note = "Free text: its words are hashed. It may name people: see whether the model should read that."
        return dataclasses.replace(inferred, use="text", note=f"{remark} {note}".strip())
    if len(counts) <= MOST_LISTED:
        closed = len(counts) <= 10 and counts.min() >= 10
        return dataclasses.replace(inferred, values=tuple(str(value) for value in counts.index), open=not closed)
    note = f"{len(counts):,} values, which are not listed; those too rare in training count as unseen."
    if not problem and len(counts) > _FEW_UNIQUE * len(known):
        note += " Most are rare: is it rather a key?"
    return dataclasses.replace(inferred, note=f"{remark} {note}".strip())


def _judged(inferred: Inferred, values: pd.Series, labels: pd.Series, label: Label) -> Inferred:
    """The same with its strength alone; what all but gives the label away is set aside until somebody objects."""
    if inferred.use not in ("number", "category", "text"):
        return inferred
    alone, tells = label.strength(inferred.use, values, labels)
    inferred = dataclasses.replace(inferred, alone=alone, tells=tells)
    if not inferred.suspect:
        return inferred
    note = f"Set aside: alone it almost gives the label away ({label.told(inferred)}). Is it known at prediction time?"
    if inferred.untidy:
        note += f" {inferred.note}"
    return dataclasses.replace(inferred, use="outcome", note=note)


def _marked(inferred: Inferred, counted: pd.Series | None) -> Inferred:
    """The same as sensitive, if it could be learned from and its name suggests it."""
    if inferred.use not in ("number", "category") or not sensitive.suggests(inferred.name):
        return inferred
    note = (
        "Marked as sensitive because of its name. If a model is to read it all the same: `role: feature`, `sensitive: "
        f"feature`, and name it under features in config/local.yaml. {inferred.note}"
    )
    groups = ()
    if counted is not None:
        groups = sensitive.bounds(counted, inferred.type == "int64")
    return dataclasses.replace(inferred, sensitive=True, groups=groups, note=note.strip())


def possible(known: pd.Series) -> tuple[float, float]:
    """The range of numbers: what was seen and as much again on either side, in round numbers.

    Below zero only if that was seen, and no further than a float32 reaches: the schema has its bounds in them.
    """
    low, high = float(known.min()), float(known.max())
    width = max(high - low, abs(high) / 2, 1e-6)
    lowest = 0.0 if low >= 0 else max(-_LARGEST, _round(low - width, down=True))
    if {*known.unique()} <= {0.0, 1.0}:
        return 0.0, 1.0
    return lowest, min(_LARGEST, _round(high + width, down=False))


def _round(value: float, down: bool) -> float:
    """To two digits, away from what was seen."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    rounded = (math.floor if down else math.ceil)(value / step) * step
    return float(f"{rounded:.6g}")

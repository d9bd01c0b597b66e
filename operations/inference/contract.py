"""The contract that a version carries: what it predicts, and which rows it may be asked with, checked by column.

A model answers anything: an empty row, a category that it never saw, a temperature of 99,999. The contract that it was
trained with lies in its folder, and says which columns are never missing, which categories and numbers are possible.
Checking rows that keep it must cost next to nothing: all numbers of a request are compared at once, and the texts of a
column are looked up in a set without a loop in Python. Only rows that break it are looked at one by one.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.contract import Target
from operations.inference.columns import MISSING, Columns, Stacked
from operations.inference.errors import LoadError, RequestError

# Where an exporter of this project writes it; servers of SavedModels do not look there.
FILE = Path("assets.extra", "contract.json")

# Of an error; what breaks every row of a large request is told often enough.
MOST_FAULTS = 20
_LONGEST_VALUE = 60
_LONGEST_LIST = 200
_SMALL_ROWS = 256


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a column may hold.

    Attributes:
        required: whether a value may not be missing.
        values: the categories, if the list is closed.
        low: the smallest number; None if any is possible.
        high: the largest.
    """

    name: str
    required: bool
    values: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None

    @property
    def allowed(self) -> str:
        """The rule in words."""
        if self.values is not None:
            return f"one of {_listed(self.values)}"
        if self.low is not None and self.high is not None:
            return f"a number from {_plain(self.low)} to {_plain(self.high)}"
        if self.low is not None:
            return f"a number from {_plain(self.low)} on"
        if self.high is not None:
            return f"a number up to {_plain(self.high)}"
        return "any value, but not none"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A value that breaks the contract, None if it is missing; its row in the request, from 0; and what is allowed."""

    column: str
    row: int
    value: str | int | float | None
    allowed: str

    def __str__(self) -> str:
        """The fault as a part of a sentence."""
        what = "missing" if self.value is None else repr(self.value)
        return f"`{self.column}` in row {self.row} is {what} (allowed: {self.allowed})"


@dataclasses.dataclass(frozen=True)
class Faults:
    """All that is wrong with a request: the first faults, how many each column has, and the columns at fault by row."""

    first: tuple[Fault, ...]
    by_column: Mapping[str, int]
    by_row: Mapping[int, tuple[str, ...]]

    @property
    def sentence(self) -> str:
        """The first faults in words, and how many more there are."""
        more = sum(self.by_column.values()) - len(self.first)
        return "; ".join([*map(str, self.first), *([f"and {more:,} more"] if more else [])])

    def documents(self) -> list[dict[str, Any]]:
        """The first faults as JSON has them."""
        return [dataclasses.asdict(fault) for fault in self.first]

    def of_rows(self, rows: int) -> list[str | None]:
        """The columns at fault of each row, as one text; None for a row that keeps the contract."""
        texts: list[str | None] = [None] * rows
        for row, columns in self.by_row.items():
            texts[row] = ", ".join(columns)
        return texts


class ContractError(RequestError):
    """A request with rows that break the contract of the version."""

    def __init__(self, faults: Faults, version: int) -> None:
        super().__init__(
            f"The request breaks the contract of version {version}: {faults.sentence}.", faults.first[0].column
        )
        self.faults = faults


class Contract:
    """What a model predicts, and the rules for the columns that it takes, prepared for checking many rows at once.

    Attributes:
        target: what is predicted; None if the version does not say, as those of before do not.
        quantiles: of the labels that the model was trained on; empty if the version does not say.
        rules: by column.
    """

    def __init__(
        self,
        rules: Mapping[str, Rule],
        types: Mapping[str, str],
        target: Target | None = None,
        quantiles: Sequence[float] = (),
    ) -> None:
        """Prepares the rules of the columns that the model takes, whose types are int64, float32 or string."""
        self.target, self.quantiles = target, tuple(quantiles)
        self.rules = {name: rule for name, rule in rules.items() if name in types}
        numeric = {name: self.rules.get(name) or Rule(name, False) for name in types}
        self._ranges = [
            _Ranges.of([rule for name, rule in numeric.items() if types[name] == kind], kind)
            for kind in ("int64", "float32", "float64")
            if any(types[name] == kind for name in self.rules)
        ]
        self._lists = {
            name: frozenset(rule.values if rule.required else (*rule.values, MISSING["string"]))
            for name, rule in self.rules.items()
            if rule.values is not None
        }
        self._required_texts = [
            rule.name
            for rule in self.rules.values()
            if types[rule.name] == "string" and rule.required and rule.values is None
        ]
        texts = self._lists or self._required_texts
        self._text_columns = tuple(name for name in types if types[name] == "string") if texts else ()

    def check(self, columns: Columns) -> Faults | None:
        """Returns what is wrong with rows, as arrays [rows] or [rows, 1] by column; None if nothing is."""
        if self._all_right(columns):
            return None
        wrong = {name: mask for name, mask in self._wrong(columns) if mask.any()}
        return self._faults(columns, wrong) if wrong else None

    def _all_right(self, columns: Columns) -> bool:
        for ranges in self._ranges:
            kept = ranges.kept(columns)
            if np.count_nonzero(kept) < kept.size:
                return False
        texts = self._texts(columns)
        return all(allowed.issuperset(texts[name]) for name, allowed in self._lists.items()) and not any(
            MISSING["string"] in texts[name] for name in self._required_texts
        )

    def _wrong(self, columns: Columns) -> Sequence[tuple[str, np.ndarray]]:
        """The columns that have rules, in their order, and which rows break them, bool [rows]."""
        broken: dict[str, np.ndarray] = {}
        for ranges in self._ranges:
            broken |= zip(ranges.names, ~ranges.kept(columns), strict=True)
        texts = self._texts(columns)
        for name, allowed in self._lists.items():
            broken[name] = np.array([value not in allowed for value in texts[name]], bool)
        for name in self._required_texts:
            broken[name] = np.array([value == MISSING["string"] for value in texts[name]], bool)
        return [(name, broken[name]) for name in self.rules if name in broken]

    def _texts(self, columns: Columns) -> dict[str, list[str]]:
        if not self._text_columns:
            return {}
        block = _block(columns, "string", self._text_columns)
        return dict(zip(self._text_columns, block.tolist(), strict=True))

    def _faults(self, columns: Columns, wrong: Mapping[str, np.ndarray]) -> Faults:
        rows, places = np.nonzero(np.stack(list(wrong.values()), axis=1))
        pairs = list(zip(rows.tolist(), map(list(wrong).__getitem__, places.tolist()), strict=True))
        by_row: dict[int, tuple[str, ...]] = {}
        for row, name in pairs:
            by_row[row] = (*by_row.get(row, ()), name)
        first = tuple(
            Fault(name, row, _json_value(columns[name].reshape(-1)[row]), self.rules[name].allowed)
            for row, name in pairs[:MOST_FAULTS]
        )
        return Faults(first, {name: int(mask.sum()) for name, mask in wrong.items()}, by_row)


@dataclasses.dataclass(frozen=True, eq=False)
class _Ranges:
    """The ranges of all columns of one numeric type, [columns, 1], to compare with values [columns, rows]."""

    kind: str
    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    optional: np.ndarray

    @classmethod
    def of(cls, rules: Sequence[Rule], kind: str) -> _Ranges:
        least, most = (-(2**63), 2**63 - 1) if kind == "int64" else (-np.inf, np.inf)
        # The smallest int64 says that a value is missing.
        missing = kind == "int64"
        low = [max(least + (missing and rule.required), least if rule.low is None else rule.low) for rule in rules]
        high = [most if rule.high is None else min(most, rule.high) for rule in rules]
        return cls(
            kind,
            tuple(rule.name for rule in rules),
            np.array(low, kind).reshape(-1, 1),
            np.array(high, kind).reshape(-1, 1),
            np.array([not rule.required for rule in rules], bool).reshape(-1, 1),
        )

    def kept(self, columns: Columns) -> np.ndarray:
        """Which values keep their rule, bool [columns, rows]."""
        values = _block(columns, self.kind, self.names)
        low, high, optional = _repeated(self, values.shape[1])
        kept = values >= low
        kept &= values <= high
        # NaN is in no range, and the smallest int64 in few: only a request with missing values needs the second look.
        if np.count_nonzero(kept) < kept.size:
            kept |= optional & (values == MISSING["int64"] if self.kind == "int64" else np.isnan(values))
        return kept


@functools.lru_cache(maxsize=64)
def _repeated(ranges: _Ranges, rows: int) -> tuple[np.ndarray, ...]:
    """The bounds for each row: a small array is compared with one of its shape in a third of the time."""
    bounds = ranges.low, ranges.high, ranges.optional
    return tuple(np.repeat(bound, rows, axis=1) for bound in bounds) if rows <= _SMALL_ROWS else bounds


def _block(columns: Columns, kind: str, names: tuple[str, ...]) -> np.ndarray:
    """The values [columns, rows], without a copy if they lie in one array already."""
    if isinstance(columns, Stacked) and columns.blocks[kind][0] == names:
        return columns.blocks[kind][1]
    return np.concatenate([columns[name] for name in names], axis=None).reshape(len(names), -1)


def read(folder: Path, types: Mapping[str, str]) -> Contract | None:
    """Returns the contract that a version carries in the folder of its SavedModel; None if it carries none.

    Raises:
        LoadError: it carries one that cannot be used. To serve it unchecked would be no better than to have none.
    """
    try:
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LoadError(f"{folder / FILE} cannot be read: {' '.join(str(error).split())[:200]}.") from None
    try:
        return of_document(document, types)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise LoadError(f"{folder / FILE} is no contract for the columns that the model takes.") from None


def of_document(document: Any, types: Mapping[str, str]) -> Contract:
    """Returns the contract of a document.

    It has `columns`, each with `name`, `required` and maybe `values` or `range`; and maybe `target`, as
    `data.contract.Target` is written, and `label_quantiles`.

    Raises:
        KeyError, TypeError, ValueError, OverflowError, AttributeError: it is no contract of these columns.
    """
    rules = {}
    for column in document["columns"]:
        low, high = column.get("range") or (None, None)
        values = column.get("values")
        rule = Rule(column["name"], bool(column["required"]), None if values is None else tuple(values), low, high)
        text = types.get(rule.name, "string") == "string"
        if rule.name in types and ((values is not None and not text) or (text and (low, high) != (None, None))):
            raise ValueError(f"{rule.name} is {types[rule.name]}")
        rules[rule.name] = rule
    target = Target.model_validate(document["target"]) if "target" in document else None
    return Contract(rules, types, target, tuple(map(float, document.get("label_quantiles", ()))))


def _json_value(value: Any) -> str | int | float | None:
    """A value as JSON has it, and not longer than is good for an error; None if it says that there is none."""
    if isinstance(value, str):
        return None if value == MISSING["string"] else value[:_LONGEST_VALUE]
    if isinstance(value, np.floating):
        # A float32 with the digits that it has: 0.1, and not 0.10000000149.
        return None if np.isnan(value) else float(str(value))
    return None if int(value) == MISSING["int64"] else int(value)


def _listed(values: Sequence[str]) -> str:
    text = ", ".join(values)
    if len(text) <= _LONGEST_LIST:
        return text
    return f"{text[:_LONGEST_LIST].rpartition(', ')[0]} and others ({len(values):,} in all)"


def _plain(number: float) -> str:
    return f"{int(number)}" if float(number).is_integer() and abs(number) < 1e15 else f"{number:g}"

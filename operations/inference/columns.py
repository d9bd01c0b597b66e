"""Plain values of a request as the arrays a model takes: column by column, checked, and quickly.

A request of 64 rows should cost less to read than to predict. So types are checked by a set of the types of a column
and not value by value; which value was wrong is looked up only when one was.
"""

from __future__ import annotations

import difflib
import itertools
import operator
from collections.abc import Collection, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from operations.inference.errors import UnprocessableError

Columns = dict[str, np.ndarray]


class Stacked(Columns):
    """Columns of which all of a type can be compared at once: `blocks` has their names and values [columns, rows].

    Each column is a part of its block, [rows, 1], or [rows] if it is one of `flat`.
    """

    def __init__(
        self, blocks: Mapping[str, tuple[tuple[str, ...], np.ndarray]], flat: Collection[str] = frozenset()
    ) -> None:
        self.blocks, self.flat = blocks, flat
        for names, block in blocks.values():
            self.update(zip(names, block[:, :, np.newaxis], strict=True))
        for name in flat:
            self[name] = self[name].reshape(-1)


# What stands for a missing value in a column that has no other way to say so: models/signatures.py says the same, and
# every exporter that wants missing values must.
MISSING: dict[str, Any] = {"int64": -(2**63), "float32": float("nan"), "float64": float("nan"), "string": ""}
_REAL = {float, int, type(None)}
# The types of values that need no second look.
_PLAIN = {"int64": {int, type(None)}, "float32": _REAL, "float64": _REAL, "string": {str, type(None)}}
_NOT_A_TYPE = {
    bool: "a truth value",
    str: "text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
    bytes: "bytes",
    type(None): "null",
}
_WANTED = {"int64": "a whole number", "float32": "a number", "float64": "a number", "string": "text"}


@dataclass(frozen=True)
class Column:
    """One named input or output of a signature.

    Attributes:
        dtype: ``int64``, ``float32``, ``string`` or another name that numpy knows.
        shape: with None for a size that is free; the first is that of the rows.
        tensor: its name in the graph.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    tensor: str = ""

    def missing(self, rows: int) -> np.ndarray:
        """Returns an array of its shape without a value; of zeros if its type has no other way to say so."""
        dtype = object if self.dtype == "string" else self.dtype
        return np.full((rows, *[size or 1 for size in self.shape[1:]]), MISSING.get(self.dtype, 0), dtype)


@dataclass(frozen=True)
class Inputs:
    """The inputs of a signature by name, prepared for reading requests."""

    columns: Mapping[str, Column]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the columns."""
        return tuple(self.columns)

    @cached_property
    def types(self) -> dict[str, str]:
        """The type of each column, such as ``int64``, ``float32`` or ``string``."""
        return {name: column.dtype for name, column in self.columns.items()}

    @cached_property
    def by_type(self) -> dict[str, tuple[str, ...]]:
        """The names of the columns of each type."""
        return {
            dtype: tuple(name for name in self.names if self.types[name] == dtype)
            for dtype in dict.fromkeys(self.types.values())
        }

    @cached_property
    def flat(self) -> frozenset[str]:
        """The names of the columns that are [rows] and not [rows, 1]."""
        return frozenset(name for name, column in self.columns.items() if len(column.shape) == 1)

    @cached_property
    def of_row(self) -> Any:
        """Returns the values of a row that has them all, in the order of the columns."""
        if len(self.names) == 1:
            (name,) = self.names
            return lambda row: (row[name],)
        return operator.itemgetter(*self.names)


def from_rows(rows: Sequence[Any], inputs: Inputs) -> Columns:
    """Returns the arrays for rows of plain JSON values: per column [rows, 1], or [rows] if the signature takes that.

    A value may be wrapped in a list of one. A column that a row does not name, and a null, are missing values.

    Raises:
        UnprocessableError: naming the first column, and row, that is wrong.
    """
    names = inputs.names
    try:
        picked = list(map(inputs.of_row, rows))
        complete = max(map(len, rows), default=len(names)) == len(names)
    except (KeyError, TypeError, IndexError):
        complete, picked = False, []
    if not complete:
        known = frozenset(names)
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise UnprocessableError(
                    f"Row {index} is {kind_of(row)}; an object of column names and values is needed."
                )
            if not row.keys() <= known:
                raise _unknown(next(name for name in row if name not in known), names)
        picked = [[row.get(name) for name in names] for row in rows]
    by_column = zip(*picked, strict=True) if picked else [()] * len(names)
    return _arrays(dict(zip(names, by_column, strict=True)), inputs)


def from_columns(columns: Mapping[str, Any], inputs: Inputs) -> Columns:
    """Returns the arrays for lists of plain JSON values, one list per column; see `from_rows`.

    Raises:
        UnprocessableError: naming the first column that is wrong; also if the columns are not of one length.
    """
    if not (inputs.columns.keys() >= columns.keys() and {list, tuple}.issuperset(map(type, columns.values()))):
        for name, values in columns.items():
            if name not in inputs.columns:
                raise _unknown(name, inputs.names)
            if not isinstance(values, list | tuple):
                raise UnprocessableError(
                    f"`{name}` is {kind_of(values)}; a list with one value per row is needed.", name
                )
    count = _one_length(columns)
    absent = (None,) * count
    return _arrays({name: columns.get(name, absent) for name in inputs.names}, inputs)


def from_arrays(arrays: Mapping[str, np.ndarray], inputs: Inputs) -> Columns:
    """Returns the arrays for tensors [rows] or [rows, 1]; see `from_columns`. Text may be str, or bytes in UTF-8."""
    for name, array in arrays.items():
        if name not in inputs.columns:
            raise _unknown(name, inputs.names)
        if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
            raise UnprocessableError(f"`{name}` has the shape {list(array.shape)}; [rows, 1] is needed.", name)
    count = _one_length(arrays)
    absent = (None,) * count
    return {
        name: _from_array(column, arrays[name]) if name in arrays else _array(column, absent)
        for name, column in inputs.columns.items()
    }


def objects(values: Sequence[Any]) -> np.ndarray:
    """Returns texts or bytes as an array of objects [rows]."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def concatenated(parts: Sequence[Columns]) -> Columns:
    """Returns the rows of all parts, which have the same columns, one after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Stacked):
        stacks = [part.blocks for part in parts if isinstance(part, Stacked)]
        # A few large arrays instead of many small ones.
        if len(stacks) == len(parts):
            blocks = {
                dtype: (names, np.concatenate([stack[dtype][1] for stack in stacks], axis=1))
                for dtype, (names, _) in first.blocks.items()
            }
            return Stacked(blocks, first.flat)
    return {name: np.concatenate([part[name] for part in parts]) for name in first}


def row_count(columns: Mapping[str, np.ndarray]) -> int:
    """Returns the number of rows of arrays that belong together."""
    return len(next(iter(columns.values()))) if columns else 0


def _from_array(column: Column, array: np.ndarray) -> np.ndarray:
    flat = array.reshape(-1)
    kind = flat.dtype.kind
    if kind in "OSU":
        if column.dtype != "string":
            raise _wrong(column, "text", None)
        try:
            values = [value.decode() if isinstance(value, bytes) else value for value in flat.tolist()]
        except UnicodeDecodeError:
            raise UnprocessableError(f"`{column.name}` holds bytes that are not UTF-8 text.", column.name) from None
        return _array(column, values)
    if column.dtype == "string":
        raise _wrong(column, "of a numeric type", None)
    if kind == "b":
        raise _wrong(column, "a truth value", None)
    if column.dtype.startswith("float") and kind in "fiu":
        with np.errstate(over="ignore"):
            cast = flat.astype(column.dtype)
        if (np.isinf(cast)).any():
            raise _overflow(column, int(np.isinf(cast).argmax()))
        return _shaped(column, cast)
    if column.dtype == "int64" and kind in "iu":
        if kind == "u" and flat.size and flat.max() > 2**63 - 1:
            raise _overflow(column, int(flat.argmax()))
        return _shaped(column, flat.astype(np.int64))
    return _array(column, flat.tolist())


def _arrays(values: Mapping[str, Sequence[Any]], inputs: Inputs) -> Columns:
    """One array per type if the values are as plain as nearly always, else one per column."""
    blocks = {}
    for dtype, names in inputs.by_type.items():
        block = _block(dtype, [values[name] for name in names])
        if block is None:
            return {name: _array(column, values[name]) for name, column in inputs.columns.items()}
        blocks[dtype] = names, block
    return Stacked(blocks, inputs.flat)


def _block(dtype: str, columns: Sequence[Sequence[Any]]) -> np.ndarray | None:
    """An array [columns, rows]; None if the values need a look at each column."""
    types = set(map(type, itertools.chain.from_iterable(columns)))
    if not types <= _PLAIN.get(dtype, set()):
        return None
    if type(None) in types and not dtype.startswith("float"):
        missing = MISSING[dtype]
        columns = [[missing if value is None else value for value in values] for values in columns]
    if dtype == "string":
        texts = np.empty((len(columns), len(columns[0])), object)
        texts[:] = columns
        return texts
    try:
        if dtype == "int64":
            return np.array(columns, np.int64)
        # Through float64, as a literal of the same text is. None becomes NaN.
        with np.errstate(over="ignore"):
            numbers = np.array(columns, np.float64).astype(dtype, copy=False)
    except OverflowError:
        return None
    return None if np.isinf(numbers).any() else numbers


def _array(column: Column, values: Sequence[Any]) -> np.ndarray:
    if any(isinstance(value, list | tuple) for value in values):
        values = [_unwrapped(column, value, row) for row, value in enumerate(values)]
    allowed = _PLAIN.get(column.dtype)
    if allowed is None:
        raise UnprocessableError(
            f"`{column.name}` is of the type {column.dtype}, which has no plain values.", column.name
        )
    if column.dtype == "int64":
        allowed = _REAL
    for row, value in enumerate(values):
        if type(value) not in allowed:
            raise _wrong(column, kind_of(value), row)
    if column.dtype == "int64":
        values = [_whole(column, value, row) for row, value in enumerate(values)]
    block = _block(column.dtype, [values])
    if block is None:
        raise _overflow(
            column, next(row for row, value in enumerate(values) if _block(column.dtype, [[value]]) is None)
        )
    return _shaped(column, block[0])


def _whole(column: Column, value: Any, row: int) -> Any:
    # 3.0 is a whole number in JSON, whichever way its writer prints it. A large integer comes as a float, too.
    if type(value) is not float:
        return value
    if not value.is_integer():
        raise _wrong(column, "a fraction", row)
    # -2**63 - 1 became the float -2**63, which would fit.
    if value <= -(2**63):
        raise _overflow(column, row)
    return int(value)


def _shaped(column: Column, flat: np.ndarray) -> np.ndarray:
    return flat if len(column.shape) == 1 else flat.reshape(-1, 1)


def _unwrapped(column: Column, value: Any, row: int) -> Any:
    if not isinstance(value, list | tuple):
        return value
    if len(value) == 1 and not isinstance(value[0], list | tuple):
        return value[0]
    what = "a nested list" if len(value) == 1 else f"a list of {len(value)} values"
    raise UnprocessableError(f"`{column.name}` in row {row} is {what}; one value is needed.", column.name)


def _one_length(columns: Mapping[str, Sized]) -> int:
    lengths = dict.fromkeys(map(len, columns.values()))
    if len(lengths) > 1:
        first, count = next((name, len(values)) for name, values in columns.items())
        name, length = next((name, len(values)) for name, values in columns.items() if len(values) != count)
        raise UnprocessableError(f"`{name}` has {length} values, but `{first}` has {count}.", name)
    return next(iter(lengths), 0)


def kind_of(value: Any) -> str:
    """Returns what a plain value is, in words."""
    return _NOT_A_TYPE.get(type(value), f"of the type {type(value).__name__}")


def _wrong(column: Column, what: str, row: int | None) -> UnprocessableError:
    where = "" if row is None else f" in row {row}"
    wanted = _WANTED.get(column.dtype, column.dtype)
    return UnprocessableError(f"`{column.name}`{where} is {what}; {wanted} is needed.", column.name)


def _overflow(column: Column, row: int) -> UnprocessableError:
    return UnprocessableError(f"`{column.name}` in row {row} does not fit into {column.dtype}.", column.name)


def _unknown(name: Any, names: Sequence[str]) -> UnprocessableError:
    close = difflib.get_close_matches(str(name)[:100], names, n=1)
    hint = f"; did you mean `{close[0]}`?" if close else f"; it takes {', '.join(sorted(names))}."
    return UnprocessableError(f"The model takes no column `{str(name)[:100]}`{hint}", str(name)[:100])

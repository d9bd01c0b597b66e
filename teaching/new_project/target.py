"""The label: two values, one of which is what is predicted."""

from __future__ import annotations

from typing import Any

from data.table import TableError, plain
from errors import FlightdeckError

FEWEST_ROWS = 100
FEWEST_OF_A_CLASS = 20

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


class LabelError(FlightdeckError):
    """A label that this project's models cannot predict."""


def two_values(values: Any, positive: str | None) -> tuple[str, str]:
    """The positive and the negative value of a label.

    Raises:
        LabelError: there are not exactly two values, neither is plainly the positive one and nobody said which it is,
            there is no such value, or there are too few rows of one.
    """
    name = values.name
    counts = plain(values).value_counts()
    found = [str(value) for value in counts.index]
    if len(found) != 2:
        listed = f"{', '.join(found[:5])}{', ...' if len(found) > 5 else ''}"
        raise LabelError(
            f"The label '{name}' has {len(found):,} value{'s' * (len(found) != 1)} ({listed or 'all are missing'}), "
            "and a label must have exactly two: make a column that says yes or no, and name that."
        )
    if positive is not None and positive not in found:
        raise LabelError(f"--positive {positive} is no value of the label '{name}', which is {found[0]} or {found[1]}.")
    chosen = positive or _plainly_positive(found)
    if chosen is None:
        raise LabelError(
            f"The label '{name}' is {found[0]} or {found[1]}: say which one is predicted, such as "
            f"--positive {found[1]}."
        )
    rarest = counts.min()
    if counts.sum() < FEWEST_ROWS or rarest < FEWEST_OF_A_CLASS:
        raise LabelError(
            f"There are {counts.sum()} rows with the label '{name}', {rarest} of them {counts.idxmin()}: a pipeline "
            f"that trains and evaluates needs {FEWEST_ROWS}, and {FEWEST_OF_A_CLASS} of either value."
        )
    return chosen, next(value for value in found if value != chosen)


def _plainly_positive(found: list[str]) -> str | None:
    lowered = {value.lower(): value for value in found}
    return next((lowered[yes] for yes, no in _PAIRS if set(lowered) == {yes, no}), None)


def require_column(frame: Any, name: str, option: str) -> None:
    """Refuses a column that the table does not have.

    Raises:
        TableError: with the nearest name.
    """
    import difflib

    if name not in frame.columns:
        near = difflib.get_close_matches(name, list(frame.columns), n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(frame.columns)}."
        raise TableError(f"The table has no column '{name}', which {option} names; {hint}")

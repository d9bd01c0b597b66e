"""All that is decided about a new project before a file of it is written."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data import table
from data.table import TableError, plain
from data.table_spans import Hashed
from errors import FlightdeckError
from teaching.new_project import columns, split
from teaching.new_project.columns import Inferred

if TYPE_CHECKING:
    import pandas as pd

CONTENT, ROW_ID = "content", "row_id"
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
_LEARNED = ("number", "category", "text")


class LabelError(FlightdeckError):
    """A label that this project's models cannot predict."""


@dataclasses.dataclass(frozen=True)
class ProjectPlan:
    """What the project will be.

    Attributes:
        values: of the label: the positive one, the negative one.
        renamed: columns whose names could not stay: name in the table -> name in the contract.
        columns: of the contract, in order, the generated key included.
        dropped: columns that are left out, each with the reason.
        content: the columns that name a row, if no column does; else empty.
        rows: of the contract, as a frame.
        unlabelled: rows without a label, which are left out.
    """

    source: Path
    label: str
    values: tuple[str, str]
    renamed: dict[str, str]
    columns: tuple[Inferred, ...]
    dropped: dict[str, str]
    content: tuple[str, ...]
    split: split.Split
    rows: pd.DataFrame
    unlabelled: int

    @property
    def time(self) -> Inferred | None:
        """The column that orders the rows."""
        return next((column for column in self.columns if column.use == "time"), None)

    @property
    def suspects(self) -> tuple[Inferred, ...]:
        """The columns that tell the label almost by themselves, the best ones first."""
        suspects = [column for column in self.columns if column.suspect]
        return tuple(sorted(suspects, key=lambda column: -(column.alone or 0)))

    @property
    def untidy(self) -> tuple[Inferred, ...]:
        """The columns that would be numbers or moments if they were written as such."""
        return tuple(column for column in self.columns if column.untidy and not column.suspect)

    def of(self, *uses: columns.Use) -> tuple[Inferred, ...]:
        """The columns of some uses."""
        return tuple(column for column in self.columns if column.use in uses)

    def original(self, name: str) -> str:
        """What the table calls a column of the contract."""
        return next((old for old, new in self.renamed.items() if new == name), name)

    @property
    def slices(self) -> list[str]:
        """The up to three categories with the fewest values."""
        few = [column for column in self.of("category") if column.values and len(column.values) <= 10]
        return [column.name for column in sorted(few, key=lambda column: len(column.values or ()))][:3]


def make(
    source: Path,
    label: str,
    time: str | None = None,
    positive: str | None = None,
    known: Sequence[str] = (),
    after: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> ProjectPlan:
    """Reads a table and decides.

    Args:
        source: CSV or Parquet.
        label: the column to predict; it and the others may be named as in the table or as in the contract.
        time: the column that orders the rows.
        positive: the value of the label that is predicted; only needed where nothing says which it is.
        known: columns that are known at prediction time, however well they tell the label.
        after: columns that are not.
        progress: called with one line per step.

    Raises:
        TableError: the table cannot be read, has no such column, holds in it what is no label and no time, or a column
            cannot be what the arguments say.
        LabelError: the label cannot be predicted.
        SplitError: the rows cannot be split among spans.
    """
    tell = progress or (lambda line: None)
    tell(f"Reading {source}")
    whole = table.read(source).reset_index(drop=True)
    renamed = columns.tensor_names(whole.columns, {ROW_ID, CONTENT})

    def named(option: str, name: str) -> str:
        """As the table names it."""
        if name not in renamed:
            name = next((old for old, new in renamed.items() if new == name), name)
        require_column(whole, name, option)
        return name

    label, time = named("--label", label), None if time is None else named("--time", time)
    in_time = {renamed[named("--known", name)] for name in known}
    too_late = {renamed[named("--after", name)] for name in after}
    if time == label:
        raise TableError(f"Column '{time}' cannot be both the label and the time.")
    for name in (label, time):
        if name is not None and not columns.simple(table.column(whole, name)):
            raise TableError(f"Column '{name}' holds neither numbers, texts nor moments.")
    if both := in_time & too_late:
        raise TableError(f"Column '{min(both)}' cannot be both --known and --after: it is in time, or it is not.")
    values = two_values(whole[label], positive)
    whole = whole.rename(columns=renamed)
    label = renamed[label]
    time = None if time is None else renamed[time]
    for option, names in (("--known", in_time), ("--after", too_late)):
        for what, name in (("label", label), ("time", time)):
            if name in names:
                raise TableError(f"Column '{name}' is the {what}, so {option} cannot name it.")
    labels: Any = table.label(table.column(whole, label), *values)
    labelled = labels.notna()
    unlabelled = int((~labelled).sum())
    frame, labels = whole.loc[labelled].copy(), labels[labelled]
    frame[label] = labels
    tell(f"Looking at {len(frame.columns)} columns of {len(frame):,} rows")
    inferred, dropped = columns.infer(frame, labels, label, time, in_time, too_late)
    ordering = next((column for column in inferred if column.use == "time"), None)
    if ordering is not None and ordering.unit:
        whole[ordering.name] = table.moments(table.column(whole, ordering.name), ordering.unit)
        frame[ordering.name] = whole.loc[labelled, ordering.name]
    tell("Splitting the rows into spans")
    key = next(
        (column for column in inferred if column.use == "key" and column.type == "string" and not column.nullable), None
    )
    content: tuple[str, ...] = ()
    single = None
    if key is None:
        content = tuple(column.name for column in inferred if column.use not in ("label", "outcome"))
        # Of all rows, as the preparation has them, so that equal ones are counted alike.
        names = table.content(whole, content)
        frame[CONTENT], frame[ROW_ID] = names[labelled], table.counted(names)[labelled]
        single = None if frame[CONTENT].is_unique else ROW_ID
        key = Inferred(ROW_ID, "string", "key")
    chosen = split.choose(frame, labels, ordering, [CONTENT if content else key.name], single)
    if content:
        note = "Made from the values of the row by usecase/prepare.py, because no column of the table names a row."
        if isinstance(chosen.rule, Hashed) and ROW_ID in chosen.rule.columns:
            note = f"{note} Spans: {chosen.why}"
        inferred = [dataclasses.replace(key, note=note), *inferred]
    for column in [column for column in inferred if column.use in _LEARNED]:
        known_rows: Any = table.column(frame, column.name).notna()
        if not known_rows.groupby(chosen.numbers).any().all():
            # The ingestion refuses such a span: it looks like a broken join or source.
            dropped[column.name] = "it has no value in all of some spans"
            inferred.remove(column)
    if lost := sorted(in_time & dropped.keys()):
        raise TableError(f"Column '{lost[0]}' is left out, so --known cannot name it: {dropped[lost[0]]}.")
    if not any(column.use in _LEARNED for column in inferred):
        raise TableError(f"The table {source} has no column from which the label could be predicted.")
    renamed = {old: new for old, new in renamed.items() if old != new}
    return ProjectPlan(
        source, label, values, renamed, tuple(inferred), dropped, content, chosen, _typed(frame, inferred), unlabelled
    )


def _typed(frame: pd.DataFrame, inferred: list[Inferred]) -> pd.DataFrame:
    kinds = {"string": table.plain, "timestamp": table.moments}
    return frame[[column.name for column in inferred]].assign(
        **{column.name: kinds.get(column.type, table.numbers)(table.column(frame, column.name)) for column in inferred}
    )


def two_values(values: Any, positive: str | None) -> tuple[str, str]:
    """The positive and the negative value of a label.

    Raises:
        LabelError: there are not exactly two values, neither is plainly the positive one and nobody said which it is,
            there is no such value, or there are too few rows of one.
    """
    name = values.name
    counts = plain(values).value_counts()
    texts = [str(value) for value in counts.index]
    if len(texts) != 2:
        listed = f"{', '.join(texts[:5])}{', ...' if len(texts) > 5 else ''}"
        raise LabelError(
            f"The label '{name}' has {len(texts):,} value{'s' * (len(texts) != 1)} ({listed or 'all are missing'}), "
            "and a label must have exactly two: make a column that says yes or no, and name that."
        )
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
    rarest = counts.min()
    if counts.sum() < FEWEST_ROWS or rarest < FEWEST_OF_A_CLASS:
        raise LabelError(
            f"There are {counts.sum()} rows with the label '{name}', {rarest} of them {counts.idxmin()}: a pipeline "
            f"that trains and evaluates needs {FEWEST_ROWS}, and {FEWEST_OF_A_CLASS} of either value."
        )
    return chosen, next(value for value in texts if value != chosen)


def require_column(frame: Any, name: str, option: str) -> None:
    """Refuses a column that the table does not have.

    Raises:
        TableError: with the nearest name.
    """
    if name not in frame.columns:
        near = difflib.get_close_matches(name, list(frame.columns), n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(frame.columns)}."
        raise TableError(f"The table has no column '{name}', which {option} names; {hint}")

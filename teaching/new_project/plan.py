"""All that is decided about a new project before a file of it is written."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data import table
from data.contract import Task
from data.table import TableError
from data.table_spans import Hashed
from teaching.new_project import columns, split, tasks
from teaching.new_project.columns import Inferred
from teaching.new_project.tasks import Label

if TYPE_CHECKING:
    import pandas as pd

CONTENT, ROW_ID = "content", "row_id"
_LEARNED = ("number", "category", "text")


@dataclasses.dataclass(frozen=True)
class ProjectPlan:
    """What the project will be.

    Attributes:
        label: what is predicted.
        renamed: columns whose names could not stay: name in the table -> name in the contract.
        columns: of the contract, in order, the generated key included.
        dropped: columns that are left out, each with the reason.
        content: the columns that name a row, if no column does; else empty.
        rows: of the contract, as a frame.
        unlabelled: rows without a label, which are left out.
    """

    source: Path
    label: Label
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

    @property
    def sensitive(self) -> tuple[Inferred, ...]:
        """The columns by which people must not be judged, as their names suggest; no model reads them."""
        return tuple(column for column in self.columns if column.sensitive)

    def of(self, *uses: columns.Use) -> tuple[Inferred, ...]:
        """The columns of some uses, without the sensitive ones."""
        return tuple(column for column in self.columns if column.use in uses and not column.sensitive)

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
    task: Task | None = None,
    not_sensitive: Sequence[str] = (),
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
        task: what the label is, unless its values say it.
        not_sensitive: columns that a model may read, whatever their names suggest.

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
    harmless = {renamed[named("--not-sensitive", name)] for name in not_sensitive}
    if time == label:
        raise TableError(f"Column '{time}' cannot be both the label and the time.")
    for name in (label, time):
        if name is not None and not columns.simple(table.column(whole, name)):
            raise TableError(f"Column '{name}' holds neither numbers, texts nor moments.")
    if both := in_time & too_late:
        raise TableError(f"Column '{min(both)}' cannot be both --known and --after: it is in time, or it is not.")
    predicted = tasks.decide(table.column(whole, label), task, positive)
    whole = whole.rename(columns=renamed)
    label = renamed[label]
    predicted = dataclasses.replace(predicted, name=label)
    time = None if time is None else renamed[time]
    for option, names in (("--known", in_time), ("--after", too_late)):
        for what, name in (("label", label), ("time", time)):
            if name in names:
                raise TableError(f"Column '{name}' is the {what}, so {option} cannot name it.")
    labels: Any = predicted.prepared(table.column(whole, label))
    labelled = labels.notna()
    unlabelled = int((~labelled).sum())
    frame, labels = whole.loc[labelled].copy(), labels[labelled]
    frame[label] = labels
    tell(f"Looking at {len(frame.columns)} columns of {len(frame):,} rows")
    inferred, dropped = columns.infer(frame, labels, predicted, time, in_time, too_late, harmless)
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
    chosen = split.choose(frame, labels, predicted, ordering, [CONTENT if content else key.name], single)
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
    if not any(column.use in _LEARNED and not column.sensitive for column in inferred):
        aside = ", ".join(column.name for column in inferred if column.suspect)
        hint = f" but those that almost give it away alone: name those known in time with --known ({aside})" * bool(
            aside
        )
        if marked := ", ".join(column.name for column in inferred if column.sensitive):
            hint += f" but sensitive ones: name those that a model may read with --not-sensitive ({marked})"
        raise TableError(f"The table {source} has no column from which the label could be predicted{hint}.")
    renamed = {old: new for old, new in renamed.items() if old != new}
    return ProjectPlan(
        source, predicted, renamed, tuple(inferred), dropped, content, chosen, _typed(frame, inferred), unlabelled
    )


def _typed(frame: pd.DataFrame, inferred: list[Inferred]) -> pd.DataFrame:
    kinds = {"string": table.plain, "timestamp": table.moments}
    return frame[[column.name for column in inferred]].assign(
        **{column.name: kinds.get(column.type, table.numbers)(table.column(frame, column.name)) for column in inferred}
    )


def require_column(frame: Any, name: str, option: str) -> None:
    """Refuses a column that the table does not have.

    Raises:
        TableError: with the nearest name.
    """
    if name not in frame.columns:
        near = difflib.get_close_matches(name, list(frame.columns), n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(frame.columns)}."
        raise TableError(f"The table has no column '{name}', which {option} names; {hint}")

"""The data contract: what every raw column means and when its value becomes known.

A value that exists in history but not yet at prediction time makes a feature infeasible, however well it
predicts. The contract therefore declares the stages of the process behind the data, states for every column at
which one it becomes known, and refuses infeasible features where they are declared. Another dataset needs another
YAML file only.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from errors import FlightdeckError

ColumnType = Literal["int64", "float32", "string", "timestamp"]
Role = Literal["feature", "slice", "key", "label", "outcome"]
Task = Literal["binary", "multiclass", "regression"]

INGESTED: tuple[Role, ...] = ("feature", "slice")


class ContractError(FlightdeckError):
    """A contract that cannot be read or contradicts itself, or data that breaks it."""


class InfeasibleFeatureError(ContractError):
    """A requested feature whose value does not exist at prediction time, or that a model must not read."""


class Stage(BaseModel):
    """A moment, or a stretch of time, at which values become known, such as ``after_delivery``.

    It is `feasible` if its values exist when a prediction is made; `meaning` says when that is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    feasible: bool
    meaning: str = Field(min_length=1)

    @property
    def phrase(self) -> str:
        """The name as words of a sentence."""
        return self.name.replace("_", " ")


class Column(BaseModel):
    """One raw column.

    Attributes:
        type: Storage type: ``int64``, ``float32``, ``string`` or ``timestamp`` (UTC, microseconds).
        unit: Unit of the values; ``None`` for names and categories.
        known: The stage of the contract at which the value becomes known.
        role: What the column is for; only ``feature`` and ``slice`` may reach a model.
        meaning: One or two sentences for a reader who does not know the source.
        values: Category values; exclusive with ``range``.
        range: Smallest and largest possible value, both inclusive; exclusive with ``values``.
        open: Whether categories outside ``values`` may appear.
        sensitive: Whether it says something about people by which they must not be treated differently, such as their
            sex or age. Quality is reported by it, and it is no feature: its role is ``slice``. ``feature`` says that
            a model may read it all the same.
        groups: Of a sensitive number: the bounds between the groups by which it is sliced, ascending. A value that
            equals a bound is in the group above it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    type: ColumnType
    unit: str | None = None
    known: str
    role: Role
    meaning: str = Field(min_length=1)
    values: tuple[str, ...] | None = None
    range: tuple[float, float] | None = None
    nullable: bool = False
    open: bool = False
    sensitive: bool | Literal["feature"] = False
    groups: tuple[float, ...] | None = None

    @field_validator("sensitive", mode="before")
    @classmethod
    def _known_sensitivity(cls, sensitive: Any) -> Any:
        if sensitive is not True and sensitive is not False and sensitive != "feature":
            raise ValueError(f"it is true, false or feature, and not {sensitive!r}")
        return sensitive

    @field_validator("groups")
    @classmethod
    def _ascending_groups(cls, bounds: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if bounds is not None and not (
            bounds and all(map(math.isfinite, bounds)) and list(bounds) == sorted({*bounds})
        ):
            raise ValueError("the groups must be one or more finite numbers, ascending")
        return bounds

    @field_validator("values")
    @classmethod
    def _distinct_values(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if values is not None and (not values or len(set(values)) != len(values)):
            raise ValueError("the values must be a non-empty list without duplicates")
        return values

    @field_validator("range")
    @classmethod
    def _ordered_range(cls, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
        if bounds is not None and not (all(map(math.isfinite, bounds)) and bounds[0] <= bounds[1]):
            raise ValueError("the range must be two finite numbers, the smaller first")
        return bounds

    @model_validator(mode="after")
    def _consistent(self) -> Column:
        if self.values is not None and self.type != "string":
            raise ValueError(f"column '{self.name}' lists values, which only a string column can")
        if self.range is not None and self.type not in ("int64", "float32"):
            raise ValueError(f"column '{self.name}' has a range, which only a numeric column can")
        if self.open and self.values is None:
            raise ValueError(f"column '{self.name}' is open but lists no values")
        if self.role in INGESTED and self.type == "timestamp":
            raise ValueError(f"column '{self.name}' has the role {self.role}, which a timestamp cannot have")
        if self.role == "label" and (self.nullable or self.type == "timestamp"):
            raise ValueError(f"the label '{self.name}' must be a column that is never missing")
        self._check_sensitive()
        return self

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of the groups of a number, such as ``under 30``, ``30 to under 50``, ``50 or more``."""
        if self.groups is None:
            return ()
        # All digits: no two bounds may look alike.
        bounds = [str(int(bound)) if bound.is_integer() else repr(bound) for bound in self.groups]
        between = (f"{one} to under {other}" for one, other in pairwise(bounds))
        return (f"under {bounds[0]}", *between, f"{bounds[-1]} or more")

    def _check_sensitive(self) -> None:
        numeric = self.type in ("int64", "float32")
        if self.groups is not None and not (self.sensitive and numeric):
            raise ValueError(f"column '{self.name}' has groups, which only a sensitive numeric column can")
        if not self.sensitive:
            return
        if self.role not in INGESTED:
            raise ValueError(
                f"column '{self.name}' is sensitive, so quality must be reported by it, and a column with the role "
                f"{self.role} never reaches an evaluation; give it the role slice, or do not mark it"
            )
        if (self.sensitive == "feature") != (self.role == "feature"):
            raise ValueError(
                f"column '{self.name}' is sensitive and has the role {self.role}; give it the role slice and "
                "`sensitive: true`, or, if a model is to read it all the same, the role feature and "
                "`sensitive: feature`"
            )
        if self.type == "float32" and self.groups is None:
            raise ValueError(
                f"column '{self.name}' is sensitive and holds decimal numbers, by which rows cannot be sliced; list "
                "under groups the bounds between groups of them, such as [30, 50]"
            )


class Target(BaseModel):
    """What a model predicts.

    Attributes:
        label: The column that holds the truth.
        task: Whether it is one of two classes, one of several, or a number.
        classes: Of a multiclass task: the name of class 0, of class 1, and so on. Empty for other tasks.
        unit: Of a regression: the unit of the label, if it has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    task: Task = "binary"
    classes: tuple[str, ...] = ()
    unit: str | None = None


class Contract(BaseModel):
    """All columns of a dataset, in file order, and the moment a prediction is made.

    Attributes:
        label: Name of the column to predict.
        task: ``binary``: the label is 0 or 1, int64. ``multiclass``: the number of one of the classes, int64.
            ``regression``: a number, int64 or float32.
        classes: Of a multiclass task: the names of the label's values 0, 1, and so on.
        prediction_time: When a prediction is made, as a phrase ("two hours before ...").
        stages: When values become known, in the order of time; those that are feasible come first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(min_length=1)
    label: str
    task: Task = "binary"
    classes: tuple[str, ...] = ()
    prediction_time: str = Field(min_length=1)
    stages: tuple[Stage, ...] = Field(min_length=1)
    columns: tuple[Column, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Contract:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"column '{twice[0]}' is listed twice")
        self._check_stages()
        labels = [column.name for column in self.columns if column.role == "label"]
        if labels != [self.label]:
            raise ValueError(f"the label is '{self.label}', but the columns with the role label are {labels or 'none'}")
        if not any(column.role == "feature" for column in self.columns):
            raise ValueError("no column has the role feature")
        self._check_target()
        return self

    def _check_target(self) -> None:
        kind = self.column(self.label).type
        allowed = ("int64", "float32") if self.task == "regression" else ("int64",)
        if kind not in allowed:
            raise ValueError(f"the label '{self.label}' is {kind}; the task {self.task} needs {' or '.join(allowed)}")
        if self.task != "multiclass":
            if self.classes:
                raise ValueError(f"classes are listed, which only the task multiclass has, and the task is {self.task}")
        elif len(self.classes) < 3 or len(set(self.classes)) < len(self.classes):
            raise ValueError("the task multiclass needs at least three classes, each listed once")

    def _check_stages(self) -> None:
        stages = {stage.name: stage for stage in self.stages}
        if len(stages) < len(self.stages):
            names = [stage.name for stage in self.stages]
            raise ValueError(f"stage '{next(name for name in names if names.count(name) > 1)}' is listed twice")
        for earlier, later in pairwise(self.stages):
            if later.feasible and not earlier.feasible:
                raise ValueError(
                    f"stage '{later.name}' is feasible but comes after '{earlier.name}', which is not; "
                    "list the stages in chronological order"
                )
        for column in self.columns:
            stage = stages.get(column.known)
            if stage is None:
                near = difflib.get_close_matches(column.known, stages, n=1)
                hint = f" (did you mean '{near[0]}'?)" if near else ""
                raise ValueError(
                    f"column '{column.name}' becomes known at '{column.known}', which is not a stage{hint}; "
                    f"the stages are {', '.join(stages)}"
                )
            if column.role in INGESTED and not stage.feasible:
                raise ValueError(
                    f"column '{column.name}' has the role {column.role} but is known only {stage.phrase}; "
                    "give it the role outcome"
                )

    @classmethod
    def load(cls, path: Path | str) -> Contract:
        """Reads a contract, or raises a ContractError if it cannot be read, is not YAML, or contradicts itself.

        A file may name another one beside it under ``extends``; it then says only what differs, of columns too.
        """
        base, *extensions = [content for _, content in _files(Path(path))]
        content = functools.reduce(_extended, extensions, base)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ContractError(f"The contract {path} is not valid: {_first_problem(error, content)}.") from error

    def column(self, name: str) -> Column:
        """Returns the column of that name, or raises a ContractError if the contract does not list it."""
        for column in self.columns:
            if column.name == name:
                return column
        raise ContractError(f"Column '{name}' is not in the contract of {self.dataset}{self._hint(name)}.")

    @property
    def target(self) -> Target:
        """What is predicted."""
        unit = self.column(self.label).unit if self.task == "regression" else None
        return Target(label=self.label, task=self.task, classes=self.classes, unit=unit)

    @property
    def feasible(self) -> tuple[str, ...]:
        """Names of all columns whose value exists when a prediction is made, in file order."""
        stages = {stage.name for stage in self.stages if stage.feasible}
        return tuple(column.name for column in self.columns if column.known in stages)

    @property
    def row_key(self) -> tuple[str, ...]:
        """Names of the columns that name a row, in file order: the keys of text that are never missing.

        The id of a row's prediction is their values, with a slash between them.
        """
        return tuple(
            column.name
            for column in self.columns
            if column.role == "key" and column.type == "string" and not column.nullable
        )

    @property
    def sensitive(self) -> tuple[Column, ...]:
        """The columns by which people must not be treated differently, in file order."""
        return tuple(column for column in self.columns if column.sensitive)

    def ingested(self, labelled: bool = True) -> dict[str, str]:
        """Returns name and type, in file order, of the columns a pipeline reads from files, with labels or without."""
        roles = (*INGESTED, "label") if labelled else INGESTED
        return {column.name: column.type for column in self.columns if column.role in roles}

    def ignored(self, labelled: bool = True) -> tuple[str, ...]:
        """Returns the names of the other columns: present in the files, but never read by a pipeline."""
        ingested = self.ingested(labelled)
        return tuple(column.name for column in self.columns if column.name not in ingested)

    def require_feasible(self, names: Iterable[str]) -> None:
        """Refuses columns that cannot be features.

        Raises:
            InfeasibleFeatureError: At the first name that is not in the contract, is the label or a key, is sensitive
                and not said to be a feature, or becomes known only after the prediction is made.
        """
        columns = {column.name: column for column in self.columns}
        phrases = {stage.name: stage.phrase for stage in self.stages}
        feasible = self.feasible
        for name in names:
            column = columns.get(name)
            if column is None:
                reason = f"the contract of {self.dataset} does not list it{self._hint(name)}"
            elif column.role == "label":
                reason = "it is the label"
            elif column.role == "key":
                reason = "it is a key, which identifies a row and describes nothing"
            elif column.sensitive is True:
                reason = (
                    "the contract marks it as sensitive, and `sensitive: feature` there would say that a model may "
                    "read it all the same"
                )
            elif name not in feasible:
                reason = (
                    f"it becomes known only {phrases[column.known]}, and a prediction is made {self.prediction_time}"
                )
            else:
                continue
            raise InfeasibleFeatureError(f"Column '{name}' cannot be a feature: {reason}. Remove it from the features.")

    def _hint(self, name: str) -> str:
        near = difflib.get_close_matches(name, [column.name for column in self.columns], n=1)
        return f" (did you mean '{near[0]}'?)" if near else ""


def files(path: Path) -> list[Path]:
    """Returns the files that a contract is made of: those that it extends, and itself; raises a ContractError."""
    return [file for file, _ in _files(path)]


def _files(path: Path, above: tuple[Path, ...] = ()) -> list[tuple[Path, Any]]:
    """The files of a contract and what they hold, the one that extends none first."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ContractError(f"The contract {path} cannot be read: {reason}.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" near line {where.line + 1}" if where else ""
        raise ContractError(f"The contract {path} is not valid YAML{line}; correct its syntax.") from error
    base = content.pop("extends", None) if isinstance(content, dict) else None
    if base is None:
        return [(path, content)]
    if not isinstance(base, str) or path in above:
        raise ContractError(f"The contract {path} cannot extend {base!r}.")
    return [*_files(path.parent / base, (*above, path)), (path, content)]


def _extended(base: Any, changes: dict[str, Any]) -> Any:
    """A contract with changes: of its own fields, and of those of columns by their names."""
    try:
        changed = {column["name"]: column for column in changes.get("columns", [])}
        columns = [{**column, **changed.pop(column["name"], {})} for column in base["columns"]]
        return {**base, **changes, "columns": [*columns, *changed.values()]}
    except (KeyError, TypeError):  # The validation says what is wrong.
        return changes


def _first_problem(error: ValidationError, content: object) -> str:
    """Returns pydantic's first complaint as one phrase, with columns by name instead of by position."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    place = [str(part) for part in first["loc"]]
    if len(place) > 1 and place[0] == "columns" and isinstance(content, dict):
        entry = content["columns"][int(place[1])]
        if isinstance(entry, dict) and "name" in entry:
            place[:2] = [f"column '{entry['name']}'"]
    if first["type"] == "value_error" and (len(place) <= 1):
        return message
    return ": ".join([*place, message]) if place else message

"""How differently a model treats the groups of people of the evaluation split, as the document `fairness` has it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, TypeAdapter

from ledger.formats import number


class Difference(BaseModel):
    """By how much two groups differ.

    Attributes:
        of: the class that was answered, where there are several.
        higher: the group with the larger value; `lower` is the other one.
        difference: higher - lower; `low` and `high` are the ends of its 95 % interval.
    """

    model_config = ConfigDict(frozen=True)

    of: str
    higher: str
    lower: str
    difference: float
    low: float
    high: float

    @property
    def sentence(self) -> str:
        """The difference and between whom, as a clause."""
        of = f" of {self.of}" if self.of else ""
        return (
            f"{number(self.difference)}{of} between {self.higher} and {self.lower} (95 % interval {number(self.low)} "
            f"to {number(self.high)})"
        )


class Measured(BaseModel):
    """What was measured of each group.

    Attributes:
        name: ``selection_rate``, ``true_positive_rate`` or ``mean_error``.
        values: by group; of several classes, of the one that differs most; None of a group without a row that counts.
        counted: how many rows count, by group: all, or for a true positive rate the positive ones.
        largest: the largest difference; None if fewer than two groups could be compared.
        surest: the one whose interval begins highest, by which a gate decides.
        allowed: the largest difference with which a model is blessed; None if that is not asked.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    values: dict[str, float | None]
    counted: dict[str, int]
    largest: Difference | None
    surest: Difference | None
    allowed: float | None

    @property
    def title(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    @property
    def asked(self) -> str:
        """What a gate asks, such as ``not certainly above 0.1``; empty if there is none."""
        return "" if self.allowed is None else f"not certainly above {self.allowed:g}"

    @property
    def exceeded(self) -> bool | None:
        """Whether a gate refuses the model: it also does what it cannot judge; None if there is no gate."""
        if self.allowed is None:
            return None
        return self.surest is None or self.surest.low > self.allowed


class Group(BaseModel):
    """A group of people, by its value of a column, and how many rows it has."""

    model_config = ConfigDict(frozen=True)

    group: str
    rows: int


class ColumnFairness(BaseModel):
    """A sensitive column of the contract.

    Attributes:
        feature: whether the contract lets models read it.
        min_rows: groups of fewer rows are measured, and not compared.
        groups: those that are listed: all, or if there are many those that are compared.
        unlisted: how many groups there are besides.
        ungrouped: rows that have no value of it.
    """

    model_config = ConfigDict(frozen=True)

    column: str
    feature: bool
    min_rows: int
    groups: tuple[Group, ...]
    unlisted: int = 0
    ungrouped: int
    measures: tuple[Measured, ...]

    def refusal(self, measure: Measured) -> str:
        """Why a gate refuses the model because of a measure, as a clause."""
        what = f"{measure.title} by {self.column}"
        if measure.surest is None:
            return (
                f"{what} cannot be judged: fewer than two groups have {self.min_rows} rows, and enough of them that "
                "count"
            )
        return f"{what} differs by {measure.surest.sentence}, and {measure.allowed:g} is allowed"


FAIRNESS = TypeAdapter(tuple[ColumnFairness, ...])

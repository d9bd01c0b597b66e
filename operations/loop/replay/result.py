"""What came of a replay: the document that the command, the report site and benchmarks read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SerializerFunctionWrapHandler, model_serializer, model_validator

FILE = "replay.json"


class Interval(BaseModel, frozen=True):
    """A number with its 95 % confidence interval; None where there are too few rows of either label."""

    value: float | None
    low: float | None = None
    high: float | None = None


class _Measured(BaseModel, frozen=True):
    """A part with metrics of the task in `quality`; in the document each of them has a key of its own."""

    @model_serializer(mode="wrap")
    def _spread(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = {}
        for name, value in handler(self).items():
            document |= value if name == "quality" else {name: value}
        return document

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, document: Any) -> Any:
        if not isinstance(document, dict) or "quality" in document:
            return document
        metrics = {name: value for name, value in document.items() if name not in cls.model_fields}
        return {name: value for name, value in document.items() if name in cls.model_fields} | {"quality": metrics}


class Month(_Measured, frozen=True):
    """What one level served in one month, judged by the true labels.

    Attributes:
        rows: requests that were answered, by so many versions.
        quality: the metrics of the task by name; DeLong's interval of the AUC, bootstrap intervals of others.
        fault: that was injected into the month.
    """

    month: str
    span: int
    rows: int
    versions: int
    quality: dict[str, Interval]
    fault: str | None = None


class Event(BaseModel, frozen=True):
    """Something that happened.

    Attributes:
        when: by the simulated clock.
        kind: training, deployment, rollback, rejection, quarantine, decision.
        text: one sentence.
    """

    when: datetime
    kind: str
    text: str


class FalseAlarms(BaseModel, frozen=True):
    """How often a kind of signal was exceeded in months without a fault.

    Attributes:
        judged: how many signals had a value and a threshold.
        exceeded: how many were exceeded.
        subjects: the columns or measures that were exceeded, with the number of times.
    """

    kind: str
    judged: int
    exceeded: int
    subjects: dict[str, int] = {}


class FaultOutcome(_Measured, frozen=True):
    """What a level made of the fault.

    Attributes:
        detected_after_days: simulated days from its begin until a decision asked for something because of it; None if
            none ever did.
        within_month: whether that was in the month of the fault: by its end, when the window closes.
        named: whether an alert named the column.
        action: what the decision asked for.
        recovered_after_days: simulated days from its begin until neither the requests nor a served model had anything
            of it; None if that was never so again.
        quality: the loss of what was served in the month: ``log_loss_in_month``, or another one.
    """

    fault: str
    column: str
    month: str
    detected_after_days: float | None
    within_month: bool
    named: bool
    action: str | None
    recovered_after_days: float | None
    quality: dict[str, float | None]


class Level(_Measured, frozen=True):
    """One level of maturity.

    Attributes:
        quality: over all rows of all months: the loss first, such as ``log_loss``, then the metric to show.
        trainings: runs of the pipeline, the first one included.
        refused: of those, how many gave no blessed model.
        deployments: how often another model was served, the first one included.
        rollbacks: how often an earlier one was restored.
        rejected: how many canaries were rejected.
        quarantined: spans that were kept out of training.
        wall_seconds: of the machine that played it, by what was done: serving, monitoring, training, deploying.
        cpu_seconds: the same of its processors, child processes included.
        false_alarms: by kind of signal; of months without a fault.
    """

    level: int
    name: str
    months: tuple[Month, ...]
    quality: dict[str, float]
    trainings: int
    refused: int
    deployments: int
    rollbacks: int
    rejected: int
    quarantined: tuple[int, ...]
    alerts: int
    wall_seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    false_alarms: tuple[FalseAlarms, ...]
    fault: FaultOutcome | None
    events: tuple[Event, ...]


class Comparison(BaseModel, frozen=True):
    """How much a metric of one level exceeds that of another on the same requests of all months.

    Attributes:
        difference: level - against; for a loss, less than zero means that `level` is better.
        low: lower end of the 95 % interval: paired bootstrap, or DeLong's for the AUC.
        high: upper end.
    """

    level: int
    against: int
    metric: str
    difference: float
    low: float
    high: float
    rows: int


class Result(BaseModel, frozen=True):
    """A replay.

    Attributes:
        first: the first month that was served.
        last: the last one.
        fault: NAME@SPAN, or None.
        finished: when, in real time.
        comparisons: of each level with each lower one.
    """

    name: str
    use_case: str
    first: str
    last: str
    fault: str | None
    finished: datetime
    commit: str | None
    levels: tuple[Level, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def monthly(self) -> tuple[str, ...]:
        """The metrics of the months."""
        return tuple(dict.fromkeys(name for level in self.levels for month in level.months for name in month.quality))

    @property
    def overall(self) -> tuple[str, ...]:
        """The metrics of all months together, the loss first."""
        return tuple(dict.fromkeys(name for level in self.levels for name in level.quality))


def read(file: Path) -> Result:
    """The result in a file; an OSError if that cannot be read, a ValueError if it is something else."""
    return Result.model_validate_json(file.read_text(encoding="utf-8"))

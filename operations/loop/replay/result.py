"""What came of a replay: the document that the command, the report site and benchmarks read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

FILE = "replay.json"


class Interval(BaseModel, frozen=True):
    """A number with its 95 % confidence interval; None where there are too few rows of either label."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Month(BaseModel, frozen=True):
    """What one level served in one month, judged by the true labels.

    Attributes:
        rows: requests that were answered, by so many versions.
        auc: area under the ROC curve, DeLong's interval.
        log_loss: mean, with a bootstrap interval.
        calibration: mean prediction by mean label, with a bootstrap interval.
        fault: that was injected into the month.
    """

    month: str
    span: int
    rows: int
    versions: int
    auc: Interval
    log_loss: Interval
    calibration: Interval
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


class FaultOutcome(BaseModel, frozen=True):
    """What a level made of the fault.

    Attributes:
        detected_after_days: simulated days from its begin until a decision asked for something because of it; None if
            none ever did.
        within_month: whether that was in the month of the fault: by its end, when the window closes.
        named: whether an alert named the column.
        action: what the decision asked for.
        recovered_after_days: simulated days from its begin until neither the requests nor a served model had anything
            of it; None if that was never so again.
        log_loss_in_month: of what was served in the month.
    """

    fault: str
    column: str
    month: str
    detected_after_days: float | None
    within_month: bool
    named: bool
    action: str | None
    recovered_after_days: float | None
    log_loss_in_month: float | None


class Level(BaseModel, frozen=True):
    """One level of maturity.

    Attributes:
        log_loss: over all rows of all months, as the AUC.
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
    log_loss: float
    auc: float
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
    """How much the log loss of one level exceeds that of another on the same requests of all months.

    Attributes:
        difference: level - against; for the log loss, less than zero means that `level` is better.
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


def read(file: Path) -> Result:
    """The result in a file; an OSError if that cannot be read, a ValueError if it is something else."""
    return Result.model_validate_json(file.read_text(encoding="utf-8"))

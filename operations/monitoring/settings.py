"""The settings that monitoring needs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from operations.alerts import settings as alerts
from operations.serving import settings as serving
from pipeline.settings import Section

# From the mildest to the one that outranks the others: when the data of a window are at fault, they say nothing about
# any model.
Action = Literal["none", "alert", "retrain", "roll back", "quarantine"]
SignalKind = Literal[
    "skew", "drift", "missing", "unseen", "prediction", "label", "quality", "previous", "traffic", "latency"
]
WindowLength = Literal["minute", "hour", "day", "week", "month"]


class Rule(Section):
    """When a signal of the monitor is a reason to do something."""

    name: str = Field(pattern=r"^[a-z][a-z0-9 -]*$", description="What decisions and alerts call it.")
    kinds: tuple[SignalKind, ...] = Field(min_length=1, description="The kinds of signals that it is about.")
    subjects: tuple[str, ...] = Field(
        default=("*",), description="Patterns of columns, slices or measures, such as `price*`."
    )
    windows: int = Field(default=1, ge=1, description="In how many of the last `of` windows, the latest among them.")
    of: int = Field(default=1, ge=1, description="How many of the last windows are looked at.")
    cool_down_seconds: float = Field(default=0.0, ge=0, description="Then it asks for nothing for so long.")
    action: Action = Field(default="alert", description="What it asks for.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.windows > self.of:
            raise ValueError(f"rule `{self.name}` wants {self.windows} of {self.of} windows")
        return self


class Monitoring(Section):
    """What is measured in each window of served requests, and what is done about it."""

    window: WindowLength = Field(default="day", description="Length of a window, of the calendar in UTC.")
    fewest_rows: int = Field(
        default=1000, ge=1, description="A window of fewer rows is too small to compare distributions."
    )
    fewest_requests: int = Field(
        default=10,
        ge=1,
        description="What fewer requests show decides nothing: missing values, values not allowed or extreme, a whole "
        "window. All rows of one request count once.",
    )
    fewest_labels: int = Field(
        default=1000, ge=1, description="Quality is not judged by fewer requests whose label has arrived."
    )
    missing_increase: float = Field(
        default=0.1, gt=0, le=1, description="By how much the share of missing values of an optional column may grow."
    )
    prediction_distance: float = Field(
        default=0.1, gt=0, description="Largest Jensen-Shannon divergence of the predictions from those in evaluation."
    )
    auc_may_lose: float = Field(default=0.03, ge=0, description="Against the evaluation of the served model.")
    log_loss_may_lose: float = Field(default=0.05, ge=0, description="Against the evaluation of the served model.")
    auc_kept: float = Field(
        default=0.4,
        ge=0,
        lt=1,
        description="What must be left of the evaluation's AUC above 0.5, as a share, of the served or the previous "
        "version. With less, the labels are doubted and not the model.",
    )
    calibration: tuple[float, float] = Field(
        default=(0.7, 1.4), description="Lowest and highest mean prediction by mean label."
    )
    previous_may_win: float = Field(
        default=0.002,
        ge=0,
        description="Log loss by which the previous version may be better on the same rows, by its interval.",
    )
    latency_p99_seconds: float | None = Field(
        default=None, gt=0, description="Slowest answer but for one in a hundred. Default: it is shown, not judged."
    )
    traffic: tuple[float, float] = Field(
        default=(0.2, 5.0), description="Lowest and highest number of requests, by the median of the windows before."
    )
    slices: tuple[tuple[str, ...], ...] = Field(
        default=(), description="Quality is measured on these too; default: the gated slices of the evaluation."
    )
    rules: tuple[Rule, ...] = (
        Rule(name="fault in the data", kinds=("missing", "unseen", "skew"), action="quarantine"),
        Rule(name="sudden change", kinds=("drift",), action="quarantine"),
        Rule(name="fault in the labels", kinds=("label",), action="quarantine"),
        Rule(name="worse than the previous version", kinds=("previous",), action="roll back"),
        Rule(name="changing data", kinds=("drift", "prediction"), windows=2, of=3, action="retrain"),
        Rule(
            name="worse than expected",
            kinds=("quality",),
            subjects=("auc", "log_loss", "calibration"),
            action="retrain",
        ),
        Rule(name="traffic", kinds=("traffic", "latency"), windows=2, of=3, action="alert"),
    )


class Settings(serving.Settings, alerts.Settings):
    """The settings of the service and of alerts, and those of monitoring."""

    monitoring: Monitoring = Monitoring()

"""The settings of monitoring."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from operations.alerts import settings as alerts
from operations.serving import settings as serving
from pipeline.section import Section

# By rank: quarantine comes before the others, because faulty data say nothing about a model.
Action = Literal["none", "alert", "retrain", "roll back", "quarantine"]
SignalKind = Literal[
    "skew", "drift", "missing", "unseen", "prediction", "label", "quality", "previous", "traffic", "latency"
]
WindowLength = Literal["minute", "hour", "day", "week", "month"]


class Rule(Section):
    """Which signals of the monitor lead to which action."""

    name: str = Field(pattern=r"^[a-z][a-z0-9 -]*$", description="Its name in decisions and alerts.")
    kinds: tuple[SignalKind, ...] = Field(min_length=1, description="Kinds of signals that it applies to.")
    subjects: tuple[str, ...] = Field(
        default=("*",), description="Patterns of columns, slices or measures that it applies to, such as `price*`."
    )
    windows: int = Field(default=1, ge=1, description="Minimum windows with such a signal, the latest among them.")
    of: int = Field(default=1, ge=1, description="Number of latest windows to consider.")
    cool_down_seconds: float = Field(default=0.0, ge=0, description="How long it then asks for nothing.")
    action: Action = Field(default="alert", description="The action that it asks for.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.windows > self.of:
            raise ValueError(f"rule `{self.name}` wants {self.windows} of {self.of} windows")
        return self


class Monitoring(Section):
    """What to measure in each window of served requests, and how to act on it."""

    window: WindowLength = Field(default="day", description="Length of a window, by the calendar in UTC.")
    fewest_rows: int = Field(
        default=1000, ge=1, description="Minimum rows in a window before distributions are compared."
    )
    fewest_requests: int = Field(
        default=10,
        ge=1,
        description="Minimum requests behind a signal, such as missing, forbidden or extreme values, or a window; all "
        "rows of a request count once.",
    )
    fewest_labels: int = Field(default=1000, ge=1, description="Minimum labelled requests before quality is judged.")
    missing_increase: float = Field(
        default=0.1, gt=0, le=1, description="Max increase of the share of missing values in an optional column."
    )
    prediction_distance: float = Field(
        default=0.1, gt=0, description="Max Jensen-Shannon divergence of the predictions from those in the evaluation."
    )
    label_distance: float = Field(
        default=0.1,
        gt=0,
        description="Of a regression: max Jensen-Shannon divergence of the labels from those of the last good window.",
    )
    auc_may_lose: float = Field(default=0.03, ge=0, description="Max loss of AUC since the served model's evaluation.")
    log_loss_may_lose: float = Field(
        default=0.05, ge=0, description="Max increase of log loss since the served model's evaluation."
    )
    accuracy_may_lose: float = Field(default=0.03, ge=0, description="Of a multiclass task: max loss of accuracy.")
    macro_f1_may_lose: float = Field(default=0.05, ge=0, description="Of a multiclass task: max loss of macro F1.")
    r2_may_lose: float = Field(default=0.05, ge=0, description="Of a regression: max loss of R².")
    rmse_may_grow: float = Field(
        default=0.1, ge=0, description="Of a regression: max increase of RMSE, as a share of that in the evaluation."
    )
    mae_may_grow: float = Field(
        default=0.1, ge=0, description="Of a regression: max increase of MAE, as a share of that in the evaluation."
    )
    auc_kept: float = Field(
        default=0.4,
        ge=0,
        lt=1,
        description="Min share of the evaluation's AUC above 0.5 that the served or the previous version keeps. Below "
        "it, the labels are suspected and not the model. Of several classes, the mean AUC of each against the others; "
        "of a regression, that of the labels above their median.",
    )
    calibration: tuple[float, float] = Field(
        default=(0.7, 1.4), description="Min and max ratio of mean prediction to mean label."
    )
    previous_may_win: float = Field(
        default=0.002,
        ge=0,
        description="By how much the log loss of the previous version may be lower on the same rows; its confidence "
        "interval decides.",
    )
    previous_rmse_may_win: float = Field(
        default=0.01,
        ge=0,
        description="Of a regression: by how much the RMSE of the previous version may be lower, as a share of it.",
    )
    latency_p99_seconds: float | None = Field(
        default=None, gt=0, description="Max 99th percentile of the latency. Default: shown, not judged."
    )
    traffic: tuple[float, float] = Field(
        default=(0.2, 5.0), description="Min and max ratio of requests to the median of the windows before."
    )
    slices: tuple[tuple[str, ...], ...] = Field(
        default=(), description="Slices on which to measure quality; default: the gated slices of the evaluation."
    )
    rules: tuple[Rule, ...] = (
        Rule(name="fault in the data", kinds=("missing", "unseen", "skew"), action="quarantine"),
        Rule(name="sudden change", kinds=("drift",), action="quarantine"),
        Rule(name="fault in the labels", kinds=("label",), action="quarantine"),
        Rule(name="worse than the previous version", kinds=("previous",), action="roll back"),
        Rule(name="changing data", kinds=("drift", "prediction"), windows=2, of=3, action="retrain"),
        Rule(name="worse than expected", kinds=("quality",), action="retrain"),
        Rule(name="traffic", kinds=("traffic", "latency"), windows=2, of=3, action="alert"),
    )


class Settings(serving.Settings, alerts.Settings):
    """The settings of the service and of alerts, with those of monitoring."""

    monitoring: Monitoring = Monitoring()

"""The settings of the loop and of its replay."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from operations.delivery import settings as delivery
from operations.monitoring import settings as monitoring
from pipeline.section import DottedPath, Section


class Triggers(Section):
    """Which events make `flightdeck watch` train."""

    new_span: bool = Field(default=True, description="A span is new, or has changed.")
    every_seconds: float | None = Field(
        default=None, gt=0, description="Time since the last run began. Default: never."
    )
    decision: bool = Field(default=True, description="The monitor decides to retrain.")
    change: bool = Field(default=True, description="The code of the model or the settings have changed.")


class Continuous(Section):
    """The loop that retrains, deploys and rolls back: `flightdeck watch`."""

    level: Literal[0, 1, 2] = Field(
        default=1,
        description="Level of maturity. 0: it alerts, and people do the rest; 1: it trains by itself, and a person "
        "deploys and rolls back; 2: it also deploys, quarantines and rolls back by itself.",
    )
    triggers: Triggers = Triggers()
    poll_seconds: float = Field(default=30.0, gt=0, description="Interval at which to look for triggers.")
    settle_seconds: float = Field(
        default=10.0,
        ge=0,
        description="A span that changed within this time is skipped, as it may still be being written.",
    )
    runner: Literal["local", "kubeflow"] = Field(
        default="local", description="Run on this machine, or on Kubeflow Pipelines through its API."
    )
    starts: int = Field(default=3, ge=1, description="Max runs for the same trigger before a person is asked.")
    retry_seconds: float = Field(
        default=60.0, ge=0, description="Backoff after a failed run; doubles with each, up to an hour."
    )


class Fault(Section):
    """A fault in the data of one span, for a replay."""

    function: DottedPath = Field(description="Function (table, seed) that returns the Arrow table with the fault.")
    column: str = Field(description="The faulty column, which alerts should name.")
    requests: bool = Field(default=True, description="Put it into requests too, not only into the span.")


class Replay(Section):
    """How `flightdeck replay` replays the past, one month per span."""

    begins: str = Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="The month of span 1, such as 2013-01.")
    order: str = Field(description="Column that orders the requests of a month.")
    initial: str = Field(default="1:2", description="Window of the run whose model every level starts with.")
    approval_spans: int = Field(default=1, ge=0, description="How many months a model waits for approval at level 1.")
    faults: dict[str, Fault] = Field(default={}, description="Faults that can be injected: name -> fault.")


class Settings(monitoring.Settings, delivery.Settings):
    """The settings of monitoring, with those of the loop."""

    continuous: Continuous = Continuous()
    replay: Replay | None = Field(default=None, description="Only `flightdeck replay` reads it.")

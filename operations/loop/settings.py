"""The settings that the loop and its replay need."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from operations.monitoring import settings as monitoring
from pipeline.settings import DottedPath, Section


class Triggers(Section):
    """What makes `flightdeck watch` train."""

    new_span: bool = Field(default=True, description="A span that no run has seen, or one that has changed.")
    every_seconds: float | None = Field(
        default=None, gt=0, description="So long after the last run began, whatever happened. Default: never."
    )
    decision: bool = Field(default=True, description="The monitor decides to retrain.")
    change: bool = Field(default=True, description="The code of the model, or the settings, have changed.")


class Continuous(Section):
    """The loop that trains, deploys and goes back: `flightdeck watch`."""

    level: Literal[0, 1, 2] = Field(
        default=1,
        description="Of maturity. 0: people are told, and do everything; 1: it trains by itself, and a person deploys "
        "and goes back; 2: it also deploys, quarantines and goes back by itself.",
    )
    triggers: Triggers = Triggers()
    poll_seconds: float = Field(default=30.0, gt=0, description="How often it looks for triggers.")
    settle_seconds: float = Field(
        default=10.0, ge=0, description="A span in which something changed so recently may still be being written."
    )
    runner: Literal["local", "kubeflow"] = Field(
        default="local", description="Where runs go: to this machine, or through the API of Kubeflow Pipelines."
    )
    starts: int = Field(
        default=3, ge=1, description="How often runs are begun for the same trigger before a person is asked."
    )
    retry_seconds: float = Field(
        default=60.0, ge=0, description="Pause after a run that failed; doubles with each, up to an hour."
    )


class Fault(Section):
    """Something that goes wrong with the data of one span, for a replay."""

    function: DottedPath = Field(description="Function (table, seed) that returns the Arrow table as the fault has it.")
    column: str = Field(description="The column that is at fault, and that somebody ought to be told of.")
    requests: bool = Field(default=True, description="Whether requests show it too, or only the rows that arrive.")


class Replay(Section):
    """How `flightdeck replay` plays the past, one month per span."""

    begins: str = Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="The month of span 1, such as 2013-01.")
    order: str = Field(description="The column by which the requests of a month come one after the other.")
    initial: str = Field(default="1:2", description="The window of the run whose model every level begins with.")
    approval_spans: int = Field(
        default=1, ge=0, description="How many months a model of level 1 waits for the person who approves of it."
    )
    faults: dict[str, Fault] = Field(default={}, description="Faults that can be injected: name -> fault.")


class Settings(monitoring.Settings):
    """The settings of monitoring, and those of the loop: everything that happens after a run."""

    continuous: Continuous = Continuous()
    replay: Replay | None = Field(default=None, description="Only `flightdeck replay` reads it.")

"""What a run that the loop started came to, wherever it ran."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from ledger.run_record import RunRecord
from operations.loop.attempts import ENDED, Attempt
from operations.loop.settings import Settings


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        outcome: one of `ENDED`; ``failed``; or ``killed``, if its process went away without a word.
        detail: why, in words.
        run_id: its name in ML Metadata.
        version: that it pushed.
    """

    outcome: str
    detail: str
    run_id: str
    version: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it came to its end, whatever it said of the model."""
        return self.outcome in ENDED


class Runner(Protocol):
    """Where runs go. One goes on at a time."""

    def busy(self) -> str | None:
        """Who else is running now, so that a run has to wait; None if nobody is."""
        ...

    def start(self, attempt: Attempt, settings: Settings) -> str | None:
        """Begins a run, or raises a FlightdeckError; returns its name where it runs, if it has one of its own there."""
        ...

    def result(self, attempt: Attempt) -> Result | None:
        """What came of a run, whoever began it; None while it goes on; a FlightdeckError if nobody can tell now."""
        ...

    def stop(self, attempt: Attempt) -> bool:
        """Ends the run, if it would not go on without this process; whether it has ended now."""
        ...


def result_of(record: RunRecord) -> Result | None:
    """What a record says of a run that is over; None if it was never completed."""
    reasons = "; ".join(record.reasons)
    if record.outcome in ENDED:
        return Result(record.outcome, reasons, record.run_id, record.version)
    if record.outcome == "killed":
        return Result("killed", "its process was killed", record.run_id)
    if record.outcome == "failed":
        return Result("killed" if "interrupted" in reasons else "failed", reasons, record.run_id)
    return None


def pushes(settings: Settings) -> bool:
    """Whether runs of the loop may push: at level 2, or into a canary folder, from which nobody is answered.

    At the other levels a run ends with a blessed model, and a person promotes it.
    """
    return settings.push.enabled and (settings.continuous.level == 2 or settings.canary.mode != "off")

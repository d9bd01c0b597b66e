"""How a sweep stands: what the events of its chain come to. Imports neither TensorFlow nor keras-tuner."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from ledger.lease import Owner
from operations.experiments.sweep.chain import Link

# A trial whose workers die one after the other, such as for want of memory, is not given to yet another.
MOST_STARTS = 3


@dataclasses.dataclass
class Trial:
    """A trial, as the chain tells it.

    Attributes:
        values: its hyperparameters as the oracle proposed them.
        begun: the latest link with which a worker began it.
        starts: how often it was begun.
        state: ``running``, ``done`` or ``failed``.
        score: of one that is done, the objective.
    """

    number: int
    values: dict[str, Any]
    begun: Link
    starts: int = 1
    state: str = "running"
    score: float | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: float | None = None
    error: str | None = None

    @property
    def owner(self) -> Owner:
        """Who runs it, or ran it last."""
        return self.begun.event.owner


class Standing:
    """The trials of a sweep so far."""

    def __init__(self) -> None:
        """Begins with none."""
        self.trials: dict[int, Trial] = {}

    def apply(self, links: Iterable[Link]) -> list[Link]:
        """Takes note of events, in their order.

        Returns:
            Those that counted. The end of a trial that has ended already is of a worker that was taken for dead; what
            it found is the same, and is passed over.
        """
        return [link for link in links if self._apply(link)]

    def _apply(self, link: Link) -> bool:
        event = link.event
        trial = self.trials.get(event.trial)
        if event.kind == "begun":
            if trial is not None:
                return False
            self.trials[event.trial] = Trial(event.trial, dict(event.values), link)
            return True
        if trial is None or trial.state != "running":
            return False
        if event.kind == "taken":
            trial.begun = link
            trial.starts += 1
            return True
        trial.state = "done" if event.kind == "finished" else "failed"
        trial.score, trial.metrics = event.score, dict(event.metrics)
        trial.seconds, trial.error = event.seconds, event.error
        return True

    def running(self) -> list[Trial]:
        """Those that have not ended, also when their worker is gone."""
        return [trial for trial in self.trials.values() if trial.state == "running"]

    def done(self) -> list[Trial]:
        """Those with a score."""
        return [trial for trial in self.trials.values() if trial.state == "done"]

    def failed(self) -> list[Trial]:
        """Those without."""
        return [trial for trial in self.trials.values() if trial.state == "failed"]

    def best(self, higher_is_better: bool) -> Trial | None:
        """The one with the best score; of equal ones the earliest."""
        sign = -1 if higher_is_better else 1
        return min(self.done(), key=lambda trial: (sign * (trial.score or 0.0), trial.number), default=None)

"""What waits for a run, and the runs that the loop began.

There is no queue: what waits are the triggers that hold now, less those that a run has handled. An attempt is kept in
ML Metadata, as `flightdeck.Attempt`, before its run begins; so a process that comes after a kill knows what to ask for.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import ml_metadata
from pydantic import BaseModel

import storage
from ledger.executions import Executions
from operations.loop.settings import Continuous, Settings
from operations.loop.triggers import PastRun, Trigger

ATTEMPT = "flightdeck.Attempt"
# Outcomes of a run that came to its end, whatever it said of the model.
ENDED = ("pushed", "blessed", "not blessed", "done")
_UNSUCCESSFUL = ("failed", "killed")
_LONGEST_BACKOFF_SECONDS = 3600.0
# Reasons that people read in one line.
_NAMED = 3


class Attempt(BaseModel, frozen=True):
    """A run that the loop began, and the triggers that it is for.

    Attributes:
        run_id: its name in ML Metadata, or a part of its name for people on Kubeflow.
        workspace: of the loop; the loops of several workspaces may share a metadata store.
        begun: in UTC.
        triggers: those that it handles.
        reference: what the server that it runs on calls it, if it said so.
        ended: None while it is open.
        outcome: as in `ledger.run_record.RunRecord`, or ``killed`` or ``stopped``.
        detail: why, in words.
    """

    run_id: str
    workspace: str
    begun: datetime
    triggers: tuple[Trigger, ...]
    reference: str | None = None
    ended: datetime | None = None
    outcome: str | None = None
    detail: str | None = None

    @property
    def reasons(self) -> dict[str, str]:
        """Key -> sentence, for the record of the run."""
        return {trigger.key: trigger.reason for trigger in self.triggers}

    @property
    def because(self) -> str:
        """The first few reasons, for people."""
        reasons = [trigger.reason for trigger in self.triggers]
        more = f"; and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
        return f"{'; '.join(reasons[:_NAMED])}{more}"


class Attempts:
    """The attempts of one workspace. Only the process that holds the loop's lock begins or ends one."""

    def __init__(self, settings: Settings, store: ml_metadata.MetadataStore) -> None:
        self._documents = Executions(store, settings.use_case.name)
        self._workspace = str(storage.at(settings.workspace).resolve())
        self._known: dict[str, Attempt] | None = None

    def all(self) -> list[Attempt]:
        """Every attempt, oldest first."""
        return list(self._attempts().values())

    def open(self) -> Attempt | None:
        """The attempt that has not ended; there is at most one."""
        return next((attempt for attempt in self.all() if attempt.ended is None), None)

    def begin(self, run_id: str, triggers: Iterable[Trigger], now: datetime) -> Attempt:
        """Keeps an attempt, before its run begins."""
        return self._keep(Attempt(run_id=run_id, workspace=self._workspace, begun=now, triggers=tuple(triggers)))

    def refer(self, attempt: Attempt, reference: str) -> None:
        """Notes what the server calls the run."""
        self._keep(attempt.model_copy(update={"reference": reference}))

    def end(self, attempt: Attempt, outcome: str, detail: str, now: datetime) -> None:
        """Notes what came of the run."""
        self._keep(attempt.model_copy(update={"ended": now, "outcome": outcome, "detail": detail}))

    def _attempts(self) -> dict[str, Attempt]:
        if self._known is None:
            attempts = self._documents.all(ATTEMPT, Attempt)
            ours = (attempt for attempt in attempts if attempt.workspace == self._workspace)
            self._known = {attempt.run_id: attempt for attempt in ours}
        return self._known

    def _keep(self, attempt: Attempt) -> Attempt:
        attempts = self._attempts()
        self._documents.keep(ATTEMPT, attempt.run_id, attempt)
        attempts[attempt.run_id] = attempt
        return attempt


@dataclasses.dataclass(frozen=True)
class Waiting:
    """A trigger that no run has handled.

    Attributes:
        trigger: what happened.
        starts: how many runs were begun for it.
        due: when the next one may begin, in UTC.
    """

    trigger: Trigger
    starts: int
    due: datetime


def waiting(
    triggers: Sequence[Trigger], attempts: Sequence[Attempt], runs: Sequence[PastRun], settings: Continuous
) -> list[Waiting]:
    """Those triggers, of all that hold now, that no run handles or has handled, and that have not failed too often.

    Attempts come oldest first.
    """
    handled = {key for run in runs if run.succeeded for key in run.triggers}
    handled.update(key for attempt in attempts if attempt.outcome in (None, *ENDED) for key in attempt.reasons)
    starts: collections.Counter[str] = collections.Counter()
    due: dict[str, datetime] = {}
    for attempt in attempts:
        if attempt.ended is not None and attempt.outcome in _UNSUCCESSFUL:
            starts.update(attempt.reasons.keys())
            for key in attempt.reasons:
                # A run that was killed, perhaps with the loop, is no reason to wait.
                seconds = 0.0 if attempt.outcome == "killed" else backoff(starts[key], settings.retry_seconds)
                due[key] = attempt.ended + timedelta(seconds=seconds)
    return [
        Waiting(trigger, starts[trigger.key], due.get(trigger.key, trigger.when))
        for trigger in triggers
        if trigger.key not in handled and starts[trigger.key] < settings.starts
    ]


def given_up(attempt: Attempt, attempts: Sequence[Attempt], settings: Continuous) -> list[Trigger]:
    """The triggers of an attempt for which no further run is begun if this one does not succeed."""
    starts = collections.Counter(key for past in attempts if past.outcome in _UNSUCCESSFUL for key in past.reasons)
    return [trigger for trigger in attempt.triggers if starts[trigger.key] + 1 >= settings.starts]


def backoff(starts: int, first_seconds: float) -> float:
    """Seconds before a run is retried: they double with each start, of which there was at least one, up to an hour."""
    return min(_LONGEST_BACKOFF_SECONDS, first_seconds * 2 ** (starts - 1))

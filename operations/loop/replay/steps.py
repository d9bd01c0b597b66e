"""The steps of a level that are done, in ML Metadata, so that a replay that was killed goes on where it was.

A step is recorded after its work, under a name of its own. Its work is such that doing it again changes nothing; so a
kill between the two costs time, and nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import ml_metadata
import psutil
from pydantic import BaseModel

from ledger.executions import Executions

STEP = "flightdeck.ReplayStep"


class Step(BaseModel, frozen=True):
    """A step that is done.

    Attributes:
        name: such as ``2013-07/train``; steps of one level have different names.
        kind: serving, monitoring, training, deploying.
        when: by the simulated clock.
        wall_seconds: that it took; of a step that was killed and done again, the last time.
        cpu_seconds: of all processors, child processes included.
        facts: what came of it.
    """

    name: str
    kind: str
    when: datetime
    wall_seconds: float
    cpu_seconds: float
    facts: dict[str, Any]


class Steps:
    """The steps of one level."""

    def __init__(
        self, store: ml_metadata.MetadataStore, pipeline: str, tell: Callable[[Step], None] = lambda step: None
    ) -> None:
        self._kept, self._tell = Executions(store, pipeline), tell
        self._done = {step.name: step for step in read(store, pipeline)}

    def once(self, name: str, kind: str, when: datetime, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Does the work of a step, unless that is done; what came of it, now or then.

        The work may be done again after a kill. It returns what came of it in types that JSON has.
        """
        if name in self._done:
            return self._done[name].facts
        began, used = time.monotonic(), cpu_seconds()
        facts = work()
        step = Step(
            name=name,
            kind=kind,
            when=when,
            wall_seconds=round(time.monotonic() - began, 3),
            cpu_seconds=round(cpu_seconds() - used, 3),
            facts=json.loads(json.dumps(facts)),
        )
        self._kept.keep(STEP, step.name, step, once=True)
        self._done[name] = step
        self._tell(step)
        return step.facts


def read(store: ml_metadata.MetadataStore, pipeline: str) -> list[Step]:
    """The steps that are done, in their order."""
    return Executions(store, pipeline).all(STEP, Step)


def cpu_seconds() -> float:
    """What this process has used so far, and all that it started, whether they have ended or not."""
    # The system counts a child once it was waited for; the servers of the local runner live as long as this process.
    living = psutil.Process().children(recursive=True)
    return sum(sum(_times(process)) for process in (psutil.Process(), *living))


def _times(process: psutil.Process) -> tuple[float, ...]:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return ()
    return times.user, times.system, times.children_user, times.children_system

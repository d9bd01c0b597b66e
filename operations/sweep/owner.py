"""Which process a trial belongs to, and whether that process still lives."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

# A worker that has not been heard of for so long, on another machine, is taken for dead.
LEASE_SECONDS = 90.0
# How often a worker is heard of.
BEAT_SECONDS = 10.0


class Owner(BaseModel):
    """A process.

    Attributes:
        machine: the boot of a machine, and the process namespace on it: two containers on one machine differ.
        pid: the process's number there.
        started: when it started, in seconds since the epoch; numbers are used again.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    machine: str
    pid: int
    started: float

    @classmethod
    def me(cls) -> Owner:
        """This process."""
        return cls(machine=_machine(), pid=os.getpid(), started=round(psutil.Process().create_time(), 1))

    def lives_here(self) -> bool | None:
        """Whether it lives, or None if it is on another machine, so that nobody here can see it."""
        if self.machine != _machine():
            return None
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


class Leases:
    """Judges whether the owners of trials are alive, by what can be seen here or else by their beats.

    An owner's clock is not looked at, only whether its beat has changed within a lease on the clock here: clocks of
    different machines differ.
    """

    def __init__(self, lease_seconds: float = LEASE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """Has heard of nobody yet; each owner has a whole lease from the first look at it."""
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._heard: dict[str, tuple[int, float]] = {}

    def gone(self, token: str, owner: Owner, beat: Callable[[], int]) -> bool:
        """Whether the owner of a trial is gone.

        Args:
            token: of the event with which it began the trial.
            owner: the process.
            beat: reads the beat beside that event.
        """
        alive = owner.lives_here()
        if alive is not None:
            return not alive
        now, count = self._clock(), beat()
        known = self._heard.get(token)
        if known is None or known[0] != count:
            self._heard[token] = (count, now)
            return False
        return now - known[1] > self._lease_seconds


def _machine() -> str:
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # not Linux
        pass
    return " ".join(parts)

"""The lease of a run: which process holds it, and whether that process is alive.

A run, or a trial of a sweep, renews its lease while it goes on. On the machine where it runs its process is looked at;
from elsewhere only its last sign of life can be seen. Imports neither TensorFlow nor TFX.
"""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

# How often a lease is renewed, and after how long a silence it has expired.
RENEW_SECONDS = 15.0
LEASE_SECONDS = 90.0
# A start is read from two clocks that tick in seconds.
_SAME_START_SECONDS = 2.0


class Owner(BaseModel):
    """A process that holds a lease.

    Attributes:
        boot: the start of that machine's kernel; no other start, of any machine, has the same.
        namespace: of the process numbers `pid` on that machine: containers have their own.
        started: when it started, in seconds after the kernel; numbers are used again.
        lock: the file that locks the workspace in which it runs, as device and number of the file there.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str = ""
    boot: str = ""
    namespace: str = ""
    pid: int
    started: float
    lock: str | None = None

    @classmethod
    def me(cls, lock: str | None = None) -> Owner:
        """This process; the lock of its workspace is from `pipeline.workspace.lock_of`."""
        return cls(
            host=socket.gethostname(),
            boot=_boot(),
            namespace=_namespace(),
            pid=os.getpid(),
            started=_started(psutil.Process()),
            lock=lock,
        )

    def alive(self, renewed: datetime | None = None) -> bool | None:
        """Whether the process, which renewed its lease last then, lives.

        None where that cannot be known, such as on another machine.
        """
        if self.boot != _boot():
            return False if self._rebooted(renewed) else None
        if (self.host, self.namespace) != (socket.gethostname(), _namespace()):
            return None  # in another container, or in another copy of a virtual machine that was running
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # another user's
            pass
        try:
            process = psutil.Process(self.pid)
            same = abs(_started(process) - self.started) < _SAME_START_SECONDS
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:  # the system hides it, or it has ended this moment
            return None

    def left(self, lock: str | None, renewed: datetime | None) -> bool:
        """Whether the process was in a workspace and is gone, as whoever holds the workspace's lock can tell.

        The lock tells more than looking does: nobody can look into another container, but its process would hold it.

        Args:
            lock: from `pipeline.workspace.lock_of`; held by this process.
            renewed: when the lease was renewed last.
        """
        if self.lock is None or lock is None:
            return False
        if self.boot == _boot():
            return self.lock == lock and not self.alive()
        # Devices may be numbered anew at each start of a machine.
        same_file = self.lock.partition(":")[2] == lock.partition(":")[2]
        return same_file and self.alive(renewed) is False

    def _rebooted(self, renewed: datetime | None) -> bool:
        """Whether it was a process of this machine before it was started last.

        Names of machines are not unique. A process of a namesake would have been heard of since this machine started.
        """
        if renewed is None or self.host != socket.gethostname():
            return False
        silent = datetime.now(UTC) - renewed
        return renewed.timestamp() < psutil.boot_time() and silent > timedelta(seconds=LEASE_SECONDS)


class Leases:
    """Judges whether the owners of trials are gone, by what can be seen here or else by whether they renew their lease.

    An owner's clock is not looked at, only whether its lease was renewed lately on the clock here: clocks of different
    machines differ.
    """

    def __init__(self, lease_seconds: float = LEASE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_seconds = lease_seconds
        self._clock = clock
        # Each owner has a whole lease from the first look at it.
        self._heard: dict[str, tuple[datetime | None, float]] = {}

    def gone(self, token: str, owner: Owner, renewed: Callable[[], datetime | None]) -> bool:
        """Whether the owner of a trial is gone.

        The token is of the event with which it began the trial; `renewed` reads when it renewed its lease last.
        """
        alive = owner.alive()
        if alive is not None:
            return not alive
        now, latest = self._clock(), renewed()
        known = self._heard.get(token)
        if known is None or known[0] != latest:
            self._heard[token] = (latest, now)
            return False
        return now - known[1] > self._lease_seconds


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux
        return f"{socket.gethostname()} {psutil.boot_time():.0f}"


@functools.cache
def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        return ""


def _started(process: psutil.Process) -> float:
    # Both move together when somebody sets the clock.
    return round(process.create_time() - psutil.boot_time(), 1)

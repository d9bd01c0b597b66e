"""Kills a command and all of its processes with SIGKILL, at a moment that is the same on a busy machine."""

import contextlib
import subprocess
import time
from collections.abc import Sequence

import psutil

from tests.world import ROOT


def killed_after(command: Sequence[str], seconds: float) -> int | None:
    """Runs a command until it has used the processors for so many seconds, all of its processes together.

    Returns None if it was killed, or its exit code if it had ended before.
    """
    process = subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    used = 0.0
    while process.poll() is None and used < seconds:
        time.sleep(0.05)
        used = max(used, sum(map(_used, _family(process))))
    if process.poll() is not None:
        return process.returncode
    for member in _family(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    return None


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A process and all below it, which have sessions of their own."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def _used(process: psutil.Process) -> float:
    try:
        used = process.cpu_times()
    except psutil.Error:
        return 0.0
    # The children that have ended are counted in their parent.
    return used.user + used.system + used.children_user + used.children_system

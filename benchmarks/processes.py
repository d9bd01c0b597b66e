"""What a command takes, with all the processes that it starts: seconds, CPU seconds and memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import psutil

_SAMPLE_SECONDS = 0.25
_SET_CHILD_SUBREAPER = 36  # of prctl(2)


def measure(command: Sequence[str], cwd: Path, out: Path) -> dict[str, float]:
    """Runs a command to its end, with its output in the files `stdout` and `stderr` of the folder `out`.

    What this process has started before counts for `together_mb` only.

    Returns:
        `seconds`; `cpu_seconds` of all its processes; `peak_mb`, the largest resident size of any one of them; and
        `together_mb`, the largest sum over them of their proportional sizes (PSS, which counts a page that several
        share once), sampled four times per second; all sizes in MiB.

    Raises:
        SystemExit: If the command fails.
    """
    # Processes that outlive the command are then children of this one, and their usage is known, too.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    others = _children()
    with (out / "stdout").open("wb") as stdout, (out / "stderr").open("wb") as stderr, _sampled() as together_mb:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, cwd=cwd)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        usages = [usage]
        while outliving := _children() - others:
            usages.append(os.wait4(min(outliving), 0)[2])
    if status:
        _fail(command, out)
    return {
        "seconds": seconds,
        "cpu_seconds": sum(usage.ru_utime + usage.ru_stime for usage in usages),
        "peak_mb": max(usage.ru_maxrss for usage in usages) / 1024,
        "together_mb": max(together_mb),
    }


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def _fail(command: Sequence[str], out: Path) -> NoReturn:
    said = (out / "stderr").read_text(errors="replace")[-2000:]
    raise SystemExit(f"{' '.join(command)} failed:\n{said}")


@contextlib.contextmanager
def _sampled() -> Iterator[list[float]]:
    """Yields the sizes of all processes below this one together, in MiB, which go on being sampled meanwhile."""
    sizes, ended = [0.0], threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            sizes.append(sum(map(_proportional_mb, psutil.Process().children(recursive=True))))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield sizes
    finally:
        ended.set()
        thread.join()


def _proportional_mb(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().pss / 2**20
    except psutil.Error:
        return 0.0

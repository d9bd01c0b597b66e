"""Processes of this project, each of which ends when the one that started it has gone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.project import CHECKOUT


def start(
    log: Path,
    module: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts ``python -m MODULE ... --parent-process PID``; what it prints is appended to a log.

    A Ctrl-C is for this process, which ends the other one itself. The environment holds unless the user has set it.

    Raises:
        OSError: there is no process for it, or the log cannot be written to.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--parent-process", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**(environment or {}), **os.environ, "PYTHONPATH": paths},
            pass_fds=pass_fds,
            start_new_session=True,
        )


def last_line(log: Path) -> str:
    """The last line of a log, of at most 500 characters; empty if there is none."""
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip()[:500] if lines else ""
    return ""


def end_with(parent: int, end: Callable[[], object] = lambda: os._exit(1)) -> None:
    """Ends this process when its parent has gone, also if that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        end()

    threading.Thread(target=watch, daemon=True).start()

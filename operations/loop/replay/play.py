"""Plays a replay: one process per level, watched until all have ended. Imports neither TensorFlow nor TFX."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

import storage
from errors import FlightdeckError
from operations.loop.replay.plan import ReplayPlan
from operations.loop.replay.steps import Step
from operations.loop.settings import Settings
from pipeline import child_process

_LOOK_SECONDS = 0.3
Listener = Callable[[int, Step], None]


def keep_settings(root: Path, settings: Settings) -> None:
    """Writes the settings that all levels share beside the plan, for their processes."""
    storage.write(root / "settings.json", json.dumps(settings.whole_document(), indent=2))


def play(root: Path, plan: ReplayPlan, parallel: int, listener: Listener) -> None:
    """Plays all levels of a plan, from wherever each was left.

    Whatever ends this process ends those of the levels too; each goes on with the next call.

    Raises:
        FlightdeckError: a level cannot go on; the text says why, and where its log is.
    """
    steps: SimpleQueue[tuple[int, Step]] = SimpleQueue()
    # The longest first: level 0 trains once.
    waiting, running = sorted(plan.levels, reverse=True), {}
    with contextlib.ExitStack() as stack:
        while waiting or running:
            while waiting and len(running) < parallel:
                level = waiting.pop(0)
                running[level] = stack.enter_context(_start(root, level, steps))
                stack.callback(running[level].kill)  # a level can be killed at any moment
            _hear(steps, listener)
            for level, process in list(running.items()):
                if process.poll() is not None:
                    _hear(steps, listener)
                    del running[level]
                    _check(root, level, process.returncode)


def log_of(root: Path, level: int) -> Path:
    """The log of a level's process."""
    return root / f"level-{level}.log"


def _start(root: Path, level: int, steps: SimpleQueue[tuple[int, Step]]) -> subprocess.Popen[bytes]:
    read, write = os.pipe()
    arguments = ("--root", str(root), "--level", str(level), "--events", str(write))
    try:
        worker = "operations.loop.replay.worker"
        process = child_process.start(log_of(root, level), worker, *arguments, pass_fds=(write,))
    finally:
        os.close(write)

    def listen() -> None:
        with os.fdopen(read, encoding="utf-8") as lines:
            for line in lines:
                steps.put((level, Step.model_validate_json(line)))

    threading.Thread(target=listen, daemon=True).start()
    return process


def _hear(steps: SimpleQueue[tuple[int, Step]], listener: Listener) -> None:
    with contextlib.suppress(Empty):
        listener(*steps.get(timeout=_LOOK_SECONDS))
        while True:
            listener(*steps.get_nowait())


def _check(root: Path, level: int, code: int) -> None:
    if code == 0:
        return
    log = log_of(root, level)
    said = child_process.last_line(log) if code == 2 else ""
    said = said or f"its process ended with {code}; run the same command to go on."
    raise FlightdeckError(f"Level {level} cannot go on: {said} Its log: {log}")

"""A replay that takes minutes: few rows, a small network, and rules that such few rows do not set off."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from pipeline import settings_file
from pipeline.settings import Settings
from tests.world import ROOT

ROWS = 1500
OVERRIDES = (
    "model.epochs=1",
    "model.batch_size=256",
    "model.hidden_units=[16]",
    "evaluation.metrics=[{name: AUC, better: higher, at_least: 0.35, may_lose: 0.5}, {name: MeanPrediction},"
    " {name: LogLoss, module: components.evaluation.row_metrics}, "
    " {name: RowCount, module: components.evaluation.row_metrics}]",
    "monitoring.fewest_rows=1000",
    "monitoring.fewest_labels=1000",
    # Of so few rows, distances say nothing.
    "monitoring.rules=[{name: fault in the data, kinds: [unseen], action: quarantine},"
    " {name: expected, kinds: [quality], action: alert}]",
    "canary.rows=300",
    "canary.labels=1000",
    "canary.prediction_distance=1.0",
)


def arguments(workspace: Path, spans: Path) -> list[str]:
    """Options of the command."""
    given = (f"workspace={workspace}", f"data.spans={spans}", *OVERRIDES)
    return [part for each in given for part in ("--set", each)]


def settings(workspace: Path, spans: Path) -> Settings:
    """The settings that the command has with `arguments`."""
    return settings_file.load(
        ROOT / "config" / "replay.yaml", [f"workspace={workspace}", f"data.spans={spans}", *OVERRIDES]
    )


def command(workspace: Path, spans: Path, *further: str) -> list[str]:
    """``flightdeck replay``."""
    return [sys.executable, "-m", "flightdeck", "replay", *arguments(workspace, spans), *further]


def play(workspace: Path, spans: Path, *further: str) -> str:
    """Plays to the end; what it printed."""
    done = subprocess.run(command(workspace, spans, *further), capture_output=True, text=True, cwd=ROOT, timeout=1800)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def play_killed(
    workspace: Path, spans: Path, kills: int, seconds: tuple[float, float], seed: int, *further: str
) -> int:
    """Plays to the end, with SIGKILL to all of its processes at random moments.

    Moments are counted in seconds of the processors: on a busy machine they are the same ones.

    Args:
        workspace: of its own.
        spans: as they are.
        kills: at most so many.
        seconds: of the processors, the fewest and the most until a kill.
        seed: of the moments.
        further: options.

    Returns:
        How often it was killed before it was done.
    """
    moments = random.Random(seed)
    for done in range(kills):
        process = subprocess.Popen(
            command(workspace, spans, *further),
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        used, most = 0.0, moments.uniform(*seconds)
        while process.poll() is None and used < most:
            time.sleep(0.05)
            used = max(used, sum(_used(each) for each in _family(process)))
        if process.poll() is not None:
            assert process.returncode == 0
            return done
        _kill(process)
    play(workspace, spans, *further)
    return kills


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
    return used.user + used.system


def _kill(process: subprocess.Popen[bytes]) -> None:
    for each in _family(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each.pid, signal.SIGKILL)
    process.wait()

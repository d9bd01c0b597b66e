"""A workspace of its own with real spans, and the command line to run on it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.small_run import SMALL

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class World:
    """A workspace of its own, and spans."""

    workspace: Path
    spans: Path

    def options(self, *overrides: str) -> list[str]:
        settings = (f"workspace={self.workspace}", f"data.spans={self.spans}", *SMALL, *overrides)
        return [part for setting in settings for part in ("--set", setting)]

    def flightdeck(self, *arguments: str, overrides: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flightdeck", *arguments, *self.options(*overrides)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=600,
        )

    def run(self, *overrides: str, expect: int = 0) -> dict[str, Any]:
        """``flightdeck run --json``: its summary."""
        done = self.flightdeck("run", "--json", overrides=overrides)
        assert done.returncode == expect, f"{done.stdout}\n{done.stderr}\n{self.latest_log()[-5000:]}"
        return json.loads(done.stdout)

    def interrupt(self, after: str, *overrides: str, by: int = signal.SIGINT) -> tuple[int, str]:
        """``flightdeck run``, to which a signal is sent two seconds after a node was reported: exit code and screen."""
        process = subprocess.Popen(
            [sys.executable, "-m", "flightdeck", "run", *self.options(*overrides)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        screen = ""
        assert process.stdout is not None
        for line in process.stdout:
            screen += line
            if after in line:
                time.sleep(2)
                os.kill(process.pid, by)
        return process.wait(timeout=120), screen

    def connection(self) -> Any:
        from pipeline import settings_file, store

        return store.connection(settings_file.load(ROOT / "config" / "local.yaml", [f"workspace={self.workspace}"]))

    def latest_log(self) -> str:
        logs = sorted(self.workspace.glob("runs/*/run.log"))
        return logs[-1].read_text(errors="replace") if logs else ""

    def versions(self) -> list[str]:
        return sorted(path.name for path in (self.workspace / "models").glob("*/*"))

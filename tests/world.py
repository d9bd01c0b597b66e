"""A workspace of its own with real spans, and the command line to run on it."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from tests import forked
from tests.small_run import SMALL

ROOT = forked.ROOT
LOCAL = ROOT / "config" / "local.yaml"
_FILES = {"contract": "data/contract.yaml", "schema_file": "data/schema.pbtxt", "model_card": "models/CARD.md"}
USE_CASE = {name: str(ROOT / path) for name, path in _FILES.items()}  # for a settings file that lies elsewhere


@dataclasses.dataclass(frozen=True)
class World:
    """A workspace of its own, spans, and settings and variables that are the same for every command."""

    workspace: Path
    spans: Path
    overrides: tuple[str, ...] = ()
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    folder: Path = ROOT  # where commands run, and find the code

    def options(self, *overrides: str) -> list[str]:
        settings = (f"workspace={self.workspace}", f"data.spans={self.spans}", *SMALL, *self.overrides, *overrides)
        return [part for setting in settings for part in ("--set", setting)]

    def flightdeck(
        self, *arguments: str, overrides: tuple[str, ...] = (), imports_anew: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, on request in a process that has nothing in common with any other."""
        command, environment = ("flightdeck", *arguments, *self.options(*overrides)), os.environ | self.variables
        if imports_anew:
            program = [sys.executable, "-m", *command]
            where = {"cwd": self.folder, "env": environment, "timeout": 600}
            return subprocess.run(program, capture_output=True, text=True, **where)
        return forked.run(*command, cwd=self.folder, env=environment)

    def says(self, *arguments: str, expect: int = 0, overrides: tuple[str, ...] = ()) -> str:
        """What a command prints: on standard error, if an exit code other than 0 is expected."""
        done = self.flightdeck(*arguments, overrides=overrides)
        assert done.returncode == expect, f"{done.stdout}\n{done.stderr}\n{self.latest_log()[-5000:]}"
        return done.stderr if expect else done.stdout

    def json(self, *arguments: str, overrides: tuple[str, ...] = ()) -> Any:
        """What a command tells programs."""
        return json.loads(self.says(*arguments, "--json", overrides=overrides))

    def run(self, *overrides: str, expect: int = 0, imports_anew: bool = False) -> dict[str, Any]:
        """``flightdeck run --json``: its summary."""
        done = self.flightdeck("run", "--json", overrides=overrides, imports_anew=imports_anew)
        assert done.returncode == expect, f"{done.stdout}\n{done.stderr}\n{self.latest_log()[-5000:]}"
        return json.loads(done.stdout)

    def start(self, *arguments: str, stderr: int = subprocess.STDOUT) -> forked.Forked:
        """Starts a command."""
        environment = os.environ | self.variables
        command = ("flightdeck", *arguments, *self.options())
        return forked.Forked(*command, cwd=self.folder, stderr=stderr, env=environment)

    def interrupt(self, after: str, by: int = signal.SIGINT) -> tuple[int, str]:
        """``flightdeck run``, to which a signal is sent two seconds after a node was reported: exit code and screen."""
        process, screen = self.start("run"), ""
        for line in process.stdout:
            screen += line
            if after in line:
                time.sleep(2)
                os.kill(process.pid, by)
        return process.wait(timeout=120), screen

    @contextlib.contextmanager
    def serving(self) -> Iterator[tuple[str, str]]:
        """``flightdeck serve`` until the block ends: what the screen shows, and the command there that asks it."""
        process = self.start("serve", "--port", "0", "--grpc-port", "0", stderr=subprocess.PIPE)
        try:
            screen = list(iter(process.stdout.readline, "Ctrl+C ends it.\n"))
            (shown,) = [line.strip() for line in screen if line.strip().startswith("curl ")]
            yield "".join(screen), shown
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=90)
            assert process.returncode == 0, said
        finally:
            process.kill()

    def copy(self, workspace: Path) -> "World":
        """The same models, spans and records in a workspace of its own; artifacts stay where they are."""
        shutil.copytree(self.workspace, workspace, dirs_exist_ok=True)
        return dataclasses.replace(self, workspace=workspace, spans=workspace / "spans")

    def answer(self, rows: Any, day: datetime) -> None:
        """Has the newest version answer rows, spread over a day, and logs them as the service does."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        from operations.inference.batch_prediction import to_arrays
        from operations.inference.model import load
        from operations.inference.payload_table import Payload, as_table

        folder = max((self.workspace / "models").glob("*/*"), key=lambda version: int(version.name))
        model = load(folder, int(folder.name))
        types = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.string()}
        table = pa.table(
            {
                name: pa.array(rows[name], from_pandas=True).cast(types[column.dtype])
                for name, column in model.inputs.columns.items()
            }
        )
        columns = to_arrays(table.combine_chunks().to_batches()[0])
        times = day.timestamp() + np.linspace(0, 86_000, len(rows))
        outputs = model.predict(columns)
        payload = Payload(
            rows["flight_id"].tolist(), times, model.version, model.inputs.columns, columns, None, outputs
        )
        log = self.workspace / "payloads" / f"{day:%Y-%m-%d}"
        log.mkdir(parents=True, exist_ok=True)
        pq.write_table(as_table(payload), log / "all.parquet")

    def connection(self) -> Any:
        from flightdeck.settings import read_settings
        from pipeline import store

        return store.connection(read_settings(LOCAL, [f"workspace={self.workspace}"]))

    def latest_log(self) -> str:
        logs = sorted(self.workspace.glob("runs/*/run.log"))
        return logs[-1].read_text(errors="replace") if logs else ""

    def versions(self) -> list[str]:
        return sorted(path.name for path in (self.workspace / "models").glob("*/*"))

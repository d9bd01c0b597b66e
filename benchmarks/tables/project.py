"""A table on its way from CSV to a served model, by the commands that a person would type."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tables.specs import Table
from errors import FlightdeckError

if TYPE_CHECKING:
    import pandas as pd

    from data.contract import Contract
    from models.features import FeatureSettings

_STOP_SECONDS = 60


@dataclass
class Project:
    """A project that `flightdeck new` makes of a table, with the seconds of each step.

    Attributes:
        folder: Of the project; it must not exist.
    """

    table: Table
    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def create(self, csv: Path) -> None:
        """Makes it, with what a person changes in it, and prepares the spans."""
        given = ["--from", str(csv), "--label", self.table.label, *self.table.options]
        self._timed("new", "new", str(self.folder), *given, cwd=csv.parent)
        for name, old, new in self.table.edits:
            file = self.folder / name
            text = file.read_text(encoding="utf-8")
            if text.count(old) != 1:
                raise FlightdeckError(f"{self.table.name}: {name} says {old!r} {text.count(old)} times, and not once.")
            file.write_text(text.replace(old, new), encoding="utf-8")
        self._timed("prepare", "data", "prepare")

    def changed_lines(self) -> int:
        """The lines that a person has written, by `git diff` against what `flightdeck new` wrote."""
        done = subprocess.run(
            ["git", "-C", str(self.folder), "diff", "--numstat"], capture_output=True, text=True, check=True
        )
        return sum(int(line.split("\t")[0]) for line in done.stdout.splitlines())

    def contract(self) -> Contract:
        """Of the project."""
        from data.contract import Contract

        return Contract.load(self.folder / "usecase" / "contract.yaml")

    def features(self) -> FeatureSettings:
        """What the model reads."""
        from models.features import FeatureSettings

        return FeatureSettings.model_validate(self._settings()["features"])

    def _settings(self) -> dict[str, Any]:
        import yaml

        return yaml.safe_load((self.folder / "config" / "local.yaml").read_text(encoding="utf-8"))

    def spans(self) -> list[Path]:
        """The folders of the spans, the oldest first."""
        return sorted((self.folder / "workspace" / "spans").glob("span-*"))

    def rotated(self, split: int) -> Path:
        """A folder in which another part is the newest one: the last, the one before it, and so on."""
        spans = self.spans()
        folder = self.folder / "workspace" / f"split-{split}" / "spans"
        if not folder.exists():
            cut = len(spans) - split
            for number, span in enumerate([*spans[cut:], *spans[:cut]], start=1):
                shutil.copytree(span, folder / f"span-{number:03d}")
        return folder

    def run(self, split: int) -> dict[str, Any]:
        """A run that evaluates a part; it has a workspace and a seed of its own. Returns its summary."""
        spans = self.rotated(split)
        chosen = [f"workspace={spans.parent}", f"data.spans={spans}", f"model.seed={split}"]
        said = self._timed("run", "run", "--json", *_set(chosen))
        summary = json.loads(said)
        if summary["outcome"] != "pushed":
            raise FlightdeckError(f"{self.table.name}, split {split}: the model was not pushed ({summary['outcome']}).")
        return summary

    def rows(self, split: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What a run has learned from, and what it was evaluated on."""
        import pandas as pd

        *older, newest = [
            pd.read_parquet(next(span.glob("*.parquet"))) for span in sorted(self.rotated(split).iterdir())
        ]
        return pd.concat(older, ignore_index=True), newest

    def predictions(self, split: int) -> pd.DataFrame:
        """What the pushed model of a run answers for the evaluated rows, in their order."""
        import pandas as pd

        spans = self.rotated(split)
        newest = next(sorted(spans.iterdir())[-1].glob("*.parquet"))
        out = spans.parent / "predictions.parquet"
        chosen = _set([f"workspace={spans.parent}", f"data.spans={spans}"])
        self._timed("predict", "predict", str(newest), "--no-pipeline", "--output", str(out), "--json", *chosen)
        return pd.read_parquet(out)

    def answer(self, split: int, instance: dict[str, Any]) -> Any:
        """What the service answers to one request over REST."""
        spans = self.rotated(split)
        chosen = _set([f"workspace={spans.parent}", f"data.spans={spans}"])
        command = [sys.executable, "-m", "flightdeck", "serve", "--port=0", "--grpc-port=0", "--json", *chosen]
        began = time.monotonic()
        with (
            (self.folder / "workspace" / "serve.log").open("w") as log,
            subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True) as service,
        ):
            try:
                assert service.stdout is not None
                line = service.stdout.readline()
                if not line:
                    raise FlightdeckError(f"{self.table.name}: the service did not start; see {log.name}.")
                name = self._settings()["use_case"]["name"]
                request = urllib.request.Request(
                    f"{json.loads(line)['url']}/v1/models/{name}:predict",
                    json.dumps({"instances": [instance]}).encode(),
                    {"Content-Type": "application/json"},
                )
                with urllib.request.urlopen(request, timeout=_STOP_SECONDS) as reply:
                    answer = json.load(reply)["predictions"][0]
                self.seconds["served"] = time.monotonic() - began
            finally:
                service.terminate()
                service.wait(_STOP_SECONDS)
        return answer

    def _timed(self, step: str, *arguments: str, cwd: Path | None = None) -> str:
        """What a command prints; its seconds are added to those of the step."""
        command = [sys.executable, "-m", "flightdeck", *arguments]
        began = time.monotonic()
        done = subprocess.run(command, cwd=cwd or self.folder, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise FlightdeckError(f"{self.table.name}: flightdeck {arguments[0]} failed: {said}")
        self.seconds[step] = self.seconds.get(step, 0.0) + time.monotonic() - began
        return done.stdout


def _set(chosen: list[str]) -> list[str]:
    return [f"--set={setting}" for setting in chosen]

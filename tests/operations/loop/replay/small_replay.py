"""A replay that takes minutes: few rows, a small network, and rules that such few rows do not set off."""

import random
import subprocess
import sys
from pathlib import Path

from flightdeck.settings import Settings, read_settings
from tests.killing import killed_after
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

# The flights' other targets: more rows and a longer training, so that a model knows something, and the rules that all
# projects have. The fault is in the label.
_OTHER = (
    "model.tuning.objective=val_loss",
    "model.epochs=3",
    "model.batch_size=256",
    "model.hidden_units=[32]",
    "monitoring.fewest_rows=2000",
    "monitoring.fewest_labels=2000",
    "canary.rows=1000",
)
OTHER_ROWS = 4000


def of_target(label: str, contract: str, module: str, loss: str) -> tuple[str, ...]:
    """The settings of a replay of another target; its fault is called ``shuffled``."""
    metric = f"{{name: {loss}, module: components.evaluation.{module}, better: lower, at_most: 200.0}}"
    return (
        *_OTHER,
        f"use_case.contract={ROOT / 'data' / contract}",
        f"evaluation.metrics=[{metric}, {{name: RowCount, module: components.evaluation.row_metrics}}]",
        f"replay.faults={{shuffled: {{function: data.faults.shuffled_labels, column: {label}, requests: false}}}}",
    )


OTHER_TARGETS = {
    "multiclass": of_target("lateness", "lateness.yaml", "class_metrics", "LogLoss"),
    "regression": of_target("arr_delay", "delay.yaml", "value_metrics", "RMSE"),
}


def overrides(workspace: Path, spans: Path, of: tuple[str, ...] = OVERRIDES) -> list[str]:
    return [f"workspace={workspace}", f"data.spans={spans}", *of]


def settings(workspace: Path, spans: Path) -> Settings:
    return read_settings(ROOT / "config" / "replay.yaml", overrides(workspace, spans))


def command(workspace: Path, spans: Path, *further: str, of: tuple[str, ...] = OVERRIDES) -> list[str]:
    options = (part for setting in overrides(workspace, spans, of) for part in ("--set", setting))
    return [sys.executable, "-m", "flightdeck", "replay", *options, *further]


def play(workspace: Path, spans: Path, *further: str, of: tuple[str, ...] = OVERRIDES) -> str:
    asked = command(workspace, spans, *further, of=of)
    done = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, timeout=1800)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def play_killed(
    workspace: Path, spans: Path, kills: int, seconds: tuple[float, float], seed: int, *further: str
) -> int:
    """Plays to the end, with SIGKILL to all of its processes at random moments; how often before it was done.

    A kill comes after so many seconds of the processors, the fewest and the most.
    """
    moments = random.Random(seed)
    for done in range(kills):
        code = killed_after(command(workspace, spans, *further), moments.uniform(*seconds))
        if code is not None:
            assert code == 0
            return done
    play(workspace, spans, *further)
    return kills

"""Compares a warm start with training from scratch, month after month, on the same rows.

For each span from the third on, all spans before it are learned from and it is the one to be judged on, as in
continuous training. A chain of models that each begin with the one before is trained beside models that begin anew:

    python -m benchmarks.warm_start --spans workspace/spans

Both go the whole way of a pipeline: spans -> tf.Examples -> tf.Transform -> `models.training.run_fn` -> the exported
model's `serving_default`. The time is that of `run_fn`, which reads, begins, fits and exports. The differences of log
loss are paired over the rows of all judged spans, with a bootstrap interval.

The exit status is 0 whatever comes out: what to do about it is for people.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import quality
from data import prepare, spans
from data.contract import Contract
from models.features import FeatureSettings
from models.settings import ModelSettings

_RESAMPLES = 1000


@dataclass(frozen=True)
class Way:
    """One way to train: whether it begins with the model before, and what it sets."""

    name: str
    warm: bool
    model: dict[str, Any]


@dataclass
class Course:
    """What came of a way, span by span.

    Attributes:
        losses: Log loss of each row of each judged span.
        areas: ROC AUC on each judged span.
        seconds: Of each training.
        newest: The folder of the newest model.
    """

    losses: list[np.ndarray]
    areas: list[float]
    seconds: list[float]
    newest: Path | None = None

    def loss(self) -> float:
        """The mean log loss over the judged spans, each of the same weight."""
        return float(np.mean([each.mean() for each in self.losses]))


def ways(epochs: int, rate: float) -> list[Way]:
    """Scratch and warm with the same epochs, and with one; warm also with one epoch at a lower learning rate."""
    return [
        Way(f"scratch, {epochs} epochs", False, {"epochs": epochs}),
        Way(f"warm, {epochs} epochs", True, {"epochs": epochs}),
        Way("scratch, 1 epoch", False, {"epochs": 1}),
        Way("warm, 1 epoch", True, {"epochs": 1}),
        Way(f"warm, 1 epoch at a rate of {rate / 4:g}", True, {"epochs": 1, "learning_rate": rate / 4}),
    ]


def run(folder: Path, first: int, newest: int, compared: list[Way], base: dict[str, Any]) -> dict[str, Course]:
    """Trains along all ways, and prints a line per training."""
    from sklearn.metrics import roc_auc_score

    from models.training import run_fn

    contract, features = Contract.load(quality.CONTRACT), FeatureSettings()
    columns = contract.ingested()
    courses = {way.name: Course([], [], []) for way in compared}
    with tempfile.TemporaryDirectory() as temporary:
        for judged in range(first + 2, newest + 1):
            here = Path(temporary) / f"{judged:03}"
            train = [spans.read(folder, span) for span in range(first, judged)]
            evaluation = spans.read(folder, judged)
            quality.write_examples(train, columns, here / "Split-train")
            quality.write_examples([evaluation], columns, here / "Split-eval")
            quality.analyse(str(here / "Split-train" / "*"), quality.SCHEMA, features, here / "transform")
            labels = evaluation.column(contract.label).to_numpy()
            for at, way in enumerate(compared):
                course = courses[way.name]
                destination = here / f"way-{at}"
                settings = ModelSettings.model_validate(base | way.model)
                arguments = quality.trainer_arguments(
                    here, here / "transform", destination, features, settings, contract.label
                )
                if way.warm and course.newest is not None:
                    arguments.base_model = str(course.newest)
                started = time.monotonic()
                run_fn(arguments)
                course.seconds.append(time.monotonic() - started)
                course.newest = destination / "serving"
                answers = quality.serve(course.newest, sorted((here / "Split-eval").iterdir())).astype(np.float64)
                answers = np.clip(answers, 1e-7, 1 - 1e-7)
                course.losses.append(-np.log(np.where(labels == 1, answers, 1 - answers)))
                course.areas.append(float(roc_auc_score(labels, answers)))
                print(
                    f"span {judged:>2}  {way.name:<32} log loss {course.losses[-1].mean():.4f}  "
                    f"AUC {course.areas[-1]:.4f}  {course.seconds[-1]:.1f} s",
                    flush=True,
                )
    return courses


def difference(course: Course, reference: Course, seed: int = 0) -> tuple[float, float, float]:
    """By how much a way's log loss is higher than the reference's on the same rows: mean, and its 95 % interval.

    Rows are drawn anew within each span, and spans count alike. The first judged span is left out: there nobody has a
    model to begin with. Source: B. Efron and R. Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
    """
    generator = np.random.default_rng(seed)
    pairs = [one - other for one, other in zip(course.losses[1:], reference.losses[1:], strict=True)]
    drawn = [
        np.mean([each[generator.integers(0, len(each), len(each))].mean() for each in pairs]) for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(np.mean([each.mean() for each in pairs])), float(low), float(high)


def main() -> int:
    """Runs the comparison and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=Path, default=Path("workspace/spans"), help="prepared if it is not there")
    parser.add_argument("--first", type=int, default=1, help="oldest span to learn from")
    parser.add_argument("--newest", type=int, default=12, help="last span to judge on")
    parser.add_argument("--epochs", type=int, default=ModelSettings().epochs)
    parser.add_argument("--batch-size", type=int, default=ModelSettings().batch_size)
    parser.add_argument("--json", type=Path, help="also write the figures into this file")
    arguments = parser.parse_args()
    prepare.prepare(arguments.spans)
    compared = ways(arguments.epochs, ModelSettings().learning_rate)
    courses = run(arguments.spans, arguments.first, arguments.newest, compared, {"batch_size": arguments.batch_size})
    reference = courses[compared[0].name]
    print(f"\n{'way':<34}{'log loss':>9}{'AUC':>8}{'s':>8}   log loss against {compared[0].name}, 95 % interval")
    figures = {}
    for name, course in courses.items():
        mean, low, high = difference(course, reference)
        figures[name] = {
            "log_loss": [float(each.mean()) for each in course.losses],
            "auc": course.areas,
            "seconds": course.seconds,
            "difference": {"mean": mean, "low": low, "high": high},
        }
        print(
            f"{name:<34}{course.loss():>9.4f}{np.mean(course.areas):>8.4f}{sum(course.seconds):>8.1f}   "
            f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

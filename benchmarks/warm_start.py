"""Compares a warm start with training from scratch, month after month, on the same rows.

For each span from the fourth on, all spans before it are learned from and it is the one to be judged on, as in
continuous training. Chains of models that each begin with the one before are trained beside models that begin anew. All
chains begin with the same model, which was trained from scratch and in full on the first two spans:

    python -m benchmarks.warm_start --spans workspace/spans

Both go the whole way of a pipeline: spans -> tf.Examples -> tf.Transform -> `models.training.run_fn` -> the exported
model's `serving_default`. The CPU time is that of `run_fn`, which reads, begins, fits and exports. The differences of
log loss are paired over the rows of all judged spans, with a bootstrap interval.

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
from models.flights import FlightFeatures
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
        seconds: CPU time of each training, of all threads.
        newest: The folder of the newest model.
    """

    losses: list[np.ndarray]
    areas: list[float]
    seconds: list[float]
    newest: Path | None = None

    def loss(self) -> float:
        """The mean log loss over the judged spans, each of the same weight."""
        return float(np.mean([loss.mean() for loss in self.losses]))


def ways(epochs: int) -> list[Way]:
    """Scratch and warm, with the same epochs and with one."""
    return [
        Way(f"scratch, {epochs} epochs", False, {"epochs": epochs}),
        Way(f"warm, {epochs} epochs", True, {"epochs": epochs}),
        Way("scratch, 1 epoch", False, {"epochs": 1}),
        Way("warm, 1 epoch", True, {"epochs": 1}),
    ]


def run(
    folder: Path, first: int, newest: int, compared: list[Way], base: dict[str, Any], json_path: Path | None
) -> dict[str, Course]:
    """Trains along all ways; prints a line per training, and keeps the figures after each span."""
    from sklearn.metrics import roc_auc_score

    from models.training import run_fn

    contract, features = Contract.load(quality.CONTRACT), FlightFeatures()
    columns = contract.ingested()
    courses = {way.name: Course([], [], []) for way in compared}
    with tempfile.TemporaryDirectory() as temporary:
        for judged in range(first + 2, newest + 1):
            beginning = judged == first + 2
            here = Path(temporary) / f"{judged:03}"
            train = [spans.read(folder, span) for span in range(first, judged)]
            evaluation = spans.read(folder, judged)
            quality.write_examples(train, columns, here / "Split-train")
            quality.write_examples([evaluation], columns, here / "Split-eval")
            quality.analyse(str(here / "Split-train" / "*"), quality.SCHEMA, features, here / "transform")
            labels = evaluation.column(contract.label).to_numpy()
            for at, way in enumerate(compared[:1] if beginning else compared):
                course = courses[way.name]
                destination = here / f"way-{at}"
                settings = ModelSettings.model_validate(base | way.model)
                arguments = quality.trainer_arguments(
                    here, here / "transform", destination, features, settings, contract.target
                )
                if way.warm and course.newest is not None:
                    arguments.base_model = str(course.newest)
                started = time.process_time()
                run_fn(arguments)
                seconds = time.process_time() - started
                course.newest = destination / "serving"
                if beginning:
                    for other in courses.values():
                        other.newest = course.newest
                    continue
                course.seconds.append(seconds)
                answers = quality.serve(course.newest, sorted((here / "Split-eval").iterdir())).astype(np.float64)
                answers = np.clip(answers, 1e-7, 1 - 1e-7)
                course.losses.append(-np.log(np.where(labels == 1, answers, 1 - answers)))
                course.areas.append(float(roc_auc_score(labels, answers)))
                print(
                    f"span {judged:>2}  {way.name:<22} log loss {course.losses[-1].mean():.4f}  "
                    f"AUC {course.areas[-1]:.4f}  {course.seconds[-1]:.1f} CPU s",
                    flush=True,
                )
            if not beginning:
                report(courses, compared[0].name, json_path)
    return courses


def report(courses: dict[str, Course], reference: str, json_path: Path | None) -> None:
    """Prints the figures over all spans that have been judged so far, and writes them into a file."""
    figures = {}
    print(f"\n{'way':<22}{'log loss':>9}{'AUC':>8}{'CPU s':>8}   log loss against {reference}, 95 % interval")
    for name, course in courses.items():
        mean, low, high = difference(course, courses[reference])
        figures[name] = {
            "log_loss": [float(loss.mean()) for loss in course.losses],
            "auc": course.areas,
            "seconds": course.seconds,
            "difference": {"mean": mean, "low": low, "high": high},
        }
        print(
            f"{name:<22}{course.loss():>9.4f}{np.mean(course.areas):>8.4f}{sum(course.seconds):>8.1f}   "
            f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"
        )
    print(flush=True)
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=2))


def difference(course: Course, reference: Course, seed: int = 0) -> tuple[float, float, float]:
    """By how much a way's log loss is higher than the reference's on the same rows: mean, and its 95 % interval.

    Rows are drawn anew within each span, and spans count alike. Source: B. Efron and R. Tibshirani, "An Introduction to
    the Bootstrap" (1993), chapter 13.
    """
    generator = np.random.default_rng(seed)
    pairs = [one - other for one, other in zip(course.losses, reference.losses, strict=True)]
    drawn = [
        np.mean([pair[generator.integers(0, len(pair), len(pair))].mean() for pair in pairs]) for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(np.mean([pair.mean() for pair in pairs])), float(low), float(high)


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
    compared = ways(arguments.epochs)
    base = {"batch_size": arguments.batch_size}
    run(arguments.spans, arguments.first, arguments.newest, compared, base, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

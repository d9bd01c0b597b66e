"""The rows that a model answers most wrongly, with what each column has to do with that, by the model's own account."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from components.scores import rows
from components.scores.saved_model import SavedModel
from components.tasks import Task

# As many as people read.
MOST = 20


class Mistakes:
    """Gathers the worst of rows that come in batches, in the memory of one batch; of equal ones the first."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._worst = rows.Lowest(MOST)

    def add(self, batch: pa.RecordBatch, answers: np.ndarray) -> None:
        """Adds rows, and what the model answered, float64 [rows] or [rows, classes]; a row without a label is right."""
        labels = rows.numbers(batch, self._task.label)
        wrong = np.full(batch.num_rows, -np.inf) if labels is None else self._task.mistakes(labels, answers)
        self._worst.add(batch, np.nan_to_num(-wrong, nan=np.inf))

    def explained(self, model: SavedModel) -> dict[str, Any]:
        """Returns the content of `mistakes.json`: the worst first, each with its values and the model's explanation.

        A number is a list where an answer has several.
        """
        batch, positions = self._worst.batch(), self._worst.positions
        why = model.explain(batch)
        labels = rows.labels(batch, self._task.label)
        values = {name: _plain(rows.readable(rows.column(batch, name))) for name in why.attributions}
        return {
            "rows": [
                {
                    "row": int(positions[at]),
                    "label": float(labels[at]),
                    "answer": _rounded(why.answers[at]),
                    "base_value": _rounded(why.base_values[at]),
                    "columns": [
                        {"column": name, "value": values[name][at], "attribution": _rounded(attributions[at])}
                        for name, attributions in why.attributions.items()
                    ],
                }
                for at in self._worst.order
            ]
        }


def _plain(values: pa.Array) -> list[Any]:
    """A float32 with the digits that it has, and no number that JSON does not know."""
    if not pa.types.is_floating(values.type):
        return values.to_pylist()
    numbers = values.to_numpy(zero_copy_only=False)
    return [float(str(number)) if np.isfinite(number) else None for number in numbers]


def _rounded(numbers: np.ndarray) -> float | list[float]:
    """Seven digits are what float32 has."""
    return [float(f"{number:.7g}") for number in numbers] if numbers.ndim else float(f"{numbers:.7g}")

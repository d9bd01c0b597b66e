"""Permutation importance: what a model loses when one raw column is shuffled among the rows.

Breiman, "Random Forests" (2001), for any model as in Fisher, Rudin and Dominici, "All Models are Wrong, but Many are
Useful" (2019). A column that repeats what others say gets little, because the model can do without it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from components.scores import rows
from components.scores.saved_model import SavedModel
from components.tasks import Task


class Sample:
    """A random sample, without replacement, of rows that come in batches: those with the smallest random numbers."""

    def __init__(self, size: int, seed: int):
        self._size = size
        self._random = np.random.default_rng(seed)
        self._lowest = rows.Lowest(size)

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds a batch of rows; of all that were added, `size` are kept."""
        if self._size:
            self._lowest.add(batch, self._random.random(batch.num_rows))

    def batch(self) -> pa.RecordBatch:
        """Returns the sampled rows, in the order in which they came."""
        return self._lowest.batch()


def measure(model: SavedModel, batch: pa.RecordBatch, task: Task, repeats: int, seed: int) -> dict[str, Any]:
    """Measures the importance of each raw column but the label on some rows; each shuffle has a seed of its own.

    Returns:
        The content of `importance.json`: `features` come the most important first, with the mean and the standard
        deviation over the repeats of what each measure of the task loses. Where all labels are equal or an answer is no
        number, a value is null.
    """
    labels, measures = rows.labels(batch, task.label), task.measures()
    as_they_are = model.score(batch)
    shuffled = _raw_inputs_shuffled(model, batch) if model.raw_inputs else _columns_shuffled(model, batch, task.label)
    before = {measure.name: measure.of(labels, as_they_are) for measure in measures}
    features = []
    for name, score in shuffled:
        orders = [
            np.random.default_rng([seed, zlib.crc32(name.encode()), repeat]).permutation(len(labels))
            for repeat in range(repeats)
        ]
        answers = [score(order) for order in orders]
        lost: dict[str, float | None] = {}
        for measure in measures:
            losses = np.array([measure.lost(before[measure.name], measure.of(labels, answer)) for answer in answers])
            lost |= {measure.loss: _number(losses.mean()), f"{measure.loss}_std": _number(_deviation(losses))}
        features.append({"feature": name, **lost})
    features.sort(key=lambda feature: (*(-(feature[measure.loss] or 0.0) for measure in measures), feature["feature"]))
    return {
        "rows": len(labels),
        "repeats": repeats,
        "seed": seed,
        "through": "raw signature" if model.raw_inputs else "examples",
        **{name: _number(value) for name, value in before.items()},
        "features": features,
    }


# Per column a function from an order of its rows to scores.
_Shuffled = Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]


def _raw_inputs_shuffled(model: SavedModel, batch: pa.RecordBatch) -> _Shuffled:
    inputs = model.inputs(batch)
    for name, values in inputs.items():
        yield (
            name,
            lambda order, name=name, values=values: model.answer(
                {**inputs, name: tf.gather(values, order)}, batch.num_rows
            ),
        )


def _columns_shuffled(model: SavedModel, batch: pa.RecordBatch, label: str) -> _Shuffled:
    """For a model that takes examples only; a column that it does not read loses nothing."""
    for index, name in enumerate(batch.schema.names):
        if name != label:
            yield (
                name,
                lambda order, index=index, name=name: model.score(
                    batch.set_column(index, name, batch.column(index).take(pa.array(order)))
                ),
            )


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _number(value: float) -> float | None:
    return round(float(value), 9) if np.isfinite(value) else None

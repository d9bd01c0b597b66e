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
from scipy import stats

from components.scores import rows
from components.scores.saved_model import SavedModel

# The clipping of Keras's binary cross entropy (keras.config.epsilon()).
_EPSILON = 1e-7


class Sample:
    """A random sample, without replacement, of rows that come in batches: those with the smallest random numbers."""

    def __init__(self, size: int, seed: int):
        self._size = size
        self._random = np.random.default_rng(seed)
        self._priorities = np.zeros(0)
        self._rows: list[pa.Table] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds a batch of rows; of all that were added, `size` are kept."""
        if not self._size:
            return
        priorities = np.concatenate([self._priorities, self._random.random(batch.num_rows)])
        kept = np.sort(np.argsort(priorities, kind="stable")[: self._size])
        # A column that has no value in some batches has the type that it has in the others.
        rows = pa.concat_tables([*self._rows, pa.table(batch)], promote_options="permissive")
        self._priorities, self._rows = priorities[kept], [rows.take(kept)]

    def batch(self) -> pa.RecordBatch:
        """Returns the sampled rows, in the order in which they came."""
        (rows,) = self._rows
        (batch,) = rows.combine_chunks().to_batches()
        return batch


def measure(model: SavedModel, batch: pa.RecordBatch, label: str, repeats: int, seed: int) -> dict[str, Any]:
    """Measures the importance of each raw column but the label on some rows; each shuffle has a seed of its own.

    Returns:
        The content of `importance.json`: `features` come the most important first, with the mean and the standard
        deviation over the repeats. Where all labels are equal or an answer is no number, a value is null.
    """
    labels = rows.labels(batch, label)
    as_they_are = model.score(batch)
    shuffled = _raw_inputs_shuffled(model, batch) if model.raw_inputs else _columns_shuffled(model, batch, label)
    auc, loss = area_under_roc(labels, as_they_are), log_loss(labels, as_they_are)
    features = []
    for name, score in shuffled:
        orders = [
            np.random.default_rng([seed, zlib.crc32(name.encode()), repeat]).permutation(len(labels))
            for repeat in range(repeats)
        ]
        answers = [score(order) for order in orders]
        drops = np.array([auc - area_under_roc(labels, answer) for answer in answers])
        rises = np.array([log_loss(labels, answer) - loss for answer in answers])
        features.append(
            {
                "feature": name,
                "auc_drop": _number(drops.mean()),
                "auc_drop_std": _number(_deviation(drops)),
                "log_loss_rise": _number(rises.mean()),
                "log_loss_rise_std": _number(_deviation(rises)),
            }
        )
    features.sort(
        key=lambda feature: (-(feature["auc_drop"] or 0.0), -(feature["log_loss_rise"] or 0.0), feature["feature"])
    )
    return {
        "rows": len(labels),
        "repeats": repeats,
        "seed": seed,
        "through": "raw signature" if model.raw_inputs else "examples",
        "auc": _number(auc),
        "log_loss": _number(loss),
        "features": features,
    }


def area_under_roc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the area under the ROC curve, a tie counting half (Mann and Whitney); NaN without both labels."""
    positive = labels > 0.5
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives or not np.isfinite(scores).all():
        return float("nan")
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean log loss in nats, probabilities clipped to [1e-7, 1 - 1e-7] like in Keras."""
    clipped = np.clip(probabilities, _EPSILON, 1.0 - _EPSILON)
    return float(-np.mean(labels * np.log(clipped) + (1.0 - labels) * np.log1p(-clipped))) if len(labels) else np.nan


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

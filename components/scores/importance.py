"""Permutation importance: what a model loses when one raw column is shuffled among the rows.

Breiman, "Random Forests" (2001), for any model as in Fisher, Rudin and Dominici, "All Models are Wrong, but Many are
Useful" (2019). A column that repeats what others say gets little, because the model can do without it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import stats

from components.scores.rows import Decoded
from components.scores.saved_model import SavedModel

# The clipping of Keras's binary cross entropy (keras.config.epsilon()).
_EPSILON = 1e-7


class Sample:
    """A random sample, without replacement, of rows that come in batches: those with the smallest random numbers."""

    def __init__(self, size: int, seed: int):
        self._size = size
        self._random = np.random.default_rng(seed)
        self._priorities = np.zeros(0)
        self._rows: list[tuple[bytes, float]] = []

    def add(self, examples: Sequence[bytes], labels: np.ndarray) -> None:
        """Adds a batch of rows; of all that were added, `size` are kept."""
        if not self._size:
            return
        priorities = np.concatenate([self._priorities, self._random.random(len(examples))])
        rows = [*self._rows, *zip(examples, labels.tolist(), strict=True)]
        kept = np.sort(np.argsort(priorities, kind="stable")[: self._size])
        self._priorities, self._rows = priorities[kept], [rows[index] for index in kept]

    @property
    def examples(self) -> list[bytes]:
        """The sampled examples, in the order in which they came."""
        return [example for example, _ in self._rows]

    @property
    def labels(self) -> np.ndarray:
        """Their labels, float64 [rows]."""
        return np.array([label for _, label in self._rows], np.float64)


def measure(model: SavedModel, sample: Sample, label: str, repeats: int, seed: int) -> dict[str, Any]:
    """Measures the importance of each raw column but the label on some rows; each shuffle has a seed of its own.

    Returns:
        The content of `importance.json`: `features` come the most important first, with the mean and the standard
        deviation over the repeats. Where all labels are equal or an answer is no number, a value is null.
    """
    labels = sample.labels
    through, as_they_are, shuffled = _by_raw(model, sample) if model.raw_inputs else _by_examples(model, sample, label)
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
        "through": through,
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


_Shuffled = Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]


def _by_raw(model: SavedModel, sample: Sample) -> tuple[str, np.ndarray, _Shuffled]:
    """Returns the way, the scores as they are, and per column a function from an order of its rows to scores."""
    decoded = Decoded(sample.examples)
    columns = {name: decoded.tensor(name, spec) for name, spec in model.raw_inputs.items()}

    def columns_shuffled() -> _Shuffled:
        for name, values in columns.items():
            yield name, lambda order, name=name, values=values: model.score_raw({**columns, name: values[order]})

    return "raw signature", model.score_raw(columns), columns_shuffled()


def _by_examples(model: SavedModel, sample: Sample, label: str) -> tuple[str, np.ndarray, _Shuffled]:
    """As `_by_raw`, for a model that takes examples only; a column that it does not read loses nothing."""
    names = sorted(set(Decoded(sample.examples).names) - {label})
    parsed = [tf.train.Example.FromString(example) for example in sample.examples]

    def columns_shuffled() -> _Shuffled:
        for name in names:
            values = [_feature(example, name) for example in parsed]
            rest = [_without(example, name) for example in sample.examples]
            yield (
                name,
                lambda order, values=values, rest=rest: model.score(
                    # Serialised messages that are put together are merged, by the definition of protocol buffers.
                    [example + values[donor] for example, donor in zip(rest, order, strict=True)]
                ),
            )

    return "examples", model.score(sample.examples), columns_shuffled()


def _feature(example: Any, name: str) -> bytes:
    alone = tf.train.Example()
    if name in example.features.feature:
        alone.features.feature[name].CopyFrom(example.features.feature[name])
    return alone.SerializeToString()


def _without(serialised: bytes, name: str) -> bytes:
    example = tf.train.Example.FromString(serialised)
    example.features.feature.pop(name, None)
    return example.SerializeToString()


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _number(value: float) -> float | None:
    return round(float(value), 9) if np.isfinite(value) else None

"""Why a row is answered as it is: Shapley values of the raw columns, sampled in the graph of the exported model.

The value of a column is what the answer changes by when the column's value is told, on average over the orders in which
the columns can be told, and over rows of the training data that stand for what has not been told yet. The values of all
columns add up to the difference between the answer and the base value, which is the mean answer to those rows, whatever
the number of orders: each order goes step by step from one to the other. All of it is in the unit of the answer: a
probability, the probability of each class, or a value.

Columns of numbers, categories and text are treated alike, and only the network is asked many times: a raw column is
known by the places that it has in the transformed features. Integrated gradients would need a gradient in the graph,
would say nothing about a step between two categories, and add up only as far as the integral is exact.

Strumbelj and Kononenko, "Explaining prediction models and individual predictions with feature contributions", Knowl.
Inf. Syst. 41 (2014), with antithetic orders as in Mitchell, Cooper, Frank and Holmes, "Sampling Permutations for
Shapley Value Estimation", JMLR 23 (2022).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

Features = Mapping[str, tf.Tensor]

# Of the columns of an answer's explanation, before the name of the raw column; and of the mean answer.
WHY, BASE_VALUE = "why_", "base_value"

# Half of them are the reverse of the others, and each has a row of the background of its own. Of the probabilities of
# late flights, the values of the 24 columns are then off by 0.002 on average, as measured against many more orders.
ORDERS = 64
_SEED = 0
_CANDIDATES = 2048
# The network is asked about at most so many rows at once, or about those of one order and its reverse.
_ASKED = 2048


@dataclass(frozen=True)
class Explainer:
    """Explains answers by the columns that they were asked with.

    Attributes:
        origins: Of each transformed feature, the raw column that each of its places (axis 1) depends on, and no other.
        background: Rows of the transformed features, [ORDERS, ...] each.
        answer: From transformed features to answers, float32 [rows, width].
        width: How many numbers an answer has.
    """

    origins: Mapping[str, Sequence[str]]
    background: Features
    answer: Callable[[Features], tf.Tensor]
    width: int

    @classmethod
    def of(cls, network: keras.Model, origins: Mapping[str, Sequence[str]], training: Features) -> Explainer:
        """Explains the answers of a network by the background that `background` chooses among the training rows."""

        def answer(features: Features) -> tf.Tensor:
            return network(features, training=False)

        return cls(origins, background(training, answer), answer, network.output_shape[-1])

    @property
    def columns(self) -> list[str]:
        """The raw columns, in the order of `explain`."""
        return list(dict.fromkeys(name for names in self.origins.values() for name in names))

    def explain(self, features: Features) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Explains the answers to rows of transformed features; the memory that it takes depends on no number of rows.

        Returns:
            The values of the columns, float32 [rows, columns, width], the mean answer to the background, and the answer
            to each row, both float32 [rows, width]. The first add up to the difference of the others, but for rounding.
        """
        columns = len(self.columns)
        together = ORDERS
        while together > 2 and together * (columns + 1) > _ASKED:
            together //= 2
        groups = ORDERS // together
        # When each column is told in each order, [groups, orders, columns]: the reverse of an order is the next one.
        random = np.random.default_rng(_SEED)
        first = np.stack([random.permutation(columns) for _ in range(ORDERS // 2)])
        told = tf.constant(np.stack([first, columns - 1 - first], axis=1).reshape(groups, -1, columns), tf.int32)
        background = {
            name: tf.reshape(rows, [groups, together, 1, *rows.shape[1:]]) for name, rows in self.background.items()
        }
        rows = tf.shape(next(iter(features.values())))[0]

        def step(item: tf.Tensor) -> tuple[tf.Tensor, ...]:
            row, group = item // groups, tf.math.floormod(item, groups)
            when = told[group]
            # Which columns are known after how many have been told: [orders, columns + 1, columns].
            known = when[:, tf.newaxis] < tf.range(columns + 1)[:, tf.newaxis]
            asked = {name: self._mixed(name, known, features[name][row], background[name][group]) for name in features}
            answers = tf.cast(self.answer(asked), tf.float64)
            answers = tf.reshape(answers, [together, columns + 1, self.width])
            changes = tf.gather(answers[:, 1:] - answers[:, :-1], when, axis=1, batch_dims=1)
            return tuple(tf.reduce_mean(of, axis=0) for of in (changes, answers[:, 0], answers[:, -1]))

        shapes = [columns, self.width], [self.width], [self.width]
        spec = tuple(tf.TensorSpec(shape, tf.float64) for shape in shapes)
        found = tf.map_fn(step, tf.range(rows * groups), fn_output_signature=spec)
        of_groups = (tf.reshape(of, [-1, groups, *shape]) for of, shape in zip(found, shapes, strict=True))
        values, base_value, answer = (tf.cast(tf.reduce_mean(of, axis=1), tf.float32) for of in of_groups)
        return values, base_value, answer

    def _mixed(self, name: str, known: tf.Tensor, row: tf.Tensor, background: tf.Tensor) -> tf.Tensor:
        """The row where its columns are known, and the background elsewhere: [orders * (columns + 1), ...]."""
        places = [self.columns.index(column) for column in self.origins[name]]
        mask = tf.gather(known, places, axis=2)
        mask = tf.reshape(mask, tf.concat([tf.shape(mask), tf.ones([row.shape.rank - 1], tf.int32)], axis=0))
        return tf.reshape(tf.where(mask, row, background), [-1, *row.shape])


def background(features: Features, answer: Callable[[Features], tf.Tensor]) -> Features:
    """Chooses rows that stand for all of some training rows: evenly among their answers, so that the mean is theirs.

    Args:
        features: Transformed rows, by name; as many as there are, but at least one.
        answer: As that of `Explainer`.
    """
    count = len(np.asarray(next(iter(features.values()))))
    candidates = np.unique(np.linspace(0, count - 1, min(count, _CANDIDATES)).round().astype(np.int64))
    sampled = {name: tf.gather(values, candidates) for name, values in features.items()}
    order = np.lexsort(np.asarray(answer(sampled)).T)
    middles = ((np.arange(ORDERS) + 0.5) * len(order) / ORDERS).astype(np.int64)
    return {name: tf.gather(values, order[middles]) for name, values in sampled.items()}

"""The exported model: three doors to the same transform graph and the same weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from models.inputs import as_parsed, raw_columns
from models.network import PROBABILITY

if TYPE_CHECKING:
    import tensorflow_transform as tft


class Scorer(tf.Module):
    """Scores raw columns: the transform graph, then the network without dropout."""

    def __init__(self, network: keras.Model, transform: tft.TFTransformOutput, inputs: Sequence[str]) -> None:
        """Raises an InputError if an input is not in the schema that Transform saw."""
        super().__init__()
        self._columns = raw_columns(transform, inputs)
        self._transform = transform.transform_features_layer()
        # TensorFlow's own variables, and not the Keras model around them: SavedModel would store each weight of a
        # tracked Keras 3 model twice and restore only one of the two. Python's loader mends that; the loaders that
        # restore by the graph alone, TensorFlow Serving's and Beam's, would find variables without a value.
        self._weights = [variable.value for variable in network.weights]
        self._predict = lambda features: network(features, training=False)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Returns the serving signatures by name.

        ``serving_default``: ``examples``, serialised tf.Examples, string [None] -> ``probability``, float32 [None, 1].
        ``transform_features``: ``examples`` -> the transformed features by name.
        ``predict_raw``: one input per raw column, named like it, [None, 1], int64, float32 or string ->
        ``probability``. A missing value is the smallest int64, a NaN, or an empty string.
        """
        examples = tf.TensorSpec([None], tf.string, name="examples")
        raw = {name: tf.TensorSpec([None, 1], spec.dtype, name=name) for name, spec in self._columns.items()}
        return {
            "serving_default": tf.function(self._score_examples).get_concrete_function(examples=examples),
            "transform_features": tf.function(self._transform_examples).get_concrete_function(examples=examples),
            "predict_raw": tf.function(self._score_raw).get_concrete_function(**raw),
        }

    def _score_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._score(tf.io.parse_example(examples, self._columns))

    def _transform_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._transform(tf.io.parse_example(examples, self._columns))

    def _score_raw(self, **columns: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._score({name: as_parsed(columns[name], spec) for name, spec in self._columns.items()})

    def _score(self, raw: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        return {PROBABILITY: self._predict(self._transform(raw))}


def export(network: keras.Model, transform: tft.TFTransformOutput, inputs: Sequence[str], path: str) -> None:
    """Writes a SavedModel that plain TensorFlow can load and serve; nothing of this project is needed.

    The network is in float32 and has no optimizer: what is tracked is saved.

    Raises:
        InputError: If an input is not in the schema that Transform saw.
    """
    scorer = Scorer(network, transform, inputs)
    tf.saved_model.save(scorer, path, signatures=scorer.signatures())

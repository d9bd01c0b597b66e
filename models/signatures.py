"""The exported model: four signatures on the same transform graph and the same weights."""

from __future__ import annotations

import keras
import tensorflow as tf

from models.explanation import BASE_VALUE, WHY, Explainer
from models.inputs import TransformGraph, as_parsed
from models.tasks import Head


class Scorer(tf.Module):
    """Scores raw columns: the transform graph, then the network without dropout."""

    def __init__(self, network: keras.Model, head: Head, graph: TransformGraph, explainer: Explainer) -> None:
        """The network is in float32 and has no optimizer."""
        super().__init__()
        self._graph = graph
        self._head = head
        self._explainer = explainer
        self._resources = graph.resources
        # TensorFlow's own variables, and not the Keras model around them: SavedModel would store each weight of a
        # tracked Keras 3 model twice and restore only one of the two. Python's loader mends that; the loaders that
        # restore by the graph alone, TensorFlow Serving's and Beam's, would find variables without a value.
        self._weights = [variable.value for variable in network.weights]
        self._answer = lambda features: {head.output: network(features, training=False)}

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Returns the serving signatures by name.

        ``serving_default``: ``examples``, serialised tf.Examples, string [None] -> what the head answers, under its
        name, float32 [None, width].
        ``transform_features``: ``examples`` -> the transformed features by name.
        ``predict_raw``: one input per raw column, named like it, [None, 1], int64, float32 or string -> the same. A
        missing value is the smallest int64, a NaN, or an empty string.
        ``explain``: the inputs of ``predict_raw`` -> what the head answers, the ``base_value``, and ``why_<column>``
        for each of them, float32 [None, width], in the unit of the answer. Answer - base value is the sum of the
        others, see `models.explanation`.
        """
        graph = self._graph
        examples = [tf.TensorSpec([None], tf.string, name="examples")]
        raw = {name: tf.TensorSpec([None, 1], spec.dtype, name=name) for name, spec in graph.columns.items()}
        # Traced once and called by two signatures.
        score = tf.function(
            lambda parsed: self._answer(graph.apply(parsed)),
            input_signature=[graph.signature],
            autograph=False,
        ).get_concrete_function()

        def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return score(tf.io.parse_example(examples, graph.columns))

        def transform_features(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return graph.apply(tf.io.parse_example(examples, graph.columns))

        def predict_raw(**columns: tf.Tensor) -> dict[str, tf.Tensor]:
            return score({name: as_parsed(columns[name], spec) for name, spec in graph.columns.items()})

        def explain(**columns: tf.Tensor) -> dict[str, tf.Tensor]:
            parsed = {name: as_parsed(columns[name], spec) for name, spec in graph.columns.items()}
            values, base_value, answer = self._explainer.explain(graph.apply(parsed))
            why = {f"{WHY}{name}": values[:, place] for place, name in enumerate(self._explainer.columns)}
            return {self._head.output: answer, BASE_VALUE: base_value, **why}

        return {
            "serving_default": tf.function(serving_default, autograph=False).get_concrete_function(*examples),
            "transform_features": tf.function(transform_features, autograph=False).get_concrete_function(*examples),
            "predict_raw": tf.function(predict_raw, autograph=False).get_concrete_function(**raw),
            "explain": tf.function(explain, autograph=False).get_concrete_function(**raw),
        }


def export(network: keras.Model, head: Head, graph: TransformGraph, explainer: Explainer, path: str) -> None:
    """Writes a SavedModel that plain TensorFlow can load and serve; nothing of this project is needed.

    The network is in float32 and has no optimizer: what is tracked is saved.
    """
    scorer = Scorer(network, head, graph, explainer)
    tf.saved_model.save(scorer, path, signatures=scorer.signatures())

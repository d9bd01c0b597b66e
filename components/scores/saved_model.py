"""A SavedModel that answers for many rows: its signatures, looked at before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import tensorflow as tf

from components import examples
from components.scores.rows import ScoresError, tensor

SERVING_SIGNATURE = "serving_default"
EXPLAINING_SIGNATURE, BASE_VALUE, WHY = "explain", "base_value", "why_"


class Explanation(NamedTuple):
    """What a model says about its answers, each float64 [rows], or [rows, width].

    Answers - base values is the sum of the attributions, which are by column.
    """

    answers: np.ndarray
    base_values: np.ndarray
    attributions: dict[str, np.ndarray]


class SavedModel:
    """The model's answers: through the signature of raw columns if it has one, else through `serving_default`.

    Attributes:
        raw_inputs: Name -> tf.TensorSpec of the inputs of the raw signature; empty if the model has none.
        explains: Whether it has the signature `explain`: the inputs of the raw one -> its output, `base_value`, and
            `why_<input>` for each input.
    """

    def __init__(self, path: str, raw_signature: str, width: int = 1):
        """Raises a ScoresError if `serving_default` is missing or not of the form that Scores needs.

        Args:
            path: of the SavedModel.
            raw_signature: the name of the signature that takes raw values by name.
            width: how many numbers it answers per row.
        """
        self._width = width
        # Kept, because the signatures do not keep their variables alive.
        self._model: Any = tf.saved_model.load(path)
        signatures = self._model.signatures
        if SERVING_SIGNATURE not in signatures:
            raise ScoresError(
                f"The model at {path} has no signature {SERVING_SIGNATURE}; "
                f"it has {', '.join(sorted(signatures)) or 'none'}."
            )
        serving, raw = signatures[SERVING_SIGNATURE], signatures.get(raw_signature)
        inputs = _inputs(serving)
        if len(inputs) != 1 or next(iter(inputs.values())).dtype != tf.string:
            raise ScoresError(
                f"The signature {SERVING_SIGNATURE} must have one input, serialised tf.Examples; "
                f"it has {', '.join(f'{name} ({spec.dtype.name})' for name, spec in sorted(inputs.items())) or 'none'}."
            )
        (self._serving_input,) = inputs
        for name, signature in ((SERVING_SIGNATURE, serving), (raw_signature, raw)):
            if signature is not None and len(signature.structured_outputs) != 1:
                raise ScoresError(
                    f"The signature {name} has the outputs {', '.join(sorted(signature.structured_outputs))}; "
                    "exactly one is needed."
                )
        self._signature = serving if raw is None else raw
        self.raw_inputs: dict[str, Any] = {} if raw is None else _inputs(raw)
        self._explain = signatures.get(EXPLAINING_SIGNATURE)
        self.explains = (
            self._explain is not None
            and raw is not None
            and set(self._explain.structured_outputs)
            == {
                *raw.structured_outputs,
                BASE_VALUE,
                *(f"{WHY}{name}" for name in self.raw_inputs),
            }
        )

    def score(self, batch: pa.RecordBatch) -> np.ndarray:
        """Returns what the model answers to the rows, float64 [rows], or [rows, width] where that is more than 1.

        Raises:
            ScoresError: If a column does not fit its input, or the answer does not have that width.
        """
        return self.answer(self.inputs(batch), batch.num_rows)

    def explain(self, batch: pa.RecordBatch) -> Explanation:
        """Returns what the model, if it explains, says about its answers to the rows; raises as `score` does."""
        assert self._explain is not None
        found = {
            name: self._per_row(values, batch.num_rows) for name, values in self._explain(**self.inputs(batch)).items()
        }
        attributions = {name: found.pop(f"{WHY}{name}") for name in self.raw_inputs}
        base_values = found.pop(BASE_VALUE)
        (answers,) = found.values()
        return Explanation(answers, base_values, attributions)

    def inputs(self, batch: pa.RecordBatch) -> dict[str, tf.Tensor]:
        """Returns the rows as the signature takes them, by the name of the input."""
        if self.raw_inputs:
            return {name: tensor(batch, name, spec) for name, spec in self.raw_inputs.items()}
        return {self._serving_input: tf.constant(examples.encode(batch), tf.string)}

    def answer(self, inputs: Mapping[str, tf.Tensor], rows: int) -> np.ndarray:
        """Returns what the signature answers, as `score` does; raises a ScoresError if it has another width."""
        (values,) = self._signature(**inputs).values()
        return self._per_row(values, rows)

    def _per_row(self, values: tf.Tensor, rows: int) -> np.ndarray:
        array = np.asarray(values.numpy())
        if array.shape not in ([(rows,), (rows, 1)] if self._width == 1 else [(rows, self._width)]):
            needed = "one number per row is" if self._width == 1 else f"{self._width} numbers per row are"
            raise ScoresError(
                f"The model answered {rows} rows with an array of shape {list(array.shape)}; {needed} needed."
            )
        return array.reshape((rows,) if self._width == 1 else (rows, self._width)).astype(np.float64)


def _inputs(signature: Any) -> dict[str, Any]:
    return dict(signature.structured_input_signature[1])

"""A SavedModel that answers for many rows: its signatures, looked at before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from components import examples
from components.scores.rows import ScoresError, tensor

SERVING_SIGNATURE = "serving_default"


class SavedModel:
    """The model's answers: through the signature of raw columns if it has one, else through `serving_default`.

    Attributes:
        raw_inputs: Name -> tf.TensorSpec of the inputs of the raw signature; empty if the model has none.
    """

    def __init__(self, path: str, raw_signature: str):
        """Raises a ScoresError if `serving_default` is missing or not of the form that Scores needs."""
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

    def score(self, batch: pa.RecordBatch) -> np.ndarray:
        """Returns what the model answers to the rows, float64 [rows].

        Raises:
            ScoresError: If a column does not fit its input, or the answer is not one number per row.
        """
        return self.answer(self.inputs(batch), batch.num_rows)

    def inputs(self, batch: pa.RecordBatch) -> dict[str, tf.Tensor]:
        """Returns the rows as the signature takes them, by the name of the input."""
        if self.raw_inputs:
            return {name: tensor(batch, name, spec) for name, spec in self.raw_inputs.items()}
        return {self._serving_input: tf.constant(examples.encode(batch), tf.string)}

    def answer(self, inputs: Mapping[str, tf.Tensor], rows: int) -> np.ndarray:
        """Returns what the signature answers, float64 [rows]; raises a ScoresError if that is not a number per row."""
        (values,) = self._signature(**inputs).values()
        array = np.asarray(values.numpy())
        if array.size != rows or array.ndim not in (1, 2):
            raise ScoresError(
                f"The model answered {rows} rows with an array of shape {list(array.shape)}; "
                "one number per row is needed."
            )
        return array.reshape(-1).astype(np.float64)


def _inputs(signature: Any) -> dict[str, Any]:
    return dict(signature.structured_input_signature[1])

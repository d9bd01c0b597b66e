"""A SavedModel that answers for many rows: its signatures, looked at before they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from components.scores.rows import ScoresError

SERVING_SIGNATURE = "serving_default"


class SavedModel:
    """The model's answers, batch by batch.

    Attributes:
        raw_inputs: Name -> tf.TensorSpec of the inputs of the raw signature; empty if the model has none.
    """

    def __init__(self, path: str, batch_rows: int, raw_signature: str):
        """Raises a ScoresError if `serving_default` is missing or not of the form that Scores needs."""
        # Kept, because the signatures do not keep their variables alive.
        self._model: Any = tf.saved_model.load(path)
        self._batch_rows = batch_rows
        signatures = self._model.signatures
        if SERVING_SIGNATURE not in signatures:
            raise ScoresError(
                f"The model at {path} has no signature {SERVING_SIGNATURE}; "
                f"it has {', '.join(sorted(signatures)) or 'none'}."
            )
        self._serving = signatures[SERVING_SIGNATURE]
        self._raw = signatures.get(raw_signature)
        inputs = _inputs(self._serving)
        if len(inputs) != 1 or next(iter(inputs.values())).dtype != tf.string:
            raise ScoresError(
                f"The signature {SERVING_SIGNATURE} must have one input, serialised tf.Examples; "
                f"it has {', '.join(f'{name} ({spec.dtype.name})' for name, spec in sorted(inputs.items())) or 'none'}."
            )
        (self._serving_input,) = inputs
        for name, signature in ((SERVING_SIGNATURE, self._serving), (raw_signature, self._raw)):
            if signature is not None and len(signature.structured_outputs) != 1:
                raise ScoresError(
                    f"The signature {name} has the outputs {', '.join(sorted(signature.structured_outputs))}; "
                    "exactly one is needed."
                )
        self.raw_inputs: dict[str, Any] = {} if self._raw is None else _inputs(self._raw)

    def score(self, examples: Sequence[bytes]) -> np.ndarray:
        """Returns what `serving_default` answers, float64 [rows].

        Raises:
            ScoresError: If the answer is not one number per row.
        """
        return self._answers(
            len(examples),
            lambda rows: self._serving(**{self._serving_input: tf.constant(examples[rows], tf.string)}),
        )

    def score_raw(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns what the raw signature answers to values in the shape and type of its inputs, float64 [rows].

        Raises:
            ScoresError: If the answer is not one number per row.
        """
        assert self._raw is not None, "only asked if there are raw_inputs"
        kinds = {name: spec.dtype for name, spec in self.raw_inputs.items()}
        return self._answers(
            len(next(iter(columns.values()))),
            lambda rows: self._raw(
                **{name: tf.constant(values[rows], kinds[name]) for name, values in columns.items()}
            ),
        )

    def _answers(self, total: int, answer: Callable[[slice], Mapping[str, Any]]) -> np.ndarray:
        batches = [slice(start, min(start + self._batch_rows, total)) for start in range(0, total, self._batch_rows)]
        return np.concatenate([np.zeros(0), *(_one_per_row(answer(rows), rows) for rows in batches)])


def _inputs(signature: Any) -> dict[str, Any]:
    return dict(signature.structured_input_signature[1])


def _one_per_row(answer: Mapping[str, Any], rows: slice) -> np.ndarray:
    (values,) = answer.values()
    array = np.asarray(values.numpy())
    if array.size != rows.stop - rows.start or array.ndim not in (1, 2):
        raise ScoresError(
            f"The model answered {rows.stop - rows.start} rows with an array of shape {list(array.shape)}; "
            "one number per row is needed."
        )
    return array.reshape(-1).astype(np.float64)

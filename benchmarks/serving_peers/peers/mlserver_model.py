"""A SavedModel behind MLServer, as its users put it there: a runtime of their own, named in `model-settings.json`.

Started by `benchmarks.serving_peers` with ``mlserver start FOLDER`` in an environment of `mlserver.txt`.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from mlserver import MLModel  # pyright: ignore[reportMissingImports]
from mlserver.codecs import NumpyCodec, StringCodec  # pyright: ignore[reportMissingImports]
from mlserver.types import InferenceRequest, InferenceResponse  # pyright: ignore[reportMissingImports]

SIGNATURE = "predict_raw"


class SavedModel(MLModel):
    """The signature for named columns, called in the thread of the event loop, which is the fastest on one core."""

    async def load(self) -> bool:
        """Loads the model from the folder that the settings name."""
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._signature = tf.saved_model.load(self.settings.parameters.uri).signatures[SIGNATURE]
        self._types = {name: spec.dtype for name, spec in self._signature.structured_input_signature[1].items()}
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answers a request of the Open Inference Protocol."""
        tensors = {}
        for tensor in payload.inputs:
            texts = tensor.datatype == "BYTES"
            values = np.array(StringCodec.decode_input(tensor)) if texts else NumpyCodec.decode_input(tensor)
            tensors[tensor.name] = tf.constant(values.reshape(tensor.shape), self._types[tensor.name])
        outputs = [
            NumpyCodec.encode_output(name, values.numpy()) for name, values in self._signature(**tensors).items()
        ]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)

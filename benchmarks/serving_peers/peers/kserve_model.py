"""A SavedModel behind KServe's Python server, as its users put it there: a model class of their own.

Run by `benchmarks.serving_peers` in an environment of `kserve.txt`:
``python kserve_model.py --folder MODEL --model_name NAME --http_port P --grpc_port P --enable_latency_logging false``.
"""

from __future__ import annotations

import argparse
import logging
from typing import Any

import grpc.aio
import tensorflow as tf
import uvicorn
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # pyright: ignore[reportMissingImports]
from kserve.utils.utils import generate_uuid  # pyright: ignore[reportMissingImports]

SIGNATURE = "predict_raw"
DATATYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64"}


class SavedModel(Model):
    """The signature for named columns, called in the thread of the event loop, which is the fastest on one core."""

    def __init__(self, name: str, folder: str) -> None:
        super().__init__(name)
        self._signature = tf.saved_model.load(folder).signatures[SIGNATURE]
        self._types = {name: spec.dtype for name, spec in self._signature.structured_input_signature[1].items()}
        self.ready = True

    def predict(self, payload: InferRequest, *_headers: Any, **_more: Any) -> InferResponse:
        """Answers a request of the Open Inference Protocol."""
        tensors = {tensor.name: tf.constant(tensor.as_numpy(), self._types[tensor.name]) for tensor in payload.inputs}
        outputs = [
            InferOutput(name, list(values.shape), DATATYPES[values.dtype.name], values.numpy().reshape(-1).tolist())
            for name, values in self._signature(**tensors).items()
        ]
        return InferResponse(payload.id or generate_uuid(), self.name, outputs)


def listen_to_this_machine() -> None:
    """Replaces the addresses of all interfaces, which KServe's server has no option for."""
    configure, make = uvicorn.Config.__init__, grpc.aio.server

    def server(*arguments: Any, **options: Any) -> grpc.aio.Server:
        made = make(*arguments, **options)
        add_port = made.add_insecure_port
        made.add_insecure_port = lambda address: add_port(address.replace("[::]", "127.0.0.1"))
        return made

    uvicorn.Config.__init__ = lambda self, app, **options: configure(self, app, **{**options, "host": "127.0.0.1"})
    grpc.aio.server = server


def main() -> None:
    """Serves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--model_name", required=True)
    options, _ = parser.parse_known_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    listen_to_this_machine()
    logging.disable(logging.INFO)  # It logs each call of gRPC, whatever it is told.
    ModelServer().start([SavedModel(options.model_name, options.folder)])


if __name__ == "__main__":
    main()

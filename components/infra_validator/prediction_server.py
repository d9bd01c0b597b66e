"""Lets the server of production answer for the candidate, over the REST protocol of TensorFlow Serving.

The server is any Python module that can be run as

    python -m MODULE --models FOLDER --name NAME --host 127.0.0.1 --port 0 --grpc-port 0 --stop-on-eof

serves the numbered SavedModels of the folder, writes one line of JSON with its `url` to standard output when it answers
requests, and ends with exit code 2, and one sentence as its last words, when there is none that it can serve.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import math
import os
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.infra_validator.probe import SERVING_SIGNATURE, one_value, only, require_signatures
from components.infra_validator.serving_process import (
    Child,
    Served,
    ServingFailureError,
    StartupFailureError,
    TimeLimits,
    child_process,
)

_NAME = "candidate"
_REFUSED = 2
_DTYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}


def serve(
    served: Served, server: str, model: str, examples: list[bytes], raw_signature: str, limits: TimeLimits
) -> None:
    """As `serving_process.serve`, by a server, given by its Python module.

    It tells only when it has started and loaded the model, so the limits of the two count together.

    Raises:
        ServingFailureError: If the server crashed, was killed, hung or refused the model or a request.
        RefusedModelError: If the model cannot be asked.
    """
    if not tf.io.gfile.exists(os.path.join(model, "saved_model.pb")):
        raise ServingFailureError(f"The model could not serve: {model} holds no saved_model.pb.")
    options = ["--host", "127.0.0.1", "--port", "0", "--grpc-port", "0", "--stop-on-eof"]
    with (
        _numbered(model) as models,
        child_process("-m", server, "--models", models, "--name", _NAME, *options) as child,
    ):
        started = time.monotonic()
        url = _wait_until_it_serves(child, limits)
        served.facts = {"server": server, "load_seconds": round(time.monotonic() - started, 3)}
        client = _Client(child, url, limits.answer)
        signatures = client.signatures()
        require_signatures({name: signature["outputs"] for name, signature in signatures.items()}, raw_signature)
        inputs = signatures[raw_signature]["inputs"]
        parsed = [tf.train.Example.FromString(example) for example in examples]
        everything = range(len(examples))
        for rows in [list(everything), *([row] for row in everything)]:
            chosen = [parsed[row] for row in rows]
            for signature, instances in (
                # What is no raw input, such as the label, is not known when it serves.
                (SERVING_SIGNATURE, [_base64(only(example, inputs)) for example in chosen]),
                (raw_signature, [{name: _raw(example, name) for name in inputs} for example in chosen]),
            ):
                served.answers.append(client.predict(signature, instances, rows, signatures[signature]["outputs"]))


@contextlib.contextmanager
def _numbered(model: str) -> Iterator[str]:
    """A folder in which the model is version 1: a link to it, or a copy of one that is not on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        version = Path(folder) / "1"
        if "://" in model:
            _copy(model, version)
        else:
            version.symlink_to(Path(model).absolute(), target_is_directory=True)
        yield folder


def _copy(source: str, destination: Path) -> None:
    for folder, _, files in tf.io.gfile.walk(source):
        target = destination / os.path.relpath(folder, source)
        target.mkdir(parents=True, exist_ok=True)
        for name in files:
            tf.io.gfile.copy(os.path.join(folder, name), str(target / name))


def _wait_until_it_serves(child: Child, limits: TimeLimits) -> str:
    """The address of the server, once it answers."""
    step = "start and load the model"
    line = child.next_line(limits.startup + limits.load, step)
    if line is None:
        if child.exit_code() == _REFUSED:
            raise ServingFailureError(f"The model could not serve: {child.last_line()}")
        raise StartupFailureError(child.how_it_ended(step))
    try:
        return json.loads(line)["url"]
    except (ValueError, KeyError, TypeError):
        raise ServingFailureError(f"The server did not tell its address, but {line.strip()[:200]!r}.") from None


class _Client:
    """Asks the server, over one connection."""

    def __init__(self, child: Child, url: str, seconds: float) -> None:
        address = urllib.parse.urlsplit(url)
        assert address.hostname is not None
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=seconds)
        self._child = child
        self._seconds = seconds
        self._answers = 0

    def signatures(self) -> dict[str, Any]:
        """The signatures of the model by name, as TensorFlow Serving shows them, but with numeric outputs alone.

        A server may add texts to what the graph gives, such as the name of a class.
        """
        document = self._ask("GET", f"/v1/models/{_NAME}/metadata", None, "tell its signatures")
        signatures = document["metadata"]["signature_def"]["signature_def"]
        return {
            name: {
                **signature,
                "outputs": {key: info for key, info in signature["outputs"].items() if info["dtype"] != "DT_STRING"},
            }
            for name, signature in signatures.items()
        }

    def predict(
        self, signature: str, instances: Sequence[Any], rows: Sequence[int], outputs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The answer to a request, in the form of the probe's event."""
        self._answers += 1
        body = json.dumps({"signature_name": signature, "instances": instances})
        started = time.perf_counter()
        document = self._ask("POST", f"/v1/models/{_NAME}:predict", body, f"answer request {self._answers}")
        milliseconds = (time.perf_counter() - started) * 1000
        ((name, output),) = outputs.items()
        rows_answered = [row[name] if isinstance(row, dict) else row for row in document["predictions"]]
        # JSON has no NaN: a server may write null for one.
        values = np.array(rows_answered, dtype=object)
        return {
            "signature": signature,
            "rows": list(rows),
            "shape": list(values.shape),
            "dtype": _DTYPES.get(output["dtype"], output["dtype"].removeprefix("DT_").lower()),
            "values": [math.nan if value is None else value for value in values.ravel().tolist()],
            "milliseconds": round(milliseconds, 3),
        }

    def _ask(self, method: str, path: str, body: str | None, step: str) -> dict[str, Any]:
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            document = json.loads(response.read())
        except TimeoutError:
            raise ServingFailureError(f"The serving process did not {step} within {self._seconds:g} s.") from None
        except (OSError, http.client.HTTPException):
            raise ServingFailureError(self._child.how_it_ended(step)) from None
        except ValueError:
            raise ServingFailureError(f"The server could not {step}: its answer is not JSON.") from None
        if response.status != 200:
            raise ServingFailureError(f"The model could not serve: {document.get('error', response.status)}")
        return document


def _raw(example: Any, name: str) -> Any:
    """A value as a client writes it; None if it is missing."""
    value = one_value(example, name)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return _base64(value)
    return None if isinstance(value, float) and math.isnan(value) else value


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}

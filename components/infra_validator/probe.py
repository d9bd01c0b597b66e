"""The child process of InfraValidator: loads a SavedModel with plain TensorFlow and answers requests.

Run as `python -m components.infra_validator.probe`. It reads one line of JSON from stdin (`model`, the folder
of the SavedModel; `raw_signature`; `examples`, serialised tf.Examples in base64) and writes one line of JSON
per event to stdout: `started`, `loaded`, `answer` (one per request) and `done`, or `refused` with a reason.
Everything else that is printed goes to stderr. It must not import TFX, which would double the time to start.

It judges nothing but what only it can see (signatures and their inputs); the parent judges the answers.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from typing import IO, Any

from errors import FlightdeckError

SERVING_SIGNATURE = "serving_default"

_LONGEST_REASON = 500
_GRAPH_NOISE = re.compile(r"\[\[\{\{.*?\}\}\]\]|\[Op:.*?\]")
_GRAPH_HEADERS = ("Graph execution error", "Detected at node", "File ", "Stack trace", "<stack", "Hint: ")


class RefusedModelError(FlightdeckError):
    """The model cannot be asked: the text says what it lacks."""


def main() -> None:
    """Answers the requests and ends; exit code 0 also for a refused model, which is a result, not a crash."""
    events = _claim_stdout()
    task = json.loads(sys.stdin.readline())
    _end_with_parent()
    import tensorflow as tf

    _tell(events, "started", tensorflow=tf.__version__, tfx_imported="tfx" in sys.modules)
    try:
        model = tf.saved_model.load(task["model"])
        serving, raw = _signatures(model, task["raw_signature"])
        _tell(events, "loaded")
        examples = [base64.b64decode(example) for example in task["examples"]]
        _answer_all(events, serving, raw, task["raw_signature"], examples)
        _tell(events, "done")
    except Exception as error:
        traceback.print_exc()
        _tell(events, "refused", reason=_in_one_line(error))


def _claim_stdout() -> IO[str]:
    """Keeps stdout for events and sends what libraries print to stderr."""
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return events


def _end_with_parent() -> None:
    """Ends this process when the parent, which holds the other end of stdin, is gone, however it ended."""

    def wait() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _tell(events: IO[str], event: str, **fields: Any) -> None:
    events.write(json.dumps({"event": event, **fields}) + "\n")
    events.flush()


def _in_one_line(error: Exception) -> str:
    """Returns the line of an error that says what happened; TensorFlow wraps it in stack traces of graphs."""
    if isinstance(error, RefusedModelError):
        return str(error)
    lines = [_GRAPH_NOISE.sub("", line).strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(_GRAPH_HEADERS)] or [""]
    return f"{type(error).__name__}: {telling[-1][:_LONGEST_REASON]}"


def _signatures(model: Any, raw_signature: str) -> tuple[Any, Any]:
    require_signatures(
        {name: signature.structured_outputs for name, signature in model.signatures.items()}, raw_signature
    )
    serving, raw = model.signatures[SERVING_SIGNATURE], model.signatures[raw_signature]
    if len(_inputs(serving)) != 1:
        raise RefusedModelError(
            f"The signature {SERVING_SIGNATURE} must have one input, serialised tf.Examples; "
            f"it has {', '.join(sorted(_inputs(serving))) or 'none'}."
        )
    return serving, raw


def require_signatures(outputs: Mapping[str, Iterable[str]], raw_signature: str) -> None:
    """Raises a RefusedModelError if the model, given by the outputs of its signatures, lacks one that is asked."""
    asked = (SERVING_SIGNATURE, raw_signature)
    missing = [name for name in asked if name not in outputs]
    if missing:
        raise RefusedModelError(
            f"The model has no signature {' and no signature '.join(missing)}; "
            f"it has {', '.join(sorted(outputs)) or 'none'}."
        )
    for name in asked:
        names = sorted(outputs[name])
        if len(names) != 1:
            raise RefusedModelError(
                f"The signature {name} has {len(names)} outputs ({', '.join(names)}); exactly one is needed."
            )


def _inputs(signature: Any) -> dict[str, Any]:
    return signature.structured_input_signature[1]


def _answer_all(events: IO[str], serving: Any, raw: Any, raw_signature: str, examples: list[bytes]) -> None:
    import tensorflow as tf

    parsed = [tf.train.Example.FromString(example) for example in examples]
    # What is no input of the raw signature, such as the label, is not known when the model serves.
    bare = [only(example, _inputs(raw)) for example in parsed]
    (serving_input,) = _inputs(serving)
    everything = list(range(len(examples)))
    for rows in [everything, *([row] for row in everything)]:
        request = {serving_input: tf.constant([bare[row] for row in rows])}
        _answer(events, SERVING_SIGNATURE, serving, request, rows)
        request = {
            name: tf.constant(_raw_values(name, [parsed[row] for row in rows], spec), spec.dtype)
            for name, spec in _inputs(raw).items()
        }
        _answer(events, raw_signature, raw, request, rows)


def _answer(events: IO[str], name: str, signature: Any, request: dict[str, Any], rows: list[int]) -> None:
    started = time.perf_counter()
    (answer,) = signature(**request).values()
    values = answer.numpy()
    milliseconds = (time.perf_counter() - started) * 1000
    _tell(
        events,
        "answer",
        signature=name,
        rows=rows,
        shape=list(values.shape),
        dtype=answer.dtype.name,
        values=[_plain(value) for value in values.ravel().tolist()],
        milliseconds=round(milliseconds, 3),
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | bool) else str(value)


def only(example: Any, names: Iterable[str]) -> bytes:
    """Returns an example with these features alone, serialised."""
    bare = type(example)()
    for name in set(example.features.feature).intersection(names):
        bare.features.feature[name].CopyFrom(example.features.feature[name])
    return bare.SerializeToString()


def one_value(example: Any, name: str) -> Any:
    """Returns the value of a feature, None if it is missing.

    Raises:
        RefusedModelError: If there are several.
    """
    features = example.features.feature
    kind = features[name].WhichOneof("kind") if name in features else None
    values = getattr(features[name], kind).value if kind else []
    if len(values) > 1:
        raise RefusedModelError(f"The raw input {name} takes one value, but an example has {len(values)}.")
    return values[0] if values else None


def _raw_values(name: str, examples: list[Any], spec: Any) -> list[Any]:
    """Returns one value per example, in the shape of the input and with what the signature takes for a missing one."""
    rank = spec.shape.rank
    if rank not in (1, 2):
        raise RefusedModelError(f"The raw input {name} has the shape {spec.shape}; [rows, 1] is needed.")
    if spec.dtype.is_floating:
        kind, missing = float, float("nan")
    else:
        kind, missing = (int, spec.dtype.min) if spec.dtype.is_integer else (bytes, b"")
    known = [one_value(example, name) for example in examples]
    values = [missing if value is None else kind(value) for value in known]
    return values if rank == 1 else [[value] for value in values]


if __name__ == "__main__":
    main()

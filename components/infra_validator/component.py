"""The TFX component InfraValidator: has a fresh process answer requests, and blesses the model that can."""

import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

from absl import logging
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model
from tfx.utils import io_utils, path_utils

from components import tasks
from components.annotations import InputArtifact, OutputArtifact, Parameter
from components.examples import PARQUET, encode, read, records
from components.infra_validator import prediction_server, serving_process
from components.infra_validator.judgement import Answer, first_fault, latencies
from components.infra_validator.probe import RefusedModelError
from components.infra_validator.serving_process import Served, ServingFailureError, TimeLimits, attempted
from errors import FlightdeckError

# File names and properties that TFX's InfraValidator writes and its Pusher reads.
_BLESSED_FILE = "INFRA_BLESSED"
_NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"
_BLESSED_PROPERTY = "blessed"

REASON_PROPERTY = "reason"
VALIDATION_FILE = "validation.json"


@component
def InfraValidator(  # noqa: N802 (a component is used like a class)
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    blessing: OutputArtifact[InfraBlessing],
    target: Parameter[str],
    split: Parameter[str] = "eval",
    requests: Parameter[int] = 32,
    raw_signature: Parameter[str] = "predict_raw",
    server: Parameter[str] = "",
    load_seconds: Parameter[float] = 120.0,
    answer_seconds: Parameter[float] = 30.0,
    startup_seconds: Parameter[float] = 120.0,
) -> None:
    """Lets a fresh process load the candidate and answer real requests before it may be pushed.

    TFX's component of the same name starts TensorFlow Serving in Docker or Kubernetes. This one needs
    neither: it starts a Python process that has nothing of the pipeline in it, only TensorFlow on the CPU:
    the server of production if it is told which, and asks it over REST; else a process of its own.
    Its output is the standard InfraBlessing, so TFX's own Pusher honours it. A model that fails, hangs or
    kills its process is not blessed, with the reason in the custom property `reason` and in
    `validation.json`; the run goes on.

    The model needs the signatures `serving_default` (one input, serialised tf.Examples) and `raw_signature`
    (one input of shape [None, 1] per raw column, named like it; a missing value is "" for strings, NaN for
    floats and the smallest int64 for integers). Each has one output, float32: of a binary target
    probabilities of shape [None, 1]; of a multiclass one probabilities of shape [None, classes] that add up
    to 1; of a regression numbers of any size, [None, 1].

    Args:
        model: The candidate.
        examples: The examples to take requests from.
        blessing: The output.
        target: What is predicted, as JSON, see `components.tasks`.
        split: The split of the examples.
        requests: How many examples to ask for, at once and one by one, by each signature.
        raw_signature: The signature that takes named raw values.
        server: The Python module of a server, see `components.infra_validator.prediction_server`; without
            one, a process of this component's own loads the model.
        load_seconds: How long the model may take to load.
        answer_seconds: How long each answer may take; the first one includes tracing.
        startup_seconds: How long Python and TensorFlow may take to start.

    Raises:
        ValueError: If there are no requests, or no time.
        FlightdeckError: If the split has no examples to ask for.
    """
    if requests < 1:
        raise ValueError(f"InfraValidator needs at least 1 request, not {requests}.")
    limits = TimeLimits(startup_seconds, load_seconds, answer_seconds)
    for name, seconds in limits._asdict().items():
        if seconds <= 0:
            raise ValueError(f"InfraValidator needs a positive {name}_seconds, not {seconds}.")
    asked = _read_examples(examples, split, requests)
    folder = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
    validation = _validate(folder, asked, raw_signature, server, limits, tasks.of(target))
    io_utils.write_string_file(
        os.path.join(blessing.uri, VALIDATION_FILE), json.dumps(validation, indent=2, sort_keys=True) + "\n"
    )
    blessed = validation["blessed"]
    io_utils.write_string_file(os.path.join(blessing.uri, _BLESSED_FILE if blessed else _NOT_BLESSED_FILE), "")
    blessing.set_int_custom_property(_BLESSED_PROPERTY, int(blessed))
    blessing.set_string_custom_property(REASON_PROPERTY, validation["reason"])
    if blessed:
        logging.info("The model serves: infra-blessed.")
    else:
        logging.warning("The model is not infra-blessed and will not be pushed. %s", validation["reason"])


def _read_examples(artifact: Examples, split: str, count: int) -> list[bytes]:
    """Returns the first examples of a split, taken from its files in turn."""
    folder = artifact_utils.get_split_uri([artifact], split)
    readers = [_records(str(file), count) for file in sorted(fileio.glob(io_utils.all_files_pattern(folder)))]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*readers))
    examples = list(itertools.islice((record for record in in_turn if record is not None), count))
    if not examples:
        raise FlightdeckError(
            f"InfraValidator found no examples in the split {split!r} at {folder}; "
            "name a split that has some, for there is nothing to ask the model."
        )
    return examples


def _records(file: str, count: int) -> Iterator[bytes]:
    if not file.endswith(PARQUET):
        return records([file]).as_numpy_iterator()  # pyright: ignore[reportReturnType]
    return (example for batch in read([file], rows=count) for example in encode(batch))


def _validate(
    model: str, examples: list[bytes], raw_signature: str, server: str, limits: TimeLimits, task: tasks.Task
) -> dict[str, Any]:
    """Returns the verdict and the facts behind it, as written to validation.json."""
    facts: dict[str, Any] = {"examples": len(examples), "raw_signature": raw_signature}
    request = (model, examples, raw_signature, limits)

    def serve(served: Served) -> None:
        if server:
            prediction_server.serve(served, server, *request)
        else:
            serving_process.serve(served, *request)

    try:
        served = attempted(serve)
    except (ServingFailureError, RefusedModelError) as failure:
        return {"blessed": False, "reason": str(failure), **facts}
    answers = [Answer.from_event(event) for event in served.answers]
    fault = first_fault(answers, len(examples), raw_signature, task)
    return {
        "blessed": fault is None,
        "reason": fault or "",
        **facts,
        "answers": len(answers),
        "latencies": latencies(answers, raw_signature),
        "attempts": served.attempts,
        **served.facts,
    }

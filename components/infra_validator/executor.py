"""The executor: takes requests from the examples, lets a fresh process serve, and writes the blessing."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.infra_validator import prediction_server, serving_process
from components.infra_validator.judgement import Answer, first_fault, latencies
from components.infra_validator.serving_process import Served, ServingFailureError, TimeLimits
from errors import FlightdeckError

# File names and properties that TFX's InfraValidator writes and its Pusher reads.
_BLESSED_FILE = "INFRA_BLESSED"
_NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"
_BLESSED_PROPERTY = "blessed"

REASON_PROPERTY = "reason"
VALIDATION_FILE = "validation.json"


class InfraValidatorExecutor(base_executor.BaseExecutor):
    """Blesses a model that serves; a model that does not is a result, not a failed run."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Validates the model.

        Raises:
            FlightdeckError: If the split has no examples to ask for.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict["model"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        examples = _read_examples(input_dict["examples"], exec_properties["split"], exec_properties["requests"])
        validation = _validate(
            path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model)),
            examples,
            exec_properties["raw_signature"],
            exec_properties.get("server", ""),
            TimeLimits(
                startup=exec_properties["startup_seconds"],
                load=exec_properties["load_seconds"],
                answer=exec_properties["answer_seconds"],
            ),
        )
        _write_blessing(blessing, validation)


def _read_examples(artifacts: list[types.Artifact], split: str, count: int) -> list[bytes]:
    """Returns the first examples of a split, taken from its files in turn."""
    folder = artifact_utils.get_split_uri(artifacts, split)
    readers = [_records(str(file)) for file in sorted(fileio.glob(io_utils.all_files_pattern(folder)))]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*readers))
    examples = list(itertools.islice((record for record in in_turn if record is not None), count))
    if not examples:
        raise FlightdeckError(
            f"InfraValidator found no examples in the split {split!r} at {folder}; "
            "name a split that has some, for there is nothing to ask the model."
        )
    return examples


def _records(file: str) -> Iterator[bytes]:
    compression = "GZIP" if file.endswith(".gz") else ""
    for record in tf.data.TFRecordDataset(file, compression_type=compression):
        yield bytes(record.numpy())


def _validate(
    model: str, examples: Sequence[bytes], raw_signature: str, server: str, limits: TimeLimits
) -> dict[str, Any]:
    """Returns the verdict and the facts behind it, as written to validation.json."""
    facts: dict[str, Any] = {"examples": len(examples), "raw_signature": raw_signature}
    try:
        if server:
            served = prediction_server.serve(server, model, list(examples), raw_signature, limits)
        else:
            served = serving_process.serve(model, list(examples), raw_signature, limits)
    except ServingFailureError as failure:
        return {"blessed": False, "reason": str(failure), **facts}
    answers = [Answer.from_event(event) for event in served.answers]
    fault = first_fault(answers, len(examples), raw_signature)
    return {
        "blessed": fault is None,
        "reason": fault or "",
        **facts,
        "answers": len(answers),
        "latencies": latencies(answers, raw_signature),
        **_process_facts(served),
    }


def _process_facts(served: Served) -> dict[str, Any]:
    facts: dict[str, Any] = {"attempts": served.attempts, "load_seconds": round(served.load_seconds, 3)}
    if served.server:
        return {**facts, "server": served.server}
    return {
        **facts,
        "startup_seconds": round(served.startup_seconds, 3),
        "tensorflow": served.tensorflow,
        "tfx_imported": served.tfx_imported,
    }


def _write_blessing(blessing: types.Artifact, validation: dict[str, Any]) -> None:
    blessed = validation["blessed"]
    io_utils.write_string_file(
        os.path.join(blessing.uri, VALIDATION_FILE), json.dumps(validation, indent=2, sort_keys=True) + "\n"
    )
    io_utils.write_string_file(os.path.join(blessing.uri, _BLESSED_FILE if blessed else _NOT_BLESSED_FILE), "")
    blessing.set_int_custom_property(_BLESSED_PROPERTY, int(blessed))
    blessing.set_string_custom_property(REASON_PROPERTY, validation["reason"])
    if blessed:
        logging.info("The model serves: infra-blessed.")
    else:
        logging.warning("The model is not infra-blessed and will not be pushed. %s", validation["reason"])

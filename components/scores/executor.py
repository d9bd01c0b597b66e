"""The executor: scores the split batch by batch, and writes the scores and the importance of the columns."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.scores import importance, rows
from components.scores.rows import ScoresError
from components.scores.saved_model import SavedModel

SCORES_FILE = "scores.parquet"
IMPORTANCE_FILE = "importance.json"
ROWS_PROPERTY = "rows"
FINGERPRINT_PROPERTY = "rows_fingerprint"
OWN_COLUMNS = ("row", "label", "probability")


class ScoresExecutor(base_executor.BaseExecutor):
    """Applies the model to each row of a split."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Scores the rows.

        Raises:
            ScoresError: If there are no rows, a row has no label, or the model lacks the signature or does not answer
                with one number per row.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(input_dict["model"])
        model = SavedModel(
            path_utils.serving_model_path(artifact.uri, path_utils.is_old_model_artifact(artifact)),
            exec_properties["batch_rows"],
            exec_properties["raw_signature"],
        )
        sample = importance.Sample(exec_properties["importance_rows"], exec_properties["seed"])
        table, fingerprint = _score(model, sample, _files(input_dict["examples"], exec_properties), exec_properties)
        output = artifact_utils.get_single_instance(output_dict["scores"])
        _write(os.path.join(output.uri, SCORES_FILE), _parquet(table))
        output.rows = table.num_rows
        output.rows_fingerprint = fingerprint
        logging.info("Scored %d rows.", table.num_rows)
        if exec_properties["importance_rows"]:
            found = importance.measure(
                model,
                sample,
                exec_properties["label"],
                exec_properties["importance_repeats"],
                exec_properties["seed"],
            )
            text = json.dumps(found, indent=2, sort_keys=True, allow_nan=False) + "\n"
            _write(os.path.join(output.uri, IMPORTANCE_FILE), text.encode())
            logging.info("Measured the importance of %d columns.", len(found["features"]))


def _files(artifacts: list[types.Artifact], exec_properties: dict[str, Any]) -> list[str]:
    split = exec_properties["split"]
    known = artifact_utils.decode_split_names(artifact_utils.get_single_instance(artifacts).split_names)
    if split not in known:
        raise ScoresError(f"There are no examples of the split {split!r}; the splits are {', '.join(known) or 'none'}.")
    folder = artifact_utils.get_split_uri(artifacts, split)
    files = sorted(str(file) for file in fileio.glob(io_utils.all_files_pattern(folder)))
    if not files:
        raise ScoresError(f"There are no examples of the split {split!r} at {folder}.")
    return files


def _score(
    model: SavedModel, sample: importance.Sample, files: Sequence[str], exec_properties: dict[str, Any]
) -> tuple[pa.Table, str]:
    """Returns the scores, and the fingerprint of the rows; fills the sample."""
    label = exec_properties["label"]
    columns = [name for name in json.loads(exec_properties["columns"]) if name not in OWN_COLUMNS]
    kept: list[pa.Table] = []
    labels, probabilities = [], []
    digest = hashlib.sha256()
    for examples in rows.read(files, exec_properties["batch_rows"]):
        decoded = rows.Decoded(examples)
        truth = decoded.labels(label)
        for example, value in zip(examples, truth.tolist(), strict=True):
            # With its length, so that no other rows can make the same sequence of bytes.
            digest.update(struct.pack("<Qd", len(example), value))
            digest.update(example)
        labels.append(truth)
        probabilities.append(model.score(examples))
        kept.append(pa.table({name: decoded.readable(name) for name in columns}))
        sample.add(examples, truth)
    if not labels:
        raise ScoresError(f"The split {exec_properties['split']!r} has no rows, so there is nothing to score.")
    truth = np.concatenate(labels)
    table = pa.table(
        {
            "row": pa.array(np.arange(len(truth)), pa.int64()),
            "label": pa.array(truth.astype(np.int8) if np.isin(truth, (0.0, 1.0)).all() else truth),
            "probability": pa.array(np.concatenate(probabilities), pa.float64()),
        }
    )
    # A column that has no value in some batches has the type that it has in the others.
    for name, values in zip(columns, pa.concat_tables(kept, promote_options="permissive").columns, strict=True):
        table = table.append_column(name, values)
    return table, f"sha256:{digest.hexdigest()}"


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _write(uri: str, content: bytes) -> None:
    """Writes a file, whole or not at all, on any filesystem that TFX knows."""
    partial = f"{uri}.partial"
    with fileio.open(partial, "wb") as file:
        file.write(content)
    fileio.rename(partial, uri, overwrite=True)

"""The TFX component Scores: what the model says about each row of a split, and which columns that depends on."""

import hashlib
import io
import json
import os
import struct
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import logging
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact, artifact_utils
from tfx.types.standard_artifacts import Examples, Model
from tfx.utils import io_utils, path_utils

from components.annotations import InputArtifact, OutputArtifact, Parameter
from components.scores import importance, rows
from components.scores.rows import ScoresError
from components.scores.saved_model import SavedModel

SCORES_FILE = "scores.parquet"
IMPORTANCE_FILE = "importance.json"
OWN_COLUMNS = ("row", "label", "probability")


class ScoresArtifact(artifact.Artifact):
    """The folder that holds `scores.parquet` and, if it was asked for, `importance.json`.

    Properties: `rows`, how many were scored; `rows_fingerprint`, the same for two artifacts if and only if they are
    about the same rows in the same order.
    """

    TYPE_NAME = "Scores"
    PROPERTIES = {  # noqa: RUF012 (the form TFX asks for)
        "rows": artifact.Property(type=artifact.PropertyType.INT),
        "rows_fingerprint": artifact.Property(type=artifact.PropertyType.STRING),
    }


@component
def Scores(  # noqa: N802 (a component is used like a class)
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    scores: OutputArtifact[ScoresArtifact],
    label: Parameter[str],
    columns: Parameter[list[str]],
    split: Parameter[str] = "eval",
    batch_rows: Parameter[int] = 4096,
    importance_rows: Parameter[int] = 5000,
    importance_repeats: Parameter[int] = 5,
    seed: Parameter[int] = 0,
    raw_signature: Parameter[str] = "predict_raw",
) -> None:
    """Keeps what the model says about each row of a split, for comparisons and plots that need single rows.

    TFX's Evaluator keeps metrics only. From the scores of two models on the same rows one can tell whether one is
    better or merely luckier, and draw any curve afterwards.

    `scores.parquet` holds `row` (int64, from 0, in the order of the examples), `label` (int8, or float64 if one is
    neither 0 nor 1), `probability` (float64, what `serving_default` answered), and the `columns` that were asked for;
    `importance.json` by how much the area under the ROC curve falls, and the log loss rises, when one raw column is
    shuffled among the rows.

    The model needs the signature `serving_default`: one input, serialised tf.Examples; one output, of shape [None] or
    [None, 1]. If it has `raw_signature` as well (one input of shape [None] or [None, 1] per raw column, a missing
    value being "", NaN or the smallest int64), columns are shuffled there; otherwise inside the examples, which is
    slower.

    Args:
        model: The model.
        examples: The labelled examples to score.
        scores: The output.
        label: The feature that holds the label, one number per example.
        columns: Features to keep beside the scores, such as those that quality is looked at by; each with at most
            one value per example.
        split: The split of the examples.
        batch_rows: How many rows the model is given at once.
        importance_rows: On how many rows, drawn at random, to measure the importance of columns; 0: not at all.
        importance_repeats: How often each column is shuffled.
        seed: Of the drawing and the shuffling.
        raw_signature: The name of the signature that takes raw values by name.

    Raises:
        ScoresError: If a number makes no sense, there are no rows, a row has no label, or the model lacks the
            signature or does not answer with one number per row.
    """
    for name, number, least in (
        ("batch_rows", batch_rows, 1),
        ("importance_rows", importance_rows, 0),
        ("importance_repeats", importance_repeats, 1),
    ):
        if number < least:
            raise ScoresError(f"Scores needs {name} of at least {least}, not {number}.")
    scorer = SavedModel(
        path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model)), batch_rows, raw_signature
    )
    sample = importance.Sample(importance_rows, seed)
    further = [name for name in columns if name not in OWN_COLUMNS]
    batches = rows.read(_files(examples, split), batch_rows)
    table, fingerprint = _score(scorer, sample, batches, label, further)
    if table is None:
        raise ScoresError(f"The split {split!r} has no rows, so there is nothing to score.")
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    with fileio.open(os.path.join(scores.uri, SCORES_FILE), "wb") as file:
        file.write(content.getvalue())
    scores.rows = table.num_rows
    scores.rows_fingerprint = fingerprint
    logging.info("Scored %d rows.", table.num_rows)
    if importance_rows:
        measured = importance.measure(scorer, sample, label, importance_repeats, seed)
        text = json.dumps(measured, indent=2, sort_keys=True, allow_nan=False) + "\n"
        io_utils.write_string_file(os.path.join(scores.uri, IMPORTANCE_FILE), text)
        logging.info("Measured the importance of %d columns.", len(measured["features"]))


def _files(examples: Examples, split: str) -> list[str]:
    known = artifact_utils.decode_split_names(examples.split_names)
    if split not in known:
        raise ScoresError(f"There are no examples of the split {split!r}; the splits are {', '.join(known) or 'none'}.")
    folder = artifact_utils.get_split_uri([examples], split)
    files = sorted(str(file) for file in fileio.glob(io_utils.all_files_pattern(folder)))
    if not files:
        raise ScoresError(f"There are no examples of the split {split!r} at {folder}.")
    return files


def _score(
    model: SavedModel, sample: importance.Sample, batches: Iterable[list[bytes]], label: str, columns: Sequence[str]
) -> tuple[pa.Table | None, str]:
    """Returns the scores, None if there is no row, and the fingerprint of the rows; fills the sample."""
    kept: list[pa.Table] = []
    labels, probabilities = [], []
    digest = hashlib.sha256()
    for examples in batches:
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
        return None, ""
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

"""The TFX component Scores: what the model says about each row of a split, and which columns that depends on."""

import io
import json
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import logging
from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact, artifact_utils
from tfx.types.standard_artifacts import Examples, Model
from tfx.utils import io_utils, path_utils

from components import tasks
from components.annotations import InputArtifact, OutputArtifact, Parameter
from components.examples import as_lists, read, split_files
from components.scores import importance, rows
from components.scores.mistakes import Mistakes
from components.scores.rows import ScoresError
from components.scores.saved_model import SavedModel

SCORES_FILE = "scores.parquet"
IMPORTANCE_FILE = "importance.json"
MISTAKES_FILE = "mistakes.json"
# The columns of the predictions, for the `prediction_key` of TFMA's ModelSpecs.
CANDIDATE_KEY, BASELINE_KEY = "prediction/candidate", "prediction/baseline"
# The Evaluator reads as many rows at once.
ROW_GROUP = 1 << 16


class ScoresArtifact(artifact.Artifact):
    """The folder that holds `scores.parquet` and, if they could be made, `importance.json` and `mistakes.json`.

    Properties: `rows`, how many were scored; `rows_fingerprint`, the same for two artifacts if and only if they are
    about the same rows in the same order (see `components.scores.rows.Fingerprint`); `target`, what is predicted, as
    the component was given it.
    """

    TYPE_NAME = "Scores"
    PROPERTIES = {  # noqa: RUF012 (the form TFX asks for)
        "rows": artifact.Property(type=artifact.PropertyType.INT),
        "rows_fingerprint": artifact.Property(type=artifact.PropertyType.STRING),
        "target": artifact.Property(type=artifact.PropertyType.STRING),
    }


@component
def Scores(  # noqa: N802 (a component is used like a class)
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    scores: OutputArtifact[ScoresArtifact],
    predictions: OutputArtifact[Examples],
    target: Parameter[str],
    columns: Parameter[list[str]],
    baseline_model: InputArtifact[Model] = None,  # pyright: ignore[reportArgumentType]
    split: Parameter[str] = "eval",
    batch_rows: Parameter[int] = 16384,
    importance_rows: Parameter[int] = 5000,
    importance_repeats: Parameter[int] = 3,
    seed: Parameter[int] = 0,
    raw_signature: Parameter[str] = "predict_raw",
    groups: Parameter[str] = "{}",
) -> None:
    """Keeps what the model says about each row of a split, for whatever needs single rows.

    `scores` are for comparisons and plots: from the scores of two models on the same rows one can tell whether one is
    better or merely luckier, and draw any curve afterwards. `scores.parquet` holds `row` (int64, from 0, in the order
    of the examples), `label`, what the model said, and the `columns` that were asked for; `importance.json` how much
    worse that is when one raw column is shuffled among the rows. By the task of the target they are:

        binary      label int8, or float64 if one is neither 0 nor 1; `probability` float64; what the area under the
                    ROC curve drops by, and the log loss rises
        multiclass  label int64, the number of a class; `probabilities` float64 [classes]; accuracy, log loss
        regression  label float64; `value` float64; R², root of the mean squared error

    If the model explains its answers, `mistakes.json` holds the rows that it answers most wrongly, with their values
    and by how much each raw column moves the answer, see `components.scores.mistakes`.

    `predictions` are for TFX's Evaluator, which then need not ask the models again: examples in Parquet with the label,
    the `columns`, what the model said (`prediction/candidate`) and what the baseline said (`prediction/baseline`).

    A model needs the signature `serving_default`: one input, serialised tf.Examples; one output, of shape [None] or
    [None, 1], or [None, classes]. If it has `raw_signature` as well (one input of shape [None] or [None, 1] per raw
    column, a missing value being "", NaN or the smallest int64), that must answer the same, and is asked instead,
    because it is faster. It explains its answers if it also has the signature `explain`, with the same inputs: the
    outputs are the answer, `base_value`, and for each input `why_` and its name, in the shape of the answer.

    Args:
        model: The model.
        examples: The labelled examples to score, each with at most one value per feature.
        scores: An output.
        predictions: An output.
        target: What is predicted, as JSON, see `components.tasks`; its label is a feature with one number per example.
        columns: Features to keep beside the scores, such as those that quality is looked at by.
        baseline_model: What the model is compared with, if there is such a model.
        split: The split of the examples.
        batch_rows: How many rows a model is given at once.
        importance_rows: On how many rows, drawn at random, to measure the importance of columns; 0: not at all.
        importance_repeats: How often each column is shuffled.
        seed: Of the drawing and the shuffling.
        raw_signature: The name of the signature that takes raw values by name.
        groups: Of numeric columns to keep the name of the group instead of the number, as JSON: column -> [bounds,
            names], see `components.scores.rows.grouped`.

    Raises:
        ScoresError: If a number makes no sense, there are no rows, a row has no label, or a model lacks the
            signature or does not answer with as many numbers per row as the task has.
        TargetError: If the task has no such label.
        ExamplesError: If there is no such split, or an example has several values of a feature.
    """
    for name, number, least in (
        ("batch_rows", batch_rows, 1),
        ("importance_rows", importance_rows, 0),
        ("importance_repeats", importance_repeats, 1),
    ):
        if number < least:
            raise ScoresError(f"Scores needs {name} of at least {least}, not {number}.")
    asked = {CANDIDATE_KEY: model} | ({BASELINE_KEY: baseline_model} if baseline_model else {})
    task, named = tasks.of(target), json.loads(groups)
    models = {key: _load(asked_model, raw_signature, task.width) for key, asked_model in asked.items()}
    sample, fingerprint, mistakes = importance.Sample(importance_rows, seed), rows.Fingerprint(), Mistakes(task)
    kept: list[pa.Table] = []
    for batch in read(split_files(examples, split), rows=batch_rows):
        fingerprint.add(batch)
        sample.add(batch)
        answers = {key: asked_model.score(batch) for key, asked_model in models.items()}
        mistakes.add(batch, answers[CANDIDATE_KEY])
        told = {key: _per_row(numbers) for key, numbers in answers.items()}
        columns_kept = {name: rows.column(batch, name) for name in (task.label, *columns)}
        in_groups = {name: rows.grouped(columns_kept[name], *named[name]) for name in named if name in columns_kept}
        kept.append(pa.table(columns_kept | in_groups | told))
    if not kept:
        raise ScoresError(f"The split {split!r} has no rows, so there is nothing to score.")
    # A column that has no value in some batches has the type that it has in the others.
    table = pa.concat_tables(kept, promote_options="permissive").combine_chunks()
    (scored,) = table.to_batches()
    truth = task.labels(rows.labels(scored, task.label))
    own = {
        "row": pa.array(np.arange(len(truth)), pa.int64()),
        "label": truth,
        task.output: rows.column(scored, CANDIDATE_KEY),
    }
    further = {name: rows.readable(rows.column(scored, name)) for name in columns if name not in own}
    kept_for_people = pa.table(own | further)
    _write(kept_for_people, os.path.join(scores.uri, SCORES_FILE))
    scores.rows = len(truth)
    scores.rows_fingerprint = fingerprint.value()
    scores.target = target
    _write_examples(scored, predictions, split)
    logging.info("Scored %d rows.", len(truth))
    if importance_rows:
        measured = importance.measure(models[CANDIDATE_KEY], sample.batch(), task, importance_repeats, seed)
        _write_json(measured, os.path.join(scores.uri, IMPORTANCE_FILE))
        logging.info("Measured the importance of %d columns.", len(measured["features"]))
    if models[CANDIDATE_KEY].explains:
        _write_json(mistakes.explained(models[CANDIDATE_KEY]), os.path.join(scores.uri, MISTAKES_FILE))


def _write_json(document: dict[str, Any], path: str) -> None:
    io_utils.write_string_file(path, json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _load(model: Model, raw_signature: str, width: int) -> SavedModel:
    path = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
    return SavedModel(path, raw_signature, width)


def _per_row(answers: np.ndarray) -> pa.Array:
    """Returns the number of each row, or the list of its numbers."""
    flat = pa.array(answers.ravel())
    return flat if answers.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, answers.shape[1])


def _write_examples(batch: pa.RecordBatch, examples: Examples, split: str) -> None:
    """Writes rows in the form that TFX and TFMA read: in each row a list of the values of a feature."""

    def lists(values: pa.Array) -> pa.Array:
        is_list = pa.types.is_fixed_size_list(values.type)
        return values.cast(pa.large_list(values.type.value_type)) if is_list else as_lists(values)

    examples.split_names = artifact_utils.encode_split_names([split])
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_PARQUET)
    named = zip(batch.schema.names, batch.columns, strict=True)
    columns = {name: lists(values) for name, values in named if not pa.types.is_null(values.type)}
    folder = artifact_utils.get_split_uri([examples], split)
    fileio.makedirs(folder)
    _write(pa.table(columns), os.path.join(folder, "data-00000-of-00001.parquet"))


def _write(table: pa.Table, path: str) -> None:
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd", row_group_size=ROW_GROUP)
    with fileio.open(path, "wb") as file:
        file.write(content.getvalue())

"""The answers to a batch of rows, in one process or through the inference pipeline.

Either way the rows keep their order, none is lost, and each says which version of the model answered.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import storage
from errors import FlightdeckError
from ledger.outputs import Output
from operations import tasks
from operations.inference import batch_files
from operations.inference import model as models
from operations.inference.batch_files import InputError, InputFile, Inputs, to_arrays
from operations.inference.columns import Column, Columns, row_count
from operations.inference.model import EXPLAIN, LoadedModel
from operations.inference.settings import Settings
from operations.registry import RegistryError, Version
from operations.registry.records import Records

if TYPE_CHECKING:
    import pyarrow as pa

MODEL_VERSION = "model_version"
# How many rows are explained between two signs of life.
_EXPLAINED = 256
# The number of each row over all files, by which the answers of the pipeline are put into order again.
ROW = "flightdeck_row"


class PredictionError(FlightdeckError):
    """Predictions that cannot be written, or are not complete."""


@dataclass(frozen=True)
class Prediction:
    """What was predicted, through `process` or `pipeline`; the seconds are without loading the model."""

    output: Path
    rows: int
    version: int
    through: str
    seconds: float
    run_id: str | None
    artifact_id: int


def prepare(files: Sequence[InputFile], version: Version, settings: Settings) -> tuple[LoadedModel, Inputs]:
    """Loads the model of a version, and checks that files have what it takes; raises LoadError or InputError."""
    model = models.load(version.folder, version.number)
    validation = settings.serving.validation
    contract = None if validation == "off" else model.contract
    return model, batch_files.check(files, model.inputs.types, settings.contract(), contract, validation)


def in_process(
    model: LoadedModel,
    version: Version,
    inputs: Inputs,
    output: Path,
    records: Records,
    on_rows: Callable[[int], None] = lambda rows: None,
    explain: bool = False,
) -> Prediction:
    """Predicts batch by batch in this process, and records that; `on_rows` is told how many rows are done.

    The output is a Parquet file with the ids, the outputs of the model (several numbers as a list), and
    `model_version`. With `explain` it has the `base_value`, too, and `why_<column>` for each column that the model
    takes: by how much that moves the answer, of the type of the answer. They add up to the answer - base value.

    Raises:
        InputError: a file has a value that cannot be used, or there is no row; then there is no output.
        PredictionError: the output cannot be written.
        UnknownModelError: the version cannot explain its answers.
    """
    if explain:
        model.signature(EXPLAIN)

    def predict(batch: pa.RecordBatch, row: int) -> Columns:
        on_rows(row)
        columns = to_arrays(batch)
        answers = model.predict(columns)
        return {**_explained(model, columns, lambda rows: on_rows(row + rows)), **answers} if explain else answers

    prediction = _written(predict, version, inputs, output, records, "process")
    on_rows(prediction.rows)
    return prediction


def _explained(model: LoadedModel, columns: Columns, on_rows: Callable[[int], None]) -> Columns:
    parts = []
    for first in range(0, row_count(columns), _EXPLAINED):
        part = {name: values[first : first + _EXPLAINED] for name, values in columns.items()}
        parts.append(model.predict(part, EXPLAIN))
        on_rows(first + row_count(part))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def stage(inputs: Inputs, folder: Path) -> None:
    """Writes rows as a folder of spans for the pipeline: the model's columns and a row number.

    Rows of the dataset's spans keep their span, so that the run is recorded with the spans that it saw; else each
    file is a span. The same files give the same bytes, so that the pipeline's cache knows them. Replaces the folder.

    Raises:
        InputError: a file has a value that cannot be used.
        PredictionError: the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        shutil.rmtree(folder, ignore_errors=True)
        row = 0
        files = [file for file in inputs.files if file.rows]
        for place, (file, number) in enumerate(zip(files, _span_numbers(files), strict=True), start=1):
            span = folder / f"span-{number:03d}"
            span.mkdir(parents=True, exist_ok=True)
            writer = None
            for batch, _ in dataclasses.replace(inputs, files=[file]).batches():
                numbers = pa.array(np.arange(row, row + batch.num_rows))
                table = pa.table([numbers, *batch.columns], names=[ROW, *batch.schema.names])
                writer = writer or pq.ParquetWriter(span / f"rows-{place}.parquet", table.schema, compression="zstd")
                writer.write_table(table)
                row += batch.num_rows
            if writer is not None:
                writer.close()
    except OSError as error:
        raise PredictionError(f"The rows cannot be staged in {folder}: {error.strerror or error}.") from error


def _span_numbers(files: Sequence[InputFile]) -> list[int]:
    """To which span each file goes: spans have no gaps, which one without a row would leave."""
    spans = [file.span for file in files if file.span is not None]
    if len(spans) == len(files) and set(spans) == set(range(min(spans), max(spans) + 1)):
        return spans
    return list(range(1, len(files) + 1))


def model_id(version: Version) -> int:
    """The Model artifact of a version, which the pipeline needs; raises RegistryError if it is not known."""
    if version.model_id is None:
        raise RegistryError(
            f"ML Metadata does not know what model version {version.number} holds, so the pipeline cannot use it; "
            "predict with --no-pipeline."
        )
    return version.model_id


def collect(
    examples: Output,
    run_id: str,
    model: LoadedModel,
    version: Version,
    inputs: Inputs,
    output: Path,
    records: Records,
    seconds: float,
) -> Prediction:
    """Puts what BulkInferrer wrote in so many seconds into order, with the ids of the rows, as `in_process` does.

    Raises:
        PredictionError: a row has no answer or two, or the output cannot be written.
    """
    started = time.monotonic()
    outputs = model.task.named(_inferred(Path(examples.uri), inputs.rows, model.computed, inputs.types))

    def collected(batch: pa.RecordBatch, row: int) -> Columns:
        return {name: values[row : row + batch.num_rows] for name, values in outputs.items()}

    prediction = _written(collected, version, inputs, output, records, "pipeline", run_id, examples.artifact_id)
    return dataclasses.replace(prediction, seconds=seconds + time.monotonic() - started)


def _written(
    answer: Callable[[pa.RecordBatch, int], Columns],
    version: Version,
    inputs: Inputs,
    output: Path,
    records: Records,
    through: str,
    run_id: str | None = None,
    examples: int | None = None,
) -> Prediction:
    """Writes the answers to all rows, and records them; `answer` gives those to a batch and its first row's number."""
    started, row = time.monotonic(), 0
    files = [str(file.path) for file in inputs.files]
    with _writing(output, version) as write:
        for batch, ids in inputs.batches():
            write(ids, answer(batch, row))
            row += batch.num_rows
        if not row:
            raise InputError(f"There is no row in {', '.join(files)}.")
    notes = {"rows": row, "model_version": version.number, "through": through, "files": json.dumps(files)}
    if run_id is not None:
        notes["run_id"] = run_id
    given = [("model", version.model_id), ("pushed_model", version.artifact_id), ("examples", examples)]
    given = [(key, artifact) for key, artifact in given if artifact is not None]
    artifact_id = records.predicted(given, output, notes)
    return Prediction(output, row, version.number, through, time.monotonic() - started, run_id, artifact_id)


def _inferred(folder: Path, rows: int, outputs: Mapping[str, Column], inputs: Collection[str]) -> dict[str, np.ndarray]:
    """The outputs of a model with these inputs, in the order of the rows. They fit into memory, unlike the inputs."""
    import tensorflow as tf

    kinds = {"f": tf.float32, "i": tf.int64, "s": tf.string}
    features: dict[str, Any] = {ROW: tf.io.FixedLenFeature([], tf.int64)}
    for name, column in outputs.items():
        size = math.prod(size or 1 for size in column.shape[1:])
        features[tasks.column_of(name, inputs)] = tf.io.FixedLenFeature([size], kinds[column.dtype[0]])
    parts: dict[str, list[np.ndarray]] = {name: [] for name in features}
    files = sorted(str(file) for file in folder.glob("Split-*/*"))
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(8192):
        for name, values in tf.io.parse_example(batch, features).items():
            parts[name].append(values.numpy())
    numbers = np.concatenate(parts.pop(ROW)) if files else np.empty(0, np.int64)
    order = np.argsort(numbers)
    if not np.array_equal(numbers[order], np.arange(rows)):
        raise PredictionError(
            f"The pipeline gave {len(numbers)} answers, for {len(np.unique(numbers))} of {rows} rows; "
            "use another runner for BulkInferrer (beam.components)."
        )
    return {name: np.concatenate(parts[tasks.column_of(name, inputs)])[order] for name in outputs}


@contextlib.contextmanager
def _writing(output: Path, version: Version) -> Iterator[Callable[[pa.RecordBatch, Mapping[str, np.ndarray]], None]]:
    """Opens the output; what is written appears when all of it is there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    temporary = storage.staging(output)
    writer: pq.ParquetWriter | None = None

    def write(ids: pa.RecordBatch, outputs: Mapping[str, np.ndarray]) -> None:
        nonlocal writer
        columns: dict[str, Any] = dict(zip(ids.schema.names, ids.columns, strict=True))
        for name, values in sorted(outputs.items()):
            flat, width = pa.array(values.reshape(-1)), math.prod(values.shape[1:])
            answers = flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)
            columns[tasks.column_of(name, columns)] = answers
        columns[MODEL_VERSION] = pa.array(np.full(ids.num_rows, version.number, np.int64))
        table = pa.table(columns)
        if writer is None:
            about = {"model_version": version.number, "model_id": version.model_id, "run_id": version.run_id}
            schema = table.schema.with_metadata({"flightdeck": json.dumps(about)})
            writer = pq.ParquetWriter(temporary, schema, compression="zstd")
        writer.write_table(table.cast(writer.schema))

    try:
        storage.make_folder(output.parent)
        yield write
        if writer is not None:
            writer.close()
            storage.publish(temporary, output)
    except OSError as error:
        raise PredictionError(f"{output} cannot be written: {storage.why(error)}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def staging(settings: Settings) -> Path:
    """Where rows are staged; always the same place, because it is part of what the cache looks at."""
    return Path(settings.workspace) / "staged"

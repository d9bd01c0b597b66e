"""The answers to a file, in one process and as TFX's BulkInferrer gives them, for models of each task."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ml_metadata.proto import metadata_store_pb2

from data.contract import Task
from flightdeck.settings import read_settings
from ledger.opening import open_store
from ledger.outputs import Output
from operations.inference import batch_files, model
from operations.inference import batch_prediction as prediction
from operations.inference.errors import UnknownModelError
from operations.registry import Version
from operations.registry.records import Records
from operations.serving import tfserving_v1
from pipeline import store
from tests.operations.serving import small_model
from tests.operations.serving.small_model import CLASSES, class_of, probabilities, probability, value
from tests.world import LOCAL

pytestmark = pytest.mark.component

ROWS = [
    {"amount": -50.0, "count": 0, "colour": "green"},
    {"amount": 60.0, "count": 3, "colour": "red"},
    {"amount": 0.0, "count": 0, "colour": None},
    {"amount": 1.0, "count": 7, "colour": "red"},
]
# What a file has besides, for each task: as arrow has it, and as the model of the test answers.
ANSWERS = {
    "binary": {"probability": (pa.float32(), probability)},
    "multiclass": {"class": (pa.string(), class_of), "probabilities": (pa.list_(pa.float32(), 3), probabilities)},
    "regression": {"value": (pa.float32(), value)},
}


@pytest.fixture(scope="module")
def folders(models, of_tasks) -> dict[Task, Path]:
    return {"binary": models[0.0], **of_tasks}


@pytest.fixture
def records(tmp_path) -> Records:
    settings = read_settings(LOCAL, [f"workspace={tmp_path}"])
    made = open_store(store.connection(settings))
    # That of the examples.
    kind = made.put_artifact_type(metadata_store_pb2.ArtifactType(name="Examples"))
    assert made.put_artifacts([metadata_store_pb2.Artifact(type_id=kind)]) == [1]
    return Records(settings)


def file_of(folder: Path, rows: list[dict]) -> Path:
    ids = [f"row {number}" for number in range(len(rows))]
    pq.write_table(pa.Table.from_pylist([{"order": name, **row} for name, row in zip(ids, rows, strict=True)]), folder)
    return folder


def inputs_of(file: Path, loaded: model.LoadedModel) -> batch_files.Inputs:
    return batch_files.Inputs([batch_files.inspect(file)], loaded.inputs.types, frozenset(), ("order",))


def expect_answers(output: Path, task: Task) -> None:
    table = pq.read_table(output)
    assert table.column_names == ["order", *ANSWERS[task], "model_version"]
    assert table["order"].to_pylist() == [f"row {row}" for row in range(len(ROWS))]
    assert set(table["model_version"].to_pylist()) == {7}
    for name, (kind, answer) in ANSWERS[task].items():
        column = table[name]
        assert column.type == kind
        expected = [answer(0.0, row) for row in ROWS]
        if kind == pa.string():
            assert column.to_pylist() == expected
        else:
            for given, wanted in zip(column.to_pylist(), expected, strict=True):
                assert given == pytest.approx(wanted, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("task", ANSWERS)
def test_a_file_has_the_answers_and_the_names_of_classes(folders, records, tmp_path, task):
    loaded = model.load(folders[task], 7)
    inputs = inputs_of(file_of(tmp_path / "rows.parquet", ROWS), loaded)

    done = prediction.in_process(loaded, Version(7, folders[task]), inputs, tmp_path / "out.parquet", records)

    assert (done.rows, done.version, done.through) == (4, 7, "process")
    expect_answers(tmp_path / "out.parquet", task)


@pytest.mark.parametrize("task", ANSWERS)
def test_a_file_has_explanations_too_which_are_those_of_the_service(folders, records, tmp_path, task, monkeypatch):
    monkeypatch.setattr(prediction, "_EXPLAINED", 3)
    loaded = model.load(folders[task], 7)
    inputs = inputs_of(file_of(tmp_path / "rows.parquet", ROWS), loaded)
    seen: list[int] = []

    version = Version(7, folders[task])
    prediction.in_process(loaded, version, inputs, tmp_path / "out.parquet", records, seen.append, explain=True)

    table = pq.read_table(tmp_path / "out.parquet")
    why = [f"why_{name}" for name in sorted(small_model.COLUMNS)]
    assert table.column_names == ["order", *sorted(["base_value", *ANSWERS[task], *why]), "model_version"]
    numbers = {name: np.array(table[name].to_pylist()) for name in (loaded.task.output, "base_value", *why)}
    assert {table[name].type for name in numbers} == {table[loaded.task.output].type}
    added_up = sum(numbers[name] for name in why)
    np.testing.assert_allclose(added_up, numbers[loaded.task.output] - numbers["base_value"], rtol=1e-5, atol=1e-5)
    asked = json.dumps({"instances": ROWS}).encode()
    _, columns = tfserving_v1.arrays(tfserving_v1.parse(asked), loaded, explain=True)
    served = loaded.predict(columns, model.EXPLAIN)
    for name, values in numbers.items():
        np.testing.assert_allclose(values, served[name].reshape(values.shape), rtol=1e-6, atol=1e-7)
    assert seen == [0, 3, 4, 4]


def test_a_version_from_before_explanations_leaves_no_file(half_plus_three, records, tmp_path):
    loaded = model.load(half_plus_three, 7)
    pq.write_table(pa.table({"x": pa.array([1.0], pa.float32())}), tmp_path / "rows.parquet")
    inputs = batch_files.Inputs([batch_files.inspect(tmp_path / "rows.parquet")], loaded.inputs.types, frozenset(), ())
    version = Version(7, half_plus_three)
    with pytest.raises(UnknownModelError, match="Version 7 cannot explain its answers"):
        prediction.in_process(loaded, version, inputs, tmp_path / "out.parquet", records, explain=True)
    assert not (tmp_path / "out.parquet").exists()


def test_a_single_row_of_several_numbers_is_a_list_too(folders, records, tmp_path):
    loaded = model.load(folders["multiclass"], 7)
    inputs = inputs_of(file_of(tmp_path / "rows.parquet", ROWS[:1]), loaded)
    prediction.in_process(loaded, Version(7, folders["multiclass"]), inputs, tmp_path / "out.parquet", records)
    (row,) = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert row["probabilities"] == pytest.approx(probabilities(0.0, ROWS[0]), rel=1e-6)
    assert row["class"] == CLASSES[2]


def bulk_inferred(folder: Path, version: Path, outputs: dict[str, str], rows: list[dict]) -> Output:
    """What BulkInferrer writes for rows in reverse order: output -> column."""
    import tensorflow as tf
    from google.protobuf import json_format
    from tfx.components.bulk_inferrer import executor
    from tfx.dsl.components.base import base_beam_executor
    from tfx.proto import bulk_inferrer_pb2
    from tfx.types import standard_artifacts
    from tfx.utils import proto_utils

    given = standard_artifacts.Examples()
    given.uri, given.split_names, given.span = str(folder / "staged"), '["all"]', 0
    (folder / "staged" / "Split-all").mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "staged" / "Split-all" / "rows.gz"), "GZIP") as writer:
        for number, row in reversed(list(enumerate(rows))):
            asked = {name: row[name] for name in small_model.COLUMNS}
            example = tf.train.Example.FromString(small_model.example(asked))
            example.features.feature[prediction.ROW].int64_list.value.append(number)
            if "value" in row:
                example.features.feature["value"].float_list.value.append(row["value"])
            writer.write(example.SerializeToString())
    asked = standard_artifacts.Model()
    asked.uri = str(folder / "model")
    (folder / "model").mkdir()
    (folder / "model" / "Format-Serving").symlink_to(version)
    answered = standard_artifacts.Examples()
    answered.uri = str(folder / "answered")
    columns = [{"output_key": name, "output_column": column} for name, column in outputs.items()]
    specs = {
        "data_spec": bulk_inferrer_pb2.DataSpec(example_splits=["all"]),
        "model_spec": bulk_inferrer_pb2.ModelSpec(model_signature_name=["serving_default"]),
        "output_example_spec": json_format.ParseDict(
            {"output_columns_spec": [{"predict_output": {"output_columns": columns}}]},
            bulk_inferrer_pb2.OutputExampleSpec(),
        ),
    }
    arguments = ["--runner=FnApiRunner", "--direct_running_mode=in_memory", "--sdk_container_image=none"]
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=arguments, tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    executor.Executor(context).Do(
        {"examples": [given], "model": [asked]},
        {"output_examples": [answered]},
        {name: proto_utils.proto_to_json(spec) for name, spec in specs.items()},
    )
    return Output(answered.uri, {}, 1)


@pytest.mark.parametrize("task", ANSWERS)
def test_what_the_pipeline_inferred_is_put_into_order_and_named(folders, records, tmp_path, task):
    loaded = model.load(folders[task], 7)
    version, output = Version(7, folders[task]), tmp_path / "out.parquet"
    inputs = inputs_of(file_of(tmp_path / "rows.parquet", ROWS), loaded)
    rows = [{**row, "colour": row["colour"] or ""} for row in ROWS]
    examples = bulk_inferred(tmp_path, folders[task], {name: name for name in loaded.computed}, rows)

    done = prediction.collect(examples, "a-run", loaded, version, inputs, output, records, 1.0)

    assert (done.rows, done.through) == (4, "pipeline")
    expect_answers(output, task)


def test_an_answer_and_a_column_of_its_name_are_told_apart(folders, records, tmp_path):
    loaded = model.load(folders["regression"], 7)
    rows = [{**row, "colour": row["colour"] or "", "value": 12345.0} for row in ROWS]
    inputs = inputs_of(file_of(tmp_path / "rows.parquet", rows), loaded)
    inputs = dataclasses.replace(inputs, types={**inputs.types, "value": "float32"})
    examples = bulk_inferred(tmp_path, folders["regression"], {"value": "predicted_value"}, rows)
    output = tmp_path / "out.parquet"
    prediction.collect(examples, "a-run", loaded, Version(7, folders["regression"]), inputs, output, records, 1.0)
    expect_answers(output, "regression")

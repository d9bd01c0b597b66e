"""Classes and numbers over every protocol: live servers of real models, whose answers say what they mean."""

import base64
import json
import math

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.operations.serving import small_model
from tests.operations.serving.live_server import Served, samples, served, texts, wait_for
from tests.operations.serving.small_model import CLASSES, QUANTILES, class_of, probabilities, push, value
from tests.operations.serving.tensors import RAW, bare

pytestmark = pytest.mark.component

# One row of each class: of the last one, all are as probable, and the first one is named.
ROWS = [
    {"amount": -50.0, "count": 0, "colour": "green"},
    {"amount": 60.0, "count": 3, "colour": "red"},
    {"amount": 0.0, "count": 0, "colour": None},
]


def close(values: list[float]) -> object:
    return pytest.approx(values, rel=1e-6, abs=1e-6)


EXPECTED = {"probabilities": [probabilities(0.0, row) for row in ROWS], "class": [class_of(0.0, row) for row in ROWS]}
VALUES = [value(0.0, row) for row in ROWS]
TENSORS = [{**empty, "data": [row[empty["name"]] for row in ROWS]} for empty in bare(3)]
BY_COLUMN = {name: [row[name] for row in ROWS] for name in ROWS[0]}
ENCODED = [{"b64": base64.b64encode(small_model.example(row)).decode()} for row in ROWS]


def test_the_rows_of_the_test_are_of_all_classes():
    assert EXPECTED["class"] == [CLASSES[2], CLASSES[1], CLASSES[0]]
    assert EXPECTED["probabilities"][2] == [1 / 3] * 3


@pytest.mark.parametrize("body", [{"instances": ROWS}, {"instances": ENCODED}], ids=["rows", "examples"])
def test_a_row_is_answered_with_its_probabilities_and_the_name_of_its_class(multiclass, body):
    assert multiclass.post("/v1/models/shop:predict", body) == {
        "predictions": [
            {"probabilities": close(chances), "class": name}
            for chances, name in zip(EXPECTED["probabilities"], EXPECTED["class"], strict=True)
        ]
    }
    alone = multiclass.post("/v1/models/shop:predict", {"instances": ROWS[:1], "prediction_ids": ["a"]})
    assert alone["predictions"] == [{"probabilities": close(EXPECTED["probabilities"][0]), "class": CLASSES[2]}]
    assert alone["prediction_ids"] == ["a"]


def test_columns_are_answered_with_columns(multiclass, regression):
    outputs = multiclass.post("/v1/models/shop:predict", {"inputs": BY_COLUMN})["outputs"]
    assert outputs == {"probabilities": list(map(close, EXPECTED["probabilities"])), "class": EXPECTED["class"]}
    assert regression.post("/v1/models/shop:predict", {"inputs": BY_COLUMN}) == {
        "outputs": [close([number]) for number in VALUES]
    }


@pytest.mark.parametrize("body", [{"instances": ROWS}, {"instances": ENCODED}], ids=["rows", "examples"])
def test_a_number_is_answered_as_one(regression, body):
    assert regression.post("/v1/models/shop:predict", body) == {"predictions": [close([number]) for number in VALUES]}


def test_numbers_are_written_with_the_digits_that_they_have(multiclass):
    answer = multiclass.client.post("/v1/models/shop:predict", json={"instances": ROWS[:1]}).text
    assert max(map(len, json.loads(answer, parse_float=str)["predictions"][0]["probabilities"])) <= 12


def test_tensors_are_answered_with_a_tensor_for_probabilities_and_one_for_names(multiclass, regression):
    numbers, names = multiclass.post("/v2/models/shop/infer", {"inputs": TENSORS})["outputs"]
    flat = [chance for row in EXPECTED["probabilities"] for chance in row]
    assert numbers == {"name": "probabilities", "datatype": "FP32", "shape": [3, 3], "data": close(flat)}
    assert names == {"name": "class", "datatype": "BYTES", "shape": [3], "data": EXPECTED["class"]}
    only = {"inputs": TENSORS, "outputs": [{"name": "class"}]}
    assert multiclass.post("/v2/models/shop/infer", only)["outputs"] == [names]
    (output,) = regression.post("/v2/models/shop/infer", {"inputs": TENSORS})["outputs"]
    assert output == {"name": "value", "datatype": "FP32", "shape": [3, 1], "data": close(VALUES)}


def test_tensors_come_as_bytes_too(multiclass):
    body = {"inputs": TENSORS, "parameters": {"binary_data_output": True}}
    answer = multiclass.client.post("/v2/models/shop/infer", json=body)
    length = int(answer.headers["inference-header-content-length"])
    sizes = [tensor["parameters"]["binary_data_size"] for tensor in json.loads(answer.content[:length])["outputs"]]
    numbers, names = answer.content[length : length + sizes[0]], answer.content[length + sizes[0] :]
    assert np.frombuffer(numbers, "<f4").reshape(3, 3).tolist() == list(map(close, EXPECTED["probabilities"]))
    assert names == texts(*(name.encode() for name in EXPECTED["class"]))
    assert len(names) == sizes[1]


def test_grpc_answers_the_same_as_values_and_as_bytes(multiclass, regression):
    contents = {"amount": "fp32_contents", "count": "int64_contents", "colour": "bytes_contents"}
    inputs = []
    for empty in bare(3):
        values = [row[empty["name"]] for row in ROWS]
        data = [(value or "").encode() for value in values] if empty["datatype"] == "BYTES" else values
        inputs.append({**empty, "contents": {contents[empty["name"]]: data}})
    numbers, names = multiclass.live.call("ModelInfer", model_name="shop", inputs=inputs).outputs
    assert (numbers.name, numbers.datatype, list(numbers.shape)) == ("probabilities", "FP32", [3, 3])
    assert list(numbers.contents.fp32_contents) == close(np.ravel(EXPECTED["probabilities"]).tolist())
    assert (names.name, names.datatype, list(names.shape)) == ("class", "BYTES", [3])
    assert [name.decode() for name in names.contents.bytes_contents] == EXPECTED["class"]
    (output,) = regression.live.call("ModelInfer", model_name="shop", inputs=inputs).outputs
    assert (output.name, list(output.contents.fp32_contents)) == ("value", close(VALUES))
    rows = [{"amount": 20.0, "count": 300, "colour": "red"}, {"count": -5}]
    raw = regression.live.call("ModelInfer", model_name="shop", inputs=bare(), raw_input_contents=RAW)
    answered = np.frombuffer(raw.raw_output_contents[0], "<f4").tolist()
    assert answered == pytest.approx([value(0.0, row) for row in rows], rel=1e-6)


def test_metadata_say_which_class_each_probability_is_of_and_the_unit_of_a_number(multiclass, regression):
    (numbers, names), (number,) = (
        server.client.get("/v2/models/shop").json()["outputs"] for server in (multiclass, regression)
    )
    labels = {"labels": list(CLASSES)}
    assert numbers == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3], "parameters": labels}
    assert names == {"name": "class", "datatype": "BYTES", "shape": [-1]}
    assert number == {"name": "value", "datatype": "FP32", "shape": [-1, 1], "parameters": {"unit": "minutes"}}
    for server, meaning, types in (
        (multiclass, {"probabilities": labels}, {"probabilities": "DT_FLOAT", "class": "DT_STRING"}),
        (regression, {"value": {"unit": "minutes"}}, {"value": "DT_FLOAT"}),
    ):
        metadata = server.client.get("/v1/models/shop/metadata").json()["metadata"]
        assert metadata["outputs"] == meaning
        for signature in ("predict_raw", "serving_default"):
            outputs = metadata["signature_def"]["signature_def"][signature]["outputs"]
            assert {name: output["dtype"] for name, output in outputs.items()} == types
    described = multiclass.live.call("ModelMetadata", name="shop")
    assert {output.name: list(output.shape) for output in described.outputs} == {
        "probabilities": [-1, 3],
        "class": [-1],
    }
    assert json.loads(described.properties["labels"]) == list(CLASSES)
    assert dict(regression.live.call("ModelMetadata", name="shop").properties) == {"unit": "minutes"}


def schema(server: Served, name: str) -> dict:
    """A schema of the OpenAPI document, to validate with."""
    components = server.client.get("/openapi.json").json()["components"]
    return {"$ref": f"#/components/schemas/{name}", "components": components}


@pytest.mark.parametrize("name", ["multiclass", "regression"])
def test_the_document_of_the_api_describes_the_answers(request, name):
    server = request.getfixturevalue(name)
    predict, infer = schema(server, "PredictResponse"), schema(server, "InferResponse")
    for body in ({"instances": ROWS}, {"inputs": BY_COLUMN}, {"instances": ENCODED, "prediction_ids": True}):
        jsonschema.validate(server.post("/v1/models/shop:predict", body), predict)
    jsonschema.validate(server.post("/v2/models/shop/infer", {"inputs": TENSORS}), infer)
    jsonschema.validate(server.client.get("/v2/models/shop").json(), schema(server, "ModelMetadata"))


ROW = {"probabilities": [0.5, 0.25, 0.25], "class": CLASSES[0]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"predictions": [{**ROW, "class": "late"}]},
        {"predictions": [{**ROW, "probabilities": [0.5, 0.5]}]},
        {"predictions": [{**ROW, "probabilities": [0.5, 1.5, -1.0]}]},
        {"predictions": [{"class": CLASSES[0]}]},
        {"predictions": [ROW["probabilities"]]},
        {"outputs": {"probabilities": [[0.5, 0.25, 0.25]], "class": ["late"]}},
    ],
)
def test_the_document_of_the_api_knows_what_is_no_answer(multiclass, wrong):
    described = schema(multiclass, "PredictResponse")
    jsonschema.validate({"predictions": [ROW]}, described)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, described)


def test_the_document_of_the_api_names_the_classes_in_order_and_the_unit(multiclass, regression):
    row = schema(multiclass, "PredictResponse")["components"]["schemas"]["PredictResponse"]["properties"]
    properties = row["predictions"]["items"]["properties"]
    assert properties["class"]["enum"] == [*CLASSES, ""]
    described = properties["probabilities"]["description"]
    assert json.loads(described.removeprefix("labels: ")) == list(CLASSES)
    number = schema(regression, "PredictResponse")["components"]["schemas"]["PredictResponse"]["properties"]
    assert number["predictions"]["items"]["description"] == "unit: minutes"


def test_what_is_asked_wrongly_is_refused_in_the_words_of_the_task(multiclass):
    infer = {"inputs": TENSORS, "outputs": [{"name": "probability"}]}
    answer = multiclass.client.post("/v2/models/shop/infer", json=infer)
    assert (answer.status_code, answer.json()["error"]) == (
        422, "The model has no output `probability`; it has probabilities, class.",
    )  # fmt: skip
    answer = multiclass.client.post("/v1/models/shop:predict", json={"instances": [{"colour": "blue"}]})
    assert answer.status_code == 400
    assert [fault["column"] for fault in answer.json()["faults"]] == ["colour"]


def test_answers_of_requests_that_were_joined_are_each_their_own(multiclass):
    import concurrent.futures

    def ask(number: int) -> None:
        row = {"amount": 10.0 * (number % 40 - 20)}
        (answer,) = multiclass.post("/v1/models/shop:predict", {"instances": [row]})["predictions"]
        assert answer == {"probabilities": close(probabilities(0.0, row)), "class": class_of(0.0, row)}

    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        list(clients.map(ask, range(200)))


def test_the_histogram_counts_classes_and_values(multiclass, regression):
    before = samples(multiclass.client.get("/metrics").text)
    multiclass.post("/v1/models/shop:predict", {"instances": ROWS})
    after = samples(multiclass.client.get("/metrics").text)
    for name in CLASSES:
        key = ("prediction_count", *sorted(("7", f"probabilities/{name}")))
        assert after[key] - before.get(key, 0) == 1
    regression.post("/v1/models/shop:predict", {"instances": ROWS})
    seen = samples(regression.client.get("/metrics").text)
    labels = {label for key in seen if key[0] == "prediction_bucket" for label in key[1:]}
    assert labels == {"7", "value", *map(str, QUANTILES), "+Inf"}


def test_the_log_has_the_answers_as_they_were_given(of_tasks, tmp_path):
    logged = {}
    for task in ("multiclass", "regression"):
        with served(of_tasks[task], tmp_path / task, small_model.contract_of(task)) as server:
            server.post("/v1/models/shop:predict", {"instances": ROWS, "prediction_ids": ["a", "b", "c"]})
            refused = server.client.post("/v1/models/shop:predict", json={"instances": [{"amount": "much"}]})
            assert refused.status_code == 400
            server.live.process.terminate()
            server.live.process.wait(timeout=60)
            wait_for(lambda log=server.log: list(log.glob("*/*.parquet")))
            logged[task] = pq.read_table(server.log).sort_by("prediction_id").to_pylist()
    assert [row["class"] for row in logged["multiclass"]] == EXPECTED["class"]
    assert [row["probabilities"] for row in logged["multiclass"]] == list(map(close, EXPECTED["probabilities"]))
    assert [row["value"] for row in logged["regression"]] == close(VALUES)
    assert not any("class" in row for row in logged["regression"])


@pytest.mark.parametrize(
    ("task", "target", "word"),
    [
        ("multiclass", {"classes": ["a", "b"]}, "must give probabilities [None, 2]; it gives probabilities [None, 3]."),
        ("multiclass", {"task": "regression", "classes": []}, "predicts a number in minutes by its contract"),
        ("regression", {"task": "binary"}, "predicts a probability by its contract"),
        ("regression", {"task": "ranking"}, "is no contract"),
        ("regression", {"label": None}, "is no contract"),
    ],
)
def test_a_version_whose_contract_is_that_of_another_model_is_refused(of_tasks, tmp_path, task, target, word):
    from operations.inference import model
    from operations.inference.errors import LoadError

    contract = small_model.contract_of(task)
    changed = {**contract, "target": {**contract["target"], "unit": "minutes", **target}}
    with pytest.raises(LoadError) as refused:
        model.load(push(of_tasks[task], tmp_path, 1, changed), 1)
    assert word in str(refused.value)


def test_a_version_without_a_target_is_asked_as_before(of_tasks, tmp_path):
    from operations.inference import columns, model

    loaded = model.load(push(of_tasks["multiclass"], tmp_path, 1, {"columns": []}), 1)
    answer = loaded.predict(columns.from_rows(ROWS, loaded.inputs))
    assert list(answer) == list(loaded.outputs) == ["probabilities"]
    assert math.isclose(answer["probabilities"].sum(), 3.0, rel_tol=1e-5)

"""The Open Inference Protocol over REST against a live server."""

import json

import numpy as np
import pytest

from tests.operations.serving import small_model, tensors
from tests.operations.serving.live_server import texts
from tests.operations.serving.tensors import DESCRIBED, RAW, ROWS, bare, expected

pytestmark = pytest.mark.component

INFER = "/v2/models/shop/infer"
HEADER = "inference-header-content-length"


def tensor(name, datatype, data, shape=None, **more):
    return tensors.tensor(name, datatype, shape or [len(data), 1], data=data, **more)


def inputs():
    return [{**empty, "data": [row[empty["name"]] for row in ROWS]} for empty in bare()]


def post(client, head, data, length=None, **headers):
    """Posts JSON with the bytes of tensors behind it."""
    encoded = json.dumps(head).encode()
    return client.post(INFER, content=encoded + data, headers={HEADER: length or str(len(encoded)), **headers})


def binary(name, datatype, shape, size):
    return tensors.tensor(name, datatype, shape, parameters={"binary_data_size": size})


def test_server_and_model_describe_themselves(client):
    server = client.get("/v2").json()
    model = client.get("/v2/models/shop").json()

    assert server["extensions"] == ["binary_tensor_data"]
    assert (model["name"], model["versions"], model["platform"]) == ("shop", ["7"], "tensorflow_savedmodel")
    assert {column["name"]: (column["datatype"], column["shape"]) for column in model["inputs"]} == DESCRIBED
    assert model["outputs"] == [{"name": "probability", "datatype": "FP32", "shape": [-1, 1]}]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/shop/ready", "/v2/models/shop/versions/7/ready"):
        assert client.get(path).json() == {"name": "shop", "ready": True}
    assert client.get("/v2/models/shop/versions/8/ready").status_code == 404
    assert client.get("/v2/models/other").json()["error"] == "There is no model `other`; `shop` is served."


def test_json_tensors_are_answered_with_the_id_of_the_request(client):
    answer = client.post(INFER, json={"id": "order 1", "inputs": inputs()}).json()

    assert answer == {
        "model_name": "shop",
        "model_version": "7",
        "id": "order 1",
        "outputs": [{"name": "probability", "datatype": "FP32", "shape": [2, 1], "data": expected()}],
    }
    versioned = client.post("/v2/models/shop/versions/7/infer", json={"inputs": inputs()}).json()
    assert versioned["outputs"] == answer["outputs"]
    assert versioned["id"]


def test_nested_data_other_widths_and_left_out_inputs_are_read(client):
    nested = [tensor("amount", "FP64", [[20], [5]], [2, 1]), tensor("count", "INT8", [3, 4], [2])]

    answer = client.post(INFER, json={"inputs": nested}).json()

    assert answer["outputs"][0]["data"] == expected([{"amount": 20, "count": 3}, {"amount": 5, "count": 4}])


def test_binary_tensors_in_and_out(client):
    sized = [binary(**empty, size=len(data)) for empty, data in zip(bare(), RAW, strict=True)]
    head = {"inputs": sized, "outputs": [{"name": "probability", "parameters": {"binary_data": True}}]}

    answer = post(client, head, b"".join(RAW), **{"content-type": "application/octet-stream"})

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers[HEADER])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(answer.content[length:], "<f4").tolist() == expected()
    # Binary and JSON in one request, and all outputs as bytes.
    mixed = {"inputs": [sized[0], *inputs()[1:]], "parameters": {"binary_data_output": True}}
    answer = post(client, mixed, RAW[0])
    assert np.frombuffer(answer.content[int(answer.headers[HEADER]) :], "<f4").tolist() == expected()


def test_serialised_examples_are_read_too(client):
    rows = [{"amount": 2.0, "colour": "red"}, {"amount": 3.0}]
    data = texts(*map(small_model.example, rows))

    answer = post(client, {"inputs": [binary("examples", "BYTES", [2], len(data))]}, data)

    assert answer.json()["outputs"][0]["data"] == expected(rows)


AMOUNT = tensor("amount", "FP32", [1.0])


def changed(**fields):
    return {"inputs": [{**AMOUNT, **fields}]}


@pytest.mark.parametrize(
    ("document", "status", "field"),
    [
        ({}, 400, "inputs"),
        ({"inputs": []}, 400, "inputs"),
        ({"inputs": [1]}, 400, "inputs"),
        ({"inputs": "x"}, 400, "inputs"),
        ({"id": 1, "inputs": [AMOUNT]}, 400, "id"),
        ({"id": "x" * 201, "inputs": [AMOUNT]}, 400, "id"),
        ({"parameters": 1, "inputs": [AMOUNT]}, 400, "parameters"),
        ({"inputs": [AMOUNT, AMOUNT]}, 400, "amount"),
        (changed(name=None), 400, "name"),
        (changed(datatype="FLOAT"), 400, "amount"),
        (changed(datatype="BF16"), 400, "amount"),
        (changed(shape=None), 400, "amount"),
        (changed(shape=[-1, 1]), 400, "amount"),
        (changed(shape=[1.5, 1]), 400, "amount"),
        (changed(shape=[True, 1]), 400, "amount"),
        (changed(shape=[2, 1]), 400, "amount"),
        (changed(shape=[2**31 - 1] * 8), 400, "amount"),
        (changed(data=None), 400, "amount"),
        (changed(data=[[[1.0]]]), 422, "amount"),
        (changed(shape=[1, 1, 1]), 422, "amount"),
        (changed(shape=[]), 422, "amount"),
        (changed(data=["1"]), 422, "amount"),
        (changed(datatype="INT64"), 422, "amount"),
        (changed(name="nothing"), 422, "nothing"),
        (changed(shape=[0, 1], data=[]), 422, None),
        (changed(parameters={"binary_data_size": 4}), 400, "amount"),
        ({"inputs": [AMOUNT], "outputs": [{"name": "odds"}]}, 422, "odds"),
        ({"inputs": [AMOUNT], "outputs": [{}]}, 400, "name"),
        ({"inputs": [AMOUNT, tensor("count", "INT64", [1, 2])]}, 422, "amount"),
        ({"inputs": [tensor("colour", "BYTES", ["?"], parameters={"content_type": "base64"})]}, 400, "colour"),
    ],
)
def test_wrong_tensor_names_the_field(client, document, status, field):
    answer = client.post(INFER, json=document)

    assert (answer.status_code, answer.json().get("field")) == (status, field), answer.text
    assert answer.json()["error"].endswith(".")


@pytest.mark.parametrize(
    ("size", "data", "length", "word"),
    [
        (4, b"", None, "only 0 are left"),
        (4, b"12345678", None, "4 bytes behind the JSON"),
        (8, b"12345678", None, "has 8 bytes"),
        (-1, b"1234", None, "binary_data_size"),
        (4, b"1234", "99999", "Inference-Header-Content-Length is 99999"),
        (4, b"1234", "x", "must be a number"),
        (4, b"1234", "0", "empty"),
    ],
)
def test_wrong_binary_tensor_is_400(client, size, data, length, word):
    answer = post(client, {"inputs": [binary("amount", "FP32", [1, 1], size)]}, data, length)

    assert answer.status_code == 400
    assert word in answer.json()["error"]


@pytest.mark.parametrize("data", [b"\x03", b"\xff\xff\xff\xffred", b"\x01\x00\x00\x00redd", texts(b"\xff\xfe")])
def test_damaged_texts_are_refused(client, data):
    answer = post(client, {"inputs": [binary("colour", "BYTES", [1], len(data))]}, data)

    assert answer.status_code in (400, 422)
    assert answer.json()["field"] == "colour"


def test_of_many_inputs_that_the_model_does_not_have_one_is_named(client):
    many = [{"name": f"n{index}", "datatype": "FP32", "shape": [1], "data": [1]} for index in range(3000)]

    answer = client.post(INFER, json={"inputs": many}, timeout=120)

    assert (answer.status_code, answer.json()["field"]) == (422, "n0")
    assert len(answer.content) < 1000


def test_types_that_are_not_read_are_415(client):
    for kind in ("application/octet-stream", "text/plain", "multipart/form-data; boundary=x"):
        answer = client.post(INFER, content=b"{}", headers={"content-type": kind})
        assert (answer.status_code, answer.json()["field"]) == (415, "content-type")

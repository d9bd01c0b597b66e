"""The Open Inference Protocol over gRPC against a live server."""

import grpc
import numpy as np
import pytest

from operations.serving.grpc_messages import METHODS, SERVICE, message
from tests.operations.serving import small_model

pytestmark = pytest.mark.component

ROWS = [{"amount": 20.0, "count": 300, "colour": "red"}, {"amount": None, "count": -5, "colour": ""}]


@pytest.fixture(scope="module")
def ask(shop):
    """Calls a method with the fields of its request."""
    with grpc.insecure_channel(shop.grpc_target) as channel:

        def call(method: str, /, **fields):
            request, response = map(message, METHODS[method])
            stub = channel.unary_unary(
                f"/{SERVICE}/{method}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )
            return stub(request(**fields), timeout=30)

        call.channel = channel
        yield call


def inputs():
    return [
        {"name": "amount", "datatype": "FP32", "shape": [2, 1], "contents": {"fp32_contents": [20.0, float("nan")]}},
        {"name": "count", "datatype": "INT64", "shape": [2, 1], "contents": {"int64_contents": [300, -5]}},
        {"name": "colour", "datatype": "BYTES", "shape": [2, 1], "contents": {"bytes_contents": [b"red", b""]}},
    ]


def expected():
    return [pytest.approx(small_model.probability(0.0, row), abs=1e-6) for row in ROWS]


def refused(call, code: grpc.StatusCode, word: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code
    assert word in caught.value.details()


def test_server_and_model_describe_themselves(ask):
    assert ask("ServerLive").live
    assert ask("ServerReady").ready
    assert list(ask("ServerMetadata").extensions) == ["binary_tensor_data"]
    assert ask("ModelReady", name="shop", version="7").ready
    model = ask("ModelMetadata", name="shop")
    assert (model.name, list(model.versions)) == ("shop", ["7"])
    assert {each.name: (each.datatype, list(each.shape)) for each in model.inputs} == {
        "amount": ("FP32", [-1, 1]),
        "count": ("INT64", [-1, 1]),
        "colour": ("BYTES", [-1, 1]),
    }
    refused(lambda: ask("ModelReady", name="other"), grpc.StatusCode.NOT_FOUND, "`other`")
    refused(lambda: ask("ModelReady", name="shop", version="8"), grpc.StatusCode.NOT_FOUND, "Version 8")


def test_typed_contents_are_answered_with_typed_contents(ask):
    answer = ask("ModelInfer", model_name="shop", id="order 1", inputs=inputs())

    assert (answer.model_name, answer.model_version, answer.id) == ("shop", "7", "order 1")
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("probability", "FP32", [2, 1])
    assert list(output.contents.fp32_contents) == expected()
    assert not answer.raw_output_contents


def test_raw_contents_are_answered_with_raw_contents(ask):
    raw = [
        np.array([20, np.nan], "<f4").tobytes(),
        np.array([300, -5], "<i8").tobytes(),
        b"\x03\x00\x00\x00red\x00\x00\x00\x00",
    ]
    bare = [{key: value for key, value in each.items() if key != "contents"} for each in inputs()]

    answer = ask("ModelInfer", model_name="shop", inputs=bare, raw_input_contents=raw)

    assert answer.id
    assert not answer.outputs[0].HasField("contents")
    assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == expected()


AMOUNT = {"name": "amount", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [1.0]}}
BARE = {"name": "amount", "datatype": "FP32", "shape": [1]}


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({}, "`inputs` is empty"),
        ({"inputs": [AMOUNT, AMOUNT]}, "`amount` is there twice"),
        ({"inputs": [{**AMOUNT, "name": "nothing"}]}, "no column `nothing`"),
        ({"inputs": [{**AMOUNT, "shape": [2]}]}, "`amount` has 1 values"),
        ({"inputs": [{**AMOUNT, "shape": [-1]}]}, "`shape`"),
        ({"inputs": [{**AMOUNT, "datatype": "FP64"}]}, "fp64_contents is needed"),
        ({"inputs": [{**AMOUNT, "datatype": "FP16"}]}, "raw_input_contents only"),
        ({"inputs": [{**AMOUNT, "datatype": "other"}]}, "datatype 'other'"),
        ({"inputs": [BARE]}, "`amount` has 0 values"),
        ({"inputs": [BARE], "raw_input_contents": [b"123"]}, "`amount` has 3 bytes"),
        ({"inputs": [BARE], "raw_input_contents": [b"1234", b"1234"]}, "2 raw_input_contents for 1 inputs"),
        ({"inputs": [AMOUNT], "raw_input_contents": [b"1234"]}, "`amount` has contents"),
        ({"inputs": [AMOUNT], "outputs": [{"name": "odds"}]}, "no output `odds`"),
        ({"inputs": [AMOUNT], "id": "x" * 201}, "`id`"),
    ],
)
def test_wrong_request_is_an_invalid_argument_that_names_the_field(ask, fields, word):
    refused(lambda: ask("ModelInfer", model_name="shop", **fields), grpc.StatusCode.INVALID_ARGUMENT, word)


def test_limits_and_bytes_that_are_no_message(ask):
    many = {**BARE, "shape": [1001]}
    refused(
        lambda: ask("ModelInfer", model_name="shop", inputs=[many], raw_input_contents=[bytes(4004)]),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "1001 rows",
    )
    refused(
        lambda: ask("ModelInfer", model_name="shop", inputs=[many], raw_input_contents=[bytes(300_000)]),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "larger than max",
    )
    refused(
        lambda: ask.channel.unary_unary(f"/{SERVICE}/ModelInfer")(b"\xff\xff\xff"),
        grpc.StatusCode.INVALID_ARGUMENT,
        "no ModelInferRequest",
    )


def test_bytes_on_the_wire_are_those_of_the_protocol():
    """Written by hand from the protocol's field numbers, so that a wrong number in the table shows."""
    contents = b"\x32\x04" + np.array([1.0], "<f4").tobytes()  # 6: fp32_contents, packed
    tensor = b"\x0a\x01a" + b"\x12\x04FP32" + b"\x1a\x01\x01" + b"\x2a" + bytes([len(contents)]) + contents
    parameter = b"\x0a\x01p\x12\x02\x10\x05"  # key p -> 2: int64_param 5
    wire = b"\x0a\x04shop\x12\x017\x1a\x02id" + b"\x22" + bytes([len(parameter)]) + parameter
    wire += b"\x2a" + bytes([len(tensor)]) + tensor + b"\x32\x03\x0a\x01o" + b"\x3a\x01r"

    request = message("ModelInferRequest").FromString(wire)

    assert (request.model_name, request.model_version, request.id) == ("shop", "7", "id")
    assert request.parameters["p"].int64_param == 5
    (read,) = request.inputs
    assert (read.name, read.datatype, list(read.shape)) == ("a", "FP32", [1])
    assert list(read.contents.fp32_contents) == [1.0]
    assert [each.name for each in request.outputs] == ["o"]
    assert list(request.raw_input_contents) == [b"r"]
    assert request.SerializeToString(deterministic=True) == wire

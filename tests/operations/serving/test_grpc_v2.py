"""The Open Inference Protocol over gRPC against a live server."""

import grpc
import numpy as np
import pytest

from operations.serving.grpc_messages import SERVICE, message
from tests.operations.serving.tensors import DESCRIBED, RAW, bare, expected, tensor

pytestmark = pytest.mark.component


def inputs():
    contents = (
        {"fp32_contents": [20.0, float("nan")]},
        {"int64_contents": [300, -5]},
        {"bytes_contents": [b"red", b""]},
    )
    return [{**empty, "contents": values} for empty, values in zip(bare(), contents, strict=True)]


def refused(call, code: grpc.StatusCode, word: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code
    assert word in caught.value.details()


def test_server_and_model_describe_themselves(shop):
    assert shop.call("ServerLive").live
    assert shop.call("ServerReady").ready
    assert list(shop.call("ServerMetadata").extensions) == ["binary_tensor_data"]
    assert shop.call("ModelReady", name="shop", version="7").ready
    model = shop.call("ModelMetadata", name="shop")
    assert (model.name, list(model.versions)) == ("shop", ["7"])
    assert {column.name: (column.datatype, list(column.shape)) for column in model.inputs} == DESCRIBED
    refused(lambda: shop.call("ModelReady", name="other"), grpc.StatusCode.NOT_FOUND, "`other`")
    refused(lambda: shop.call("ModelReady", name="shop", version="8"), grpc.StatusCode.NOT_FOUND, "Version 8")


def test_typed_contents_are_answered_with_typed_contents(shop):
    answer = shop.call("ModelInfer", model_name="shop", id="order 1", inputs=inputs())

    assert (answer.model_name, answer.model_version, answer.id) == ("shop", "7", "order 1")
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("probability", "FP32", [2, 1])
    assert list(output.contents.fp32_contents) == expected()
    assert not answer.raw_output_contents


def test_raw_contents_are_answered_with_raw_contents(shop):
    answer = shop.call("ModelInfer", model_name="shop", inputs=bare(), raw_input_contents=RAW)

    assert answer.id
    assert not answer.outputs[0].HasField("contents")
    assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == expected()


BARE = tensor("amount", "FP32", [1])
AMOUNT = {**BARE, "contents": {"fp32_contents": [1.0]}}


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
def test_wrong_request_is_an_invalid_argument_that_names_the_field(shop, fields, word):
    refused(lambda: shop.call("ModelInfer", model_name="shop", **fields), grpc.StatusCode.INVALID_ARGUMENT, word)


@pytest.mark.parametrize(("size", "word"), [(4004, "1001 rows"), (300_000, "larger than max")])
def test_limits(shop, size, word):
    fields = {"inputs": [{**BARE, "shape": [1001]}], "raw_input_contents": [bytes(size)]}
    refused(lambda: shop.call("ModelInfer", model_name="shop", **fields), grpc.StatusCode.RESOURCE_EXHAUSTED, word)


def test_bytes_that_are_no_message(shop):
    with grpc.insecure_channel(shop.grpc_target) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        refused(lambda: call(b"\xff\xff\xff"), grpc.StatusCode.INVALID_ARGUMENT, "no ModelInferRequest")


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
    assert [output.name for output in request.outputs] == ["o"]
    assert list(request.raw_input_contents) == [b"r"]
    assert request.SerializeToString(deterministic=True) == wire

"""A live server refuses rows that break the contract of the version, alike over every protocol, and logs them."""

import base64
import struct
from pathlib import Path

import grpc
import httpx
import pyarrow.parquet as pq
import pytest

from tests.operations.serving import small_model
from tests.operations.serving.live_server import LiveServer, samples, serving, texts, wait_for
from tests.operations.serving.tensors import bare

pytestmark = pytest.mark.component

GOOD = {"amount": 20.0, "count": 10, "colour": "red"}
# The first row lacks what is never missing, and has a category that the closed list does not have; the last one is out
# of range.
ROWS = [{"amount": None, "count": None, "colour": "blue"}, GOOD, {"amount": 5.0, "count": 101, "colour": None}]
FAULTS = [
    {"column": "amount", "row": 0, "value": None, "allowed": "a number from 0 to 1000"},
    {"column": "colour", "row": 0, "value": "blue", "allowed": "one of red, green"},
    {"column": "count", "row": 2, "value": 101, "allowed": "a number from 0 to 100"},
]
SENTENCE = (
    "`amount` in row 0 is missing (allowed: a number from 0 to 1000); "
    "`colour` in row 0 is 'blue' (allowed: one of red, green); "
    "`count` in row 2 is 101 (allowed: a number from 0 to 100)"
)
ERROR = f"The request breaks the contract of version 7: {SENTENCE}."


def asked(models: dict[float, Path], folder: Path, **settings: object) -> tuple[dict, Path]:
    """What a server of version 7 with a contract, and of version 6 without, answers over each protocol; and its log."""
    small_model.push(models[0.0], folder / "versions", 6)
    small_model.push(models[0.0], folder / "versions", 7, small_model.CONTRACT)
    log = folder / "payloads"
    with serving(folder / "versions", "shop", folder / "log", "--payloads", str(log), **settings) as live:
        answers = _answers(live)
        live.process.terminate()
        assert live.process.wait(timeout=60) == 0
    return answers, log


@pytest.fixture(scope="module")
def refusing(models, tmp_path_factory):
    return asked(models, tmp_path_factory.mktemp("refusing"))


@pytest.fixture(scope="module")
def flagging(models, tmp_path_factory):
    return asked(models, tmp_path_factory.mktemp("flagging"), validation="flag")


def _answers(live: LiveServer) -> dict:
    """The answers to ROWS, by protocol; and the metrics after them."""
    columns = {name: [row[name] for row in ROWS] for name in GOOD}
    present = [{name: value for name, value in row.items() if value is not None} for row in ROWS]
    # The graph itself refuses an example without an amount, so this one has a NaN in its place.
    examples = [small_model.example(row if "amount" in row else {**row, "amount": float("nan")}) for row in present]
    encoded = [{"b64": base64.b64encode(example).decode()} for example in examples]
    tensors = [{**empty, "data": columns[empty["name"]]} for empty in bare(3)]
    with live.client() as client:
        wait_for(lambda: client.get("/v2/models/shop/versions/6/ready").status_code == 200)
        before = samples(client.get("/metrics").text)
        predict, infer = "/v1/models/shop:predict", "/v2/models/shop/infer"
        answers = {
            "rows": client.post(predict, json={"instances": present}, headers={"x-request-id": "a"}),
            "columns": client.post(predict, json={"inputs": columns}, headers={"x-caller": "web shop"}),
            "examples": client.post(predict, json={"instances": encoded}, headers={"user-agent": "till/2"}),
            "v2": client.post(infer, json={"id": "b", "inputs": tensors}),
            "good": client.post(predict, json={"instances": [GOOD]}),
            "good v2": client.post(infer, json={"inputs": [{**empty, "data": [GOOD[empty["name"]]]}
                                                           for empty in bare(1)]}),
            "unguarded": client.post("/v1/models/shop/versions/6:predict", json={"instances": present}),
        }  # fmt: skip
        answers["grpc"] = _infer(live)
        answers["metrics"] = samples(client.get("/metrics").text)
        answers["openapi"] = client.get("/openapi.json").json()
    answers["metrics before"] = before
    return answers


def _infer(live: LiveServer):
    """The answer or the error of gRPC."""
    numbers = struct.pack("<3f", float("nan"), 20.0, 5.0), struct.pack("<3q", small_model.MISSING_COUNT, 10, 101)
    raw = [*numbers, texts(b"blue", b"red", b"")]
    asked = {"model_name": "shop", "id": "c", "inputs": bare(3), "raw_input_contents": raw}
    try:
        return live.call("ModelInfer", [("x-caller", "till 3")], **asked)
    except grpc.RpcError as error:
        return error


@pytest.mark.parametrize("way", ["rows", "columns", "examples", "v2"])
def test_all_faults_are_refused_at_once_with_column_row_value_and_what_is_allowed(refusing, way):
    answer: httpx.Response = refusing[0][way]
    assert answer.status_code == 400
    expected = {"error": ERROR, "faults": FAULTS}
    assert answer.json() == (expected | {"field": "amount"} if way == "v2" else expected)


def test_grpc_refuses_with_the_same_words(refusing):
    error = refusing[0]["grpc"]
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, ERROR)


def test_good_rows_are_answered_without_a_mark_and_so_is_everything_by_a_version_without_a_contract(refusing, flagging):
    for answers, _ in (refusing, flagging):
        assert answers["good"].json().keys() == {"predictions"}
        assert "parameters" not in answers["good v2"].json()
        assert answers["unguarded"].json() == {
            "predictions": [[pytest.approx(small_model.probability(0.0, row), abs=1e-6)] for row in ROWS]
        }


def test_faults_are_counted_by_column(refusing, flagging):
    for (answers, _), outcome in ((refusing, "refused"), (flagging, "flagged")):
        faults = {key: count for key, count in answers["metrics"].items() if key[0] == "contract_faults_total"}
        assert faults == {("contract_faults_total", column, outcome): 5 for column in ("amount", "colour", "count")}
        # Prometheus sees no increase of a series that begins with its first fault.
        assert {answers["metrics before"].get(key) for key in faults} == {0}
    assert refusing[0]["metrics"]["rows_total",] == 5  # the good ones, and those of version 6
    assert flagging[0]["metrics"]["rows_total",] == 20


def test_refused_rows_are_logged_unanswered_with_their_caller(refusing):
    log = pq.read_table(refusing[1]).sort_by("prediction_id").to_pylist()
    assert len(log) == 5 * 3 + 2 + 3
    refused = [row for row in log if row["request_refused"]]
    assert len(refused) == 15
    assert {row["probability"] for row in refused} == {None}
    assert all(row["probability"] is not None for row in log if not row["request_refused"])
    assert {row["model_version"] for row in refused} == {7}
    by_id = {row["prediction_id"]: row for row in refused}
    assert [by_id[f"a-{row}"]["contract_faults"] for row in range(3)] == ["amount, colour", None, "count"]
    for request in "abc":
        logged = [by_id[f"{request}-{row}"] for row in range(3)]
        assert [{name: row[name] for name in GOOD} for row in logged] == ROWS
    callers = {row["request_caller"] for row in refused}
    assert {"web shop", "till 3", "till/2 from 127.0.0.1"} < callers
    assert by_id["a-0"]["request_caller"].endswith(" from 127.0.0.1")


@pytest.mark.parametrize("way", ["rows", "columns", "examples"])
def test_flagged_rows_are_answered_and_marked(flagging, way):
    answer = flagging[0][way].json()
    expected = [small_model.probability(0.0, row) for row in ROWS]
    predictions = answer.pop("outputs" if way == "columns" else "predictions")
    assert [value for (value,) in predictions] == pytest.approx(expected, abs=1e-6)
    assert answer == {"flagged_rows": [0, 2], "faults": FAULTS}


def test_flagged_rows_are_marked_in_the_parameters_of_the_open_inference_protocol(flagging):
    marks = {"flagged_rows": "0,2", "faults": SENTENCE}
    assert flagging[0]["v2"].json()["parameters"] == marks
    parameters = flagging[0]["grpc"].parameters
    assert {key: value.string_param for key, value in parameters.items()} == marks


def test_flagged_rows_are_logged_with_their_answer_and_their_mark(flagging):
    log = {row["prediction_id"]: row for row in pq.read_table(flagging[1]).to_pylist()}
    assert not any(row["request_refused"] for row in log.values())
    assert all(row["probability"] is not None for row in log.values())
    assert [log[f"b-{row}"]["contract_faults"] for row in range(3)] == ["amount, colour", None, "count"]


def test_the_document_of_the_api_has_the_contract_where_it_is_enforced(refusing, flagging):
    def row(answers: dict) -> dict:
        forms = answers["openapi"]["components"]["schemas"]["PredictRequest"]["anyOf"]
        return forms[0]["properties"]["instances"]["items"]

    enforced, unenforced = row(refusing[0]), row(flagging[0])
    assert (enforced["required"], unenforced["required"]) == (["amount"], [])
    assert enforced["properties"]["amount"] == {"type": ["number"], "minimum": 0, "maximum": 1000}
    assert enforced["properties"]["colour"]["enum"] == ["red", "green", None]
    assert "enum" not in unenforced["properties"]["colour"]

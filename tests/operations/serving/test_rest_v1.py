"""TensorFlow Serving's REST protocol against a live server: its documentation's examples, and what clients rely on."""

import base64
import gzip
import json

import httpx
import pytest

from tests.operations.serving import small_model
from tests.operations.serving.live_server import samples, serving

pytestmark = pytest.mark.component

CURL = "application/x-www-form-urlencoded"  # what curl -d says when it is told nothing


@pytest.fixture(scope="module")
def half(half_plus_three, tmp_path_factory):
    folder = tmp_path_factory.mktemp("half")
    small_model.push(half_plus_three, folder / "versions", 123)
    with serving(folder / "versions", "half_plus_three", folder / "log") as live, live.client() as client:
        yield client


# https://www.tensorflow.org/tfx/serving/api_rest, section by section: request, status, and the whole answer.
AVAILABLE = {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
MODEL = "/v1/models/half_plus_three"
DOCUMENTED = [
    ("GET", MODEL, None, 200, {"model_version_status": [AVAILABLE]}),
    ("GET", f"{MODEL}/versions/123", None, 200, {"model_version_status": [AVAILABLE]}),
    ("GET", f"{MODEL}/versions/5", None, 404, {"error": "Could not find version 5 of model half_plus_three"}),
    ("GET", "/v1/models/half", None, 404, {"error": "Could not find any versions of model half"}),
    ("POST", f"{MODEL}:predict", '{"instances": [1.0,2.0,5.0]}', 200, {"predictions": [3.5, 4.0, 5.5]}),
    ("POST", f"{MODEL}/versions/123:predict", '{"instances": [1.0]}', 200, {"predictions": [3.5]}),
    ("POST", f"{MODEL}:predict", '{"inputs": [1.0, 2]}', 200, {"outputs": [3.5, 4.0]}),
    ("POST", f"{MODEL}:predict", '{"inputs": {"x": [1.0, 2e0]}}', 200, {"outputs": [3.5, 4.0]}),
    ("POST", f"{MODEL}:predict", '{"instances": [{"x": 1.0}, {"x": -10}]}', 200, {"predictions": [3.5, -2.0]}),
    ("POST", f"{MODEL}:predict", '{"signature_name": "predict_raw", "instances": [0]}', 200, {"predictions": [3.0]}),
    # NaN is a token of the protocol, though not of JSON; the answer is JSON, and says null.
    ("POST", f"{MODEL}:predict", '{"instances": [1.0, NaN]}', 200, {"predictions": [3.5, None]}),
    (
        "POST", "/v1/models/half:predict", '{"instances": [1.0,5.0]}', 404,
        {"error": "Servable not found for request: Latest(half)"},
    ),
    (
        "POST", f"{MODEL}/versions/5:predict", '{"instances": [1.0]}', 404,
        {"error": "Servable not found for request: Specific(half_plus_three, 5) "
                  "(Version 5 is not loaded; loaded are 123.)"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "expected"), DOCUMENTED)
def test_documented_request_is_answered_as_tensorflow_serving_answers_it(half, method, path, body, status, expected):
    answer = half.request(method, path, content=body, headers={"content-type": CURL} if body else {})

    assert (answer.status_code, answer.json()) == (status, expected)
    assert answer.headers["content-type"] == "application/json"


# What TensorFlow Serving refuses with 400, and the word of the sentence that says why.
BAD = [
    ("", "empty"),
    ("{", "not valid JSON"),
    ("[]", "must be a JSON object"),
    ("{}", "`instances`"),
    ('{"instances": [1], "inputs": [1]}', "both `instances` and `inputs`"),
    ('{"instances": 1}', "`instances` must be a list"),
    ('{"instances": []}', "`instances` is empty"),
    ('{"inputs": 1}', "`inputs` must be"),
    ('{"instances": ["one"]}', "`x` in row 0 is text"),
    ('{"instances": [{"y": 1}]}', "`x`"),
    ('{"inputs": {"y": [1]}}', "`y`"),
    ('{"instances": [1], "signature_name": "other"}', "`other`"),
    ('{"instances": [1], "signature_name": 1}', "`signature_name`"),
    ('{"instances": [Infinity]}', "`x` in row 0 does not fit"),
    ('{"instances": [1e999]}', "not valid JSON"),
    ('{"instances": [NaN, "\\ud800"]}', "not valid JSON"),
    ('{"instances": [1], "prediction_ids": ["a", "b"]}', "2 prediction ids for 1 rows"),
    ('{"instances": [1], "prediction_ids": [1]}', "`prediction_ids`"),
    ('{"instances": [{"b64": "?"}]}', "not base64"),
    ("[" * 100_000, "not valid JSON"),
    ('{"instances": ' + "[" * 500 + "]" * 500 + "}", "`x` in row 0 is a nested list"),
    ('{"instances": [NaN, ' + "[" * 900 + "]" * 900 + "]}", "not valid JSON"),
    ('{"instances": [' + '{"a":' * 900 + '{"b64": ""}' + "}" * 900 + "]}", "`x`"),
    ('{"instances": [1' + "0" * 5000 + ", NaN]}", "not valid JSON"),
]


@pytest.mark.parametrize(("body", "word"), BAD, ids=[body[:40] for body, _ in BAD])
def test_bad_body_is_400_with_one_sentence(half, body, word):
    answer = half.post(f"{MODEL}:predict", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"error"}
    assert word in answer.json()["error"]


ROWS = [{"amount": 20.0, "count": 300, "colour": "red"}, {"colour": "green"}, {"amount": None, "count": -5}, {}]


def predicted(*rows: dict) -> list:
    return [[pytest.approx(small_model.probability(0.0, row), abs=1e-6)] for row in rows]


def test_rows_columns_and_examples_get_the_same_answer(client):
    by_row = client.post("/v1/models/shop:predict", json={"instances": ROWS})
    columns = {name: [row.get(name) for row in ROWS] for name in small_model.COLUMNS}
    by_column = client.post("/v1/models/shop:predict", json={"inputs": columns})

    assert by_row.json() == {"predictions": predicted(*ROWS)}
    assert by_column.json() == {"outputs": by_row.json()["predictions"]}
    full = [{"amount": 1.0, **row} for row in ROWS[:2]]
    encoded = [{"b64": base64.b64encode(small_model.example(row)).decode()} for row in full]
    for body in (
        {"instances": encoded},
        {"signature_name": "serving_default", "instances": encoded},
        {"instances": [{"examples": row} for row in encoded]},
    ):
        assert client.post("/v1/models/shop:predict", json=body).json() == {"predictions": predicted(*full)}
    for body in ({"inputs": encoded}, {"inputs": {"examples": encoded}}):
        assert client.post("/v1/models/shop:predict", json=body).json() == {"outputs": predicted(*full)}


def test_text_may_come_as_base64_and_unknown_text_is_a_value(client):
    body = {"instances": [{"colour": {"b64": base64.b64encode(b"red").decode()}}, {"colour": "µ-漢字-🙂"}]}

    answer = client.post("/v1/models/shop:predict", json=body)

    assert answer.json() == {"predictions": predicted({"colour": "red"}, {})}


def test_metadata_lists_signatures_as_tensorflow_serving_does(client):
    answer = client.get("/v1/models/shop/metadata").json()

    assert answer["model_spec"] == {"name": "shop", "signature_name": "", "version": "7"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert {name: column["dtype"] for name, column in signatures["predict_raw"]["inputs"].items()} == {
        "amount": "DT_FLOAT",
        "count": "DT_INT64",
        "colour": "DT_STRING",
    }
    (probability,) = signatures["serving_default"]["outputs"].values()
    assert [size["size"] for size in probability["tensor_shape"]["dim"]] == ["-1", "1"]
    assert client.get("/v1/models/shop/versions/8/metadata").status_code == 404


def test_answers_say_which_version_answered_and_how_the_request_is_called(client):
    answer = client.post("/v1/models/shop:predict", json={"instances": [{}]}, headers={"x-request-id": "order-1"})
    made = client.post("/v1/models/shop:predict", json={"instances": [{}, {}], "prediction_ids": True})
    given = client.post("/v1/models/shop:predict", json={"inputs": {"count": [1, 2]}, "prediction_ids": ["a", "b"]})

    assert answer.headers["x-model-version"] == "7"
    assert answer.headers["x-request-id"] == "order-1"
    assert answer.json().keys() == {"predictions"}
    name = made.headers["x-request-id"]
    assert made.json()["prediction_ids"] == [f"{name}-0", f"{name}-1"]
    assert given.json()["prediction_ids"] == ["a", "b"]
    refused = client.post("/v1/models/shop:predict", json={"instances": [{}]}, headers={"x-request-id": "a b"})
    assert (refused.status_code, "x-request-id" in refused.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "word"),
    [
        ("GET", "/v1/models/shop:predict", {}, 405, "POST"),
        ("DELETE", "/v1/models/shop", {}, 405, "GET"),
        ("POST", "/v1/models/shop:classify", {}, 404, ":classify is not served"),
        ("POST", "/v1/models/shop:regress", {}, 404, ":regress is not served"),
        ("POST", "/v1/models/shop/versions/x:predict", {}, 404, "`x` is no version"),
        ("POST", "/v1/models/shop/versions/" + "9" * 5000 + ":predict", {}, 404, "is no version"),
        ("GET", "/", {}, 404, "/openapi.json"),
        ("POST", "/v1/models/shop:predict", {"content-type": "text/csv"}, 415, "text/csv"),
        ("POST", "/v1/models/shop:predict", {"content-encoding": "br"}, 415, "br"),
    ],
)
def test_wrong_address_method_or_type_says_what_would_be_right(client, method, path, headers, status, word):
    headers = {"content-type": "application/json", **headers}
    answer = client.request(method, path, content=b'{"instances": [{}]}', headers=headers)

    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert word in answer.json()["error"]
    assert status != 405 or word in answer.headers["allow"]


def test_too_many_rows_and_too_many_bytes_are_413(client, shop):
    rows = client.post("/v1/models/shop:predict", json={"instances": [{}] * 1001})
    large = json.dumps({"instances": [{"colour": "x" * 300_000}]}).encode()
    announced = client.post("/v1/models/shop:predict", content=large)
    # Chunked: nobody says how long it is.
    chunked = client.post("/v1/models/shop:predict", content=iter([large[:100_000], large[100_000:]]))

    assert (rows.status_code, rows.json()) == (413, {"error": "The request has 1001 rows; 1000 are allowed."})
    for answer in (announced, chunked):
        assert answer.status_code == 413
        assert "200000 bytes" in answer.json()["error"]
        assert answer.headers["connection"] == "close"
    assert httpx.post(f"{shop.url}/v1/models/shop:predict", json={"instances": [{}]}).status_code == 200


def test_a_body_of_gzip_is_read_on_both_protocols_in_any_pieces(client):
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    plain = json.dumps({"instances": ROWS}).encode()
    middle = len(plain) // 2
    members = gzip.compress(plain[:middle]) + gzip.compress(plain[middle:])
    expected = client.post("/v1/models/shop:predict", content=plain).json()
    pieces = [members[start : start + 7] for start in range(0, len(members), 7)]
    for content in (gzip.compress(plain), members, iter(pieces)):
        answer = client.post("/v1/models/shop:predict", content=content, headers=headers)
        assert (answer.status_code, answer.json()) == (200, expected)
    tensor = {"inputs": [{"name": "amount", "datatype": "FP32", "shape": [1], "data": [1.0]}]}
    packed = gzip.compress(json.dumps(tensor).encode())
    assert client.post("/v2/models/shop/infer", content=packed, headers=headers).status_code == 200


def test_a_body_of_gzip_is_limited_by_what_it_unpacks_to(client):
    headers = {"content-encoding": "gzip"}
    bomb = gzip.compress(b" " * 500_000_000)
    assert len(bomb) < 600_000
    # Half a megabyte of it is beyond the limit by itself; so it comes in members that are not.
    small = gzip.compress(b" " * 150_000_000)
    assert len(small) < 200_000
    for content in (bomb, small, gzip.compress(b" " * 150_000) * 2):
        answer = client.post("/v1/models/shop:predict", content=content, headers=headers)
        assert answer.status_code == 413
        assert "200000 bytes" in answer.json()["error"]
    fits = gzip.compress(json.dumps({"instances": [{}]}).encode().ljust(200_000))
    assert client.post("/v1/models/shop:predict", content=fits, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b'{"instances": [{}]}', "gzip"),
        (gzip.compress(b'{"instances": [{}]}')[:-9], "gzip"),
        (gzip.compress(b'{"instances": [{}]}') + b"more", "gzip"),
        (b"", "empty"),
        (gzip.compress(b""), "empty"),
    ],
    # Named, because gzip's header holds the time, and both workers must collect tests of the same name.
    ids=["plain", "cut off", "more after its end", "nothing", "gzip of nothing"],
)
def test_what_is_no_gzip_is_400(client, content, word):
    answer = client.post("/v1/models/shop:predict", content=content, headers={"content-encoding": "gzip"})
    assert answer.status_code == 400
    assert word in answer.json()["error"]


def test_endless_body_is_cut_off(shop):
    def endless():
        while True:
            yield b" " * 65536

    try:
        answer = httpx.post(f"{shop.url}/v1/models/shop:predict", content=endless(), timeout=30)
    except httpx.TransportError:
        return  # The connection was closed while it wrote.
    assert answer.status_code == 413


def test_metrics_count_what_was_asked(client):
    client.post("/v1/models/shop:predict", json={"instances": [{}]})
    client.post("/v1/models/shop:predict", content="{")
    seen = samples(client.get("/metrics").text)

    for status in ("200", "400"):
        assert seen["requests_total", status, "predict", "v1"] >= 1
    assert seen["model_version",] == 7

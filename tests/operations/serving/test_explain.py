"""Why an answer, over REST: the explanations of live servers, against what the small models are known to do."""

import json
import threading
import time

import jsonschema
import numpy as np
import pytest

from tests.operations.serving import small_model
from tests.operations.serving.live_server import samples, serving
from tests.operations.serving.small_model import BACKGROUND, COLOURS, class_of, probability, value

pytestmark = pytest.mark.component

ROWS = [{"amount": 20.0, "count": 30, "colour": "red"}, {"amount": 5.0, "count": None, "colour": None}]
# Without `amount`, which is never missing, that may be negative.
ROWS_OF_TASKS = [{"amount": -50.0, "count": 0, "colour": "green"}, {"amount": 60.0, "count": None, "colour": "red"}]
PARTS = {
    "amount": lambda row: 0.01 * (row["amount"] or 0.0),
    "count": lambda row: 0.001 * (row["count"] or 0),
    "colour": lambda row: COLOURS.get(row["colour"] or "", 0.0),
}


@pytest.fixture(scope="module")
def explaining(models, half_plus_three, tmp_path_factory):
    """Version 7 with a contract under low limits, and version 6, which is older than explanations."""
    folder = tmp_path_factory.mktemp("explaining")
    small_model.push(models[0.0], folder / "versions", 7, small_model.CONTRACT)
    small_model.push(half_plus_three, folder / "versions", 6)
    with serving(folder / "versions", "shop", folder / "log", explain_rows=3) as live, live.client() as client:
        yield client


def explained(client, body: dict, path: str = "/v1/models/shop:explain"):
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["explanations"]


def close(number: float):
    return pytest.approx(number, rel=1e-5, abs=1e-5)


def test_what_is_known_of_an_additive_model_is_what_is_explained(regression):
    """Of a sum, the Shapley value of a part is that part without its mean over the background, whatever the order."""
    rows = explained(regression.client, {"instances": ROWS_OF_TASKS})
    assert len(rows) == len(ROWS_OF_TASKS)
    for row, why in zip(ROWS_OF_TASKS, rows, strict=True):
        assert why["value"] == close(value(0.0, row))
        assert why["base_value"] == close(np.mean([value(0.0, other) for other in BACKGROUND]))
        for name, part in PARTS.items():
            expected = 100 * (part(row) - np.mean([part(other) for other in BACKGROUND]))
            assert why["attributions"][name] == close(expected)


def test_attributions_add_up_to_the_difference_from_the_base_value(explaining, multiclass):
    base_value = np.mean([probability(0.0, row) for row in BACKGROUND])
    for row, why in zip(ROWS, explained(explaining, {"instances": ROWS}), strict=True):
        assert why["probability"] == close(probability(0.0, row))
        assert why["base_value"] == close(base_value)
        assert sum(why["attributions"].values()) == close(why["probability"] - why["base_value"])
    for row, why in zip(ROWS_OF_TASKS, explained(multiclass.client, {"instances": ROWS_OF_TASKS}), strict=True):
        assert why["class"] == class_of(0.0, row)
        difference = np.array(why["probabilities"]) - why["base_value"]
        np.testing.assert_allclose(np.sum(list(why["attributions"].values()), axis=0), difference, atol=1e-5)


def test_columns_are_explained_by_columns_as_rows_are_by_rows(explaining):
    by_row = explained(explaining, {"instances": ROWS})
    by_column = explained(explaining, {"inputs": {name: [row[name] for row in ROWS] for name in ROWS[0]}})
    assert by_column == {
        "probability": [why["probability"] for why in by_row],
        "base_value": [why["base_value"] for why in by_row],
        "attributions": {name: [why["attributions"][name] for why in by_row] for name in PARTS},
    }
    again = explained(explaining, {"instances": ROWS}, "/v1/models/shop/versions/7:explain")
    assert again == by_row  # to the last bit


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"instances": ROWS * 2}, 413, "The request has 4 rows; 3 are allowed."),
        ({"instances": []}, 400, "`instances` is empty"),
        ({"inputs": {"amount": []}}, 400, "has no rows"),
        ({"instances": [{"amount": 2.0, "colour": "blue"}]}, 400, "`colour` in row 0 is 'blue'"),
        ({"instances": [{"amount": "much"}]}, 400, "`amount` in row 0 is text"),
        ({"instances": [{"b64": "AA=="}]}, 400, "Row 0 is text"),
        ({"instances": ROWS, "signature_name": "predict_raw"}, 400, "is for :predict; leave `signature_name` out."),
    ],
)
def test_what_cannot_be_explained_is_refused_with_a_sentence(explaining, body, status, word):
    answer = explaining.post("/v1/models/shop:explain", json=body)
    assert (answer.status_code, word in answer.json()["error"]) == (status, True), answer.text


def test_explanations_are_named_as_predictions_are_if_the_client_asks(explaining):
    named = explaining.post("/v1/models/shop:explain", json={"instances": ROWS, "prediction_ids": ["a", "b"]})
    asked = explaining.post("/v1/models/shop:explain", json={"instances": ROWS, "prediction_ids": True})
    miscounted = explaining.post("/v1/models/shop:explain", json={"instances": ROWS, "prediction_ids": ["a"]})

    assert named.json()["prediction_ids"] == ["a", "b"]
    request_id = asked.headers["x-request-id"]
    assert asked.json()["prediction_ids"] == [f"{request_id}-0", f"{request_id}-1"]
    assert (miscounted.status_code, miscounted.json()["error"]) == (400, "There are 1 prediction ids for 2 rows.")


def test_the_signature_is_not_asked_for_predictions_which_would_be_logged(explaining):
    answer = explaining.post("/v1/models/shop:predict", json={"instances": ROWS, "signature_name": "explain"})
    assert (answer.status_code, answer.json()["error"]) == (
        400, "The signature explain is for :explain; leave `signature_name` out.",
    )  # fmt: skip


def test_a_version_from_before_explanations_says_so(explaining):
    answer = explaining.post("/v1/models/shop/versions/6:explain", json={"instances": [1.0]})
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "Version 6 cannot explain its answers, because models could not yet when it was trained; train and push a new "
        "one with: flightdeck run",
    )


def test_rows_that_break_the_contract_are_explained_and_marked_if_that_is_set(models, tmp_path):
    small_model.push(models[0.0], tmp_path / "versions", 7, small_model.CONTRACT)
    log = tmp_path / "payloads"
    arguments = "shop", tmp_path / "log", "--payloads", str(log)
    with serving(tmp_path / "versions", *arguments, validation="flag") as live, live.client() as client:
        body = {"instances": [ROWS[0], {"amount": 5000.0}]}
        answer = client.post("/v1/models/shop:explain", json=body).json()
        assert (len(answer["explanations"]), answer["flagged_rows"]) == (2, [1])
        assert [fault["column"] for fault in answer["faults"]] == ["amount"]
        jsonschema.validate(answer, schema_of(client, "ExplainResponse"))
        live.process.terminate()
        assert live.process.wait(timeout=60) == 0
    assert not list(log.rglob("*.parquet"))  # no prediction was asked for


def schema_of(client, name: str) -> dict:
    components = client.get("/openapi.json").json()["components"]
    return {"$ref": f"#/components/schemas/{name}", "components": components}


def test_the_document_of_the_api_and_the_metadata_describe_explanations(explaining, multiclass, regression):
    document = explaining.get("/openapi.json").json()
    assert {f"/v1/models/{{name}}{suffix}:explain" for suffix in ("", "/versions/{version}")} < set(document["paths"])
    request = document["components"]["schemas"]["ExplainRequest"]["anyOf"][0]["properties"]
    assert request["instances"]["maxItems"] == 3
    for client, rows in ((explaining, ROWS), (multiclass.client, ROWS_OF_TASKS), (regression.client, ROWS_OF_TASKS)):
        by_column = {name: [row[name] for row in rows] for name in rows[0]}
        for body in ({"instances": rows}, {"inputs": by_column}):
            jsonschema.validate({"explanations": explained(client, body)}, schema_of(client, "ExplainResponse"))
    wrong = {"explanations": [{**explained(explaining, {"instances": ROWS})[0], "attributions": {}}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema_of(explaining, "ExplainResponse"))
    signatures = multiclass.client.get("/v1/models/shop/metadata").json()["metadata"]["signature_def"]["signature_def"]
    sizes = {
        name: [dimension["size"] for dimension in output["tensor_shape"]["dim"]]
        for name, output in signatures["explain"]["outputs"].items()
    }
    numbers = ["probabilities", "base_value", "why_amount", "why_count", "why_colour"]
    assert sizes == {**{name: ["-1", "3"] for name in numbers}, "class": ["-1"]}


def test_explanations_are_counted_and_predictions_go_on_meanwhile(explaining):
    before = samples(explaining.get("/metrics").text)
    stop, failed = threading.Event(), []

    def explain():
        while not stop.is_set():
            if explaining.post("/v1/models/shop:explain", json={"instances": ROWS}).status_code not in (200, 503):
                failed.append(True)

    asking = [threading.Thread(target=explain) for _ in range(4)]
    for thread in asking:
        thread.start()
    end = time.monotonic() + 1
    while time.monotonic() < end:
        answer = explaining.post("/v1/models/shop:predict", json={"instances": ROWS})
        assert answer.status_code == 200
    stop.set()
    for thread in asking:
        thread.join()
    after = samples(explaining.get("/metrics").text)
    asked = after[("requests_total", "200", "explain", "v1")] - before.get(
        ("requests_total", "200", "explain", "v1"), 0
    )
    rows = after[("explained_rows_total",)] - before.get(("explained_rows_total",), 0)
    assert not failed
    assert asked >= 1
    assert rows == asked * len(ROWS)


def test_numbers_are_written_with_the_digits_that_they_have(explaining):
    text = explaining.post("/v1/models/shop:explain", json={"instances": ROWS}).text
    numbers = json.loads(text, parse_float=str)["explanations"][0]["attributions"].values()
    assert max(map(len, numbers)) <= 14

"""The live server keeps what its OpenAPI document promises, for requests that schemathesis makes of it."""

import jsonschema
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from operations.serving.open_inference_v2 import NUMBERS
from tests.operations.serving import small_model
from tests.operations.serving.live_server import LiveServer, serving

pytestmark = pytest.mark.component

OPERATIONS = [
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/v1/models/{name}"),
    ("GET", "/v1/models/{name}/metadata"),
    ("GET", "/v1/models/{name}/versions/{version}"),
    ("GET", "/v1/models/{name}/versions/{version}/metadata"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/{name}"),
    ("GET", "/v2/models/{name}/ready"),
    ("GET", "/v2/models/{name}/versions/{version}"),
    ("GET", "/v2/models/{name}/versions/{version}/ready"),
    ("POST", "/v1/models/{name}/versions/{version}:explain"),
    ("POST", "/v1/models/{name}/versions/{version}:predict"),
    ("POST", "/v1/models/{name}:explain"),
    ("POST", "/v1/models/{name}:predict"),
    ("POST", "/v2/models/{name}/infer"),
    ("POST", "/v2/models/{name}/versions/{version}/infer"),
]


# Of these, schemathesis can make wrong requests: they have parameters or a body.
VARIED = [operation for operation in OPERATIONS if "{" in operation[1]]
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.fixture(scope="module")
def api(shop):
    return described(shop)


def described(server: LiveServer, headers: dict[str, str] | None = None):
    # 413 is how a list that is too long is refused.
    refusals = ["400", "404", "405", "413", "415", "422"]
    config = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": refusals}}})
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=config, headers=headers or {})


def test_document_describes_every_route(api):
    paths = api.raw_schema["paths"].items()
    assert sorted((method.upper(), path) for path, methods in paths for method in methods) == OPERATIONS


def test_the_example_is_the_row_that_the_version_carries(api):
    schemas = api.raw_schema["components"]["schemas"]

    assert schemas["PredictRequest"]["examples"] == [{"instances": [small_model.EXAMPLE]}]
    (example,) = schemas["InferRequest"]["examples"]
    assert {tensor["name"]: tensor["data"] for tensor in example["inputs"]} == {
        name: [value] for name, value in small_model.EXAMPLE.items()
    }


def held(tensor) -> bool:
    """Whether the datatype of a tensor can hold its values."""
    kind = np.dtype(NUMBERS.get(tensor["datatype"], object))
    if kind.kind not in "iuf":
        return True
    holds = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    return all(value is None or holds.min <= value <= holds.max for value in tensor["data"])


def consistent(body) -> bool:
    """Whether a body that fits its schema also fits together, which a schema cannot say."""
    if "b64" in str(body):
        return False  # Random bytes are no tf.Example.
    if isinstance(body.get("inputs"), list):
        names = [tensor["name"] for tensor in body["inputs"]]
        rows = {tensor["shape"][0] for tensor in body["inputs"]} | {len(tensor["data"]) for tensor in body["inputs"]}
        return len(rows) == 1 and len(set(names)) == len(names) and all(map(held, body["inputs"]))
    columns = body["inputs"].values() if "inputs" in body else [body["instances"]]
    rows = {len(values) for values in columns}
    if isinstance(body.get("prediction_ids"), list):
        rows.add(len(body["prediction_ids"]))
    return len(rows) == 1


@pytest.mark.parametrize("verb", ["Predict", "Explain"])
@pytest.mark.parametrize(
    "left_out", [{"prediction_ids": None}, {"signature_name": None}, {"signature_name": ""}], ids=str
)
def test_what_may_be_left_out_may_be_empty(shop, api, verb, left_out):
    body = {"instances": [small_model.EXAMPLE], **left_out}
    schemas = api.raw_schema["components"]["schemas"]

    with shop.client() as client:
        assert client.post(f"/v1/models/shop:{verb.lower()}", json=body).status_code == 200
    jsonschema.validate(body, schemas[f"{verb}Request"])


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [*((*operation, POSITIVE) for operation in OPERATIONS), *((*operation, NEGATIVE) for operation in VARIED)],
    ids=lambda part: getattr(part, "value", part),
)
def test_every_answer_is_one_that_is_documented(api, method, path, mode):
    answered_as_documented(api, method, path, mode)


@pytest.fixture(scope="module", params=["multiclass", "regression"])
def api_of_task(request, of_tasks, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    # Without the column that is never missing, which the schema of tensors cannot ask for.
    contract = {**small_model.contract_of(request.param), "columns": small_model.CONTRACT["columns"][1:]}
    small_model.push(of_tasks[request.param], folder / "versions", 7, contract)
    with serving(folder / "versions", "shop", folder / "log", max_body_bytes=200_000, max_rows=1000) as live:
        yield described(live)


@pytest.mark.parametrize("path", ["/v1/models/{name}:predict", "/v2/models/{name}/infer"])
def test_every_answer_of_another_task_is_one_that_is_documented(api_of_task, path):
    answered_as_documented(api_of_task, "POST", path, POSITIVE)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_answer_that_is_no_number_is_documented_too(task, tmp_path):
    tensors = [
        {"name": name, "datatype": kind, "shape": [1, 1], "data": [small_model.EXAMPLE[name]]}
        for name, kind in (("amount", "FP32"), ("count", "INT64"), ("colour", "BYTES"))
    ]
    asked = {
        "Predict": ("/v1/models/shop:predict", {"instances": [small_model.EXAMPLE]}),
        "Explain": ("/v1/models/shop:explain", {"instances": [small_model.EXAMPLE]}),
        "Infer": ("/v2/models/shop/infer", {"inputs": tensors}),
    }
    model = small_model.write(tmp_path / "model", bias=float("nan"), task=task)
    small_model.push(model, tmp_path / "versions", 7)

    with serving(tmp_path / "versions", "shop", tmp_path / "log") as live, live.client() as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
        for verb, (path, body) in asked.items():
            answer = client.post(path, json=body)
            assert answer.status_code == 200
            assert "null" in answer.text
            assert task != "multiclass" or '""' in answer.text
            jsonschema.validate(answer.json(), schemas[f"{verb}Response"])


def answered_as_documented(api, method, path, mode):
    accepted = []

    @given(case=api[path][method].as_strategy(generation_mode=mode))
    @seed(20261125)
    @settings(
        max_examples=40 if method == "POST" else 5,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case):
        skipped = [] if mode is NEGATIVE or method == "GET" or consistent(case.body) else [positive_data_acceptance]
        answer = case.call_and_validate(timeout=20, excluded_checks=skipped)
        accepted.append(answer.status_code == 200)

    check()
    if mode is POSITIVE and "{version}" not in path:
        assert any(accepted)

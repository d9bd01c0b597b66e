"""The live server keeps what its OpenAPI document promises, for requests that schemathesis makes of it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.operations.serving import small_model

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
    ("POST", "/v1/models/{name}/versions/{version}:predict"),
    ("POST", "/v1/models/{name}:predict"),
    ("POST", "/v2/models/{name}/infer"),
    ("POST", "/v2/models/{name}/versions/{version}/infer"),
]


# Of these, schemathesis can make wrong requests: they have parameters or a body.
VARIED = [operation for operation in OPERATIONS if "{" in operation[1]]
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.fixture(scope="module")
def api(shop):
    # 413 is how a list that is too long is refused.
    refusals = ["400", "404", "405", "413", "415", "422"]
    config = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": refusals}}})
    return schemathesis.openapi.from_url(f"{shop.url}/openapi.json", config=config)


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


def consistent(body) -> bool:
    """Whether a body that fits its schema also fits together, which a schema cannot say."""
    if "b64" in str(body):
        return False  # Random bytes are no tf.Example.
    if isinstance(body.get("inputs"), list):
        names = [tensor["name"] for tensor in body["inputs"]]
        rows = {tensor["shape"][0] for tensor in body["inputs"]} | {len(tensor["data"]) for tensor in body["inputs"]}
        return len(rows) == 1 and len(set(names)) == len(names)
    columns = body["inputs"].values() if "inputs" in body else [body["instances"]]
    rows = {len(values) for values in columns}
    if isinstance(body.get("prediction_ids"), list):
        rows.add(len(body["prediction_ids"]))
    return len(rows) == 1


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [*((*operation, POSITIVE) for operation in OPERATIONS), *((*operation, NEGATIVE) for operation in VARIED)],
    ids=lambda part: getattr(part, "value", part),
)
def test_every_answer_is_one_that_is_documented(api, method, path, mode):
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

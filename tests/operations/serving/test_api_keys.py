"""Who may ask a service that has API keys: over both protocols, and what stays open to everybody."""

import contextlib

import grpc
import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from operations.inference.errors import ServingError, UnauthenticatedError
from operations.serving import api_keys
from operations.serving.api_keys import VARIABLE, from_environment
from tests import forked
from tests.operations.serving import small_model
from tests.operations.serving.live_server import serving
from tests.operations.serving.test_openapi import described

OLD, NEW = "the-old-key", "the-new/key+of=64"
PREDICT = "/v1/models/shop:predict"
ROWS = {"instances": [small_model.EXAMPLE]}
TENSOR = {"name": "amount", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [1.0]}}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.unit
@pytest.mark.parametrize("text", [f"{OLD},{NEW}", f"{OLD}\n{NEW}\n", f" {OLD} , {NEW} "])
def test_several_keys_are_taken_while_clients_change_from_one_to_the_next(text):
    keys = from_environment({VARIABLE: text})

    for key in (OLD, NEW):
        keys.check(f"Bearer {key}")
        keys.check(f"bearer  {key} ")


@pytest.mark.unit
@pytest.mark.parametrize(
    "header",
    [None, "", OLD, "Bearer", "Bearer ", f"Basic {OLD}", f"Bearer {OLD}x", f"Bearer {OLD},{NEW}", "Bearer \udcff"],
)
def test_anything_else_is_refused(header):
    with pytest.raises(UnauthenticatedError, match="needs an API key"):
        from_environment({VARIABLE: f"{OLD},{NEW}"}).check(header)


@pytest.mark.unit
def test_without_the_variable_everybody_may_ask():
    keys = from_environment({})
    keys.check(None)
    assert not keys


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "sentence"), [("", "contains no API key"), (" ,\n", "no API key"), ("a, kéy", "Key 2")]
)
def test_a_variable_without_a_usable_key_does_not_open_the_service(text, sentence):
    with pytest.raises(ServingError, match=sentence) as error:
        from_environment({VARIABLE: text})
    assert "kéy" not in str(error.value)


@pytest.mark.unit
def test_a_service_of_ours_that_answers_its_parent_alone_asks_for_no_key():
    assert api_keys.without_keys({VARIABLE: OLD, "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.fixture(scope="module")
def locked(models, tmp_path_factory):
    """A live server with two keys, which says what it does."""
    folder = tmp_path_factory.mktemp("locked")
    small_model.push(models[0.0], folder / "versions", 7)
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv(VARIABLE, f"{OLD}\n{NEW}")
            live = stack.enter_context(serving(folder / "versions", "shop", folder / "log"))
        yield live


@pytest.mark.component
def test_only_who_has_a_key_is_answered(locked):
    with locked.client() as client:
        for key in (OLD, NEW):
            assert client.post(PREDICT, json=ROWS, headers=bearer(key)).status_code == 200
        for headers in ({}, bearer("another")):
            refused = client.post(PREDICT, json=ROWS, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert refused.json() == {
                "error": "This service needs an API key: send `Authorization: Bearer KEY` with one that it takes."
            }
        # They have a real row, names of columns, or texts of errors.
        for path in ("/openapi.json", "/v1/models/shop", "/v1/models/shop/metadata", "/v2/models/shop", "/v2"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers=bearer(NEW)).status_code == 200


@pytest.mark.component
def test_probes_and_prometheus_need_none(locked):
    with locked.client() as client:
        for path in ("/healthz", "/v2/health/live", "/v2/health/ready", "/v2/models/shop/ready", "/metrics"):
            assert client.get(path).status_code == 200


@pytest.mark.component
def test_grpc_asks_for_the_metadata_of_the_same_name(locked):
    def ask(*metadata):
        return locked.call("ModelInfer", metadata, model_name="shop", inputs=[TENSOR])

    assert ask(("authorization", f"Bearer {OLD}")).model_version == "7"
    for metadata in ((), (("authorization", "Bearer another"),)):
        with pytest.raises(grpc.RpcError) as error:
            ask(*metadata)
        assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert "needs an API key" in error.value.details()
    assert locked.call("ServerReady").ready
    assert locked.call("ModelReady", name="shop").ready


@pytest.mark.component
def test_no_key_is_logged(locked):
    with locked.client() as client:
        client.post(PREDICT, json=ROWS, headers=bearer(OLD))
        client.post(PREDICT, json=ROWS, headers=bearer("another"))
        shown = client.get("/metrics").text
    assert 'status="401"' in shown
    for key in (OLD, NEW, "another"):
        assert key not in locked.log.read_text() + shown


@pytest.mark.component
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/v2/models/{name}/ready"),
        ("GET", "/v1/models/{name}"),
        ("POST", "/v1/models/{name}:predict"),
    ],
)
def test_the_document_says_which_operations_need_one(locked, method, path):
    api = described(locked, bearer(OLD))

    @given(case=api[path][method].as_strategy())
    @seed(20261130)
    @settings(
        max_examples=5, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    def check(case):
        # Its own check, ignored_auth, asks without the key and with a wrong one.
        skipped = [positive_data_acceptance] if method == "POST" else []
        case.call_and_validate(headers=bearer(OLD), timeout=20, excluded_checks=skipped)
        if case.operation.definition.raw.get("security") != []:
            assert case.call(timeout=20).status_code == 401

    check()


@pytest.mark.component
def test_who_lets_others_in_without_a_key_is_warned_in_one_line(models, tmp_path):
    small_model.push(models[0.0], tmp_path / "versions", 7)
    with serving(tmp_path / "versions", "shop", tmp_path / "log", "--host", "0.0.0.0") as live:
        assert httpx.post(live.url + PREDICT, json=ROWS, timeout=30).status_code == 200
    (warning,) = [line for line in (tmp_path / "log").read_text().splitlines() if "WARNING" in line]
    assert f"Whoever reaches 0.0.0.0 can ask: set {VARIABLE}" in warning


@pytest.mark.component
def test_a_service_does_not_start_with_an_empty_key(models, tmp_path):
    small_model.push(models[0.0], tmp_path / "versions", 7)
    command = ["operations.serving", "--name", "shop", "--models", str(tmp_path / "versions"), "--port", "0"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(VARIABLE, "")
        done = forked.run(*command, "--grpc-port", "0", timeout=120)
    assert done.returncode == 2
    assert "contains no API key" in done.stderr.strip().splitlines()[-1]

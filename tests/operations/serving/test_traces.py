"""Who names a collector sees where the time of a request went; who does not, pays for nothing."""

import subprocess
import sys
from typing import Any

import grpc
import pytest

from tests.operations.serving import small_model
from tests.operations.serving.live_server import serving, texts
from tests.operations.serving.tensors import bare
from tests.services.collector import SERVER, collecting
from tests.world import ROOT

pytestmark = pytest.mark.component

GOOD = {"amount": 20.0, "count": 10, "colour": "red"}
# As W3C's Trace Context has it: version, trace, span of the client, sampled.
TRACE, CLIENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CLIENT}-01"
PREDICT = "/v1/models/shop:predict"
PARTS = ["validation", "queue", "model", "payload log"]


@pytest.fixture(scope="module")
def spans(models, tmp_path_factory) -> list[Any]:
    """What a server sent that was asked by a client with a trace, wrongly, by a probe, and over gRPC."""
    folder = tmp_path_factory.mktemp("traced")
    small_model.push(models[0.0], folder / "versions", 7, small_model.CONTRACT)
    with collecting() as collector, pytest.MonkeyPatch.context() as patch:
        for name, value in collector.variables.items():
            patch.setenv(name, value)
        log = ("--payloads", str(folder / "payloads"))
        with serving(folder / "versions", "shop", folder / "log", *log) as live, live.client() as client:
            asked = {"instances": [GOOD, GOOD]}
            client.post(PREDICT, json=asked, headers={"traceparent": TRACEPARENT}).raise_for_status()
            assert client.post(PREDICT, json={"instances": [{**GOOD, "amount": -1}]}).status_code == 400
            client.get("/v2/health/ready").raise_for_status()
            client.get("/metrics").raise_for_status()
            raw = [b"\x00\x00\xa0\x41", (10).to_bytes(8, "little"), texts(b"red")]
            fields = {"model_name": "shop", "inputs": bare(1), "raw_input_contents": raw}
            live.call("ModelInfer", [("traceparent", TRACEPARENT)], **fields)
            with pytest.raises(grpc.RpcError):
                live.call("ModelInfer", [], model_name="shop")
            live.process.terminate()
            assert live.process.wait(timeout=60) == 0
    assert list(collector.spans) == ["flightdeck-serving"]
    return collector.spans["flightdeck-serving"]


def parts(spans: list[Any], of: Any) -> list[Any]:
    """The parts of a span, by when they began."""
    found = [span for span in spans if span.parent_span_id == of.span_id]
    return sorted(found, key=lambda span: span.start_time_unix_nano)


def status(span: Any) -> int:
    return next(one.value.int_value for one in span.attributes if one.key == "http.response.status_code")


@pytest.mark.parametrize("name", ["v1 predict", "grpc infer"])
def test_a_request_goes_on_with_the_trace_of_its_client_and_has_its_steps_as_parts(spans, name):
    request = next(span for span in spans if span.name == name and status(span) == 200)

    assert (request.trace_id.hex(), request.parent_span_id.hex(), request.kind) == (TRACE, CLIENT, SERVER)
    steps = parts(spans, request)
    assert [step.name for step in steps] == PARTS
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        end = request.end_time_unix_nano if following is None else following.start_time_unix_nano
        assert request.start_time_unix_nano <= step.start_time_unix_nano <= step.end_time_unix_nano <= end


def test_what_is_refused_shows_how_far_it_came_and_is_no_error_of_the_service(spans):
    (rest,) = [span for span in spans if span.name == "v1 predict" and status(span) == 400]
    assert [step.name for step in parts(spans, rest)] == ["validation"]
    assert not rest.parent_span_id
    (empty,) = [span for span in spans if span.name == "grpc infer" and status(span) >= 400]
    assert parts(spans, empty) == []
    assert {span.status.code for span in spans} == {0}


def test_probes_and_scrapes_leave_no_trace(spans):
    assert {span.name for span in spans} == {"v1 predict", "grpc infer", *PARTS}


def test_without_a_collector_nothing_of_opentelemetry_is_imported():
    program = (
        "import sys\nfrom operations.serving import server, service\nfrom pipeline import tracing\n"
        "tracing.begin({}, 'a')\n"
        "with tracing.request('a', {}) as span, tracing.span('b'):\n    tracing.answered(span, 500)\n"
        "tracing.end()\nassert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr

"""The life of a server process: what it starts with, and that it ends without dropping any client."""

import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests import forked
from tests.operations.serving import small_model
from tests.operations.serving.live_server import samples, serving, wait_for
from tests.ports import free_port

pytestmark = pytest.mark.component

PREDICT = "/v1/models/shop:predict"


def start(*arguments: str, **kwargs) -> subprocess.CompletedProcess:
    return forked.run("operations.serving", "--name", "shop", "--grpc-port", "0", *arguments, timeout=120, **kwargs)


def test_a_corrupt_version_is_told_and_the_one_before_it_answers(models, tmp_path):
    versions = tmp_path / "versions"
    small_model.push(models[0.0], versions, 1)
    small_model.cut_short(small_model.push(models[1.0], versions, 2))
    with serving(versions, "shop", tmp_path / "log") as live, live.client() as client:
        corrupt, served = client.get("/v1/models/shop").json()["model_version_status"]
        assert (corrupt["version"], corrupt["state"], corrupt["status"]["error_code"]) == ("2", "END", "UNKNOWN")
        assert corrupt["status"]["error_message"]
        assert (served["version"], served["state"]) == ("1", "AVAILABLE")
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert samples(client.get("/metrics").text)["version_load_failures_total",] == 1
        for path in (PREDICT, "/v1/models/shop/versions/1:predict"):
            assert client.post(path, json={"instances": [{}]}).headers["x-model-version"] == "1"


def test_end_is_announced_then_open_requests_are_answered(models, tmp_path):
    versions = tmp_path / "versions"
    small_model.push(models[0.0], versions, 1)
    arrived, announced = threading.Event(), threading.Event()

    def slowly():
        yield b'{"instances": '
        arrived.set()
        assert announced.wait(60)
        # By now it has been told to end, and takes no new connection.
        time.sleep(3)
        yield b"[{}, {}]}"

    arguments = ["--payloads", str(tmp_path / "payloads")]
    server = serving(versions, "shop", tmp_path / "log", *arguments, drain_seconds=2.0)
    with server as live, live.client() as client, ThreadPoolExecutor() as pool:
        assert client.get("/v2/health/ready").status_code == 200
        slow = pool.submit(httpx.post, live.url + PREDICT, content=slowly(), timeout=60)
        assert arrived.wait(30)
        live.process.terminate()
        wait_for(lambda: client.get("/v2/health/ready").status_code == 503)
        during = client.post(PREDICT, json={"instances": [{}]})
        assert (during.status_code, during.headers["connection"]) == (200, "close")
        assert client.get("/v2/health/live").status_code == 200
        announced.set()
        assert slow.result(60).status_code == 200
        assert len(slow.result().json()["predictions"]) == 2
        assert live.process.wait(timeout=60) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(live.url)
    # The rows of both requests were written before the end.
    import pyarrow.dataset

    assert pyarrow.dataset.dataset(tmp_path / "payloads", format="parquet").count_rows() == 3


def test_a_service_that_waits_is_alive_and_not_ready_until_the_first_version_is_pushed(models, tmp_path):
    port = free_port()
    options = ["--models", str(tmp_path / "versions"), "--name", "shop", "--port", str(port), "--grpc-port", "0"]
    with (tmp_path / "log").open("w") as log:
        process = forked.Forked("operations.serving", *options, "--settings", '{"wait_for_version": true}', stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_for(lambda: answers(client, "/v2/health/live"))
            time.sleep(2)  # longer than it takes to look for versions
            assert client.get("/v2/health/live").status_code == 200
            assert client.get("/v2/health/ready").status_code == 503
            refused = client.post(PREDICT, json={"instances": [{}]})
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            # One that cannot be served changes nothing.
            small_model.cut_short(small_model.push(models[0.0], tmp_path / "versions", 1))
            wait_for(lambda: client.get("/v1/models/shop").json()["model_version_status"])
            assert client.get("/v2/health/ready").status_code == 503
            small_model.push(models[0.0], tmp_path / "versions", 2)
            wait_for(lambda: client.get("/v2/health/ready").status_code == 200)
            assert client.post(PREDICT, json={"instances": [{}]}).headers["x-model-version"] == "2"
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.stdout.close()
    assert "There is no folder of models" in (tmp_path / "log").read_text()


def test_a_service_that_waits_can_be_told_to_end(tmp_path):
    port = free_port()
    options = ["--models", str(tmp_path), "--name", "shop", "--port", str(port), "--grpc-port", "0"]
    process = forked.Forked("operations.serving", *options, "--settings", '{"wait_for_version": true}')
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_for(lambda: answers(client, "/v2/health/live"))
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.stdout.close()


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def test_server_ends_with_its_parent(models, tmp_path):
    small_model.push(models[0.0], tmp_path / "versions", 1)
    done = start("--models", str(tmp_path / "versions"), "--port", "0", "--stop-on-eof")

    assert done.returncode == 0, done.stderr


def test_what_prevents_a_start_is_one_sentence_and_exit_code_2(models, tmp_path):
    (tmp_path / "empty").mkdir()
    broken = small_model.push(models[0.0], tmp_path / "broken", 1)
    small_model.cut_short(broken)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for models_folder, arguments, sentence in (
            ("absent", ["--port", "0"], "There is no folder of models"),
            ("empty", ["--port", "0"], "There is no version of a model"),
            ("broken", ["--port", "0"], "No version of the model can be served. The newest: "),
            ("empty", ["--port", port], "choose another with --port"),
            ("empty", ["--port", "0", "--grpc-port", port], "choose another with --grpc-port"),
            ("empty", ["--settings", '{"keep": 1}'], "--settings cannot be used"),
            ("empty", ["--host", "nowhere.invalid"], "HTTP cannot listen on nowhere.invalid"),
        ):
            done = start("--models", str(tmp_path / models_folder), *arguments)
            assert done.returncode == 2, done.stderr
            assert sentence in done.stderr.strip().splitlines()[-1]
            assert "Traceback" not in done.stderr
            assert done.stdout == ""

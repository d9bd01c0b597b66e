"""The image of the service answers as this environment does, and is small."""

import json
import time

import httpx
import pytest

from tests.operations.serving import small_model
from tests.operations.serving.live_server import serving
from tests.ports import free_port
from tests.services import docker_engine, image

pytestmark = pytest.mark.kubeflow
LARGEST = 1.8e9  # bytes, unpacked
ROWS = [small_model.EXAMPLE, {"amount": -2.5, "colour": "green"}, {"amount": 7.0, "count": 40, "colour": "none"}]


@pytest.fixture(scope="module")
def address(services) -> str:
    return services["docker_host"]


@pytest.fixture(scope="module")
def built(address) -> str:
    return image.build(address, "serve")


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    folder.chmod(0o755)
    small_model.push(small_model.write(folder / "made"), folder / "versions", 7)
    return folder / "versions"


@pytest.fixture
def url(address, built, versions):
    """Of a container of the image, which has no right to write anywhere but in /tmp."""
    port = free_port()
    command = ["python", "-m", "operations.serving", "--models", "/models", "--name", "shop", "--grpc-port", "0"]
    limits = ["--network=host", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", f"--volume={versions}:/models:ro"]
    container = docker_engine.docker(
        address, "run", "--detach", *limits, built, *command, "--port", str(port)
    ).stdout.strip()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        docker_engine.docker(address, "rm", "--force", container)


def answered(url: str, seconds: float = 90.0) -> bytes:
    """The answer to the rows, as soon as there is one."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            asked = httpx.post(f"{url}/v1/models/shop:predict", json={"instances": ROWS}, timeout=30)
            return asked.raise_for_status().content
        except (httpx.TransportError, httpx.HTTPStatusError):  # it answers 503 until the version is loaded
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_the_answers_are_those_of_this_environment(url, versions, tmp_path):
    with serving(versions, "shop", tmp_path / "log") as live:
        here = answered(live.url)
    assert answered(url) == here
    assert len(json.loads(here)["predictions"]) == len(ROWS)


def test_the_image_is_small_and_has_no_tfx(address, built):
    size = int(docker_engine.docker(address, "image", "inspect", "--format", "{{.Size}}", built).stdout)
    looked_for = "import importlib.util as u; print([n for n in ('tfx', 'apache_beam', 'kfp') if u.find_spec(n)])"
    found = docker_engine.docker(address, "run", "--rm", "--network=host", built, "python", "-c", looked_for).stdout

    assert size <= LARGEST
    assert found == "[]\n"

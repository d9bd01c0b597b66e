"""The containers of overlays/gke as they are started there, with the bucket that the settings name emulated."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

import storage
from tests import forked
from tests.deploy.kustomize import build, copy_of_manifests
from tests.operations.serving import small_model
from tests.services import buckets

pytestmark = pytest.mark.component

# Of the pod, which an API server would give it.
PORTS = ("--host", "127.0.0.1", "--port", "0")


@pytest.fixture(scope="module")
def bucket(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue("emulators")
    return buckets.new_bucket("gs")


@pytest.fixture(scope="module")
def containers(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The command of each container by its name, where the settings name the bucket."""
    copied = copy_of_manifests(tmp_path_factory.mktemp("deploy"))
    file = copied / "settings" / "gke" / "settings.yaml"
    file.write_text(file.read_text().replace("gs://example-project-flightdeck", bucket))
    pods = [
        manifest["spec"]["template"]["spec"]
        for manifest in build(copied / "overlays" / "gke")
        if manifest["kind"] == "Deployment"
    ]
    parts = [container for pod in pods for container in pod["containers"]]
    return {part["name"]: [*part["command"], *part["args"]] for part in parts if "command" in part}


@contextlib.contextmanager
def started(command: Sequence[str], log: Path) -> Iterator[tuple[forked.Forked, str]]:
    """The process of a container, which knows of no database; and its address, once it answers."""
    environment = {name: value for name, value in os.environ.items() if "METADATA" not in name}
    with log.open("w") as errors:
        process = forked.Forked(*command, *PORTS, stderr=errors, env=environment)
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield process, json.loads(line)["url"]
    finally:
        process.kill()
        process.stdout.close()


def folders(bucket: str) -> set[str]:
    return {place.split("/")[0] for place in storage.files_below(storage.at(bucket))}


def test_the_service_reads_versions_from_the_bucket_and_logs_there_without_a_database(
    bucket, containers, models, tmp_path
):
    version = small_model.push(models[0.0], tmp_path / "versions", 7)
    storage.copy_folder(version, storage.at(f"{bucket}/models/late-flights/7"), last="saved_model.pb")
    before = folders(bucket)
    command = [*containers["server"], "--grpc-port", "0", "--set", "serving.drain_seconds=0"]
    command += ["--set", f"workspace={tmp_path / 'workspace'}"]
    with started(command, tmp_path / "log") as (process, url):
        answer = httpx.post(f"{url}/v1/models/late-flights:predict", json={"instances": [{}, {}]}, timeout=30)
        assert answer.headers["x-model-version"] == "7"
        assert len(answer.json()["predictions"]) == 2
        process.terminate()
        assert process.wait(timeout=60) == 0, (tmp_path / "log").read_text()
    payloads = storage.at(f"{bucket}/payloads")
    (name,) = storage.files_below(payloads)
    with (payloads / name).open("rb") as stream:
        assert pq.read_table(stream)["model_version"].to_pylist() == [7, 7]
    # It has written nothing else, so its rights to the rest of the bucket are those of a reader.
    assert folders(bucket) - before == {"payloads"}


def test_the_site_serves_the_report_of_the_bucket(bucket, containers, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("all runs")
    storage.mirror(tmp_path / "report", storage.at(f"{bucket}/reports/latest"), last="index.html")
    with started([*containers["site"], "--json"], tmp_path / "log") as (_, url):
        transport = httpx.HTTPTransport(retries=3)
        with httpx.Client(transport=transport, timeout=30) as client:
            for _ in range(600):
                if (answer := client.get(url)).status_code != 503:
                    break
        assert (answer.status_code, answer.text) == (200, "all runs"), (tmp_path / "log").read_text()

"""Level 2 in containers: a service, and a loop that retrains, promotes and rolls back what it serves."""

import dataclasses
import itertools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import docker
import httpx
import pandas as pd
import pytest
import yaml
from kfp.local import placeholder_utils

from tests.kubeflow.cluster import Cluster, open_cluster
from tests.operations.delivery import kfp_server
from tests.operations.delivery.kfp_server import KfpServer
from tests.operations.serving.live_server import samples
from tests.ports import free_port
from tests.services import image
from tests.services.kubernetes.cluster import wait_for
from tests.small_run import SMALL

pytestmark = pytest.mark.kubeflow
MODEL, KEY = "late-flights", "flight_id"
ROWS_PER_REQUEST = 50
# A day in minutes: what is judged is the same, only earlier and by fewer rows.
IN_MINUTES = (
    "continuous.level=2",
    "continuous.settle_seconds=0",
    "canary.mode=shadow",
    "canary.rows=500",
    "canary.labels=500",
    "canary.answer_seconds=20",
    "canary.prediction_distance=0.5",
    "serving.payloads.rotate_seconds=1",
    "monitoring.window=minute",
    "monitoring.fewest_rows=500",
    "monitoring.fewest_labels=500",
    "monitoring.rules=[{name: changing data, kinds: [drift], action: retrain, cool_down_seconds: 86400},"
    " {name: worse than the previous version, kinds: [previous], action: roll back}]",
)
# So far that its probabilities are 0 or 1.
DIVERGES = "model.learning_rate=3"


@dataclasses.dataclass
class Level2:
    """A workspace, what works on it, each in a container of its own, and a Kubeflow Pipelines that runs containers."""

    cluster: Cluster
    kfp: KfpServer
    spans: Path
    folder: Path

    @property
    def config(self) -> list[str]:
        return ["--config", "config/kubeflow.yaml", *self.cluster.options]

    def flightdeck(self, *command: str) -> str:
        """What a command prints in a container."""
        code, printed = self.cluster.run("flightdeck", *command, *self.config)
        assert code == 0, printed
        return printed

    def round(self) -> list[dict[str, Any]]:
        """What one round of the loop tells."""
        events = [json.loads(line) for line in self.flightdeck("watch", "--once", "--json").splitlines()]
        assert [event["text"] for event in events if event["kind"] == "problem"] == []
        return events

    def arrive(self, span: int) -> None:
        name = f"span-{span:03d}"
        (self.spans / name).rename(self.cluster.workspace / "spans" / name)

    def run_what_was_submitted(self, events: list[dict[str, Any]]) -> str:
        """Executes the run that a round has submitted, one container per task: its id."""
        (run_id,) = [
            event["facts"]["run_id"] for event in events if event["kind"] == "run" and "begins" in event["text"]
        ]
        run = self.kfp.runs[run_id]
        specification = self.kfp.specification(run)
        file = self.folder / f"{run_id}.yaml"
        file.write_text(yaml.safe_dump_all([specification["pipeline_spec"], specification["platform_spec"]]))
        self.execute(file, run_id, **run.get("runtime_config", {}).get("parameters", {}))
        return run_id

    def execute(self, pipeline: Path, run_id: str, **parameters: Any) -> None:
        with mock.patch.object(placeholder_utils, "make_random_id", return_value=run_id):
            self.cluster.submit(pipeline, **parameters)
        # Asked for its state now, the server says that every task has succeeded.
        tasks = yaml.safe_load(pipeline.read_text().split("\n---\n")[0])["root"]["dag"]["tasks"]
        self.kfp.states = [dict.fromkeys(tasks, "SUCCEEDED")]


@pytest.fixture(scope="module")
def level_2(services, prepared, tmp_path_factory) -> Iterator[Level2]:
    from data.prepare import slice_spans

    folder = tmp_path_factory.mktemp("level-2")
    slice_spans(prepared, folder / "spans", rows_per_span=1500, spans=(4, 5, 6))
    workspace = folder / "workspace"
    workspace.mkdir()
    with kfp_server.serving() as kfp:
        cluster = open_cluster(services, folder / "spans", workspace)
        cluster.settings = (*SMALL, *IN_MINUTES, f"kubeflow.endpoint={kfp.endpoint}")
        (workspace / "spans" / "span-006").rename(folder / "span-006")
        yield Level2(cluster, kfp, folder, folder)


@dataclasses.dataclass
class Service:
    """The service in its container, and one client."""

    client: httpx.Client
    rows: list[dict[str, Any]]
    counter: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def version(self) -> int:
        """The version that answers."""
        return int(self._asked(self.rows[:1]).headers["x-model-version"])

    def canary(self) -> int:
        """The version that is tried; 0 for none."""
        return int(samples(self.client.get("/metrics").text)[("canary_version",)])

    def ask(self) -> datetime:
        """Asks for every row, all within one minute, which has ended when this returns: it is told."""
        if datetime.now(UTC).second > 35:
            _sleep_until(_next_minute())
        minute = datetime.now(UTC).replace(second=0, microsecond=0)
        for begin in range(0, len(self.rows), ROWS_PER_REQUEST):
            self._asked(self.rows[begin : begin + ROWS_PER_REQUEST])
        assert datetime.now(UTC) < minute + timedelta(minutes=1)
        _sleep_until(minute + timedelta(minutes=1, seconds=2))
        return minute

    def _asked(self, rows: list[dict[str, Any]]) -> httpx.Response:
        features = [{name: value for name, value in row.items() if name != KEY} for row in rows]
        body = {"instances": features, "prediction_ids": [row[KEY] for row in rows]}
        return self.client.post(f"/v1/models/{MODEL}:predict", json=body).raise_for_status()


def _next_minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)


def _sleep_until(moment: datetime) -> None:
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


@pytest.fixture(scope="module")
def begun(level_2) -> list[dict[str, Any]]:
    """Two spans have come, so the loop trains, and serves what it has trained: what it told then."""
    run_id = level_2.run_what_was_submitted(level_2.round())
    events = level_2.round()
    assert any(event["kind"] == "run" and event["facts"].get("run_id") == run_id for event in events)
    return events


@pytest.fixture(scope="module")
def service(level_2, services, begun) -> Iterator[Service]:
    """The service, from its own image, as soon as it answers."""
    built = image.build(services["docker_host"], "serve")
    port = free_port()
    command = ["flightdeck", "serve", "--port", str(port), "--grpc-port", "0", *level_2.config]
    container = docker.from_env().containers.run(built, command, detach=True, **level_2.cluster.confinement)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def ready() -> bool:
        container.reload()
        assert container.status == "running", container.logs().decode()
        try:
            return client.get("/v2/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    try:
        assert wait_for(ready, seconds=120), container.logs().decode()
        taken = {column["name"] for column in client.get(f"/v2/models/{MODEL}").json()["inputs"]}
        (file,) = (level_2.spans / "span-006").glob("*.parquet")
        june = pd.read_parquet(file)
        june = june[[name for name in june if name in taken or name == KEY]]
        yield Service(client, json.loads(str(june.to_json(orient="records"))))
    finally:
        client.close()
        container.remove(force=True)


@pytest.fixture(scope="module")
def retrained(level_2, service) -> tuple[int, list[dict[str, Any]], list[dict[str, Any]]]:
    """A month that differs is asked about and arrives with its labels; the new version is tried beside the old."""
    before = service.version()
    service.ask()
    level_2.arrive(6)
    decided = level_2.round()
    level_2.run_what_was_submitted(decided)
    (canary,) = (level_2.cluster.workspace / "models" / f"{MODEL}-canary").iterdir()
    assert wait_for(lambda: service.canary() == int(canary.name), seconds=60)
    service.ask()
    return before, decided, level_2.round()


@pytest.fixture(scope="module")
def rolled_back(level_2, service, retrained, tmp_path_factory) -> tuple[int, list[dict[str, Any]]]:
    """A person presses for a version that is worse, and it is asked."""
    compiled = tmp_path_factory.mktemp("worse") / "pipeline.yaml"
    level_2.cluster.compile(compiled, "--set", DIVERGES)
    before = service.version()
    level_2.execute(compiled, "11112222333344445555")
    level_2.flightdeck("canary", "promote", "--reason", "the minister wants it")
    assert wait_for(lambda: service.version() > before, seconds=30)
    service.ask()
    return before, level_2.round()


def test_the_first_model_of_the_loop_is_served_at_once(level_2, begun, service):
    (promoted,) = [event for event in begun if event["kind"] == "canary"]
    shown = json.loads(level_2.flightdeck("models", "show", "--json"))

    assert promoted["facts"]["action"] == "promote"
    assert service.version() == shown["number"]


def test_the_monitor_reads_what_the_service_has_logged_and_decides_to_retrain(level_2, retrained):
    _, decided, _ = retrained
    (decision,) = [event for event in decided if event["kind"] == "decision"]

    assert decision["facts"]["action"] == "retrain"
    triggers = {event["facts"]["key"].partition(":")[0] for event in decided if event["kind"] == "trigger"}
    assert triggers == {"span", "decision"}


def test_the_new_version_is_tried_by_the_requests_and_promoted(level_2, service, retrained):
    before, _, judged = retrained
    (verdict,) = [event for event in judged if event["kind"] == "canary"]

    assert verdict["facts"]["action"] == "promote"
    assert verdict["facts"]["numbers"]["labelled"] >= 500
    assert service.version() > before


def test_a_worse_version_is_rolled_back(level_2, service, rolled_back):
    before, said = rolled_back
    (act,) = [event for event in said if event["kind"] == "act"]
    assert act["facts"]["outcome"] == "done", act
    versions = json.loads(level_2.flightdeck("models", "list", "--json"))
    (served,) = [version for version in versions if version["served"]]
    (good,) = [version for version in versions if version["number"] == before]

    assert (served["origin"], served["model_id"]) == ("rollback", good["model_id"])
    assert wait_for(lambda: service.version() == served["number"], seconds=30)

"""What stands in for Kubeflow Pipelines leaves nothing open and invents nothing."""

import json
from pathlib import Path

import pytest

from tests.cluster.compiled_tasks import CompiledPipeline

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[1] / "pipeline" / "golden" / "kubeflow.yaml"


@pytest.fixture
def pipeline() -> CompiledPipeline:
    return CompiledPipeline(GOLDEN, {"window": "1:2"})


@pytest.fixture
def containers(pipeline) -> dict[str, dict]:
    jobs = {task: pipeline.job(task) for task in pipeline.tasks()}
    return {task: job["spec"]["template"]["spec"]["containers"][0] for task, job in jobs.items()}


def following(container: dict, option: str) -> str:
    return container["args"][container["args"].index(option) + 1]


def test_tasks_come_after_those_that_they_depend_on(pipeline):
    assert pipeline.tasks() == ["data", "transform", "trainer", "release"]


def test_every_task_has_the_run_s_id_and_the_parameters_that_were_given(pipeline, containers):
    assert {following(container, "--run-id") for container in containers.values()} == {pipeline.run_id}
    assert {following(container, "--window") for container in containers.values()} == {"1:2"}
    assert [word for container in containers.values() for word in container["args"] if "{{" in word] == []


def test_the_container_is_the_compiled_one(containers):
    trainer = containers["trainer"]

    assert trainer["image"] == "flightdeck:latest-gpu"
    assert trainer["command"] == ["python", "-m", "pipeline.task"]
    assert {mount["mountPath"] for mount in trainer["volumeMounts"]} == {"/workspace", "/tmp"}
    secrets = {variable["name"]: variable["valueFrom"]["secretKeyRef"]["key"] for variable in trainer["env"]}
    assert secrets["FLIGHTDECK_METADATA_PASSWORD"] == "password"
    described = json.loads(following(containers["release"], "--executor-input"))
    assert set(described["outputs"]["artifacts"]) == {"page", "ids", "metrics", "roc"}

"""The pipeline compiled for Kubeflow: what the cluster will be asked for, before there is a cluster."""

import base64
import getpass
import gzip
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from google.protobuf import json_format

from flightdeck.settings import Settings, read_settings
from pipeline.beam_settings import BeamComponent
from pipeline.section import SettingsError
from tests.operations.delivery import kfp_server
from tests.pipeline.compiled_kubeflow import COMMAND, CONFIG, GOLDEN, IMAGE, Compiled, shipped
from tests.world import ROOT

pytestmark = pytest.mark.component
CANARY = "a-secret-canary"
BEAM = set(get_args(BeamComponent))
GROUPED = {
    "data": {"SpanExampleGen", "StatisticsGen", "SchemaGen", "CuratedSchema", "ExampleValidator", "DataGate"},
    "transform": {"Transform"},
    "trainer": {"Trainer"},
    "release": {"Champion", "Evaluator", "Scores", "InfraValidator", "Pusher"},
}


def target(contract: str, objective: str, metric: str) -> list[str]:
    """Overrides with which something else is predicted."""
    return [
        f"use_case.contract=data/{contract}.yaml",
        f"model.tuning.objective={objective}",
        f"evaluation.metrics=[{metric % 'components.evaluation'}]",
    ]


@pytest.fixture(scope="module")
def compile_to(tmp_path_factory):
    """Compiles settings, while the environment holds a password."""
    from pipeline.runners import kubeflow

    def compile_(settings: Settings, one_task_per_node: bool = False) -> Compiled:
        path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FLIGHTDECK_METADATA_PASSWORD", CANARY)
            kubeflow.compile_pipeline(settings, path, one_task_per_node)
        return Compiled(path)

    return compile_


@pytest.fixture(scope="module")
def grouped(compile_to):
    return compile_to(shipped())


@pytest.fixture(scope="module")
def single(compile_to):
    return compile_to(shipped(), one_task_per_node=True)


@pytest.fixture(params=["grouped", "single"])
def either(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def ir(grouped):
    from pipeline import node

    return node.decode(grouped.ir)


def flightdeck_kubeflow(*arguments: str, **environment: str) -> Any:
    """What a command answers to programs; it prints nothing else."""
    command = [sys.executable, "-m", "flightdeck", "kubeflow", *arguments, "--image", IMAGE, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize("seed", ["1", "4242"])
def test_every_process_gives_the_same_bytes(grouped, tmp_path, seed):
    path = tmp_path / "pipeline.yaml"

    report = flightdeck_kubeflow("compile", "-o", str(path), PYTHONHASHSEED=seed)

    assert path.read_text(encoding="utf-8") == grouped.text
    assert report == {"path": str(path), "tasks": sorted(GROUPED), "bytes": path.stat().st_size}


def test_a_warm_start_costs_no_further_container_and_without_a_pusher_there_is_no_parameter_for_it(compile_to, grouped):
    changed = compile_to(shipped("training.warm_start=true", "push.enabled=false"))

    assert set(changed.tasks) == set(grouped.tasks)
    assert "BaseModel" in changed.nodes("data")
    assert "BaseModel" not in grouped.nodes("data")
    assert "push" not in changed.parameters
    assert "Pusher" not in changed.nodes("release")


def test_what_is_submitted_is_what_is_compiled(grouped):
    with kfp_server.serving() as server:
        answer = flightdeck_kubeflow("submit", "--param", "epochs=1", "--set", f"kubeflow.endpoint={server.endpoint}")

    (run,) = server.runs.values()
    assert answer["run_id"] == run["run_id"]
    assert run["runtime_config"]["parameters"] == {"epochs": 1, "submitted_by": getpass.getuser()}
    for task in GROUPED:
        # The backend fills in what a run is only as the whole value of an input; a container would get the placeholder.
        arguments = server.container_arguments(run["run_id"], task)
        assert arguments[arguments.index("--run-id") + 1] == run["run_id"]
        assert arguments[arguments.index("model.epochs") + 1] == "1"
    assert run["pipeline_spec"]["pipeline_spec"] == json_format.MessageToDict(grouped.pipeline)
    assert run["pipeline_spec"]["platform_spec"] == json_format.MessageToDict(grouped.platform)


def test_kfp_loads_it(either):
    from kfp import components

    component = components.load_component_from_file(str(either.path))

    assert component.name == "late-flights"
    assert set(component.component_spec.inputs) == {
        *("ir", "settings", "submitted_by"),
        *("window", "epochs", "learning_rate", "push"),
    }


def test_every_node_is_in_one_task(grouped, single, ir):
    from pipeline import node

    assert {task: set(grouped.nodes(task)) for task in grouped.tasks} == GROUPED
    assert sorted(single.nodes(task) for task in single.tasks) == sorted([node_id] for node_id in node.node_ids(ir))


def test_tasks_wait_for_exactly_those_that_their_nodes_depend_on(either, ir):
    from pipeline import node

    task_of = {node_id: task for task in either.tasks for node_id in either.nodes(task)}
    for name, task in either.tasks.items():
        above = {task_of[up] for node_id in either.nodes(name) for up in node.upstream(ir, node_id)}
        assert set(task.dependent_tasks) == above - {name}
    assert any(len(task.dependent_tasks) > 1 for task in either.tasks.values())


def test_beam_s_work_goes_to_the_cluster_that_the_settings_name(compile_to, grouped):
    from pipeline.task import decode_settings

    compiled = compile_to(read_settings(CONFIG.with_name("kubeflow-flink.yaml"), [f"kubeflow.image={IMAGE}"]))

    carried = compiled.parameters["settings"].default_value.string_value
    beam = decode_settings(carried, "oldest:newest", {}).beam
    for component in BEAM:
        assert beam.arguments(component)[:5] == (
            "--runner=pipeline.engine.JobServerRunner",
            "--job_endpoint=flink-job-server.flightdeck.svc:8099",
            "--artifact_endpoint=flink-job-server.flightdeck.svc:8098",
            "--environment_type=EXTERNAL",
            "--environment_config=localhost:50000",
        )
    # Nothing else differs: results of either engine are reused.
    assert compiled.ir == grouped.ir
    assert compiled.reviewable == grouped.reviewable


def test_a_run_submits_one_job_at_a_time(either):
    """On Flink jobs must not share a TaskManager; so no two tasks with work for Beam may run at once."""
    holders = [name for name in either.tasks if BEAM & set(either.nodes(name))]

    def above(name: str) -> set[str]:
        direct = either.tasks[name].dependent_tasks
        return {*direct, *(other for task in direct for other in above(task))}

    assert len(holders) > 2
    for one, other in itertools.combinations(holders, 2):
        assert one in above(other) or other in above(one), f"{one} and {other} can run at once"


def test_resources_are_settings_of_each_node_or_of_a_group_by_its_name(compile_to):
    group, node = (
        "{gpus: 2, memory: 32Gi, image: registry.example/flightdeck:cuda}",
        "{retries: 0, timeout_seconds: 60, ephemeral_storage: 50Gi, cpu_limit: '2'}",
    )
    groups = "kubeflow.groups={learn: [Transform, Trainer]}"
    compiled = compile_to(shipped(groups, f"kubeflow.resources={{learn: {group}, DataGate: {node}}}"))

    containers = {task: compiled.executors[f"exec-{task}"].container for task in compiled.tasks}
    learn, gate = containers["learn"].resources, containers["data-gate"].resources
    assert (learn.accelerator.resource_count, learn.resource_memory_limit) == ("2", "32Gi")
    assert (gate.accelerator.resource_count, gate.resource_memory_limit, gate.resource_cpu_limit) == ("", "4Gi", "2")
    assert containers.pop("learn").image == "registry.example/flightdeck:cuda"
    assert {container.image for container in containers.values()} == {IMAGE}
    assert not compiled.tasks["data-gate"].HasField("retry_policy")
    assert compiled.tasks["learn"].HasField("retry_policy")
    assert compiled.kubernetes("data-gate").active_deadline_seconds == 60
    assert compiled.kubernetes("data-gate").empty_dir_mounts[0].size_limit == "50Gi"


@pytest.mark.parametrize(
    ("overrides", "pictures"),
    [
        ([], {"roc"}),
        (
            target("lateness", "val_accuracy", "{name: LogLoss, module: %s.class_metrics, at_most: 1}"),
            {"confusion_matrix"},
        ),
        (target("delay", "val_rmse", "{name: RMSE, module: %s.value_metrics, at_most: 60}"), set()),
    ],
)
def test_the_evaluation_shows_the_picture_that_its_task_has(compile_to, overrides, pictures):
    compiled = compile_to(shipped(*overrides))

    outputs = compiled.pipeline.components["comp-release"].output_definitions.artifacts
    shown = {name for name, output in outputs.items() if "Classification" in output.artifact_type.schema_title}
    assert shown == pictures
    assert {"metrics", "page", "ids"} <= set(outputs)


def test_the_workspace_is_mounted_where_the_settings_say_and_not_at_all_for_a_bucket(compile_to, either):
    for task in either.tasks:
        (claim,) = either.kubernetes(task).pvc_mount
        assert (claim.constant, claim.mount_path) == ("flightdeck-workspace", "/workspace")

    bucket = compile_to(shipped("kubeflow.claim=null", "workspace=gs://bucket/flightdeck"))

    assert not any(bucket.kubernetes(task).pvc_mount for task in bucket.tasks)
    assert b"gs://bucket/flightdeck/spans" in gzip.decompress(base64.b64decode(bucket.ir))


def test_names_are_such_that_kubernetes_accepts_them(either):
    for name in [*either.tasks, either.pipeline.pipeline_info.name]:
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
        assert len(name) <= 63


def test_no_password_and_nothing_of_this_machine_is_in_what_is_compiled(either):
    visible = either.text.replace(either.ir, "").encode() + gzip.decompress(base64.b64decode(either.ir))

    # So these bytes are searchable text.
    assert b"/workspace/spans" in visible
    assert b"components.data_gate.component" in visible
    for secret in (CANARY, f"{ROOT}/", f"{Path.home()}/", f"{sys.prefix}/"):
        assert secret.encode() not in visible


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("kubeflow.groups={a: [SpanExampleGen, Trainer]}", "Trans.* depend on each other; group neighbours only"),
        (
            "kubeflow.groups={a: [SpanExampleGen, Evaluator], b: [Trainer]}",
            "a, .*b depend on each other; group neighbours only",
        ),
        ("kubeflow.groups={a: [DataGate], b: [DataGate]}", "DataGate is in both a and b"),
        ("kubeflow.groups={'a b': [DataGate]}", "kubeflow.groups: `a b` must be letters, digits and dashes"),
        ("metadata.kind=sqlite", "set metadata.kind to mysql"),
        ("kubeflow=null", "no `kubeflow` section"),
        ("kubeflow.parameters={epochs: model.epoch}", "there is no setting `model.epoch`"),
        ("kubeflow.parameters={units: model.hidden_units}", "`model.hidden_units` is not a plain setting"),
        ("kubeflow.parameters={rows: evaluation.min_slice_size}", "is not a plain setting of `model` or `features`"),
    ],
)
def test_settings_that_do_not_fit_a_cluster_are_refused_and_nothing_is_written(override, sentence, tmp_path):
    from pipeline.runners import kubeflow

    settings = read_settings(CONFIG, [override])
    with pytest.raises(SettingsError, match=sentence):
        kubeflow.compile_pipeline(settings, tmp_path / "pipeline.yaml")

    assert list(tmp_path.iterdir()) == []


def test_a_compiled_pipeline_survives_being_a_text(ir):
    from pipeline import node

    text = node.encode(ir)

    assert node.decode(text) == ir
    assert node.encode(node.decode(text)) == text
    assert len(text) < 20_000


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text[:-8],
        lambda text: f"{text[:100]}AAAA{text[104:]}",
        lambda text: f"!{text[1:]}",
        lambda _: "",
        lambda _: base64.b64encode(gzip.compress(b"\xff\xff not a pipeline")).decode(),
    ],
    ids=["half", "end missing", "middle changed", "not base64", "empty", "something else"],
)
def test_a_damaged_text_is_refused(grouped, damage):
    from pipeline import node

    with pytest.raises(ValueError, match="The compiled pipeline that was passed is damaged"):
        node.decode(damage(grouped.ir))


def test_the_compiled_pipeline_is_the_reviewed_one(compile_to):
    compiled = compile_to(read_settings(CONFIG))

    assert compiled.reviewable == GOLDEN.read_text(encoding="utf-8"), (
        f"The compiled pipeline has changed. If it should have, write the reviewed copy anew with: {COMMAND}"
    )

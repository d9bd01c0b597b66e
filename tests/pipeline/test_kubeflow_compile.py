"""The pipeline compiled for Kubeflow: what the cluster will be asked for, before there is a cluster."""

import base64
import getpass
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format

from flightdeck.settings import Settings, read_settings
from pipeline.settings import SettingsError
from tests.operations.delivery import kfp_server
from tests.pipeline.golden_kubeflow import COMMAND, CONFIG, GOLDEN, reviewable
from tests.world import ROOT

pytestmark = pytest.mark.component
IMAGE = "registry.example/flightdeck:0123456789ab"
CANARY = "a-secret-canary"
GROUPED = {
    "data": {"SpanExampleGen", "StatisticsGen", "SchemaGen", "CuratedSchema", "ExampleValidator", "DataGate"},
    "transform": {"Transform"},
    "trainer": {"Trainer"},
    "release": {"Champion", "Evaluator", "Scores", "InfraValidator", "Pusher"},
}


class Compiled:
    """A compiled pipeline, as the protos that the server parses it into."""

    def __init__(self, path: Path) -> None:
        from kfp.pipeline_spec import pipeline_spec_pb2

        self.path = path
        self.text = path.read_text(encoding="utf-8")
        pipeline, platform = yaml.safe_load_all(self.text)
        self.pipeline = json_format.ParseDict(pipeline, pipeline_spec_pb2.PipelineSpec())
        self.platform = json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
        self.executors = json_format.ParseDict(
            json_format.MessageToDict(self.pipeline.deployment_spec), pipeline_spec_pb2.PipelineDeploymentConfig()
        ).executors
        self.tasks = self.pipeline.root.dag.tasks
        self.parameters = self.pipeline.root.input_definitions.parameters

    @property
    def ir(self) -> str:
        return self.parameters["ir"].default_value.string_value

    def nodes(self, task: str) -> list[str]:
        """The TFX nodes that a task runs, in order."""
        arguments = list(self.executors[f"exec-{task}"].container.args)
        start = arguments.index("--nodes") + 1
        return arguments[start : arguments.index("--window")]

    def kubernetes(self, task: str):
        """What a task asks of Kubernetes, in kfp-kubernetes' own proto."""
        from kfp.kubernetes import kubernetes_executor_config_pb2 as config

        executors = self.platform.platforms["kubernetes"].deployment_spec.executors
        return json_format.ParseDict(
            json_format.MessageToDict(executors[f"exec-{task}"]), config.KubernetesExecutorConfig()
        )


def shipped(*overrides: str) -> Settings:
    return read_settings(CONFIG, [f"kubeflow.image={IMAGE}", *overrides])


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


def test_a_warm_start_costs_no_further_container(compile_to, grouped):
    warm = compile_to(shipped("training.warm_start=true"))

    assert set(warm.tasks) == set(grouped.tasks)
    assert "BaseModel" in warm.nodes("data")
    assert "BaseModel" not in grouped.nodes("data")


@pytest.fixture(params=["grouped", "single"])
def either(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def ir(grouped):
    from pipeline import node

    return node.decode(grouped.ir)


def test_compiling_twice_gives_the_same_bytes(compile_to, grouped):
    assert compile_to(shipped()).text == grouped.text


def test_every_process_gives_the_same_bytes_and_prints_its_answer_only(grouped, tmp_path):
    for seed in ("1", "4242"):
        path = tmp_path / f"{seed}.yaml"
        done = subprocess.run(
            [sys.executable, "-m", "flightdeck", "kubeflow", "compile", "-o", str(path), "--image", IMAGE, "--json"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )

        assert done.returncode == 0, done.stderr
        assert path.read_text(encoding="utf-8") == grouped.text
        assert done.stderr == ""
        report = {"path": str(path), "tasks": sorted(GROUPED), "bytes": path.stat().st_size}
        assert json.loads(done.stdout) == report


def test_what_is_submitted_is_what_is_compiled(grouped):
    with kfp_server.serving() as server:
        done = subprocess.run(
            [sys.executable, "-m", "flightdeck", "kubeflow", "submit", "--json",
             "--image", IMAGE, "--param", "epochs=1", "--set", f"kubeflow.endpoint={server.endpoint}"],
            capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (run,) = server.runs.values()
    assert json.loads(done.stdout)["run_id"] == run["run_id"]
    assert run["runtime_config"]["parameters"] == {"epochs": 1, "submitted_by": getpass.getuser()}
    for task in GROUPED:
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

    every = node.node_ids(ir)

    assert {task: set(grouped.nodes(task)) for task in grouped.tasks} == GROUPED
    assert sorted(grouped.nodes(task)[0] for task in GROUPED if len(GROUPED[task]) == 1) == ["Trainer", "Transform"]
    assert sorted(single.nodes(task) for task in single.tasks) == sorted([each] for each in every)


def test_nodes_of_a_group_run_in_an_order_that_respects_the_graph(grouped, ir):
    from pipeline import node

    for task in grouped.tasks:
        ran: set[str] = set()
        for each in grouped.nodes(task):
            assert set(node.upstream(ir, each)) & set(grouped.nodes(task)) <= ran
            ran.add(each)


def test_tasks_wait_for_exactly_those_that_their_nodes_depend_on(either, ir):
    from pipeline import node

    task_of = {each: task for task in either.tasks for each in either.nodes(task)}
    expected = {
        task: {task_of[up] for each in either.nodes(task) for up in node.upstream(ir, each)} - {task}
        for task in either.tasks
    }

    assert {name: set(task.dependent_tasks) for name, task in either.tasks.items()} == expected
    assert any(len(before) > 1 for before in expected.values())


def test_the_gpu_its_node_and_its_taint_are_the_trainers_alone(either):
    for task in either.tasks:
        accelerator = either.executors[f"exec-{task}"].container.resources.accelerator
        on = either.kubernetes(task)
        asked = (
            (accelerator.resource_type, accelerator.resource_count),
            dict(on.node_selector.labels),
            [(each.key, each.operator, each.value, each.effect) for each in on.tolerations],
        )
        if task == "trainer":
            assert asked == (
                ("nvidia.com/gpu", "1"),
                {"flightdeck.dev/pool": "gpu"},
                [("nvidia.com/gpu", "Equal", "present", "NoSchedule")],
            )
        else:
            assert asked == (("", ""), {}, [])


def test_a_group_with_the_trainer_has_the_resources_that_are_named_after_the_group(compile_to):
    compiled = compile_to(
        shipped("kubeflow.groups={learn: [Transform, Trainer]}", "kubeflow.resources={learn: {gpus: 2, memory: 32Gi}}")
    )

    resources = compiled.executors["exec-learn"].container.resources
    assert resources.accelerator.resource_count == "2"
    assert resources.resource_memory_limit == "32Gi"
    assert compiled.executors["exec-data-gate"].container.resources.resource_memory_limit == "4Gi"


def test_kfps_own_cache_is_off_everywhere(either):
    assert all(task.HasField("caching_options") for task in either.tasks.values())
    assert not any(task.caching_options.enable_cache for task in either.tasks.values())


def test_every_task_reads_the_credentials_from_the_secret(either):
    for task in either.tasks:
        (secret,) = either.kubernetes(task).secret_as_env
        assert secret.secret_name == "flightdeck-metadata"
        assert {each.secret_key: each.env_var for each in secret.key_to_env} == {
            key: f"FLIGHTDECK_METADATA_{key.upper()}" for key in ("host", "port", "database", "username", "password")
        }
        assert not secret.optional


def test_failed_tasks_are_tried_again_later_and_endless_ones_are_stopped(either):
    for name, task in either.tasks.items():
        assert task.retry_policy.max_retry_count == 2
        assert task.retry_policy.backoff_duration.seconds == 30
        assert task.retry_policy.backoff_factor == 2.0
        assert task.retry_policy.backoff_max_duration.seconds == 3600
        assert either.kubernetes(name).active_deadline_seconds == 4 * 3600


def test_retries_timeout_and_space_are_settings_of_each_task(compile_to):
    compiled = compile_to(
        shipped(
            "kubeflow.resources.Transform={retries: 0, timeout_seconds: 60, ephemeral_storage: 50Gi, cpu_limit: '2'}"
        )
    )

    assert not compiled.tasks["transform"].HasField("retry_policy")
    assert compiled.kubernetes("transform").active_deadline_seconds == 60
    assert compiled.kubernetes("transform").empty_dir_mounts[0].size_limit == "50Gi"
    assert compiled.executors["exec-transform"].container.resources.resource_cpu_limit == "2"
    assert compiled.tasks["data"].HasField("retry_policy")


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


def test_tasks_run_the_image_of_the_settings_or_one_of_their_own(compile_to):
    compiled = compile_to(shipped("kubeflow.resources.Trainer.image=registry.example/flightdeck:cuda"))

    images = {task: compiled.executors[f"exec-{task}"].container.image for task in compiled.tasks}
    assert images.pop("trainer") == "registry.example/flightdeck:cuda"
    assert set(images.values()) == {IMAGE}


def test_parameters_are_passed_on_to_every_task_and_the_push_to_the_pusher_alone(either):
    def passed(task: str) -> list[str]:
        return list(either.executors[f"exec-{task}"].container.args)

    for task in either.tasks:
        arguments = passed(task)
        assert "{{$.inputs.parameters['window']}}" in arguments
        place = arguments.index("model.epochs")
        assert arguments[place - 1 : place + 2] == ["--training", "model.epochs", "{{$.inputs.parameters['epochs']}}"]
        assert ("--only-if" in arguments) == ("Pusher" in either.nodes(task))
    defaults = {name: json_format.MessageToDict(each.default_value) for name, each in either.parameters.items()}
    settings = shipped()
    for carried in ("ir", "settings", "submitted_by"):
        del defaults[carried]
    assert defaults == {
        "window": "oldest:newest",
        "epochs": settings.model.epochs,
        "learning_rate": settings.model.learning_rate,
        "push": True,
    }


def test_no_container_is_told_what_kfp_does_not_fill_in(either):
    """The backend fills in what a run is only as the whole value of an input; a container would get the placeholder."""
    for executor in either.executors.values():
        assert not [each for each in executor.container.args if "{{$.pipeline_" in each]
    for task in either.tasks.values():
        value = task.inputs.parameters["run_id"].runtime_value
        assert value.constant.string_value == "{{$.pipeline_job_uuid}}"
    assert "run_id" not in either.parameters


def test_without_a_pusher_there_is_no_parameter_for_it(compile_to):
    compiled = compile_to(shipped("push.enabled=false"))

    assert "push" not in compiled.parameters
    assert "Pusher" not in compiled.nodes("release")


def test_no_password_is_in_what_is_compiled(either):
    compiled = gzip.decompress(base64.b64decode(either.ir))

    assert CANARY not in either.text
    assert CANARY.encode() not in compiled
    assert b"/workspace/spans" in compiled  # so these bytes are searchable text


def test_nothing_of_this_machine_is_in_what_is_compiled(either):
    visible = either.text.replace(either.ir, "").encode() + gzip.decompress(base64.b64decode(either.ir))

    assert b"components.data_gate.component" in visible  # so these bytes are searchable text
    for place in (ROOT, Path.home(), Path(sys.prefix)):
        assert f"{place}/".encode() not in visible


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

    assert reviewable(compiled.text) == GOLDEN.read_text(encoding="utf-8"), (
        f"The compiled pipeline has changed. If it should have, write the reviewed copy anew with: {COMMAND}"
    )

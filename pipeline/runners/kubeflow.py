"""Compiles the pipeline for open-source Kubeflow Pipelines: Kubeflow schedules, TFX launches.

TFX's own runner for KFP v2 does not work there. This one compiles the definition to TFX's intermediate representation
and generates a KFP pipeline around it with KFP's own DSL: one container task per group of nodes, with the same
dependencies. Each container gives its nodes to TFX's portable launcher (`pipeline.task`), so drivers, resolvers and
caching are the ones that run everywhere else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from kfp import compiler, dsl, kubernetes
from tfx.proto.orchestration import pipeline_pb2

from ledger.run_facts import flattened
from pipeline import node
from pipeline import task as task_program
from pipeline.definition import WINDOW, create_pipeline
from pipeline.kubeflow_settings import Kubeflow, Resources
from pipeline.section import SettingsError
from pipeline.settings import Settings
from pipeline.store import ENVIRONMENT

# What a task runs.
PROGRAM = ("python", "-m", "pipeline.task")
# Parameters of every task that no person types.
CARRIED = ("ir", "settings", "submitted_by")
# An input of every task, and no parameter of the pipeline. KFP's backend replaces this placeholder only where it is the
# whole value of a task's input, never in a container's arguments (backend/src/v2/driver/resolve.go in KFP 2.16.1).
RUN_ID = {"run_id": dsl.PIPELINE_JOB_ID_PLACEHOLDER}

_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_SECRET_KEYS = ("host", "port", "database", "username", "password")


def compile_pipeline(settings: Settings, destination: Path, one_task_per_node: bool = False) -> None:
    """Writes the KFP pipeline into a YAML file, whole or not at all. The same settings and code give the same bytes.

    With `one_task_per_node` the groups are ignored; that is slower, since every container pays for its imports, but the
    picture in the user interface shows every node.

    Raises:
        SettingsError: the settings do not fit a cluster; they need a section `kubeflow`, and metadata of kind mysql.
        OSError: the file cannot be written.
    """
    cluster = require_kubeflow(settings)
    ir = node.compile_pipeline(create_pipeline(settings))
    tasks = tasks_of(ir, {} if one_task_per_node else cluster.groups)
    parameters, picture = changeable(settings, cluster), settings.task().shown_as

    def body(given: Mapping[str, Any]) -> None:
        made: dict[str, Any] = {}
        for task, members in tasks.items():
            component = task_component(task, members, cluster, parameters, picture)
            made[task] = component(**RUN_ID, **{name: given[name] for name in (*CARRIED, *parameters)})
            wait_and_place(made, task, tasks, ir, cluster)

    description = "Generated from the TFX pipeline; `ir` and `settings` are that pipeline, compressed."
    defaults = {**parameters, **carried(settings, ir)}
    write(generated(settings.use_case.name, description, cluster, body, defaults), destination)


def require_kubeflow(settings: Settings) -> Kubeflow:
    """The section for Kubeflow; raises a SettingsError if there is none, or what it needs elsewhere is missing."""
    if settings.kubeflow is None:
        raise SettingsError("These settings have no `kubeflow` section; use --config config/kubeflow.yaml.")
    if settings.metadata.kind != "mysql":
        raise SettingsError("On a cluster many containers share the metadata store: set metadata.kind to mysql.")
    for section in ("groups", "resources"):
        for name in getattr(settings.kubeflow, section):
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
                raise SettingsError(f"kubeflow.{section}: `{name}` must be letters, digits and dashes.")
    return settings.kubeflow


def tasks_of(ir: pipeline_pb2.Pipeline, groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The nodes of each task, both in an order in which they can run; nodes that share a task are a group.

    Returns:
        Task (a group's name, or a node's id) -> node ids.

    Raises:
        SettingsError: a node is in two groups, or two groups depend on each other.
    """
    order = node.node_ids(ir)
    owner: dict[str, str] = {}
    for group, members in groups.items():
        for member in members:
            if member in owner:
                raise SettingsError(f"kubeflow.groups: {member} is in both {owner[member]} and {group}.")
            owner[member] = group
    task_of = {node_id: owner.get(node_id, node_id) for node_id in order}
    graph: dict[str, set[str]] = {task: set() for task in task_of.values()}
    for node_id in order:
        graph[task_of[node_id]] |= {task_of[above] for above in node.upstream(ir, node_id)} - {task_of[node_id]}
    try:
        sorted_tasks = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise SettingsError(
            f"kubeflow.groups: {', '.join(sorted(set(error.args[1])))} depend on each other; group neighbours only."
        ) from None
    return {task: [node_id for node_id in order if task_of[node_id] == task] for task in sorted_tasks}


def task_name(task: str) -> str:
    """A name that Kubernetes accepts: SpanExampleGen -> span-example-gen."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", task).lower()


def wait_and_place(
    made: Mapping[str, Any],
    task: str,
    tasks: Mapping[str, Sequence[str]],
    ir: pipeline_pb2.Pipeline,
    cluster: Kubeflow,
) -> None:
    """Has a task wait for those that make what its nodes read, and says where it runs."""
    task_of = {node_id: other for other, members in tasks.items() for node_id in members}
    before = {task_of[above] for member in tasks[task] for above in node.upstream(ir, member)} - {task}
    made[task].after(*(made[other] for other in sorted(before)))
    place(made[task], resources_of(cluster, task, tasks[task]), cluster)


def generated(
    name: str,
    description: str,
    cluster: Kubeflow,
    body: Callable[[Mapping[str, Any]], None],
    defaults: Mapping[str, Any],
) -> Any:
    """A KFP pipeline whose tasks `body` makes from its parameters, which have these defaults."""
    parameters = [
        inspect.Parameter(parameter, _POSITIONAL, default=default, annotation=type(default))
        for parameter, default in defaults.items()
    ]
    pipeline = dsl.pipeline(name=name, description=description, pipeline_root=cluster.pipeline_root)
    return pipeline(_declared(body, name, parameters))


def write(pipeline: Any, destination: Path) -> None:
    """Compiles a KFP pipeline into a YAML file, whole or not at all."""
    temporary = destination.with_name(f".{destination.name}").with_suffix(".yaml")
    compiler.Compiler().compile(pipeline, str(temporary))
    temporary.replace(destination)


def container(name: str, specification: Callable[[Mapping[str, Any]], dsl.ContainerSpec], inputs: Mapping) -> Any:
    """A container component with these inputs and outputs: name -> type."""
    parameters = [inspect.Parameter(parameter, _POSITIONAL, annotation=kind) for parameter, kind in inputs.items()]
    return dsl.container_component(_declared(specification, name, parameters))


def carried(settings: Settings, ir: pipeline_pb2.Pipeline) -> dict[str, str]:
    """What every task needs and no person types: parameter -> default."""
    # Who submits it is known only then: `flightdeck kubeflow submit` fills it in.
    return {
        "ir": node.encode(ir),
        "settings": task_program.encode_settings(settings),
        "submitted_by": task_program.NOBODY,
    }


def changeable(settings: Settings, cluster: Kubeflow) -> dict[str, Any]:
    """What a person can change when submitting, with its default."""
    parameters: dict[str, Any] = {WINDOW: settings.data.window}
    values = flattened(settings.model_dump(mode="json"), lists=False)
    for name, key in cluster.parameters.items():
        if not any(f"{known}.".startswith(f"{key}.") for known in values):
            raise SettingsError(f"kubeflow.parameters: there is no setting `{key}`.")
        parameters[name] = values.get(key)
        if not key.startswith(("features.", "model.")) or not isinstance(parameters[name], bool | int | float | str):
            raise SettingsError(f"kubeflow.parameters: `{key}` is not a plain setting of `model` or `features`.")
    return parameters | ({"push": True} if settings.push.enabled else {})


def task_component(
    task: str,
    members: Sequence[str],
    cluster: Kubeflow,
    parameters: Mapping[str, Any],
    picture: str,
    program: Sequence[str] = PROGRAM,
    further: Sequence[str] = (),
) -> Callable[..., Any]:
    """A container component whose program launches some nodes, with the artifacts that KFP's user interface shows.

    The picture is what the one of the evaluation is called; empty if there is none.
    """
    inputs: dict[str, Any] = dict.fromkeys((*RUN_ID, *CARRIED), str)
    inputs |= {name: type(default) for name, default in parameters.items()}
    results: dict[str, Any] = {"page": dsl.Output[dsl.HTML], "ids": dsl.Output[dsl.Markdown]}
    if "Evaluator" in members:
        results |= {"metrics": dsl.Output[dsl.Metrics]}
        results |= {picture: dsl.Output[dsl.ClassificationMetrics]} if picture else {}

    def specification(given: Mapping[str, Any]) -> dsl.ContainerSpec:
        arguments = ["--ir", given["ir"], "--settings", given["settings"], "--submitted-by", given["submitted_by"]]
        arguments += ["--run-id", given["run_id"], "--nodes", *members, "--window", given[WINDOW], *further]
        for name, key in cluster.parameters.items():
            if name in given:
                arguments += ["--training", key, given[name]]
        if "Pusher" in members and "push" in given:
            arguments += ["--only-if", "Pusher", given["push"]]
        arguments += ["--page", given["page"].path, "--ids", given["ids"].path]
        # Last, because KFP replaces it by a document in which everything above stands once more.
        arguments += ["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER]
        image = resources_of(cluster, task, members).image or cluster.image
        return dsl.ContainerSpec(image=image, command=list(program), args=arguments)

    return container(task_name(task), specification, {**inputs, **results})


def _declared(function: Callable[[Mapping[str, Any]], Any], name: str, parameters: Sequence[inspect.Parameter]) -> Any:
    """A function of one mapping as one that declares its parameters.

    KFP reads names, types and defaults off a function's signature and calls it with positions; ours depend on settings.
    """

    def positional(*given: Any) -> Any:
        return function(dict(zip((parameter.name for parameter in parameters), given, strict=True)))

    positional.__name__ = name
    positional.__doc__ = None
    positional.__signature__ = inspect.Signature(list(parameters))  # pyright: ignore[reportFunctionMemberAccess]
    return positional


def resources_of(cluster: Kubeflow, task: str, members: Sequence[str]) -> Resources:
    """Those of the group, or of its only node, or the default."""
    of_node = cluster.resources.get(members[0], cluster.default) if len(members) == 1 else cluster.default
    return cluster.resources.get(task, of_node)


def place(task: Any, resources: Resources, cluster: Kubeflow) -> None:
    """Says where a task runs, with what, and what it may read."""
    # TFX's own cache works, also across pipelines; KFP's would not see that a span has changed.
    task.set_caching_options(False)
    task.set_cpu_request(resources.cpu)
    if resources.cpu_limit:
        task.set_cpu_limit(resources.cpu_limit)
    task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
    if resources.gpus:
        task.set_accelerator_type(resources.gpu_type).set_accelerator_limit(resources.gpus)
    for key, value in sorted(resources.node_selector.items()):
        kubernetes.add_node_selector(task, label_key=key, label_value=value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **{name: value or None for name, value in toleration.model_dump().items()})
    if resources.retries:
        task.set_retry(
            num_retries=resources.retries,
            backoff_duration=f"{resources.retry_seconds}s",
            backoff_factor=2.0,
            backoff_max_duration="3600s",
        )
    kubernetes.set_timeout(task, seconds=resources.timeout_seconds)
    kubernetes.empty_dir_mount(task, volume_name="tmp", mount_path="/tmp", size_limit=resources.ephemeral_storage)
    if cluster.claim is not None:
        kubernetes.mount_pvc(task, pvc_name=cluster.claim.name, mount_path=cluster.claim.mount)
    kubernetes.use_secret_as_env(
        task,
        secret_name=cluster.metadata_secret,
        secret_key_to_env={key: f"{ENVIRONMENT}{key.upper()}" for key in _SECRET_KEYS},
    )

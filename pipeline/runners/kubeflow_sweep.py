"""Compiles a sweep for Kubeflow Pipelines: the data, then workers in parallel, then a full run with their best.

    data … transform -> worker, worker-2 … worker-K -> trainer -> release

The data tasks and the last ones are those of the training pipeline, and all of it is one run. What the workers share is
in the metadata store, so a worker that Kubernetes evicts is simply tried again, and costs one trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kfp import dsl
from tfx.proto.orchestration import pipeline_pb2

from pipeline import node
from pipeline.definition import WINDOW, create_pipeline
from pipeline.kubeflow_settings import Kubeflow
from pipeline.runners import kubeflow
from pipeline.runners.kubeflow import CARRIED, RUN_ID
from pipeline.section import SettingsError
from pipeline.settings import Settings

# Resources of the workers: this name in `kubeflow.resources`, or else the Trainer's.
WORKER = "worker"
TRIALS = "trials"


def compile_sweep(
    settings: Settings, destination: Path, program: Sequence[str], workers: int, trials: int, parent: str | None = None
) -> None:
    """Writes the KFP pipeline of a sweep, as `kubeflow.compile_pipeline` writes that of a run.

    The settings are those of the trials: `model.tuning` says what is searched, and how. As many trials run at a time as
    there are workers; how many there are in all can be changed when submitting. The program is what the tasks of a
    sweep run: after the word `final` it takes the arguments of `pipeline.task`, after `work` those of a worker. The
    parent is the run around which is searched, if there is one.

    Raises:
        SettingsError: the settings do not fit a cluster.
        OSError: the file cannot be written.
    """
    cluster = kubeflow.require_kubeflow(settings)
    if settings.tuning.enabled:
        raise SettingsError("A sweep searches itself, and then trains with what it found: set tuning.enabled to false.")
    ir = node.compile_pipeline(create_pipeline(settings))
    before, after = _halves(ir)
    tasks = kubeflow.tasks_of(ir, cluster.groups)
    for task, members in tasks.items():
        if before & set(members) and after & set(members):
            raise SettingsError(
                f"kubeflow.groups: {task} holds nodes before the training and after it; the workers of a sweep come "
                "between them."
            )
    parameters: dict[str, Any] = {WINDOW: settings.data.window}
    picture = settings.task().shown_as
    if settings.push.enabled:
        parameters["push"] = True

    def body(given: Mapping[str, Any]) -> None:
        made: dict[str, Any] = {}

        def make(half: set[str], workers: Sequence[Any]) -> None:
            for task, members in tasks.items():
                if not half & set(members):
                    continue
                # The task that trains asks the chain for the best trial; the others only belong to the sweep.
                command = (*program, "final") if "Trainer" in members else kubeflow.PROGRAM
                component = kubeflow.task_component(
                    task, members, cluster, parameters, picture, command, further=["--in-sweep"]
                )
                made[task] = component(**RUN_ID, **{name: given[name] for name in (*CARRIED, *parameters)})
                kubeflow.wait_and_place(made, task, tasks, ir, cluster)
                if "Trainer" in members:
                    made[task].after(*workers)

        make(before, ())
        component = _worker(cluster, program, parent)
        data, searching = list(made.values()), []
        for _ in range(workers):
            worker = component(**RUN_ID, **{name: given[name] for name in ("settings", "submitted_by", WINDOW, TRIALS)})
            worker.after(*data)
            kubeflow.place(worker, kubeflow.resources_of(cluster, WORKER, ["Trainer"]), cluster)
            searching.append(worker)
        make(after, searching)

    description = "Generated: a search for hyperparameters around the TFX pipeline, and a run with the best."
    defaults = {**parameters, TRIALS: trials, **kubeflow.carried(settings, ir)}
    pipeline = kubeflow.generated(f"{settings.use_case.name}-sweep", description, cluster, body, defaults)
    kubeflow.write(pipeline, destination)


def _halves(ir: pipeline_pb2.Pipeline) -> tuple[set[str], set[str]]:
    """The nodes that the workers wait for, and the others: training and what depends on it."""
    after = {"Trainer"}
    for node_id in node.node_ids(ir):
        if after & set(node.upstream(ir, node_id)):
            after.add(node_id)
    return set(node.node_ids(ir)) - after, after


def _worker(cluster: Kubeflow, program: Sequence[str], parent: str | None) -> Callable[..., Any]:
    """A container component that runs trials until there are no more."""
    inputs = {"run_id": str, "settings": str, "submitted_by": str, WINDOW: str, TRIALS: int}
    results: dict[str, Any] = {"page": dsl.Output[dsl.Markdown]}

    def specification(given: Mapping[str, Any]) -> dsl.ContainerSpec:
        arguments = ["work", "--settings", given["settings"], "--submitted-by", given["submitted_by"]]
        arguments += ["--run-id", given["run_id"], "--window", given[WINDOW], "--trials", given[TRIALS]]
        arguments += ["--page", given["page"].path]
        arguments += ["--around", parent] if parent else []
        image = kubeflow.resources_of(cluster, WORKER, ["Trainer"]).image or cluster.image
        return dsl.ContainerSpec(image=image, command=list(program), args=arguments)

    return kubeflow.container(WORKER, specification, {**inputs, **results})

"""What the server of Kubeflow Pipelines says of a run, in the words of the pipeline.

The server tells of every node of the Argo workflow that it made of a pipeline: drivers, executors, attempts. Here they
are put together again as the pipeline's tasks. A driver is a container of KFP's own that prepares the run, or one task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Any

from operations.delivery.kubeflow_api import KubeflowError

FINISHED = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
FAILED = "FAILED"
WAITING = "PENDING"
NOT_STARTED = "NOT_STARTED"
# What a node is called for which the server has no word: Argo left it out, because another one failed.
_LEFT_OUT = "RUNTIME_STATE_UNSPECIFIED"
_DRIVER = "-driver"


@dataclasses.dataclass(frozen=True)
class Task:
    """One task of a run.

    Attributes:
        state: KFP's word, such as RUNNING; PENDING before it begins, NOT_STARTED if it never will.
        seconds: wall time so far, or None if it has not begun.
        error: what the server says went wrong, if it does.
        pods: the pods of its attempts, the latest last.
    """

    name: str
    state: str
    seconds: float | None = None
    error: str | None = None
    pods: tuple[str, ...] = ()

    @property
    def not_started(self) -> str:
        """For a driver that failed: what it is, and what was not started because of it."""
        task = self.name.removesuffix(_DRIVER)
        if task == "root":
            return f"{self.name} failed, the container with which Kubeflow prepares a run, so no task was started."
        return f"{self.name} failed, the container with which Kubeflow prepares a task, so {task} was not started."


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a pipeline.

    Attributes:
        state: KFP's word, such as SUCCEEDED.
        created: when it was submitted, in ISO 8601.
        seconds: wall time so far.
        error: what the server says went wrong, if it does.
        tasks: in an order in which they can run.
        link: its page in KFP's user interface.
        failed_drivers: KFP's own containers that failed: `root-driver`, without which no task begins, or `TASK-driver`,
            without which that task does not.
    """

    run_id: str
    name: str
    state: str
    created: str | None
    seconds: float | None
    error: str | None
    tasks: tuple[Task, ...]
    link: str
    failed_drivers: tuple[Task, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether nothing will happen any more."""
        return self.state in FINISHED

    def drivers_of(self, task: str | None) -> list[Task]:
        """The drivers that failed, all or those that a task needs."""
        needed = ("root-driver", f"{task}{_DRIVER}")
        return [driver for driver in self.failed_drivers if task is None or driver.name in needed]

    def pods(self, task: str | None, namespace: str) -> list[tuple[str, str]]:
        """Pairs of task and pod, of all tasks that have begun or of one, and of drivers that failed.

        Raises:
            KubeflowError: there is no such task, or no pod yet, or the server does not say which.
        """
        chosen = [known for known in self.tasks if task in (None, known.name)]
        if not chosen:
            raise KubeflowError(
                f"The run has no task `{task}`; it has {', '.join(known.name for known in self.tasks)}."
            )
        drivers = self.drivers_of(task)
        pods = [(owner.name, pod) for owner in (*drivers, *chosen) for pod in owner.pods]
        if pods:
            return pods
        if not drivers and {known.state for known in chosen} <= {WAITING, NOT_STARTED}:
            if self.finished:
                what = f"The task {task} was not" if task else "No task was"
                raise KubeflowError(f"{what} started: the run is {self.state}.")
            raise KubeflowError(f"{f'The task {task}' if task else 'The run'} has not begun.")
        raise KubeflowError(
            "The server does not say which pods these are; ask Kubernetes: kubectl logs "
            f"--namespace {namespace} --selector pipeline/runid={self.run_id} --container main --prefix --tail -1"
        )


def read(answer: Any, link: str) -> Run:
    """Reads a `kfp_server_api.V2beta1Run`, whose page is ``link``."""
    details = (answer.run_details and answer.run_details.task_details) or []
    declared = _declared(answer.pipeline_spec)
    state = str(answer.state or WAITING)
    return Run(
        run_id=answer.run_id,
        name=answer.display_name or "",
        state=state,
        created=answer.created_at.isoformat() if answer.created_at else None,
        seconds=_seconds(answer.created_at, answer.finished_at, state),
        error=_error(answer),
        tasks=tuple(_tasks(details, declared, finished=state in FINISHED)),
        link=link,
        failed_drivers=tuple(_failed_drivers(details, declared)),
    )


def _declared(specification: Any) -> Mapping[str, Any]:
    """The tasks of a compiled pipeline: name -> its part of the specification."""
    document = specification if isinstance(specification, dict) else {}
    document = document.get("pipeline_spec", document)
    return document.get("root", {}).get("dag", {}).get("tasks", {})


def _tasks(details: list[Any], declared: Mapping[str, Any], finished: bool) -> Iterator[Task]:
    by_name = {detail.display_name: detail for detail in details}
    known = _known(details)
    order = TopologicalSorter({name: sorted(declared[name].get("dependentTasks", ())) for name in sorted(declared)})
    for name in order.static_order():
        detail = by_name.get(name)
        state = WAITING if detail is None else str(detail.state or _LEFT_OUT)
        if state == _LEFT_OUT or (state == WAITING and finished):
            yield Task(name, NOT_STARTED)
            continue
        if detail is None:
            yield Task(name, WAITING)
            continue
        yield Task(
            name=name,
            state=state,
            seconds=_seconds(detail.start_time, detail.end_time, state),
            error=_error(detail),
            pods=(detail.pod_name,) if detail.pod_name else tuple(_pods(name, declared[name], known)),
        )


def _failed_drivers(details: list[Any], declared: Mapping[str, Any]) -> Iterator[Task]:
    """Drivers that failed; their pods have names by the same rule as those of tasks."""
    known = _known(details)
    workflow = _workflow(known)
    for detail in details:
        name = detail.display_name or ""
        task = name.removesuffix(_DRIVER)
        if task == name or task not in {"root", *declared} or name in declared or str(detail.state) != FAILED:
            continue
        root = task == "root"
        hashed = fnv1a(f"{workflow}.{name}" if root else f"{workflow}.root.{name}")
        pod = f"{workflow}-system-{'dag' if root else 'container'}-driver-{hashed}"
        yield Task(
            name=name,
            state=FAILED,
            seconds=_seconds(detail.start_time, detail.end_time, FAILED),
            error=_error(detail),
            pods=(pod,) if f"{workflow}-{hashed}" in known else (),
        )


def _known(details: list[Any]) -> set[str]:
    """The ids of the nodes, WORKFLOW-HASH each: the server tells a node's id where it is another one's child."""
    return {child.pod_name for detail in details for child in detail.child_tasks or () if child.pod_name}


def _workflow(known: set[str]) -> str:
    return next(iter(known), "").rpartition("-")[0]


def _pods(name: str, declared: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    """The names of the pods of a task.

    Servers before KFP 3 do not tell them, but the ids of all nodes of the workflow. Argo makes a node's id of a hash of
    its name, and KFP's compiler gives names by a rule, so a name that hashes to one of the ids is right.
    Sources: ``NodeID`` in argo-workflows' pkg/apis/workflow/v1alpha1/workflow_types.go; ``RetrievePodName`` in
    kubeflow/pipelines' backend/src/common/util/workflow.go; backend/src/v2/compiler/argocompiler/container.go there.
    """
    workflow = _workflow(known)
    policy = declared.get("retryPolicy")
    template = "retry-system-container-impl" if policy else "system-container-impl"
    attempts = int(policy.get("maxRetryCount", 0)) + 1 if policy else 0
    executor = f"{workflow}.root.{name}.executor"
    for node in [f"{executor}({attempt})" for attempt in range(attempts)] or [executor]:
        hashed = fnv1a(node)
        if f"{workflow}-{hashed}" in known:
            yield f"{workflow}-{template}-{hashed}"


def fnv1a(text: str) -> int:
    """32-bit FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def _seconds(start: datetime | None, end: datetime | None, state: str) -> float | None:
    """Wall time; the server writes the year 1 or 1970 for what has not happened yet."""
    if start is None or start.year <= 1970:
        return None
    if end is None or end < start:
        return None if state in FINISHED else max(0.0, (datetime.now(UTC) - start).total_seconds())
    return (end - start).total_seconds()


def _error(answer: Any) -> str | None:
    """What the server says of a failure, of the run or task itself or of its last state."""
    history = answer.state_history or []
    for source in (answer, *reversed(history)):
        if source.error is not None and source.error.message:
            return " ".join(source.error.message.split())
    return None

"""What the server of Kubeflow Pipelines says of a run, in the words of the pipeline.

The server tells of every node of the Argo workflow that it made of a pipeline: drivers, executors, attempts. Here they
are put together again as the pipeline's tasks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Any

FINISHED = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
WAITING = "PENDING"


@dataclasses.dataclass(frozen=True)
class Task:
    """One task of a run.

    Attributes:
        name: as in the compiled pipeline.
        state: KFP's word, such as RUNNING; PENDING before it begins.
        seconds: wall time so far, or None before it begins.
        error: what the server says went wrong, if it does.
        pods: the pods of its attempts, the latest last.
    """

    name: str
    state: str
    seconds: float | None = None
    error: str | None = None
    pods: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a pipeline.

    Attributes:
        run_id: the server's id.
        name: the name that a person gave it.
        state: KFP's word, such as SUCCEEDED.
        created: when it was submitted, in ISO 8601.
        seconds: wall time so far.
        error: what the server says went wrong, if it does.
        tasks: in an order in which they can run.
        link: its page in KFP's user interface.
    """

    run_id: str
    name: str
    state: str
    created: str | None
    seconds: float | None
    error: str | None
    tasks: tuple[Task, ...]
    link: str

    @property
    def finished(self) -> bool:
        """Whether nothing will happen any more."""
        return self.state in FINISHED


def read(answer: Any, link: str) -> Run:
    """The server's description of a run.

    Args:
        answer: a `kfp_server_api.V2beta1Run`.
        link: the page of the run.
    """
    details = (answer.run_details and answer.run_details.task_details) or []
    state = str(answer.state or WAITING)
    return Run(
        run_id=answer.run_id,
        name=answer.display_name or "",
        state=state,
        created=answer.created_at.isoformat() if answer.created_at else None,
        seconds=_seconds(answer.created_at, answer.finished_at, state),
        error=_error(answer),
        tasks=tuple(_tasks(details, _declared(answer.pipeline_spec))),
        link=link,
    )


def _declared(specification: Any) -> Mapping[str, Any]:
    """The tasks of a compiled pipeline: name -> its part of the specification."""
    document = specification if isinstance(specification, dict) else {}
    document = document.get("pipeline_spec", document)
    return document.get("root", {}).get("dag", {}).get("tasks", {})


def _tasks(details: list[Any], declared: Mapping[str, Any]) -> Iterator[Task]:
    by_name = {each.display_name: each for each in details}
    known = {child.pod_name for each in details for child in each.child_tasks or () if child.pod_name}
    order = TopologicalSorter({name: sorted(declared[name].get("dependentTasks", ())) for name in sorted(declared)})
    for name in order.static_order():
        detail = by_name.get(name)
        if detail is None:
            yield Task(name, WAITING)
            continue
        state = str(detail.state or WAITING)
        yield Task(
            name=name,
            state=state,
            seconds=_seconds(detail.start_time, detail.end_time, state),
            error=_error(detail),
            pods=(detail.pod_name,) if detail.pod_name else tuple(_pods(name, declared[name], known)),
        )


def _pods(name: str, declared: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    """The names of the pods of a task.

    Servers before KFP 3 do not tell them, but the ids of all nodes of the workflow. Argo makes a node's id of a hash of
    its name, and KFP's compiler gives names by a rule, so a name that hashes to one of the ids is right.
    Sources: ``NodeID`` in argo-workflows' pkg/apis/workflow/v1alpha1/workflow_types.go; ``RetrievePodName`` in
    kubeflow/pipelines' backend/src/common/util/workflow.go; backend/src/v2/compiler/argocompiler/container.go there.

    Args:
        name: of the task.
        declared: its part of the compiled pipeline.
        known: the ids of the nodes, WORKFLOW-HASH each.
    """
    workflow = next(iter(known), "").rpartition("-")[0]
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

"""The artifacts that executions made or reused, as plain values. Imports neither TensorFlow nor TFX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

RUN = "pipeline_run"


@dataclasses.dataclass(frozen=True)
class Output:
    """An artifact that an execution made, or reused.

    Attributes:
        uri: where its content is.
        properties: its properties and custom properties, by name.
    """

    uri: str
    properties: dict[str, int | float | str]
    artifact_id: int


def outputs(store: ml_metadata.MetadataStore, execution_ids: Sequence[int]) -> dict[int, dict[str, Output]]:
    """The artifacts of executions: execution id -> output key -> artifact. Of a cached execution, those it reused."""
    events = [
        event
        for event in store.get_events_by_execution_ids(execution_ids)
        if event.type in (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.INTERNAL_OUTPUT)
    ]
    artifacts = {
        artifact.id: Output(artifact.uri, values(artifact.properties) | values(artifact.custom_properties), artifact.id)
        for artifact in store.get_artifacts_by_id([event.artifact_id for event in events])
    }
    made: dict[int, dict[str, Output]] = {}
    for event in events:
        made.setdefault(event.execution_id, {})[key_of(event)] = artifacts[event.artifact_id]
    return made


def maker(store: ml_metadata.MetadataStore, artifact_id: int) -> str | None:
    """The run that made an artifact; those that took it from the cache are said to have made it too, later."""
    events = store.get_events_by_artifact_ids([artifact_id])
    makers = [event.execution_id for event in events if event.type == metadata_store_pb2.Event.OUTPUT]
    contexts = store.get_contexts_by_execution(min(makers)) if makers else []
    return next((context.name for context in contexts if context.type == RUN), None)


def key_of(event: metadata_store_pb2.Event) -> str:
    """The key of the input or output that an event tells of, such as ``model``."""
    return next((step.key for step in event.path.steps if step.WhichOneof("value") == "key"), "")


def event_of(key: str, kind: metadata_store_pb2.Event.Type.ValueType, **ids: int) -> metadata_store_pb2.Event:
    """An event by which an execution takes or makes an artifact under a key, as TFX writes it."""
    steps = [metadata_store_pb2.Event.Path.Step(key=key), metadata_store_pb2.Event.Path.Step(index=0)]
    return metadata_store_pb2.Event(type=kind, path=metadata_store_pb2.Event.Path(steps=steps), **ids)


def executions_in(store: ml_metadata.MetadataStore, run_id: str) -> list[metadata_store_pb2.Execution]:
    """The executions of a run, in the order of their ids; empty if there is no such run."""
    context = store.get_context_by_type_and_name(RUN, run_id)
    executions = [] if context is None else store.get_executions_by_context(context.id)
    return sorted(executions, key=lambda execution: execution.id)


def executions_of_run(store: ml_metadata.MetadataStore, run_id: str) -> dict[str, metadata_store_pb2.Execution]:
    """The executions of a run by node id; empty if there is no such run."""
    executions = {}
    for execution in executions_in(store, run_id):
        contexts = [context for context in store.get_contexts_by_execution(execution.id) if context.type == "node"]
        # TFX names the context PIPELINE.NODE; another program may have recorded none.
        node_id = contexts[0].name.rpartition(".")[2] if contexts else f"execution {execution.id}"
        executions[node_id] = execution
    return executions


def outputs_of_run(store: ml_metadata.MetadataStore, run_id: str) -> dict[str, dict[str, Output]]:
    """The artifacts that a run made or reused: node id -> output key -> artifact."""
    executions = executions_of_run(store, run_id)
    made = outputs(store, [execution.id for execution in executions.values()])
    return {node_id: made.get(execution.id, {}) for node_id, execution in executions.items()}


def values(properties: Mapping[str, metadata_store_pb2.Value]) -> dict[str, int | float | str]:
    """ML Metadata's properties as plain values."""
    return {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in properties.items()
        if value.WhichOneof("value") in ("int_value", "double_value", "string_value")
    }


def latest(store: ml_metadata.MetadataStore, node_id: str, key: str) -> Output | None:
    """The newest artifact that a node made under an output key, or None if no run got that far."""
    names = [context for context in store.get_contexts_by_type("node") if context.name.endswith(f".{node_id}")]
    executions = [execution for name in names for execution in store.get_executions_by_context(name.id)]
    for execution in sorted(executions, key=lambda execution: execution.id, reverse=True):
        made = outputs(store, [execution.id]).get(execution.id, {})
        if key in made:
            return made[key]
    return None

"""Executions and artifacts in a real metadata store, in the shape that TFX gives them."""

from collections.abc import Mapping
from typing import Any

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from ledger.outputs import event_of
from ledger.recorder import RUN

COMPLETE = metadata_store_pb2.Execution.COMPLETE
CACHED = metadata_store_pb2.Execution.CACHED
Event = metadata_store_pb2.Event


class Executions:
    """Writes executions of a pipeline into a store."""

    def __init__(self, store: ml_metadata.MetadataStore, pipeline: str = "a-pipeline") -> None:
        self._store, self._pipeline = store, pipeline

    def artifact(self, type_name: str, uri: str = "", **properties: str | int) -> int:
        """An artifact that no execution made yet."""
        # As TFX defines them.
        base = metadata_store_pb2.ArtifactType.MODEL if type_name in ("Model", "PushedModel") else None
        made = metadata_store_pb2.ArtifactType(name=type_name, base_type=base)
        type_id = self._store.put_artifact_type(made, can_add_fields=True, can_omit_fields=True)
        artifact = metadata_store_pb2.Artifact(type_id=type_id, uri=uri or f"/artifacts/{type_name}")
        _fill(artifact.custom_properties, properties)
        (artifact_id,) = self._store.put_artifacts([artifact])
        return artifact_id

    def execute(
        self,
        run_id: str,
        node: str,
        inputs: Mapping[str, int],
        outputs: Mapping[str, int],
        state: Any = COMPLETE,
        internal: bool = False,
        **properties: str | int,
    ) -> int:
        """An execution of a node in a run, with artifacts by key."""
        made = metadata_store_pb2.ExecutionType(name=node if "." in node else f"tfx.components.{node.lower()}.{node}")
        type_id = self._store.put_execution_type(made, can_add_fields=True, can_omit_fields=True)
        execution = metadata_store_pb2.Execution(type_id=type_id, last_known_state=state)
        _fill(execution.custom_properties, properties)
        pairs = []
        for artifacts, kind in ((inputs, Event.INPUT), (outputs, Event.INTERNAL_OUTPUT if internal else Event.OUTPUT)):
            for key, artifact_id in artifacts.items():
                event = event_of(key, kind, artifact_id=artifact_id)
                pairs.append((self._store.get_artifacts_by_id([artifact_id])[0], event))
        names = {"pipeline": self._pipeline, RUN: run_id, "node": f"{self._pipeline}.{node}"}
        contexts = [self._context(kind, name) for kind, name in names.items()]
        execution_id, _, _ = self._store.put_execution(execution, pairs, contexts)
        return execution_id

    def _context(self, type_name: str, name: str) -> metadata_store_pb2.Context:
        kind = metadata_store_pb2.ContextType(name=type_name)
        type_id = self._store.put_context_type(kind, can_add_fields=True, can_omit_fields=True)
        known = self._store.get_context_by_type_and_name(type_name, name)
        return known or metadata_store_pb2.Context(type_id=type_id, name=name)


def _fill(properties: Any, given: Mapping[str, str | int]) -> None:
    for name, value in given.items():
        setattr(properties[name], "int_value" if isinstance(value, int) else "string_value", value)

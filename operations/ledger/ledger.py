"""What ML Metadata knows about runs. Reads the store directly, without TensorFlow or TFX."""

from __future__ import annotations

import json
from pathlib import Path

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from pipeline import store
from pipeline.store import Output, values


class LedgerError(ValueError):
    """The metadata store cannot answer; the text says why."""


class Ledger:
    """Questions about the runs in a metadata store."""

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig) -> None:
        """Opens a store.

        Args:
            connection: from `pipeline.store.connection`.

        Raises:
            LedgerError: there is none, or it cannot be reached.
        """
        readonly = metadata_store_pb2.ConnectionConfig()
        readonly.CopyFrom(connection)
        if connection.HasField("sqlite"):
            if not Path(connection.sqlite.filename_uri).is_file():
                raise LedgerError(
                    f"There is no metadata store at {connection.sqlite.filename_uri} yet: run the pipeline first."
                )
            readonly.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
        try:
            self._store = ml_metadata.MetadataStore(readonly)
        except ml_metadata.errors.StatusError as error:
            raise LedgerError(f"The metadata store cannot be read: {error}") from error

    def outputs(self, run_id: str) -> dict[str, dict[str, Output]]:
        """The artifacts that a run made or reused: node id -> output key -> artifact.

        Raises:
            LedgerError: there is no such run.
        """
        self._require(run_id)
        return store.outputs_of_run(self._store, run_id)

    def states(self, run_id: str) -> dict[str, metadata_store_pb2.Execution.State.ValueType]:
        """How each node of a run ended: node id -> state of its execution.

        Raises:
            LedgerError: there is no such run.
        """
        self._require(run_id)
        return {node: each.last_known_state for node, each in store.executions_of_run(self._store, run_id).items()}

    def _require(self, run_id: str) -> None:
        if self._store.get_context_by_type_and_name("pipeline_run", run_id) is None:
            raise LedgerError(f"The metadata store has no run {run_id}.")

    def trained_on(self, model_id: int) -> list[int]:
        """The spans that a model learned from, oldest first; empty if the store does not tell.

        Args:
            model_id: of a Model artifact.
        """
        training = self._maker(model_id)
        events = [] if training is None else self._store.get_events_by_execution_ids([training])
        for event in events:
            keys = [step.key for step in event.path.steps if step.WhichOneof("value") == "key"]
            if event.type == metadata_store_pb2.Event.INPUT and "examples" in keys:
                (examples,) = self._store.get_artifacts_by_id([event.artifact_id])
                spans = sorted(json.loads(str(values(examples.custom_properties).get("spans", "[]"))))
                ingestion = self._maker(examples.id)
                if ingestion is None:
                    return []
                (execution,) = self._store.get_executions_by_id([ingestion])
                held_out = int(values(execution.custom_properties).get("eval_spans", 0))
                return spans[:-held_out] if held_out else spans
        return []

    def _maker(self, artifact_id: int) -> int | None:
        """The execution that made an artifact."""
        events = self._store.get_events_by_artifact_ids([artifact_id])
        return next((event.execution_id for event in events if event.type == metadata_store_pb2.Event.OUTPUT), None)

    def has_blessed_model(self) -> bool:
        """Whether any run has blessed a model."""
        types = {each.name for each in self._store.get_artifact_types()}
        return "ModelBlessing" in types and any(
            values(each.custom_properties).get("blessed") == 1
            for each in self._store.get_artifacts_by_type("ModelBlessing")
        )

    def latest(self, node_id: str, key: str) -> Output | None:
        """The newest artifact that a node made under an output key, or None if no run got that far."""
        names = [each for each in self._store.get_contexts_by_type("node") if each.name.endswith(f".{node_id}")]
        executions = [each for name in names for each in self._store.get_executions_by_context(name.id)]
        for execution in sorted(executions, key=lambda each: each.id, reverse=True):
            made = store.outputs(self._store, [execution.id]).get(execution.id, {})
            if key in made:
                return made[key]
        return None

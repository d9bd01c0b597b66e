"""What ML Metadata knows about runs. Reads the store directly, without TensorFlow or TFX."""

from __future__ import annotations

from ml_metadata.proto import metadata_store_pb2

from operations.ledger.opening import LedgerError, open_readonly
from pipeline import store
from pipeline.store import Output, values


class Ledger:
    """Questions about the runs in a metadata store."""

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig) -> None:
        """Opens a store.

        Args:
            connection: from `pipeline.store.connection`.

        Raises:
            LedgerError: there is none, or it cannot be reached.
        """
        self._store = open_readonly(connection)

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

"""Documents in ML Metadata that are named and kept once, as executions below the models that they are about.

A name is unique among all that have the same kind. So whoever was killed and does the same again, or does it beside
another process, keeps it once.
"""

from __future__ import annotations

import contextlib
from typing import TypeVar

import ml_metadata
from ml_metadata.proto import metadata_store_pb2
from pydantic import BaseModel

from ledger.outputs import event_of, values
from ledger.recorder import Recorder, read_document

_DOCUMENT = "document"

_Kept = TypeVar("_Kept", bound=BaseModel)


class Executions:
    """The named documents of one pipeline in an open store."""

    def __init__(self, store: ml_metadata.MetadataStore, pipeline: str) -> None:
        self._store, self._pipeline = store, pipeline

    def keep(self, kind: str, name: str, content: BaseModel, model_id: int | None = None, once: bool = False) -> bool:
        """Keeps a document in an execution of the type `kind`, below the Model artifact that it is about, if any.

        With `once`, one that has this name already stays as it is; it is replaced otherwise.

        Returns:
            Whether it was kept: false if there was one already and `once` is true, or another process was faster.
        """
        name = f"{self._pipeline}/{name}"
        known = self._find(kind, name)
        if known and once:
            return False
        execution = metadata_store_pb2.Execution(
            type_id=self._store.put_execution_type(metadata_store_pb2.ExecutionType(name=kind)),
            name=name,
            last_known_state=metadata_store_pb2.Execution.COMPLETE,
        )
        if known:
            execution.id = known.id
        digest = Recorder(self._store).put_document(content.model_dump(mode="json"))
        execution.custom_properties[_DOCUMENT].string_value = digest
        execution.custom_properties["pipeline"].string_value = self._pipeline
        try:
            (execution_id,) = self._store.put_executions([execution])
        except ml_metadata.errors.AlreadyExistsError:
            return False
        if model_id is not None and not known:
            taken = metadata_store_pb2.Event.INPUT
            event = event_of("model", taken, execution_id=execution_id, artifact_id=model_id)
            with contextlib.suppress(ml_metadata.errors.AlreadyExistsError):
                self._store.put_events([event])
        return True

    def get(self, kind: str, name: str, model: type[_Kept]) -> _Kept | None:
        """One document by its name; None if there is none."""
        execution = self._find(kind, f"{self._pipeline}/{name}")
        return None if execution is None else self._read(execution, model)

    def all(self, kind: str, model: type[_Kept]) -> list[_Kept]:
        """All documents of a kind, in the order in which they were first kept."""
        try:
            executions = self._store.get_executions_by_type(kind)
        except ml_metadata.errors.NotFoundError:
            return []
        return [
            self._read(execution, model)
            for execution in sorted(executions, key=lambda execution: execution.id)
            if values(execution.custom_properties).get("pipeline") == self._pipeline
        ]

    def _read(self, execution: metadata_store_pb2.Execution, model: type[_Kept]) -> _Kept:
        digest = str(values(execution.custom_properties)[_DOCUMENT])
        return model.model_validate(read_document(self._store, digest))

    def _find(self, kind: str, name: str) -> metadata_store_pb2.Execution | None:
        with contextlib.suppress(ml_metadata.errors.NotFoundError):
            return self._store.get_execution_by_type_and_name(kind, name)
        return None

"""Windows and decisions in ML Metadata, so that they lie beside the models that they are about."""

from __future__ import annotations

import contextlib
from typing import TypeVar

import ml_metadata
from ml_metadata.proto import metadata_store_pb2
from pydantic import BaseModel

from operations.monitoring.policy import Decision
from operations.monitoring.signals import Window
from pipeline.recorder import Recorder, read_document
from pipeline.store import values

MONITOR = "flightdeck.Monitor"
DECISION = "flightdeck.Decision"
_DOCUMENT = "document"

_Kept = TypeVar("_Kept", bound=BaseModel)


class Book:
    """What was seen of the served models of one pipeline, and what was decided."""

    def __init__(self, store: ml_metadata.MetadataStore, pipeline: str) -> None:
        """Works on an open store.

        Args:
            store: from `pipeline.recorder.open_store`.
            pipeline: the name of the pipeline.
        """
        self._store, self._pipeline = store, pipeline

    def keep_window(self, window: Window, model_id: int | None = None) -> None:
        """Keeps what was seen in a window; what is known of the same window and version is replaced.

        Args:
            window: what was seen.
            model_id: of the served Model, whose descendant this then is.
        """
        self._keep(MONITOR, f"{window.name}/{window.version}", window, model_id)

    def keep_decision(self, decision: Decision) -> bool:
        """Keeps a decision, unless there is one about the same window and version.

        Returns:
            Whether it is new. So that a loop that was killed and starts again decides once.
        """
        return self._keep(DECISION, f"{decision.window}/{decision.version}", decision, None, once=True)

    def windows(self) -> list[Window]:
        """All windows, by their end."""
        return sorted(self._all(MONITOR, Window), key=lambda each: (each.end, each.version))

    def decisions(self) -> list[Decision]:
        """All decisions, by their time."""
        return sorted(self._all(DECISION, Decision), key=lambda each: each.when)

    def _keep(self, kind: str, name: str, content: BaseModel, model_id: int | None, once: bool = False) -> bool:
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
            # Another process was faster, with the same window.
            return False
        if model_id is not None and not known:
            event = metadata_store_pb2.Event(
                execution_id=execution_id, artifact_id=model_id, type=metadata_store_pb2.Event.INPUT
            )
            event.path.steps.add().key = "model"
            event.path.steps.add().index = 0
            with contextlib.suppress(ml_metadata.errors.AlreadyExistsError):
                self._store.put_events([event])
        return True

    def _find(self, kind: str, name: str) -> metadata_store_pb2.Execution | None:
        with contextlib.suppress(ml_metadata.errors.NotFoundError):
            return self._store.get_execution_by_type_and_name(kind, name)
        return None

    def _all(self, kind: str, model: type[_Kept]) -> list[_Kept]:
        try:
            found = self._store.get_executions_by_type(kind)
        except ml_metadata.errors.NotFoundError:
            return []
        kept = []
        for each in found:
            known = values(each.custom_properties)
            if known.get("pipeline") == self._pipeline:
                kept.append(model.model_validate(read_document(self._store, str(known[_DOCUMENT]))))
        return kept

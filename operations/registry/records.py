"""What ML Metadata knows about models and their pushes, and how changes by the registry are recorded there.

A change is an execution like those of TFX: its inputs and outputs are artifacts, so that whoever walks
the lineage of a model comes across it. Imports neither TensorFlow nor TFX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ml_metadata
from ml_metadata.proto import metadata_store_pb2 as mlmd

import storage
from ledger.opening import open_writable
from ledger.outputs import event_of, outputs_of_run, values
from ledger.recorder import Recorder, RecordError, user
from ledger.runs import Runs
from operations.registry.settings import Settings
from operations.registry.version import Origin, Version
from pipeline import store

ROLLBACK, PROMOTE, PREDICT = "flightdeck.Rollback", "flightdeck.Promote", "flightdeck.Predict"
PREDICTIONS = "flightdeck.Predictions"
_ORIGINS: dict[str, Origin] = {ROLLBACK: "rollback", PROMOTE: "promote"}
_PUSHED, _VERSION, _DESTINATION = "pushed", "pushed_version", "pushed_destination"


@dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
        uri: of its Model artifact; the SavedModel is in its `Format-Serving`.
        blessed: whether an Evaluator ever blessed it. A blessing is never taken back.
        infra: what InfraValidator said last; None if it was not asked.
        run_id: the run that trained it.
    """

    model_id: int
    uri: str
    blessed: bool
    infra: bool | None
    run_id: str | None

    @property
    def saved_model(self) -> Path:
        """The folder of the SavedModel."""
        return storage.at(self.uri) / "Format-Serving"


@dataclass(frozen=True)
class Push:
    """The record of a version: whether it was completed, and which version was served before; with its folder then."""

    version: Version
    execution_id: int
    finished: bool
    replaced: int | None


class Records:
    """The metadata store, from the registry's point of view: one pipeline of it."""

    def __init__(self, settings: Settings) -> None:
        """Opens the store; raises LedgerError if there is none, or it cannot be reached."""
        self._store = open_writable(store.connection(settings))
        self._pipeline = settings.use_case.name
        self._types = {kind.name for kind in self._store.get_artifact_types()}

    def models(self) -> dict[int, Model]:
        """All trained models by id, oldest first."""
        artifacts = {artifact.id: artifact for artifact in self._artifacts("Model")}
        blessed, infra, makers = set(self.blessings()), self._infra(), self._makers(list(artifacts))
        runs = self._runs(set(makers.values()))
        return {
            model_id: Model(
                model_id, artifact.uri, model_id in blessed, infra.get(model_id), runs.get(makers.get(model_id, 0))
            )
            for model_id, artifact in sorted(artifacts.items())
            if artifact.state in (mlmd.Artifact.LIVE, mlmd.Artifact.UNKNOWN)
        }

    def trained(self, name: str) -> tuple[str, set[int]]:
        """The run that a name means, and the artifacts of its Trainer, also of one that came from the cache.

        Raises LedgerError if there is no such run, or several.
        """
        run_id = Runs(self._store).find(name).run_id
        made = outputs_of_run(self._store, run_id).get("Trainer", {})
        return run_id, {output.artifact_id for output in made.values()}

    def metrics(self, run_id: str | None) -> dict[str, float]:
        """The metrics of a run's evaluation by name; empty if the run is unknown or was not evaluated."""
        try:
            return {} if run_id is None else Recorder(self._store).read(run_id).metrics
        except RecordError:
            return {}

    def blessings(self) -> list[int]:
        """The ids of the models that were blessed, in the order of the blessings; the last one is the champion."""
        blessings = [values(artifact.custom_properties) for artifact in self._artifacts("ModelBlessing")]
        return [int(blessing["current_model_id"]) for blessing in blessings if blessing.get("blessed") == 1]

    def pushes(self) -> list[Push]:
        """All records of versions, oldest first, whoever made them; also of unfinished changes."""
        artifacts = self._artifacts("PushedModel")
        makers = self._makers([artifact.id for artifact in artifacts])
        executions = {maker.id: maker for maker in self._store.get_executions_by_id(sorted(set(makers.values())))}
        inputs = self._inputs(list(executions), "model")
        models, runs = self.models(), self._runs(set(executions))
        pushes = []
        for artifact in artifacts:
            execution = executions.get(makers.get(artifact.id, 0))
            pushed: dict[str, Any] = values(artifact.custom_properties)
            gone = artifact.state in (mlmd.Artifact.ABANDONED, mlmd.Artifact.DELETED)
            if execution is None or gone or not pushed.get(_VERSION):
                continue
            notes: dict[str, Any] = values(execution.properties) | values(execution.custom_properties)
            model = models.get(inputs.get(execution.id, 0))
            version = Version(
                number=int(pushed[_VERSION]),
                folder=storage.at(pushed.get(_DESTINATION, "")),
                model_id=inputs.get(execution.id),
                run_id=runs.get(execution.id) or (model.run_id if model else None),
                blessed=model is not None and model.blessed,
                origin=_ORIGINS.get(execution.type, "run"),
                pushed_at=datetime.fromtimestamp(artifact.create_time_since_epoch / 1000, UTC),
                who=notes.get("who"),
                reason=notes.get("reason") or None,
                restores=notes.get("restored_version"),
                artifact_id=artifact.id,
            )
            finished = artifact.state != mlmd.Artifact.PENDING
            pushes.append(Push(version, execution.id, finished, notes.get("from_version")))
        return pushes

    def begin(
        self, change: str, model_id: int | None, number: int, folder: Path, notes: Mapping[str, int | str]
    ) -> int:
        """Records that the registry is about to make a version, by ROLLBACK or PROMOTE; returns the execution's id.

        Before, and not afterwards: a process that is killed in between then leaves no version without a record.
        """
        kind = mlmd.ArtifactType(name="PushedModel", base_type=mlmd.ArtifactType.MODEL)  # as TFX defines it
        pushed = mlmd.Artifact(
            type_id=self._store.put_artifact_type(kind), uri=str(folder), state=mlmd.Artifact.PENDING
        )
        pushed.custom_properties[_PUSHED].int_value = 1
        pushed.custom_properties[_VERSION].string_value = str(number)
        pushed.custom_properties[_DESTINATION].string_value = str(folder)
        inputs = [] if model_id is None else [("model", model_id)]
        execution_id, _ = self._record(change, notes, inputs, ("pushed_model", pushed), mlmd.Execution.RUNNING)
        return execution_id

    def finish(self, execution_id: int, succeeded: bool) -> None:
        """Records how that ended."""
        (execution,) = self._store.get_executions_by_id([execution_id])
        events = self._store.get_events_by_execution_ids([execution_id])
        made = [event.artifact_id for event in events if event.type == mlmd.Event.OUTPUT]
        (artifact,) = self._store.get_artifacts_by_id(made)
        execution.last_known_state = mlmd.Execution.COMPLETE if succeeded else mlmd.Execution.FAILED
        artifact.state = mlmd.Artifact.LIVE if succeeded else mlmd.Artifact.ABANDONED
        self._store.put_execution(execution, [(artifact, None)], [])

    def predicted(self, inputs: Sequence[tuple[str, int]], output: Path, notes: Mapping[str, int | str]) -> int:
        """Records that a model answered into a file of predictions; returns the id of its artifact.

        The inputs are pairs of a key and the id of an artifact: the model, the pushed version and what they were given.
        To the notes, who and when are added.
        """
        kind = mlmd.ArtifactType(name=PREDICTIONS, properties={"rows": mlmd.INT, "model_version": mlmd.INT})
        predictions = mlmd.Artifact(
            type_id=self._store.put_artifact_type(kind, can_add_fields=True),
            uri=str(output),
            state=mlmd.Artifact.LIVE,
        )
        for name in ("rows", "model_version"):
            predictions.properties[name].int_value = int(notes[name])
        _, artifact_id = self._record(PREDICT, notes, inputs, ("predictions", predictions), mlmd.Execution.COMPLETE)
        return artifact_id

    def _record(
        self,
        change: str,
        notes: Mapping[str, int | str],
        inputs: Sequence[tuple[str, int]],
        output: tuple[str, mlmd.Artifact],
        state: mlmd.Execution.State.ValueType,
    ) -> tuple[int, int]:
        """Records an execution and its one output; returns their ids."""
        properties = {**notes, "who": user() or "unknown", "when": datetime.now(UTC).isoformat(timespec="seconds")}
        kind = mlmd.ExecutionType(
            name=change,
            properties={
                name: mlmd.INT if isinstance(value, int) else mlmd.STRING for name, value in properties.items()
            },
        )
        execution = mlmd.Execution(
            type_id=self._store.put_execution_type(kind, can_add_fields=True, can_omit_fields=True),
            last_known_state=state,
        )
        for name, value in properties.items():
            setattr(execution.properties[name], "int_value" if isinstance(value, int) else "string_value", value)
        given = self._store.get_artifacts_by_id([artifact_id for _, artifact_id in inputs])
        given = {artifact.id: artifact for artifact in given}
        context = self._store.get_context_by_type_and_name("pipeline", self._pipeline)
        execution_id, artifact_ids, _ = self._store.put_execution(
            execution,
            [
                *((given[artifact_id], event_of(key, mlmd.Event.INPUT)) for key, artifact_id in inputs),
                (output[1], event_of(output[0], mlmd.Event.OUTPUT)),
            ],
            [] if context is None else [context],
        )
        return execution_id, artifact_ids[-1]

    def _artifacts(self, kind: str) -> list[mlmd.Artifact]:
        """The artifacts of a type that belong to this pipeline, oldest first."""
        if kind not in self._types:
            return []
        query = f"type = '{kind}' AND contexts_p.type = 'pipeline' AND contexts_p.name = '{self._pipeline}'"
        artifacts = self._store.get_artifacts(list_options=ml_metadata.ListOptions(filter_query=query))
        return sorted(artifacts, key=lambda artifact: artifact.id)

    def _makers(self, artifact_ids: Sequence[int]) -> dict[int, int]:
        """The execution that made each artifact; a later one that reused it (cache) did not."""
        makers: dict[int, int] = {}
        for event in self._store.get_events_by_artifact_ids(artifact_ids) if artifact_ids else ():
            if event.type in (mlmd.Event.OUTPUT, mlmd.Event.PENDING_OUTPUT):
                made_by = int(event.execution_id or 0)
                artifact_id = int(event.artifact_id or 0)
                makers[artifact_id] = min(makers.get(artifact_id, made_by), made_by)
        return makers

    def _inputs(self, execution_ids: Sequence[int], key: str) -> dict[int, int]:
        """The artifact that each execution was given under a key."""
        events = self._store.get_events_by_execution_ids(execution_ids) if execution_ids else ()
        return {
            event.execution_id: event.artifact_id
            for event in events
            if event.type == mlmd.Event.INPUT and any(step.key == key for step in event.path.steps)
        }

    def _infra(self) -> dict[int, bool]:
        """The last verdict of InfraValidator about each model."""
        verdicts = self._artifacts("InfraBlessing")
        makers = self._makers([verdict.id for verdict in verdicts])
        models = self._inputs(sorted(set(makers.values())), "model")
        return {
            models[makers[verdict.id]]: values(verdict.custom_properties).get("blessed") == 1
            for verdict in verdicts
            if makers.get(verdict.id) in models
        }

    def _runs(self, execution_ids: set[int]) -> dict[int, str]:
        """The run of each execution that belongs to one."""
        return {
            execution_id: context.name
            for execution_id in execution_ids
            for context in self._store.get_contexts_by_execution(execution_id)
            if context.type == "pipeline_run"
        }

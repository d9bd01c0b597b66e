"""What a run left behind, for its page. Whatever is not there is replaced by a sentence that says why.

The records and artifacts are read directly, without TensorFlow or TFX; so are those of other TFX pipelines.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, TypeVar

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

import storage
from errors import FlightdeckError
from ledger import scores
from ledger.fairness import FAIRNESS
from ledger.formats import count
from ledger.outputs import Output, executions_of_run, outputs
from ledger.recorder import read_document
from ledger.run_facts import is_ours, shown_outcome
from ledger.run_record import RunRecord
from ledger.run_view import ANOMALIES, SLICES, Anomaly, RunView, SliceMetrics, min_slice_rows
from operations.report import curves, statistics
from operations.report.evaluation import assessors
from operations.report.evaluation.assessor import Assessment, Assessor

_Part = TypeVar("_Part")
# Node -> key -> the artifact that the node made.
_Produced = dict[str, dict[str, Output]]
_Executions = dict[str, metadata_store_pb2.Execution]
_STATISTICS = "FeatureStats.pb"
# How many batch predictions are looked at for what a model was asked.
_PREDICTIONS = 50
_STATES = {
    metadata_store_pb2.Execution.COMPLETE: "done",
    metadata_store_pb2.Execution.CACHED: "cached",
    metadata_store_pb2.Execution.FAILED: "failed",
    metadata_store_pb2.Execution.CANCELED: "skipped",
    metadata_store_pb2.Execution.RUNNING: "running",
}


@dataclasses.dataclass(frozen=True)
class Node:
    """A node of a run.

    Attributes:
        state: done, cached, skipped, failed, running, or ``not run``.
        after: the nodes that it waits for.
        seconds: wall time, None if unknown.
    """

    node_id: str
    type: str
    after: tuple[str, ...]
    state: str = "not run"
    seconds: float | None = None
    peak_mb: float | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Everything that the page of a run can show.

    Attributes:
        view: of the run, with its slices and anomalies.
        nodes: of the pipeline, upstream ones first.
        splits: name -> statistics: ``train``, ``eval`` and ``serving``, those that are known.
        serving_source: where the statistics of serving are from.
        assessor: of what is predicted.
        assessment: how good the model is, by the scores of single rows.
        importance: the content of ``importance.json``.
        mistakes: that of ``mistakes.json``.
        files: those that were ingested.
        predictions: batch predictions that this run's model answered, newest first.
        missing: section of the page -> why it is not there.
    """

    view: RunView
    outcome: str
    nodes: list[Node]
    splits: dict[str, statistics.Statistics]
    serving_source: str | None
    curves: list[curves.Curve]
    assessor: Assessor
    assessment: Assessment | None
    importance: Any
    mistakes: Any
    files: list[dict[str, Any]]
    predictions: tuple[str, ...]
    missing: dict[str, str]

    @property
    def record(self) -> RunRecord:
        """Of the run."""
        return self.view.record


class EvidenceReader:
    """Gathers the evidence of runs from one open store.

    `records` are of all its runs; `payloads` is the folder in which a server logs what it was asked, as Parquet.
    """

    def __init__(self, store: ml_metadata.MetadataStore, records: Sequence[RunRecord], payloads: Path | None):
        self._store = store
        self._records = records
        self._payloads = payloads

    def evidence(self, record: RunRecord) -> Evidence:
        """Everything that is left of a run."""
        missing: dict[str, str] = {}
        executions = executions_of_run(self._store, record.run_id)
        produced = self._produced(executions)
        settings = self._document(record, "settings") or {}
        splits, source = self._splits(record, produced, missing)
        assessor = assessors.of(_target(produced))
        slices, anomalies = self._slices(record, missing), self._anomalies(record, produced, missing)
        fairness = FAIRNESS.validate_python(self._document(record, "fairness") or ())
        return Evidence(
            view=RunView(record, slices, anomalies, min_slice_rows(settings), fairness),
            outcome=shown_outcome(record),
            nodes=list(self._nodes(record, executions)),
            splits=splits,
            serving_source=source,
            curves=self._curves(produced, missing),
            assessor=assessor,
            assessment=_assessment(record, assessor, produced, settings, missing),
            importance=_importance(produced, missing),
            mistakes=_mistakes(produced, missing),
            files=self._document(record, "files") or [],
            predictions=tuple(run for run, used, _ in self._predictions if record.model_id in used),
            missing=missing,
        )

    def _produced(self, executions: _Executions) -> _Produced:
        made = outputs(self._store, [execution.id for execution in executions.values()])
        return {node: made.get(execution.id, {}) for node, execution in executions.items()}

    def _nodes(self, record: RunRecord, executions: _Executions) -> Iterator[Node]:
        recorded = {node.node_id: node for node in record.nodes}
        graph = self._document(record, "graph") or []
        types = {node_id: execution.type for node_id, execution in executions.items()}
        types |= {node["node"]: node["type"] for node in graph}
        waits = self._events(executions) | {node["node"]: set(node["after"]) for node in graph}
        waits = {**dict.fromkeys([*waits, *recorded], frozenset()), **waits}
        for node_id in _upstream_first(waits):
            after = tuple(sorted(waits.get(node_id, ())))
            node = Node(node_id, types.get(node_id, "").rpartition(".")[2], after)
            if known := recorded.get(node_id):
                node = dataclasses.replace(
                    node, state=known.state, seconds=known.seconds, peak_mb=known.peak_mb, error=known.error
                )
            elif execution := executions.get(node_id):
                milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
                state = _STATES.get(execution.last_known_state, "unknown")
                node = dataclasses.replace(node, state=state, seconds=milliseconds / 1000)
            yield node

    def _events(self, executions: _Executions) -> dict[str, set[str]]:
        """Which nodes took what which others made: node -> nodes upstream."""
        nodes = {execution.id: node for node, execution in executions.items()}
        events = self._store.get_events_by_execution_ids(list(nodes)) if nodes else []
        makers = {
            event.artifact_id: nodes[event.execution_id]
            for event in events
            if event.type == metadata_store_pb2.Event.OUTPUT
        }
        waits: dict[str, set[str]] = {node: set() for node in nodes.values()}
        for event in events:
            node = nodes[event.execution_id]
            if event.type == metadata_store_pb2.Event.INPUT and makers.get(event.artifact_id, node) != node:
                waits[node].add(makers[event.artifact_id])
        return waits

    def _splits(
        self, record: RunRecord, produced: _Produced, missing: dict[str, str]
    ) -> tuple[dict[str, statistics.Statistics], str | None]:
        """The statistics of the splits and of serving, and where those of serving are from."""
        folder = _artifact(produced, _STATISTICS)
        if folder is None:
            missing["data"] = _absent(produced, "statistics of the data", "StatisticsGen")
            return {}, None
        splits: dict[str, statistics.Statistics] = {}
        for file in sorted(folder.rglob(_STATISTICS), key=lambda file: file.parent.name != "Split-train"):
            if split := _attempt(functools.partial(statistics.read, file), missing, "data"):
                splits[file.parent.name.removeprefix("Split-")] = split
        if "train" not in splits:
            return splits, None
        serving, source = self._serving(record, splits["train"], missing)
        return splits if serving is None else {**splits, "serving": serving}, source

    def _serving(
        self, record: RunRecord, like: statistics.Statistics, missing: dict[str, str]
    ) -> tuple[statistics.Statistics | None, str | None]:
        """What the run's model was asked: by a server's log, or else by the newest batch prediction with it."""
        if self._payloads is not None and record.version is not None and self._payloads.is_dir():
            names = (name for name in storage.files_below(self._payloads) if name.endswith(".parquet"))
            files = [file for name in names if not (file := self._payloads / name).name.startswith(".")]
            served = _attempt(
                functools.partial(statistics.served, files, str(record.version), like), missing, "serving"
            )
            if served is not None:
                return served, f"{count(served.rows, 'row')} that a server logged"
        for prediction, models, folder in self._predictions:
            if record.model_id in models:
                file = min(folder.rglob(_STATISTICS))
                asked = _attempt(functools.partial(statistics.read, file), missing, "serving")
                if asked is not None:
                    return asked, f"{count(asked.rows, 'row')} of the batch prediction {prediction}"
        missing.setdefault("serving", "Nobody has asked this run's model anything yet, as far as is recorded.")
        return None, None

    @functools.cached_property
    def _predictions(self) -> list[tuple[str, set[int], Path]]:
        """The newest batch predictions: run, ids of the artifacts it used and made, statistics of what was asked."""
        predictions = []
        for record in reversed(self._records):
            if is_ours(record) and record.kind != "prediction":
                continue
            executions = executions_of_run(self._store, record.run_id)
            if "BulkInferrer" not in executions:
                continue
            produced = self._produced(executions)
            folder = _artifact(produced, _STATISTICS)
            if folder is not None:
                used = {artifact.artifact_id for artifacts in produced.values() for artifact in artifacts.values()}
                predictions.append((record.run_id, used, folder))
            if len(predictions) == _PREDICTIONS:
                break
        return predictions

    def _anomalies(self, record: RunRecord, produced: _Produced, missing: dict[str, str]) -> tuple[Anomaly, ...] | None:
        anomalies = self._document(record, "anomalies")
        if anomalies is None:
            report = _read_json(produced, "report.json", missing, "anomalies")
            if not report:
                missing.setdefault("anomalies", _absent(produced, "report about anomalies", "DataGate"))
                return None
            anomalies = report.get("findings", ())
        return ANOMALIES.validate_python(anomalies)

    def _curves(self, produced: _Produced, missing: dict[str, str]) -> list[curves.Curve]:
        runs = [artifacts["model_run"].uri for artifacts in produced.values() if "model_run" in artifacts]
        folder = _place(runs[0]) if runs else None
        read = _attempt(lambda: curves.read(folder), missing, "training") if folder else None
        if not read:
            missing.setdefault("training", _absent(produced, "log of the training", "Trainer"))
        return read or []

    def _slices(self, record: RunRecord, missing: dict[str, str]) -> tuple[SliceMetrics, ...]:
        slices = self._document(record, "slices")
        if not slices:
            missing["slices"] = (
                "The run was evaluated as a whole only, without slices."
                if record.metrics
                else "There are no metrics: the run was not evaluated."
            )
        return SLICES.validate_python(slices or ())

    def _document(self, record: RunRecord, name: str) -> Any:
        digest = record.documents.get(name)
        try:
            return None if digest is None else read_document(self._store, digest)
        except ValueError:
            return None


def _target(produced: _Produced) -> dict[str, Any]:
    """What is predicted, as the run's scores have it; empty if it has none."""
    outputs = [output.properties for keys in produced.values() for output in keys.values()]
    return next((scores.target_of(properties) for properties in outputs if "rows_fingerprint" in properties), {})


def _assessment(
    record: RunRecord, assessor: Assessor, produced: _Produced, settings: dict[str, Any], missing: dict[str, str]
) -> Assessment | None:
    folder = _artifact(produced, scores.FILE)
    if folder is None:
        missing["quality"] = _absent(produced, "scores of the single rows", "Scores")
        return None
    kept = scores.ScoresOf(record.run_id, str(folder), "", 0, _target(produced))
    return _attempt(lambda: assessor.assess(scores.read(kept), settings), missing, "quality")


def _importance(produced: _Produced, missing: dict[str, str]) -> Any:
    importance = _read_json(produced, "importance.json", missing, "importance")
    if importance is None:
        missing.setdefault("importance", _absent(produced, "importance of the features", "Scores"))
    return importance


def _mistakes(produced: _Produced, missing: dict[str, str]) -> Any:
    mistakes = _read_json(produced, "mistakes.json", missing, "mistakes")
    if mistakes is None:
        absent = "The model does not explain its answers, as models did not at first."
        if _artifact(produced, scores.FILE) is None:
            absent = _absent(produced, "explained mistakes", "Scores")
        missing.setdefault("mistakes", absent)
    return mistakes


def _read_json(produced: _Produced, name: str, missing: dict[str, str], section: str) -> Any:
    folder = _artifact(produced, name)
    if folder is None:
        return None
    return _attempt(lambda: json.loads((folder / name).read_text(encoding="utf-8")), missing, section)


def _upstream_first(waits: Mapping[str, Set[str]]) -> list[str]:
    """Nodes in an order in which each comes after those it waits for; nodes that never ran may be among these."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(node: str) -> None:
        if node not in seen:
            seen.add(node)
            for upstream in sorted(waits.get(node, ())):
                visit(upstream)
            order.append(node)

    for node in waits:
        visit(node)
    return order


def _artifact(produced: _Produced, file: str) -> Path | None:
    """The folder of the artifact of a run that holds a file of this name, or one split's."""
    for keys in produced.values():
        for artifact in keys.values():
            folder = _place(artifact.uri)
            if folder is not None and ((folder / file).is_file() or any(folder.glob(f"Split-*/{file}"))):
                return folder
    return None


def _place(uri: str) -> Path | None:
    """Where an artifact is, in a folder or a bucket; None if nobody here knows such places."""
    try:
        return storage.at(uri) if uri else None
    except FlightdeckError:
        return None


def _absent(produced: _Produced, what: str, node: str) -> str:
    if node not in produced:
        return f"{node} did not run, and so left no {what}."
    uris = [artifact.uri for artifact in produced[node].values()]
    if not uris:
        return f"{node} did not finish, and so left no {what}."
    return f"Gone: {node} made its {what}, but the files are no longer there."


def _attempt(read: Callable[[], _Part], missing: dict[str, str], section: str) -> _Part | None:
    """What can be read, or None and a sentence why not: a damaged file costs a section and not the page."""
    try:
        return read()
    except (OSError, ValueError, KeyError, TypeError, scores.NoScoresError) as error:
        missing[section] = f"It cannot be read: {error}."
        return None

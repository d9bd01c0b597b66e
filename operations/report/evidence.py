"""What a run left behind, for its page. Whatever is not there is replaced by a sentence that says why.

The records and artifacts are read directly, without TensorFlow or TFX; so are those of other TFX pipelines.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from ledger.opening import LedgerError
from ledger.outputs import Output, outputs
from ledger.recorder import RUN, read_document
from ledger.run_facts import is_ours, shown_outcome
from ledger.run_record import RunRecord
from ledger.run_view import ANOMALIES, SLICES, Anomaly, RunView, SliceMetrics, min_slice_rows
from operations.report import curves, quality, statistics

_Part = TypeVar("_Part")
# Node -> key -> the artifact that the node made.
_Produced = dict[str, dict[str, Output]]
_DEFAULT_THRESHOLD = 0.5
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
    state: str
    after: tuple[str, ...] = ()
    seconds: float | None = None
    peak_mb: float | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Everything that the page of a run can show.

    Attributes:
        view: of the run, with its slices and anomalies.
        outcome: as people read it.
        nodes: of the pipeline, upstream ones first.
        splits: name -> statistics: ``train``, ``eval`` and ``serving``, those that are known.
        serving_source: where the statistics of serving are from.
        curves: of the training.
        quality: measured on the scores.
        importance: the content of ``importance.json``.
        files: those that were ingested.
        settings: as used.
        predictions: batch predictions that this run's model answered, newest first.
        missing: section of the page -> why it is not there.
    """

    view: RunView
    outcome: str
    nodes: list[Node]
    splits: dict[str, statistics.Statistics] = dataclasses.field(default_factory=dict)
    serving_source: str | None = None
    curves: list[curves.Curve] = dataclasses.field(default_factory=list)
    quality: quality.Quality | None = None
    importance: Any = None
    files: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    predictions: tuple[str, ...] = ()
    missing: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def record(self) -> RunRecord:
        """Of the run."""
        return self.view.record


class EvidenceReader:
    """Gathers the evidence of runs from one store."""

    def __init__(self, store: ml_metadata.MetadataStore, records: Sequence[RunRecord], payloads: Path | None = None):
        """Reads an open store.

        Args:
            store: from `ledger.opening.open_readonly`.
            records: of all runs of the store.
            payloads: the folder in which a server logs what it was asked, as Parquet, if it does.
        """
        self._store = store
        self._records = records
        self._payloads = payloads

    def evidence(self, record: RunRecord) -> Evidence:
        """Everything that is left of a run."""
        missing: dict[str, str] = {}
        executions = self._executions(record.run_id)
        produced = self._produced(executions)
        settings = self._document(record, "settings") or {}
        splits, source = self._splits(record, produced, missing)
        return Evidence(
            view=RunView(
                record,
                self._slices(record, missing),
                self._anomalies(record, produced, missing),
                min_slice_rows(settings),
            ),
            outcome=shown_outcome(record),
            nodes=self._nodes(record, executions),
            splits=splits,
            serving_source=source,
            curves=self._curves(produced, missing),
            quality=self._quality(produced, settings, missing),
            importance=self._importance(produced, missing),
            files=self._document(record, "files") or [],
            settings=settings,
            predictions=tuple(run for run, used, _ in self._predictions if record.model_id in used),
            missing=missing,
        )

    def _executions(self, run_id: str) -> dict[str, metadata_store_pb2.Execution]:
        """The executions of a run by node id, the last one of each."""
        context = self._store.get_context_by_type_and_name(RUN, run_id)
        if context is None:
            raise LedgerError(f"The metadata store has no run {run_id}.")
        found = {}
        for execution in sorted(self._store.get_executions_by_context(context.id), key=lambda each: each.id):
            names = [each for each in self._store.get_contexts_by_execution(execution.id) if each.type == "node"]
            # TFX names the node context PIPELINE.NODE.
            found[names[0].name.rpartition(".")[2] if names else f"execution {execution.id}"] = execution
        return found

    def _produced(self, executions: dict[str, metadata_store_pb2.Execution]) -> _Produced:
        made = outputs(self._store, [execution.id for execution in executions.values()])
        return {node: made.get(execution.id, {}) for node, execution in executions.items()}

    def _nodes(self, record: RunRecord, executions: dict[str, metadata_store_pb2.Execution]) -> list[Node]:
        recorded = {node.node_id: node for node in record.nodes}
        graph = self._document(record, "graph") or []
        types = {node["node"]: node["type"] for node in graph}
        waits = self._events(executions) | {node["node"]: set(node["after"]) for node in graph}
        for node_id in recorded:
            waits.setdefault(node_id, set())
        nodes = []
        for node_id in _upstream_first(waits):
            after = tuple(sorted(waits[node_id]))
            if node_id in recorded:
                known = recorded[node_id]
                state, seconds, peak, error = known.state, known.seconds, known.peak_mb, known.error
            elif node_id in executions:
                execution = executions[node_id]
                state = _STATES.get(execution.last_known_state, "unknown")
                milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
                seconds, peak, error = milliseconds / 1000, None, None
            else:
                state, seconds, peak, error = "not run", None, None, None
            type_name = types.get(node_id) or (executions[node_id].type if node_id in executions else "")
            nodes.append(Node(node_id, type_name.rpartition(".")[2], state, after, seconds, peak, error))
        return nodes

    def _events(self, executions: dict[str, metadata_store_pb2.Execution]) -> dict[str, set[str]]:
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
        found = _artifact(produced, "FeatureStats.pb")
        if found is None:
            missing["data"] = _absent(produced, "statistics of the data", "StatisticsGen")
            return {}, None
        splits: dict[str, statistics.Statistics] = {}
        for file in sorted(found.rglob("FeatureStats.pb"), key=lambda each: each.parent.name != "Split-train"):
            if read := _attempt(lambda: statistics.read(file), missing, "data"):  # noqa: B023 (called at once)
                splits[file.parent.name.removeprefix("Split-")] = read
        if "train" not in splits:
            return splits, None
        serving, source = self._serving(record, splits["train"], missing)
        return splits if serving is None else {**splits, "serving": serving}, source

    def _serving(
        self, record: RunRecord, like: statistics.Statistics, missing: dict[str, str]
    ) -> tuple[statistics.Statistics | None, str | None]:
        """What the run's model was asked: by a server's log, or else by the newest batch prediction with it."""
        if self._payloads is not None and record.version is not None and self._payloads.is_dir():
            files = sorted(file for file in self._payloads.rglob("*.parquet") if not file.name.startswith("."))
            counted = _attempt(
                lambda: statistics.count(files, like, {"model_version": str(record.version)}, ["request_refused"]),
                missing,
                "serving",
            )
            if counted is not None:
                return counted, f"{counted.rows:,} rows that a server logged"
        for prediction, models, folder in self._predictions:
            if record.model_id not in models:
                continue
            file = next(iter(sorted(folder.rglob("FeatureStats.pb"))))
            read = _attempt(lambda: statistics.read(file), missing, "serving")  # noqa: B023 (called at once)
            if read is not None:
                return read, f"{read.rows:,} rows of the batch prediction {prediction}"
        missing.setdefault("serving", "Nobody has asked this run's model anything yet, as far as is recorded.")
        return None, None

    @functools.cached_property
    def _predictions(self) -> list[tuple[str, set[int], Path]]:
        """The newest batch predictions: run, ids of the artifacts it used and made, statistics of what was asked."""
        found = []
        for record in reversed(self._records):
            if is_ours(record) and record.kind != "prediction":
                continue
            executions = self._executions(record.run_id)
            if "BulkInferrer" not in executions:
                continue
            produced = self._produced(executions)
            folder = _artifact(produced, "FeatureStats.pb")
            if folder is not None:
                used = {artifact.artifact_id for artifacts in produced.values() for artifact in artifacts.values()}
                found.append((record.run_id, used, folder))
            if len(found) == _PREDICTIONS:
                break
        return found

    def _anomalies(self, record: RunRecord, produced: _Produced, missing: dict[str, str]) -> tuple[Anomaly, ...] | None:
        found = self._document(record, "anomalies")
        if found is not None:
            return ANOMALIES.validate_python(found)
        folder = _artifact(produced, "report.json")
        report = folder and _attempt(lambda: _json(folder / "report.json"), missing, "anomalies")
        if report:
            return ANOMALIES.validate_python(report.get("findings", ()))
        missing.setdefault("anomalies", _absent(produced, "report about anomalies", "DataGate"))
        return None

    def _curves(self, produced: _Produced, missing: dict[str, str]) -> list[curves.Curve]:
        folder = _output(produced, "model_run")
        found = _attempt(lambda: curves.read(folder), missing, "training") if folder else None
        if not found:
            missing.setdefault("training", _absent(produced, "log of the training", "Trainer"))
        return found or []

    def _quality(
        self, produced: _Produced, settings: dict[str, Any], missing: dict[str, str]
    ) -> quality.Quality | None:
        folder = _artifact(produced, "scores.parquet")
        if folder is None:
            missing["quality"] = _absent(produced, "scores of the single rows", "Scores")
            return None
        threshold = settings.get("evaluation", {}).get("decision_threshold", _DEFAULT_THRESHOLD)

        def assessed() -> quality.Quality:
            import pyarrow.parquet as pq

            table = pq.read_table(folder / "scores.parquet", columns=["label", "probability"])
            return quality.assess(table.column("label").to_numpy(), table.column("probability").to_numpy(), threshold)

        return _attempt(assessed, missing, "quality")

    def _importance(self, produced: _Produced, missing: dict[str, str]) -> Any:
        folder = _artifact(produced, "importance.json")
        if folder is None:
            missing["importance"] = _absent(produced, "importance of the features", "Scores")
            return None
        return _attempt(lambda: _json(folder / "importance.json"), missing, "importance")

    def _slices(self, record: RunRecord, missing: dict[str, str]) -> tuple[SliceMetrics, ...]:
        found = self._document(record, "slices")
        if not found:
            missing["slices"] = (
                "The run was evaluated as a whole only, without slices."
                if record.metrics
                else "There are no metrics: the run was not evaluated."
            )
        return SLICES.validate_python(found or ())

    def _document(self, record: RunRecord, name: str) -> Any:
        digest = record.documents.get(name)
        try:
            return None if digest is None else read_document(self._store, digest)
        except ValueError:
            return None


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _upstream_first(waits: dict[str, set[str]]) -> list[str]:
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
    waits.update({node: set() for node in order if node not in waits})
    return order


def _artifact(produced: _Produced, file: str) -> Path | None:
    """The folder of the artifact of a run that holds a file of this name, or one split's."""
    for keys in produced.values():
        for artifact in keys.values():
            folder = _local(artifact.uri)
            if folder is not None and ((folder / file).is_file() or any(folder.glob(f"Split-*/{file}"))):
                return folder
    return None


def _output(produced: _Produced, key: str) -> Path | None:
    for keys in produced.values():
        if key in keys:
            return _local(keys[key].uri)
    return None


def _local(uri: str) -> Path | None:
    return None if "://" in uri or not uri else Path(uri)


def _absent(produced: _Produced, what: str, node: str) -> str:
    if node not in produced:
        return f"{node} did not run, and so left no {what}."
    uris = [each.uri for each in produced[node].values()]
    if not uris:
        return f"{node} did not finish, and so left no {what}."
    if any("://" in uri for uri in uris):
        return f"Not on this machine: {node} left its {what} below {uris[0].rpartition('/')[0]}."
    return f"Gone: {node} made its {what}, but the files are no longer there."


def _attempt(read: Callable[[], _Part], missing: dict[str, str], section: str) -> _Part | None:
    """What can be read, or None and a sentence why not: a damaged file costs a section and not the page."""
    try:
        return read()
    except (OSError, ValueError, KeyError, TypeError) as error:
        missing[section] = f"It cannot be read: {error}."
        return None

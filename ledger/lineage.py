"""Where a model came from and what came of it: the graph of artifacts, executions, files, code and settings.

Walks ML Metadata a level at a time, three queries a level, and not a node at a time. Works on the runs of other TFX
pipelines too; only files, code and settings are known of our own alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from ledger.opening import LedgerError
from ledger.outputs import RUN, executions_in, key_of, values
from ledger.recorder import RecordError, read_document, recorded
from ledger.run_record import RunRecord, from_properties
from ledger.runs import Runs

_Answer = TypeVar("_Answer")
Kind = Literal["artifact", "execution", "file", "code", "settings"]
Direction = Literal["both", "upstream", "downstream"]
MODEL, PUSHED, EXAMPLES = "Model", "PushedModel", "Examples"
# Inputs that a model is measured against and not made from: what comes of the comparison is not made from them.
_AGAINST = ("baseline_model",)
# Executions whose outputs are predictions, whatever the type of the artifact.
_PREDICT = ("BulkInferrer", "Predict")
_MADE = (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.DECLARED_OUTPUT)
_TAKEN = (metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.DECLARED_INPUT)
# Of one query, so that none becomes longer than a server takes.
_AT_ONCE = 1000
_SHOWN_FACTS = (
    *("version", "pushed_version", "pushed_destination", "blessed", "reason", "span", "spans", "window"),
    *("row_counts", "rows", "who", "when", "rolled_back_from", "rolled_back_to", "forced", "input_fingerprint"),
)


@dataclasses.dataclass(frozen=True)
class Node:
    """A thing in the lineage.

    Attributes:
        key: its identity, such as ``artifact 8``.
        type: of an artifact or execution its type in ML Metadata, without the module; else the kind.
        name: what people call it.
        facts: what else is known, by name: of an artifact its URI, of a file its size and digest, of code the commit.
        run_id: of an execution the run that it belonged to, of an artifact the run that made it.
    """

    key: str
    kind: Kind
    type: str
    name: str
    facts: dict[str, Any]
    run_id: str | None = None


@dataclasses.dataclass(frozen=True)
class Edge:
    """From what came first to what came of it; `name` is the input's or output's key."""

    source: str
    target: str
    name: str


@dataclasses.dataclass(frozen=True)
class Lineage:
    """A graph without cycles.

    Attributes:
        upstream_of: keys of the artifacts whose origin is in the graph.
        downstream_of: keys of the artifacts whose use is in the graph.
        edges: in the direction of time.
        compared: how often an artifact was what others were measured against; those comparisons are not in the graph.
    """

    asked: str
    upstream_of: tuple[str, ...]
    downstream_of: tuple[str, ...]
    nodes: dict[str, Node]
    edges: tuple[Edge, ...]
    compared: dict[str, int] = dataclasses.field(default_factory=dict)

    def sources(self) -> dict[str, list[Edge]]:
        """The edges that lead to each node."""
        return self._edges_by("target")

    def targets(self) -> dict[str, list[Edge]]:
        """The edges that leave each node."""
        return self._edges_by("source")

    def _edges_by(self, end: Literal["source", "target"]) -> dict[str, list[Edge]]:
        edges: dict[str, list[Edge]] = {}
        for edge in self.edges:
            edges.setdefault(getattr(edge, end), []).append(edge)
        return edges


def trace(store: ml_metadata.MetadataStore, what: str, direction: Direction = "both") -> Lineage:
    """The lineage of a model, a run or a pushed version: where it came from, what came of it, or both.

    It is named by a pushed version; by the id of a Model artifact; or by a run, as `Runs.find` understands it.
    ``version:``, ``model:`` or ``run:`` before it says which is meant.

    Raises:
        LedgerError: there is no such thing, or nothing is known of what it made.
    """
    origin, use = _start(store, what)
    walk = _Walk(store)
    if direction in ("both", "upstream"):
        walk.upstream(origin)
    if direction in ("both", "downstream"):
        walk.downstream(use)
    return walk.lineage(
        what, () if direction == "downstream" else tuple(origin), () if direction == "upstream" else tuple(use)
    )


def _start(store: ml_metadata.MetadataStore, what: str) -> tuple[list[int], list[int]]:
    """The artifacts whose origin, and those whose use, is meant."""
    meant, _, name = what.partition(":")
    if meant not in ("version", "model", "run") or not name:
        meant, name = "", what
    if meant in ("", "version") and (version := _version(store, name)):
        # What was made from the version's model, such as batch predictions, is what came of the version.
        events = store.get_events_by_artifact_ids([version])
        maker = min((event.execution_id for event in events if event.type in _MADE), default=None)
        taken = [] if maker is None else store.get_events_by_execution_ids([maker])
        models = [event.artifact_id for event in taken if event.type in _TAKEN and key_of(event) in ("model", "")]
        return [version], models or [version]
    if meant in ("", "model") and name.isdecimal() and int(name) < 2**31:
        (model,) = store.get_artifacts_by_id([int(name)]) or [None]
        if model is not None and model.type == MODEL:
            return [model.id], [model.id]
        if meant == "model":
            is_what = f"artifact {name} is a {model.type}" if model is not None else "the store has no such artifact"
            raise LedgerError(f"There is no model {name}: {is_what}.")
    if meant == "version":
        raise LedgerError(f"The metadata store has no pushed version {name}.")
    if meant == "model":
        raise LedgerError(f"There is no model {name}: a model is named by its number in the metadata store.")
    return _start_of_run(store, Runs(store).find(name))


def _version(store: ml_metadata.MetadataStore, version: str) -> int | None:
    """The artifact of a pushed version; of a number that was pushed to two places, the later one."""
    if PUSHED not in {kind.name for kind in store.get_artifact_types()}:
        return None
    pushed = [
        artifact.id
        for artifact in store.get_artifacts_by_type(PUSHED)
        if version == str(values(artifact.custom_properties).get("pushed_version", ""))
    ]
    return max(pushed, default=None)


def _start_of_run(store: ml_metadata.MetadataStore, record: RunRecord) -> tuple[list[int], list[int]]:
    if record.model_id is not None:
        return [record.model_id], [record.model_id]
    executions = executions_in(store, record.run_id)
    events = store.get_events_by_execution_ids([execution.id for execution in executions]) if executions else []
    made = [event.artifact_id for event in events if event.type in _MADE]
    models = [artifact.id for artifact in store.get_artifacts_by_id(made) if artifact.type == MODEL] if made else []
    taken = {event.artifact_id for event in events if event.type in _TAKEN}
    # A run without a model: what it made last.
    ends = models or [artifact for artifact in dict.fromkeys(made) if artifact not in taken]
    if not ends:
        raise LedgerError(f"Run {record.run_id} made nothing that is recorded.")
    return ends, ends


class _Walk:
    """Gathers nodes and edges."""

    def __init__(self, store: ml_metadata.MetadataStore) -> None:
        self._store = store
        self._artifacts: dict[int, metadata_store_pb2.Artifact] = {}
        self._executions: dict[int, metadata_store_pb2.Execution] = {}
        # (execution, artifact, whether it was made, key); a dict, for an order without repetition.
        self._links: dict[tuple[int, int, bool, str], None] = {}
        self._compared: dict[int, set[int]] = {}
        self._traced: set[int] = set()

    def upstream(self, artifacts: Sequence[int]) -> None:
        """Follows artifacts to what they were made from."""
        level, seen = list(artifacts), set(artifacts)
        self._fetch_artifacts(level)
        while level:
            makers: dict[int, tuple[int, str]] = {}
            for event in _asked(self._store.get_events_by_artifact_ids, level):
                if event.type in _MADE:
                    # The first; later ones took the artifact from the cache.
                    maker = (event.execution_id, key_of(event))
                    makers[event.artifact_id] = min(maker, makers.get(event.artifact_id, maker))
            for artifact, (execution, key) in makers.items():
                self._links[execution, artifact, True, key] = None
            new = sorted({execution for execution, _ in makers.values()} - self._traced)
            self._traced |= set(new)
            self._fetch_executions(new)
            level = self._follow(new, _TAKEN, seen)

    def downstream(self, artifacts: Sequence[int]) -> None:
        """Follows artifacts to what was made from them."""
        level, seen = list(artifacts), set(artifacts)
        asked: set[int] = set()
        self._fetch_artifacts(level)
        while level:
            users: dict[int, list[tuple[int, str]]] = {}
            for event in _asked(self._store.get_events_by_artifact_ids, level):
                if event.type in _TAKEN:
                    if key_of(event) in _AGAINST:
                        self._compared.setdefault(event.artifact_id, set()).add(event.execution_id)
                    else:
                        users.setdefault(event.execution_id, []).append((event.artifact_id, key_of(event)))
            self._fetch_executions(sorted(users))
            # What took its outputs from the cache made nothing.
            cached = metadata_store_pb2.Execution.CACHED
            makers = [execution for execution in users if self._executions[execution].last_known_state != cached]
            for execution in makers:
                for artifact, key in users[execution]:
                    self._links[execution, artifact, False, key] = None
            new = sorted(set(makers) - asked)
            asked |= set(new)
            level = self._follow(new, _MADE, seen)

    def _follow(self, executions: Sequence[int], direction: tuple[int, ...], seen: set[int]) -> list[int]:
        """Links executions with what they made, or took; the artifacts among it that were not seen before."""
        following = []
        for event in _asked(self._store.get_events_by_execution_ids, executions):
            if event.type in direction:
                self._links[event.execution_id, event.artifact_id, direction == _MADE, key_of(event)] = None
                if event.artifact_id not in seen:
                    seen.add(event.artifact_id)
                    following.append(event.artifact_id)
        self._fetch_artifacts(following)
        return following

    def lineage(self, asked: str, upstream_of: tuple[int, ...], downstream_of: tuple[int, ...]) -> Lineage:
        """The graph of what was gathered, with the files, code and settings of the runs."""
        runs = self._runs(sorted({execution for execution, *_ in self._links}))
        made_by = {artifact: execution for execution, artifact, made, _ in self._links if made}
        nodes: dict[str, Node] = {}
        edges: list[Edge] = []
        for artifact in self._artifacts.values():
            maker = made_by.get(artifact.id, -1)
            record = runs.get(maker)
            node = _artifact_node(artifact, self._executions.get(maker), record.run_id if record else None)
            nodes[node.key] = node
        for execution, artifact, made, key in self._links:
            if execution not in self._executions or artifact not in self._artifacts:
                continue  # removed from the store
            record = runs.get(execution)
            node = _execution_node(self._executions[execution], record.run_id if record else None)
            nodes.setdefault(node.key, node)
            thing = f"artifact {artifact}"
            edges.append(Edge(node.key, thing, key) if made else Edge(thing, node.key, key))
        for execution in sorted(self._traced & runs.keys()):
            for node in self._origins(execution, runs[execution]):
                nodes.setdefault(node.key, node)
                edges.append(Edge(node.key, f"execution {execution}", node.kind))
        return Lineage(
            asked,
            tuple(f"artifact {artifact}" for artifact in upstream_of),
            tuple(f"artifact {artifact}" for artifact in downstream_of),
            nodes,
            tuple(dict.fromkeys(edges)),
            {f"artifact {artifact}": len(executions) for artifact, executions in self._compared.items()},
        )

    def _origins(self, execution: int, record: RunRecord) -> Iterator[Node]:
        """What an execution was made with that ML Metadata has no artifact for."""
        links = [(artifact, made) for one, artifact, made, _ in self._links if one == execution]
        types = {self._artifacts[artifact].type for artifact, made in links if made and artifact in self._artifacts}
        if EXAMPLES in types and all(made for _, made in links):
            for file in _files(self._store, record):
                facts = {name: file[name] for name in ("bytes", "sha256", "span")}
                yield Node(f"file {file['name']} {file['sha256'][:12]}", "file", "file", str(file["name"]), facts)
        if MODEL in types:
            for code in (record.code, record.platform):
                if code is None or code.commit is None:
                    continue
                changed = f" {code.diff or 'dirty'}" if code.dirty else ""
                facts = code.model_dump(exclude_none=True) | ({"of": "Flightdeck"} if code == record.platform else {})
                yield Node(f"code {code.commit}{changed}", "code", "code", code.short(12) or "", facts)
            if record.settings:
                key = f"settings {record.settings} {record.lock or ''}".rstrip()
                facts = {"lock": record.lock, "document": record.documents.get("settings")}
                known = {name: fact for name, fact in facts.items() if fact is not None}
                yield Node(key, "settings", "settings", record.settings, known)

    def _runs(self, executions: Sequence[int]) -> dict[int, RunRecord]:
        """The runs that executions belong to, by execution."""
        runs: dict[int, RunRecord] = {}
        for some in _portions(executions):
            options = metadata_store_pb2.LineageSubgraphQueryOptions(max_num_hops=0)
            options.starting_executions.filter_query = f"id IN ({', '.join(map(str, some))})"
            graph = self._store.get_lineage_subgraph(options, ["contexts", "associations"])
            records = {}
            for context in graph.contexts:
                if context.type == RUN:
                    try:
                        records[context.id] = recorded(context)
                    except ValueError:  # of another version: its name is known at least
                        records[context.id] = from_properties(context.name, {}, context.create_time_since_epoch)
            for association in graph.associations:
                if association.context_id in records:
                    runs[association.execution_id] = records[association.context_id]
        return runs

    def _fetch_artifacts(self, artifacts: Iterable[int]) -> None:
        new = [artifact for artifact in artifacts if artifact not in self._artifacts]
        self._artifacts |= {artifact.id: artifact for artifact in _asked(self._store.get_artifacts_by_id, new)}

    def _fetch_executions(self, executions: Iterable[int]) -> None:
        new = [execution for execution in executions if execution not in self._executions]
        self._executions |= {execution.id: execution for execution in _asked(self._store.get_executions_by_id, new)}


def _asked(question: Callable[[list[int]], Iterable[_Answer]], ids: Sequence[int]) -> list[_Answer]:
    """The answers to a question about many things, asked about some of them at a time."""
    return [answer for some in _portions(ids) for answer in question(some)]


def _portions(ids: Sequence[int]) -> list[list[int]]:
    return [list(ids[begin : begin + _AT_ONCE]) for begin in range(0, len(ids), _AT_ONCE)]


def _files(store: ml_metadata.MetadataStore, record: RunRecord) -> list[dict[str, Any]]:
    try:
        return read_document(store, record.documents.get("files", ""))
    except RecordError:
        return []


def _artifact_node(
    artifact: metadata_store_pb2.Artifact, maker: metadata_store_pb2.Execution | None, run_id: str | None
) -> Node:
    facts = {"uri": artifact.uri, **_facts(artifact)}
    predicted = maker is not None and maker.type.rpartition(".")[2] in _PREDICT
    if artifact.type == PUSHED and not facts.get("pushed_version"):
        facts["pushed"] = False
    name = f"{'Predictions' if predicted else artifact.type} {artifact.id}"
    return Node(f"artifact {artifact.id}", "artifact", artifact.type, name, facts, run_id)


def _execution_node(execution: metadata_store_pb2.Execution, run_id: str | None) -> Node:
    state = metadata_store_pb2.Execution.State.Name(execution.last_known_state).lower()
    name = execution.type.rpartition(".")[2]
    facts = {"state": state, "began": execution.create_time_since_epoch, **_facts(execution)}
    return Node(f"execution {execution.id}", "execution", name, name, facts, run_id)


def _facts(thing: metadata_store_pb2.Artifact | metadata_store_pb2.Execution) -> dict[str, Any]:
    known = values(thing.properties) | values(thing.custom_properties)
    return {name: known[name] for name in _SHOWN_FACTS if known.get(name) not in (None, "")}

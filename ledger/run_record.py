"""What is recorded of a run: which code, settings and data made it, and what came of it.

The facts are custom properties of the context `pipeline_run` that TFX makes for a run in ML Metadata, one property per
fact, so that writers of different facts never undo each other's. Imports neither TensorFlow nor TFX.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from ledger.lease import Owner

Kind = Literal["run", "reproduction", "sweep", "trial", "prediction"]
Outcome = Literal["running", "pushed", "blessed", "not blessed", "failed", "killed", "done"]
Runner = Literal["local", "kubeflow"]
State = Literal["done", "cached", "skipped", "failed"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


@dataclasses.dataclass(frozen=True)
class NodeOutcome:
    """What became of one node.

    Attributes:
        state: ``cached`` if an earlier result was reused; ``skipped`` if TFX decided that there was nothing to do.
        seconds: wall time.
        peak_mb: the largest resident size of its process so far, in MiB.
        error: what went wrong, for ``failed``.
        ended: when it was recorded.
        cpu_seconds: of its process so far, and of the processes that this one started; None if it was not measured.
        engine: what its result was computed on, also if an earlier run did: ``local``, ``flink`` or the name of a Beam
            runner; None if it does not run on Beam, or nobody wrote it down.
    """

    node_id: str
    state: State
    seconds: float
    peak_mb: float
    error: str | None = None
    ended: datetime | None = None
    cpu_seconds: float | None = None
    engine: str | None = None

    @property
    def failure(self) -> str | None:
        """What ended the run, as a clause; None unless the node failed."""
        return f"{self.node_id} failed: {self.error}" if self.state == "failed" else None


class Note(_Frozen):
    """What a person wrote about a run."""

    text: str
    who: str
    when: datetime


class Revision(_Frozen):
    """What a git repository holds when a run begins.

    Attributes:
        commit: 40 hexadecimal digits; None outside git and outside an image, or before the first commit.
        branch: the one that is checked out; None if none is, or in an image.
        dirty: whether files differ from the commit; None if nobody can tell.
        diff: every difference from the commit as text, untracked files included, or its hash when it is long or the
            code is an image's; in a record the digest of that document.
    """

    commit: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    diff: str | None = None

    def short(self, digits: int = 8) -> str | None:
        """The beginning of the commit, with a plus if there were changes that are not in it."""
        return None if self.commit is None else self.commit[:digits] + ("+" if self.dirty else "")


class RunRecord(_Frozen):
    """A run, as ML Metadata remembers it.

    Attributes:
        run_id: the run's name in ML Metadata.
        parent: the run that it reproduces, or the sweep that it belongs to.
        triggers: why it was started: the key of each trigger -> one sentence; empty if a person just did.
        host: the machine, or the pod of the first task.
        started: in UTC.
        loading_seconds: imports, of `seconds`.
        seconds: wall time, None while it runs.
        peak_mb: the largest resident size of a process of it, in MiB.
        owner: the process that holds the run's lease; None on Kubeflow, where a run has many.
        renewed: when the lease was renewed last, in UTC: the run's last sign of life.
        outcome: ``killed`` if its process went away without a word, as the next run of the workspace writes down; until
            then ``running``. ``done`` for what trains or pushes nothing itself.
        reasons: why it was not pushed, or failed, one sentence each.
        commit: of Flightdeck, as are `branch`, `dirty` and `diff`; see `Revision`. Whoever shows a commit wants that of
            `code`.
        use_case_commit: of the use case, if it is a project of its own, as is `use_case_branch`.
        use_case_dirty: whether files differed from that commit, or there was none; None if it is no project of its own.
        settings: digest of the settings, as on the run's page.
        lock: digest of the lock file of the packages.
        window: the window that was asked for.
        spans: by split, as are `rows`.
        data: fingerprint of the files that were ingested.
        hyperparameters: as the Trainer used them, by dotted name.
        main_metric: the metric that ranks runs and slices; `main_better` is its direction.
        metrics: the challenger's on the whole evaluation split.
        champion_metrics: the champion's on the same rows; empty if there was none.
        champion_saw: spans of the evaluation split that the champion had learned from.
        thresholds: what was asked of each metric: metric -> rule -> bound.
        model_id: the trained model's id in ML Metadata.
        base_model_id: of the model whose weights the training began with; None if it began anew.
        began_with: what the training took from that model, or why nothing, in words.
        champion_model_id: the champion's.
        version: the pushed version, in the registry `pushed_to`.
        nodes: in the order in which they ended.
        documents: longer things by name, each the digest of a document: `settings` as used; `packages` and `sources`,
            the versions and digests of what was imported; `files`, those that were ingested; `diff`; `slices`; `graph`;
            `anomalies`; `verdict` of a reproduction.
        notes: oldest first.
        tags: in alphabetical order.
    """

    run_id: str
    kind: Kind = "run"
    parent: str | None = None
    triggers: dict[str, str] = {}
    pipeline: str = ""
    runner: Runner = "local"
    user: str | None = None
    host: str | None = None
    started: datetime
    loading_seconds: float | None = None
    seconds: float | None = None
    peak_mb: float | None = None
    owner: Owner | None = None
    renewed: datetime | None = None
    outcome: Outcome = "running"
    reasons: tuple[str, ...] = ()
    commit: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    diff: str | None = None
    use_case_commit: str | None = None
    use_case_branch: str | None = None
    use_case_dirty: bool | None = None
    settings: str | None = None
    lock: str | None = None
    window: str | None = None
    spans: dict[str, list[int]] = {}
    rows: dict[str, int] = {}
    data: str | None = None
    hyperparameters: dict[str, Any] = {}
    main_metric: str | None = None
    main_better: Literal["higher", "lower", "neither"] = "neither"
    metrics: dict[str, float] = {}
    champion_metrics: dict[str, float] = {}
    champion_saw: tuple[int, ...] = ()
    thresholds: dict[str, dict[str, float]] = {}
    model_id: int | None = None
    base_model_id: int | None = None
    began_with: str | None = None
    champion_model_id: int | None = None
    version: str | None = None
    pushed_to: str | None = None
    nodes: tuple[NodeOutcome, ...] = ()
    documents: dict[str, str] = {}
    notes: tuple[Note, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def code(self) -> Revision:
        """The code of the use case: of its own project, or of Flightdeck's checkout if it lives there."""
        if self.platform is None:
            return Revision(commit=self.commit, branch=self.branch, dirty=self.dirty, diff=self.diff)
        return Revision(
            commit=self.use_case_commit,
            branch=self.use_case_branch,
            dirty=self.use_case_dirty,
            diff=self.documents.get("use_case_diff"),
        )

    @property
    def platform(self) -> Revision | None:
        """Flightdeck's code, if the use case is in a project of its own; None if both are the same."""
        if self.use_case_commit is None and self.use_case_dirty is None:
            return None
        return Revision(commit=self.commit, branch=self.branch, dirty=self.dirty, diff=self.diff)


def sweep_of(run_id: str) -> str:
    """The name of the sweep that a run on Kubeflow holds: its trials come before the run's own training."""
    return f"{run_id}-sweep"


PREFIX = "flightdeck."
# Each of these is several properties, PREFIX + NAME + "." + KEY, because several processes add to them.
_SPREAD = ("nodes", "documents", "notes", "tags")
_NODE = TypeAdapter(NodeOutcome)
_ADAPTERS = {
    name: TypeAdapter(field.rebuild_annotation(), config=ConfigDict(ser_json_inf_nan="constants"))
    for name, field in RunRecord.model_fields.items()
    if name not in _SPREAD
}


def to_properties(fields: dict[str, Any]) -> dict[str, str]:
    """Fields of a `RunRecord` as properties of a context, `documents` as digests; `Recorder.note` writes `notes`.

    All are text: ML Metadata on MySQL gives a double back with six digits. Raises a KeyError for an unknown field.
    """
    properties: dict[str, str] = {}
    for name, value in fields.items():
        if name == "documents":
            properties |= {f"{PREFIX}documents.{key}": digest for key, digest in value.items()}
        elif name == "nodes":
            properties |= {f"{PREFIX}nodes.{node.node_id}": _NODE.dump_json(node).decode() for node in value}
        elif name == "tags":
            properties |= {f"{PREFIX}tags.{tag}": "1" for tag in value}
        elif value is not None:
            properties[PREFIX + name] = _ADAPTERS[name].dump_json(value).decode()
    return properties


def from_properties(run_id: str, properties: dict[str, Any], created: int) -> RunRecord:
    """The record that a context's properties hold; of a run that another program recorded, what can be known.

    Args:
        run_id: the context's name.
        properties: its custom properties, by name.
        created: when the context was made, in milliseconds since the epoch.
    """
    fields: dict[str, Any] = {}
    spread: dict[str, dict[str, str]] = {name: {} for name in _SPREAD}
    for name, value in properties.items():
        if not name.startswith(PREFIX):
            continue
        first, _, rest = name.removeprefix(PREFIX).partition(".")
        if first in spread and rest:
            spread[first][rest] = str(value)
        elif first in _ADAPTERS:
            fields[first] = _ADAPTERS[first].validate_json(str(value))
    fields.setdefault("started", datetime.fromtimestamp(created / 1000, UTC))
    nodes = [_NODE.validate_json(text) for text in spread["nodes"].values()]
    notes = [Note.model_validate_json(text) for text in spread["notes"].values()]
    fields |= {
        "nodes": sorted(nodes, key=lambda node: node.ended or fields["started"]),
        "documents": spread["documents"],
        "notes": sorted(notes, key=lambda note: note.when),
        "tags": sorted(tag for tag, value in spread["tags"].items() if value == "1"),
    }
    return RunRecord(run_id=run_id, **fields)

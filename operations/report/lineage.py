"""Where a run's model came from and what came of it, as a picture and as links to other runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import ml_metadata

from ledger.formats import count, number, size, spans
from ledger.lineage import trace
from ledger.run_facts import is_ours, resolved_window
from ledger.run_record import RunRecord
from operations.report.drawing import Box
from operations.report.evidence import Evidence

_COMPARED = "trained the champion that this run was compared with"
_PREDICTED = "trained the model that answered"
_STYLES = {"artifact": "model", "execution": "", "file": "data", "code": "code", "settings": "code"}
_LONG = 34
_MOST = 4  # of boxes of one kind; the rest is one box


@dataclasses.dataclass(frozen=True)
class Relative:
    """Another run that this one has to do with, and how."""

    run_id: str
    how: str


def relatives(record: RunRecord, records: Sequence[RunRecord], predictions: Sequence[str]) -> list[Relative]:
    """The runs that a run comes from, or that came from it.

    Args:
        record: of the run.
        records: of all runs, oldest first.
        predictions: batch predictions that this run's model answered.
    """
    found = []
    for other in records:
        if other.run_id == record.run_id:
            continue
        if other.run_id == record.parent:
            found.append(Relative(other.run_id, "this run belongs to it"))
        elif other.parent == record.run_id:
            found.append(Relative(other.run_id, f"a {other.kind} of this run"))
        elif other.run_id in predictions:
            found.append(Relative(other.run_id, "a batch prediction with this run's model"))
        elif record.champion_model_id is not None and _trained(other, record.champion_model_id):
            found.append(Relative(other.run_id, _PREDICTED if record.kind == "prediction" else _COMPARED))
        elif record.model_id is not None and other.champion_model_id == record.model_id and is_ours(other):
            found.append(Relative(other.run_id, "was compared with this run's model as its champion"))
    return found


def picture(
    evidence: Evidence, records: Sequence[RunRecord], predictions: Sequence[str]
) -> tuple[list[Box], list[tuple[str, str]]]:
    """The boxes and edges of a run's lineage: files, code and settings at the top, what became of its model below.

    Args:
        evidence: what is left of the run.
        records: of all runs, oldest first.
        predictions: batch predictions that this run's model answered.

    Returns:
        No box at all if the run ingested nothing that is recorded.
    """
    record = evidence.record
    boxes: list[Box] = []
    edges: list[tuple[str, str]] = []

    def add(key: str, title: str, detail: str, style: str, *after: str) -> str:
        boxes.append(Box(key, title, detail, style))
        edges.extend((each, key) for each in after)
        return key

    if not record.spans:
        return [], []
    if evidence.files:
        total = size(sum(each["bytes"] for each in evidence.files))
        seen = f", spans {_window(record)}" if resolved_window(record) else ""
        files = add("files", count(len(evidence.files), "Parquet file"), f"{total}{seen}", "data")
    else:
        seen = f"Spans {_window(record)}" if resolved_window(record) else "Files"
        files = add("files", seen, (record.data or "")[:23], "data")
    examples = add(
        "examples", "Examples", ", ".join(f"{rows:,} {split}" for split, rows in record.rows.items()), "data", files
    )
    sources = [examples]
    for key, code, called in (("code", record.code, "Commit"), ("platform", record.platform, "Flightdeck")):
        if code is not None and code.commit:
            changed = "with changes" if code.dirty else "as committed"
            sources.append(add(key, f"{called} {code.commit[:10]}", changed, "code"))
    if record.settings:
        sources.append(add("settings", f"Settings {record.settings}", f"packages {(record.lock or '')[:12]}", "code"))
    if record.kind == "prediction":
        add("predictions", "Predictions", evidence.outcome, "prediction", *sources, *_champion(record, records, add))
        return boxes, edges
    if record.model_id is None:
        add("model", "No model", evidence.outcome, "failed" if evidence.outcome == "failed" else "", *sources)
        return boxes, edges
    model = add("model", f"Model {record.model_id}", f"of run {record.run_id}", "model", *sources)
    judged = model
    if record.metrics:
        against = [model]
        against += _champion(record, records, add)
        main = record.main_metric or ""
        figure = f"{main} {number(record.metrics[main])}" if main in record.metrics else ""
        judged = add(
            "evaluation", "Evaluation", ", ".join(filter(None, (figure, evidence.outcome))), "version", *against
        )
    if record.version:
        add("version", f"Version {record.version}", "pushed", "version", judged)
    children = [each.run_id for each in records if each.parent == record.run_id]
    for kind, runs, detail in (
        ("prediction", list(predictions), "batch prediction"),
        ("child", children, "made from this run"),
    ):
        for run in runs[:_MOST]:
            add(f"{kind} {run}", run, detail, "prediction", model)
        if runs[_MOST:]:
            add(kind, f"{len(runs) - _MOST} more", detail, "prediction", model)
    return boxes, edges


def _champion(record: RunRecord, records: Sequence[RunRecord], add: Callable[..., str]) -> list[str]:
    """Adds the box of the champion, if the run had one."""
    model = record.champion_model_id
    if model is None:
        return []
    maker = next((each for each in records if _trained(each, model)), None)
    return [add("champion", f"Champion {model}", f"of run {maker.run_id}" if maker else "", "model")]


def whole(store: ml_metadata.MetadataStore, record: RunRecord) -> tuple[list[Box], list[tuple[str, str]]]:
    """Every artifact, execution and file that the ledger knows upstream and downstream of a run, as boxes and edges.

    Args:
        store: the metadata store.
        record: of the run.

    Returns:
        No box at all if nothing is known of what the run made.
    """
    try:
        found = trace(store, f"run:{record.run_id}")
    except ValueError:
        return [], []
    files = [each for each in found.nodes.values() if each.kind == "file"]
    folded = {each.key for each in files} if len(files) > _MOST else set()
    boxes = [
        Box(each.key, _short(each.name), each.type if each.type != each.name else each.kind, _STYLES.get(each.kind, ""))
        for each in found.nodes.values()
        if each.key not in folded
    ]
    if folded:
        boxes.insert(0, Box("files", count(len(files), "file"), "", "data"))
    edges = [
        ("files" if edge.source in folded else edge.source, "files" if edge.target in folded else edge.target)
        for edge in found.edges
    ]
    return boxes, edges


def _short(name: str) -> str:
    return name if len(name) <= _LONG else f"{name[: _LONG - 1]}\N{HORIZONTAL ELLIPSIS}"


def _trained(record: RunRecord, model_id: int) -> bool:
    """Whether a run trained a model, and did not reuse one from the cache. Records are asked oldest first."""
    return record.model_id == model_id and any(
        each.node_id == "Trainer" and each.state == "done" for each in record.nodes
    )


def _window(record: RunRecord) -> str:
    return spans([span for of in record.spans.values() for span in of])

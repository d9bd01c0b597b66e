"""Where a run's model came from and what came of it, as a picture and as links to other runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ml_metadata

from ledger.formats import count, number, size, spans
from ledger.lineage import trace
from ledger.run_facts import is_ours, resolved_window
from ledger.run_record import RunRecord
from operations.report.drawing import Box
from operations.report.evidence import Evidence

_STYLES = {"artifact": "model", "execution": "", "file": "data", "code": "code", "settings": "code"}
_LONG = 34
_MOST = 4  # of boxes of one kind; the rest is one box
# Boxes, and edges as pairs of their keys.
Graph = tuple[list[Box], list[tuple[str, str]]]


def relatives(record: RunRecord, records: Sequence[RunRecord], predictions: Sequence[str]) -> list[tuple[str, str]]:
    """The runs that a run comes from, or that came from it, each with what it has to do with this one.

    `records` are those of all runs; `predictions` the batch predictions that this run's model answered.
    """
    related = []
    for other in records:
        if other.run_id == record.run_id:
            continue
        if other.run_id == record.parent:
            how = "this run belongs to it"
        elif other.parent == record.run_id:
            how = f"a {other.kind} of this run"
        elif other.run_id in predictions:
            how = "a batch prediction with this run's model"
        elif record.champion_model_id is not None and _trained(other, record.champion_model_id):
            predicted = record.kind == "prediction"
            what = "model that answered" if predicted else "champion that this run was compared with"
            how = f"trained the {what}"
        elif record.model_id is not None and other.champion_model_id == record.model_id and is_ours(other):
            how = "was compared with this run's model as its champion"
        else:
            continue
        related.append((other.run_id, how))
    return related


def picture(evidence: Evidence, records: Sequence[RunRecord]) -> Graph:
    """The lineage of a run: files, code and settings at the top, what became of its model below.

    `records` are those of all runs, oldest first. There is no box at all if it is not recorded what the run ingested.
    """
    record = evidence.record
    boxes: list[Box] = []
    edges: list[tuple[str, str]] = []

    def add(key: str, title: str, detail: str, style: str, *after: str) -> str:
        boxes.append(Box(key, title, detail, style))
        edges.extend((source, key) for source in after)
        return key

    if not record.spans:
        return [], []
    read = spans([span for split in record.spans.values() for span in split]) if resolved_window(record) else None
    if evidence.files:
        total = size(sum(file["bytes"] for file in evidence.files))
        detail = f"{total}, spans {read}" if read else total
        files = add("files", count(len(evidence.files), "Parquet file"), detail, "data")
    else:
        files = add("files", f"Spans {read}" if read else "Files", (record.data or "")[:23], "data")
    rows = ", ".join(f"{rows:,} {split}" for split, rows in record.rows.items())
    sources = [add("examples", "Examples", rows, "data", files)]
    for key, code, title in (("code", record.code, "Commit"), ("platform", record.platform, "Flightdeck")):
        if code is not None and code.commit:
            changed = "with changes" if code.dirty else "as committed"
            sources.append(add(key, f"{title} {code.commit[:10]}", changed, "code"))
    if record.settings:
        sources.append(add("settings", f"Settings {record.settings}", f"packages {(record.lock or '')[:12]}", "code"))
    if record.kind == "prediction":
        add("predictions", "Predictions", evidence.outcome, "prediction", *sources, *_champion(record, records, add))
        return boxes, edges
    if record.model_id is None:
        add("model", "No model", evidence.outcome, "failed" if evidence.outcome == "failed" else "", *sources)
        return boxes, edges
    model = judged = add("model", f"Model {record.model_id}", f"of run {record.run_id}", "model", *sources)
    if record.metrics:
        champion = _champion(record, records, add)
        main = record.main_metric or ""
        figure = [f"{main} {number(record.metrics[main])}"] if main in record.metrics else []
        judged = add("evaluation", "Evaluation", ", ".join([*figure, evidence.outcome]), "version", model, *champion)
    if record.version:
        add("version", f"Version {record.version}", "pushed", "version", judged)
    children = [other.run_id for other in records if other.parent == record.run_id]
    for kind, runs, detail in (
        ("prediction", evidence.predictions, "batch prediction"),
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
    maker = next((other for other in records if _trained(other, model)), None)
    return [add("champion", f"Champion {model}", f"of run {maker.run_id}" if maker else "", "model")]


def whole(store: ml_metadata.MetadataStore, record: RunRecord) -> Graph:
    """Every artifact, execution and file that the ledger knows upstream and downstream of a run.

    There is no box at all if nothing is known of what the run made.
    """
    try:
        traced = trace(store, f"run:{record.run_id}")
    except ValueError:
        return [], []
    files = {node.key for node in traced.nodes.values() if node.kind == "file"}
    folded = files if len(files) > _MOST else set()
    boxes = [Box("files", count(len(files), "file"), "", "data")] if folded else []
    for node in traced.nodes.values():
        if node.key not in folded:
            name = node.name if len(node.name) <= _LONG else f"{node.name[: _LONG - 1]}\N{HORIZONTAL ELLIPSIS}"
            detail = node.type if node.type != node.name else node.kind
            boxes.append(Box(node.key, name, detail, _STYLES.get(node.kind, "")))
    edges = [
        ("files" if edge.source in folded else edge.source, "files" if edge.target in folded else edge.target)
        for edge in traced.edges
    ]
    return boxes, edges


def _trained(record: RunRecord, model_id: int) -> bool:
    """Whether a run trained a model, and did not reuse one from the cache. Records are asked oldest first."""
    return record.model_id == model_id and any(
        node.node_id == "Trainer" and node.state == "done" for node in record.nodes
    )

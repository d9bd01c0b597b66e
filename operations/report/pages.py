"""The page of a run and its model card: turns evidence into plots, tables and sentences, as the templates want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.formats import NOTHING, count, duration, excerpt, moment, number, percent, signed, size, spans
from ledger.run_facts import UNKNOWN, is_ours, last_sign_of_life, shown_window
from ledger.run_record import RunRecord
from ledger.run_view import FEW_ROWS, RunView, worst
from operations.report import lineage, plots, statistics
from operations.report.card import Card
from operations.report.drawing import Box, draw
from operations.report.evidence import Evidence
from operations.report.index import Tile, metrics_of

_SECTIONS = {
    "summary": "Where it came from",
    "pipeline": "Pipeline",
    "data": "Data",
    "training": "Training",
    "evaluation": "Evaluation",
    "slices": "Slices",
    "fairness": "Fairness",
    "importance": "Importance",
    "mistakes": "Worst mistakes",
    "lineage": "Lineage",
}
# A batch prediction neither trains nor evaluates.
_SECTIONS_OF_PREDICTIONS = ("summary", "pipeline", "data", "lineage")
# Columns of metrics in the table of slices.
_METRICS_OF_SLICES = 3
_IMPORTANCES = 25
_REASONS = 5  # of a mistake, the others are behind a click
# Columns whose plots are open from the beginning.
_FEATURES = 9
_NUMBERS = {"mean": "mean", "std": "deviation", "min": "minimum", "median": "median", "max": "maximum"}
# A line about a run: name, value, and whether it is written like code.
Fact = tuple[str, str, bool]


def run(
    evidence: Evidence,
    records: Sequence[RunRecord],
    links: Mapping[str, str],
    roles: Mapping[str, str],
    whole: tuple[Sequence[Box], Sequence[tuple[str, str]]],
) -> dict[str, Any]:
    """The content of the page of a run.

    Args:
        evidence: what is left of it.
        records: of all runs, oldest first.
        links: run -> its page as the first page links it, of the runs that have one.
        roles: column -> what it is to the model, where that is worth telling, such as ``label``.
        whole: boxes and edges of everything upstream and downstream of the run.
    """
    record = evidence.record
    splits = [name for name in plots.SPLITS if name in evidence.splits]
    splits += sorted(evidence.splits.keys() - set(splits))
    shown = _SECTIONS_OF_PREDICTIONS if record.kind == "prediction" else tuple(_SECTIONS)
    features = _features(evidence.splits, splits, roles)
    importance, importance_note = _importance(evidence)
    return {
        **_about(evidence, {"lineage": "It is not recorded what this run ingested or made."}),
        "sections": [(key, _SECTIONS[key]) for key in shown if key != "fairness" or evidence.view.fairness],
        "shown": shown,
        "unfinished": _unfinished(evidence),
        "features": features[:_FEATURES],
        "further": features[_FEATURES:],
        "splits": splits,
        "split_rows": {name: evidence.splits[name].rows for name in splits},
        "training": plots.training(evidence.curves),
        "importance": importance,
        "importance_note": importance_note,
        "mistakes": _mistakes(evidence),
        "graph": _graph(evidence),
        "lineage": _picture(*lineage.picture(evidence, records)),
        "whole": _picture(*whole),
        "relatives": [
            (run_id, how, links.get(run_id)) for run_id, how in lineage.relatives(record, records, evidence.predictions)
        ],
    }


def card(evidence: Evidence, text: Card | None, use_case: str) -> dict[str, Any]:
    """The content of the model card of a run, with what people wrote about the model of a use case."""
    unwritten = "This model card has no text yet: name a Markdown file in the setting use_case.model_card."
    if (other := evidence.record.pipeline) != use_case:
        text = None
        whose = other or "another pipeline"
        unwritten = f"This run is of {whose}: what people wrote about that model is in the report of its own settings."
    return {
        **_about(evidence, {"card": unwritten}),
        "card": text or Card("Model card"),
        "lead": _lead(evidence),
        "data_facts": _data_facts(evidence),
        "limits": _limits(evidence),
    }


def _about(evidence: Evidence, missing: dict[str, str]) -> dict[str, Any]:
    """What both pages show; `missing` says of each section why it is not there."""
    main = evidence.record.main_metric
    compared = "The contract of this run marks no column as sensitive, so no groups of people were compared."
    if not evidence.record.metrics:
        compared = "There are no metrics: the run was not evaluated."
    return {
        "evidence": evidence,
        "missing": {"fairness": compared, **missing, **evidence.missing},
        "tiles": _tiles(evidence),
        "facts": _facts(evidence),
        "metrics": sorted(evidence.view.metrics, key=lambda metric: (metric.name != main, not metric.thresholds)),
        "assessed": evidence.assessment,
        "sliced": _sliced(evidence.view),
    }


def _unfinished(evidence: Evidence) -> str | None:
    if not is_ours(evidence.record):
        return (
            "Another TFX pipeline made this run, and recorded neither code, settings nor metrics as Flightdeck does: "
            "what follows is what the metadata store knows by itself."
        )
    states = {UNKNOWN: "is still going on, or was killed", "running": "is still going on", "killed": "was killed"}
    if evidence.outcome not in states:
        return None
    done = sum(node.state in ("done", "cached") for node in evidence.nodes)
    heard = last_sign_of_life(evidence.record)
    last = f" Its last sign of life: {moment(heard)}." if heard else ""
    return f"This run {states[evidence.outcome]}: {done} of {count(len(evidence.nodes), 'node')} had ended.{last}"


def _tiles(evidence: Evidence) -> list[Tile]:
    record = evidence.record
    tiles: list[Tile] = []
    if record.main_metric in record.metrics:
        metric = evidence.view.metric(record.main_metric or "")
        detail = (
            "no champion to compare with" if metric.change is None else f"{signed(metric.change)} against the champion"
        )
        tiles.append((metric.name, number(metric.value), detail, metric.verdict))
    if record.rows:
        by_split = ", ".join(f"{rows:,} {split}" for split, rows in record.rows.items())
        tiles.append(("Rows", f"{sum(record.rows.values()):,}", by_split))
    if record.spans and shown_window(record):
        by_split = ", ".join(f"{split} {spans(numbers)}" for split, numbers in record.spans.items() if numbers)
        tiles.append(("Window", f"spans {shown_window(record)}", by_split))
    if record.version:
        tiles.append(("Pushed as", record.version, "version", "good"))
    seconds = record.seconds or (sum(node.seconds or 0 for node in evidence.nodes) or None)
    cached = sum(node.state == "cached" for node in evidence.nodes)
    tiles.append(("Time", duration(seconds), f"{cached} of {count(len(evidence.nodes), 'node')} from the cache"))
    return tiles


def _facts(evidence: Evidence) -> list[Fact]:
    record = evidence.record
    ours, code = is_ours(record), record.code
    dirty = {True: "with uncommitted changes", False: "as committed", None: None}[code.dirty]
    began_with = f"artifact {record.base_model_id}: {record.began_with or 'its weights'}"
    given: tuple[tuple[str, str | int | None, bool], ...] = (
        ("Pipeline", record.pipeline, False),
        ("Kind", record.kind if ours else None, False),
        ("Belongs to", record.parent, False),
        ("Started", moment(record.started), False),
        ("By", " on ".join(part for part in (record.user, record.host) if part), False),
        ("Runner", record.runner if ours else None, False),
        ("Commit", code.commit and code.commit[:12], True),
        ("Code", dirty if code.commit else None, False),
        ("Branch", code.branch, True),
        ("Commit of Flightdeck", record.platform and record.platform.short(12), True),
        ("Settings", record.settings, True),
        ("Lock of the packages", record.lock and record.lock[:16], True),
        ("Data", record.data and record.data[:23], True),
        ("Window asked for", record.window, True),
        ("Peak memory", size(record.peak_mb * 1048576) if record.peak_mb else None, False),
        ("Model artifact", record.model_id, False),
        ("Began with", None if record.base_model_id is None else began_with, False),
        ("Champion artifact", record.champion_model_id, False),
        ("Pushed to", record.pushed_to, True),
    )
    return [(name, str(value), is_code) for name, value, is_code in given if value not in (None, "")]


def _data_facts(evidence: Evidence) -> list[Fact]:
    record, anomalies = evidence.record, evidence.view.anomalies
    facts: list[Fact] = []
    for split, numbers in record.spans.items():
        rows = f"{record.rows[split]:,} rows" if split in record.rows else "rows unknown"
        role = {"train": "Learned from", "eval": "Evaluated on"}.get(split, split)
        facts.append((role, f"{rows}, span {spans(numbers)}", False))
    if "train" in evidence.splits:
        facts.append(("Columns", str(len(evidence.splits["train"].columns)), False))
    if anomalies is not None:
        facts.append(("Anomalies", str(len(anomalies) or "none"), False))
    if evidence.files:
        total = sum(file["bytes"] for file in evidence.files)
        facts.append(("Files", f"{len(evidence.files)}, {size(total)}", False))
    if record.data:
        facts.append(("Fingerprint", record.data, True))
    return facts or [("Data", "unknown: nothing was ingested", False)]


def _graph(evidence: Evidence) -> dict[str, Any] | None:
    nodes = evidence.nodes
    if not nodes:
        return None
    states = {
        node.node_id: node.state + (f", {duration(node.seconds)}" if node.seconds is not None else "") for node in nodes
    }
    boxes = [Box(node.node_id, node.node_id, states[node.node_id], node.state) for node in nodes]
    # An edge that a longer way implies says nothing more, and hides the others.
    edges = _without_shortcuts({node.node_id: set(node.after) for node in nodes})
    words = "; ".join(
        f"{node.node_id}: {states[node.node_id]}" + (f", after {' and '.join(node.after)}" if node.after else "")
        for node in nodes
    )
    return {"drawing": draw(boxes, edges), "words": f"{count(len(nodes), 'node')}. {words}."}


def _picture(boxes: Sequence[Box], edges: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
    """A drawing, and what it shows for those who do not see it."""
    if not boxes:
        return None
    words = "; ".join(f"{box.title}, {box.detail}" if box.detail else box.title for box in boxes)
    return {"drawing": draw(boxes, edges), "words": words}


def _without_shortcuts(after: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The transitive reduction of an acyclic graph, as edges from upstream to downstream."""
    reached: dict[str, set[str]] = {}

    def upstream(node: str) -> set[str]:
        if node not in reached:
            reached[node] = set()
            direct = after.get(node, set())
            reached[node] = direct.union(*(upstream(other) for other in direct))
        return reached[node]

    return [
        (source, node)
        for node, direct in after.items()
        for source in sorted(direct)
        if not any(source in upstream(other) for other in direct if other != source)
    ]


def _features(
    splits: Mapping[str, statistics.Statistics], order: Sequence[str], roles: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Each column in each split, those first that have moved farthest from training."""
    if not splits:
        return []
    reference = "train" if "train" in splits else order[0]
    names = dict.fromkeys(name for split in order for name in splits[split].columns)
    moved = []
    for name in names:
        columns = {split: splits[split].columns[name] for split in order if name in splits[split].columns}
        before = splits[reference].columns.get(name)
        shifts = {
            split: statistics.shift(before, column) if before is not None and before.kind == column.kind else None
            for split, column in columns.items()
        }
        feature = {
            "name": name,
            "role": roles.get(name),
            "splits": list(columns),
            "plot": plots.feature(name, columns, order)
            if len({column.kind for column in columns.values()}) == 1
            else None,
            "figures": _figures(columns, {**shifts, reference: None}),
        }
        moved.append((-max((shift for shift in shifts.values() if shift is not None), default=0.0), name, feature))
    return [feature for _, _, feature in sorted(moved, key=lambda entry: entry[:2])]


def _figures(
    columns: Mapping[str, statistics.Column], shifts: Mapping[str, float | None]
) -> list[tuple[str, list[str]]]:
    """Rows of figures, a cell for each split."""
    cells: dict[str, list[str]] = {"missing": [percent(column.missing) for column in columns.values()]}
    if next(iter(columns.values())).kind == "number":
        for title, name in _NUMBERS.items():
            cells[title] = [number(getattr(column, name)) for column in columns.values()]
    else:
        cells["values"] = [number(column.distinct) for column in columns.values()]
        cells["first"] = [
            f"{excerpt(column.top[0][0])} {percent(column.top[0][1])}" if column.top else NOTHING
            for column in columns.values()
        ]
    if len(columns) > 1:
        cells["moved by"] = [_moved_by(shifts[split], column.kind) for split, column in columns.items()]
    return list(cells.items())


def _moved_by(shift: float | None, kind: str) -> str:
    return NOTHING if shift is None else percent(shift) if kind == "category" else f"{shift:.2f} std"


def _sliced(view: RunView) -> dict[str, Any]:
    """The slices, worst first by the metric `main`, None if that is not among the metrics that are shown."""
    record, main = view.record, view.record.main_metric or ""
    # What only counts or sums rows is no quality of a slice.
    names = [
        name
        for name in metrics_of([record])
        if name not in ("example_count", "weighted_example_count")
        and any(name in part.challenger for part in view.slices)
    ][: _METRICS_OF_SLICES - bool(record.champion_metrics)]
    sign = -1 if record.main_better == "lower" else 1
    ordered = sorted(view.slices, key=lambda part: (main not in part.challenger, sign * part.challenger.get(main, 0)))
    large = [part for part in ordered if part.rows >= view.min_slice_rows]
    return {
        "rows": [
            {
                "name": part.slice,
                "rows": part.rows,
                "small": part.rows < view.min_slice_rows,
                "cells": [view.metric(name, part) for name in names],
            }
            for part in ordered
        ],
        "metrics": names,
        "main": main if main in names else None,
        "plot": plots.slices(large, main, record.metrics.get(main)) if main in names else None,
    }


def _importance(evidence: Evidence) -> tuple[plots.Plot | None, str | None]:
    document = evidence.importance
    if document is None:
        return None, None
    metric = evidence.assessor.task.quality[0]
    drop = f"{metric.name}_drop"
    measured = [feature for feature in document["features"] if feature[drop] is not None]
    features = [
        {"feature": feature["feature"], "drop": feature[drop], "deviation": feature[f"{drop}_std"] or 0.0}
        for feature in measured[:_IMPORTANCES]
    ]
    rest = (
        f" {count(len(measured) - len(features), 'feature')} with less are left out." if measured[_IMPORTANCES:] else ""
    )
    note = (
        f"Each raw column was shuffled {document['repeats']} times among {document['rows']:,} rows of the evaluation "
        "split; the lines are one standard deviation of the shuffles. A column that repeats what others say gets "
        f"little.{rest}"
    )
    return plots.importance(features, metric.title), note


def _mistakes(evidence: Evidence) -> list[dict[str, Any]]:
    """The worst mistakes, each with the columns that move its answer, those that move it most first."""
    rows = (evidence.mistakes or {"rows": []})["rows"]
    explained = []
    for row in rows:
        answer = row["answer"]
        # Of several numbers, that of the class that is the most probable.
        at = answer.index(max(answer)) if isinstance(answer, list) else None
        moved = [
            (column["column"], _value(column["value"]), _number(column["attribution"], at)) for column in row["columns"]
        ]
        moved.sort(key=lambda reason: -abs(reason[2]))
        label, answered = evidence.assessor.told(row["label"], answer)
        explained.append(
            {
                "row": row["row"],
                "label": label,
                "answer": answered,
                "base_value": _number(row["base_value"], at),
                "reasons": moved[:_REASONS],
                "further": moved[_REASONS:],
            }
        )
    largest = max((abs(by) for row in explained for _, _, by in row["reasons"]), default=0.0) or 1.0
    return [{**row, "largest": largest} for row in explained]


def _number(numbers: Any, at: int | None) -> float:
    return numbers if at is None else numbers[at]


def _value(value: str | float | None) -> str:
    return "missing" if value in (None, "") else number(value) if isinstance(value, float) else str(value)


def _lead(evidence: Evidence) -> str:
    record = evidence.record
    parts = [f"The model of run {record.run_id}, started {moment(record.started)}"]
    for split, what in (("train", "trained"), ("eval", "evaluated")):
        if record.spans.get(split):
            parts.append(f"{what} on span {spans(record.spans[split])}")
    state = f"pushed as version {record.version}" if record.version else evidence.outcome
    return f"{', '.join(parts)}; {state}."


def _limits(evidence: Evidence) -> list[str]:
    """What the figures of this run warn of."""
    record, slices, limits = evidence.record, evidence.view.slices, []
    main = record.main_metric or ""
    if record.outcome != "pushed" and is_ours(record):
        limits.append(f"This model is not in use: the run is {evidence.outcome}.")
    limits += [f"{reason[:1].upper()}{reason[1:]}." for reason in record.reasons if record.outcome == "not blessed"]
    if small := [part for part in slices if part.rows < FEW_ROWS]:
        limits.append(
            f"{count(len(small), 'slice')} of {len(slices)} have fewer than {FEW_ROWS} rows: their figures are mostly "
            "chance."
        )
    if record.main_better != "neither" and (
        weakest := worst(slices, main, record.main_better == "lower", FEW_ROWS, count=1)
    ):
        limits.append(
            f"It is weakest on {weakest[0].slice}: {main} {number(weakest[0].challenger[main])} on "
            f"{weakest[0].rows:,} rows, against {number(record.metrics.get(main))} overall."
        )
    if evidence.assessment is not None:
        limits += evidence.assessment.limits
    if evidence.view.champion_saw:
        limits.append(evidence.view.champion_saw)
    for split, where in (("eval", "the evaluation split"), ("serving", "what it is asked in service")):
        if moved := _moved(evidence.splits, split):
            limits.append(f"{', '.join(moved)}: {where} differs much from what it learned from.")
    if not record.thresholds and is_ours(record):
        limits.append("Nothing was asked of its metrics.")
    return limits


def _moved(splits: Mapping[str, statistics.Statistics], split: str) -> list[str]:
    """The columns that have moved far from training: half a standard deviation, or a tenth of the rows.

    Of a few rows, such as somebody's first requests, nothing is said.
    """
    if not {"train", split} <= splits.keys() or splits[split].rows < FEW_ROWS:
        return []
    other = splits[split].columns
    return [
        name
        for name, column in splits["train"].columns.items()
        if name in other
        and other[name].kind == column.kind
        and statistics.shift(column, other[name]) > (0.5 if column.kind == "number" else 0.1)
    ]

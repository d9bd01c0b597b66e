"""What stands on the pages: turns evidence into plots, tables and sentences, as the templates want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.run_record import RunRecord
from ledger.runs import (
    TRAINING,
    UNKNOWN,
    evaluated_like,
    evaluation_data,
    is_ours,
    last_sign_of_life,
    outcome,
    resolved_window,
    shown_outcome,
)
from operations.report import lineage, plots, statistics
from operations.report.card import Card
from operations.report.drawing import Box, draw
from operations.report.evidence import Evidence
from operations.report.formats import NOTHING, count, duration, moment, number, percent, signed, size, spans

SECTIONS = (
    ("summary", "Where it came from"),
    ("pipeline", "Pipeline"),
    ("data", "Data"),
    ("training", "Training"),
    ("evaluation", "Evaluation"),
    ("slices", "Slices"),
    ("importance", "Importance"),
    ("lineage", "Lineage"),
)
_SECTIONS_OF_PREDICTIONS = ("summary", "pipeline", "data", "lineage")
# Columns of metrics in the table of runs, and in that of slices.
_METRICS_OF_RUNS = 3
_METRICS_OF_SLICES = 3
_FEW_ROWS = 100
_IMPORTANCES = 25
# Columns whose plots are open from the beginning.
_FEATURES = 9
_ORDER = {name: at for at, name in enumerate(plots.SPLITS)}


def index(records: Sequence[RunRecord], links: Mapping[str, str], unreadable: Sequence[str]) -> dict[str, Any]:
    """The page of all runs.

    Args:
        records: oldest first.
        links: run -> its page, of the runs that have one.
        unreadable: names of runs whose records cannot be read.
    """
    metrics = _metrics_of(records)
    newest = [each for each in reversed(records) if is_ours(each)]
    main = next((each for each in newest if each.main_metric in metrics), None)
    metric, better = (main.main_metric or "", main.main_better) if main else ("", "neither")
    measured = [each for each in records if metric and metric in each.metrics]
    found = _best(measured, metric, better)
    best = found and {"value": number(found.metrics[metric]), "run": _rank(found, measured)}
    pushed = next((each for each in newest if each.version), None)
    shown = [
        plots.Measured(
            each.run_id,
            each.started,
            outcome(each),
            _window(each),
            evaluation_data(each),
            links.get(each.run_id),
            dict(each.metrics),
        )
        for each in records
        if each.metrics
    ]
    kinds: dict[str, int] = {}
    for each in records:
        kinds[outcome(each)] = kinds.get(outcome(each), 0) + 1
    return {
        "rows": [_row(each, metrics[:_METRICS_OF_RUNS], links) for each in reversed(records)],
        "runs_detail": ", ".join(f"{of} {kind}" for kind, of in sorted(kinds.items(), key=lambda pair: -pair[1])),
        "metrics": metrics[:_METRICS_OF_RUNS],
        "metric": metric,
        "tagged": any(each.tags for each in records),
        "best": best,
        "pushed": pushed and {"version": pushed.version, "detail": f"{moment(pushed.started)}"},
        "latest": newest
        and {"outcome": shown_outcome(newest[0]), "detail": f"{newest[0].kind}, {moment(newest[0].started)}"},
        "history": plots.history(shown, metric, found and found.run_id) if measured else None,
        "unlinked": f"The newest {count(len(links), 'run')} have a page of their own."
        if len(links) < len(records)
        else None,
        "unreadable": f"The records of {', '.join(unreadable)} cannot be read: another version wrote them."
        if unreadable
        else None,
    }


def run(
    evidence: Evidence,
    records: Sequence[RunRecord],
    links: Mapping[str, str],
    roles: Mapping[str, str],
    whole: tuple[Sequence[Box], Sequence[tuple[str, str]]],
) -> dict[str, Any]:
    """The page of a run.

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
    # A batch prediction neither trains nor evaluates.
    sections = [each for each in SECTIONS if record.kind != "prediction" or each[0] in _SECTIONS_OF_PREDICTIONS]
    features = _features(evidence.splits, splits, roles)
    context = {
        "evidence": evidence,
        "sections": sections,
        "shown": {key for key, _ in sections},
        "missing": {
            "lineage": "It is not recorded what this run ingested or made.",
            **evidence.missing,
        },
        "unfinished": _unfinished(evidence),
        "tiles": _tiles(evidence),
        "facts": _facts(evidence),
        "anomalies": evidence.anomalies,
        "features": features[:_FEATURES],
        "further": features[_FEATURES:],
        "splits": splits,
        "split_rows": {name: evidence.splits[name].rows for name in splits},
        "serving_source": evidence.serving_source,
        "training": plots.training(evidence.curves),
        "metrics": _metrics(record),
        "saw": f"The champion learned from span {spans(list(record.champion_saw))}, on which it is judged here: "
        "that flatters it"
        if record.champion_saw
        else None,
        **_quality(evidence),
        **_slices(evidence),
        **_importance(evidence),
    }
    context["graph"], context["graph_words"] = _graph(evidence)
    boxes, edges = lineage.picture(evidence, records, evidence.predictions)
    context["lineage"] = draw(boxes, edges) if boxes else None
    context["lineage_words"] = _in_words(boxes)
    context["whole"] = draw(*whole) if whole[0] else None
    context["whole_words"] = _in_words(whole[0])
    context["relatives"] = [
        {"run": each.run_id, "how": each.how, "link": links.get(each.run_id)}
        for each in lineage.relatives(evidence.record, records, evidence.predictions)
    ]
    return context


def card(evidence: Evidence, text: Card | None) -> dict[str, Any]:
    """The model card of a run.

    Args:
        evidence: what is left of it.
        text: what people wrote about the model.
    """
    record = evidence.record
    whole = _quality(evidence)
    return {
        "evidence": evidence,
        "card": text or Card("Model card"),
        "missing": {
            "card": "Nobody has written down what this model is for: name a Markdown file in the setting "
            "use_case.model_card.",
            **evidence.missing,
        },
        "lead": _lead(evidence),
        "tiles": _tiles(evidence),
        "facts": _facts(evidence),
        "data_facts": _data_facts(evidence),
        "metrics": _metrics(record),
        "calibration": whole.get("calibration"),
        "limits": _limits(evidence),
        **_slices(evidence),
    }


def _metrics_of(records: Sequence[RunRecord]) -> list[str]:
    """The metrics that runs have, the main one first, then those with a threshold, then those that most runs have."""
    seen: dict[str, int] = {}
    asked: set[str] = set()
    mains: dict[str, int] = {}
    for each in records:
        asked |= set(each.thresholds)
        if each.main_metric in each.metrics:
            mains[each.main_metric or ""] = mains.get(each.main_metric or "", 0) + 1
        for name in each.metrics:
            seen[name] = seen.get(name, 0) + 1
    return sorted(seen, key=lambda name: (-mains.get(name, 0), name not in asked, -seen[name], name))


def _ranked(measured: Sequence[RunRecord]) -> tuple[list[RunRecord], list[RunRecord]]:
    """The runs that `flightdeck runs best` ranks, and those that it leaves out for their evaluation data."""
    meant = [each for each in measured if each.kind in TRAINING and each.outcome != "failed"]
    return evaluated_like(meant[-1], meant) if meant else ([], [])


def _best(measured: Sequence[RunRecord], metric: str, better: str) -> RunRecord | None:
    ranked, _ = _ranked(measured)
    if better == "neither" or not ranked:
        return None
    return (min if better == "lower" else max)(ranked, key=lambda each: each.metrics[metric])


def _rank(best: RunRecord, measured: Sequence[RunRecord]) -> str:
    ranked, left_out = _ranked(measured)
    if not left_out:
        return f"run {best.run_id}"
    return (
        f"run {best.run_id}, of {count(len(ranked), 'run')} evaluated on {evaluation_data(best)}; "
        f"{len(left_out)} on other data left out"
    )


def _row(record: RunRecord, metrics: Sequence[str], links: Mapping[str, str]) -> dict[str, Any]:
    return {
        "run": record.run_id,
        "link": links.get(record.run_id),
        "started": f"{record.started:%Y-%m-%d %H:%M}",
        "order": record.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "kind": record.kind if is_ours(record) else "foreign",
        "outcome": shown_outcome(record),
        "window": _window(record) or NOTHING,
        "metrics": [record.metrics.get(name) for name in metrics],
        "seconds": record.seconds,
        "commit": record.code.short(),
        "tags": record.tags,
    }


def _window(record: RunRecord) -> str:
    return resolved_window(record) or record.window or ""


def _unfinished(evidence: Evidence) -> str | None:
    said = {UNKNOWN: "is still going on, or was killed", "running": "is still going on", "killed": "was killed"}
    if is_ours(evidence.record) and evidence.outcome in said:
        done = sum(each.state in ("done", "cached") for each in evidence.nodes)
        heard = last_sign_of_life(evidence.record)
        last = f" Its last sign of life: {moment(heard)}." if heard else ""
        return f"This run {said[evidence.outcome]}: {done} of {count(len(evidence.nodes), 'node')} had ended.{last}"
    if not is_ours(evidence.record):
        return (
            "Another TFX pipeline made this run, and recorded neither code, settings nor metrics as Flightdeck does: "
            "what follows is what the metadata store knows by itself."
        )
    return None


def _tiles(evidence: Evidence) -> list[tuple[str, ...]]:
    record = evidence.record
    tiles: list[tuple[str, ...]] = []
    main = record.main_metric
    if main and main in record.metrics:
        champion = record.champion_metrics.get(main)
        change = None if champion is None else record.metrics[main] - champion
        detail = "no champion to compare with" if change is None else f"{signed(change)} against the champion"
        tiles.append((main, number(record.metrics[main]), detail, _verdict(record.main_better, change)))
    if record.rows:
        tiles.append(
            (
                "Rows",
                f"{sum(record.rows.values()):,}",
                ", ".join(f"{rows:,} {split}" for split, rows in record.rows.items()),
            )
        )
    if record.spans and _window(record):
        tiles.append(
            (
                "Window",
                f"spans {_window(record)}",
                ", ".join(f"{split} {spans(of)}" for split, of in record.spans.items() if of),
            )
        )
    if record.version:
        tiles.append(("Pushed as", record.version, "version", "good"))
    seconds = record.seconds or (sum(each.seconds or 0 for each in evidence.nodes) or None)
    cached = sum(each.state == "cached" for each in evidence.nodes)
    tiles.append(("Time", duration(seconds), f"{cached} of {count(len(evidence.nodes), 'node')} from the cache"))
    return tiles


def _facts(evidence: Evidence) -> list[tuple[str, str, bool]]:
    record = evidence.record
    commit = record.code.commit and record.code.commit[:12]
    dirty = {True: "with uncommitted changes", False: "as committed", None: ""}[record.code.dirty]
    given: list[tuple[str, str | None, bool]] = [
        ("Pipeline", record.pipeline or None, False),
        ("Kind", record.kind if is_ours(record) else None, False),
        ("Belongs to", record.parent, False),
        ("Started", moment(record.started), False),
        ("By", " on ".join(each for each in (record.user, record.host) if each) or None, False),
        ("Runner", record.runner if is_ours(record) else None, False),
        ("Commit", commit, True),
        ("Code", dirty if commit else None, False),
        ("Branch", record.code.branch, True),
        ("Commit of Flightdeck", record.platform and record.platform.short(12), True),
        ("Settings", record.settings, True),
        ("Lock of the packages", record.lock and record.lock[:16], True),
        ("Data", record.data and record.data[:23], True),
        ("Window asked for", record.window, True),
        ("Peak memory", size(record.peak_mb * 1048576) if record.peak_mb else None, False),
        ("Model artifact", None if record.model_id is None else str(record.model_id), False),
        (
            "Began with",
            None
            if record.base_model_id is None
            else f"artifact {record.base_model_id}: {record.began_with or 'its weights'}",
            False,
        ),
        ("Champion artifact", None if record.champion_model_id is None else str(record.champion_model_id), False),
        ("Pushed to", record.pushed_to, True),
    ]
    return [(name, value, code) for name, value, code in given if value]


def _data_facts(evidence: Evidence) -> list[tuple[str, str, bool]]:
    record = evidence.record
    facts: list[tuple[str, str, bool]] = []
    for split, of in record.spans.items():
        rows = f"{record.rows[split]:,} rows" if split in record.rows else "rows unknown"
        role = {"train": "Learned from", "eval": "Evaluated on"}.get(split, split)
        facts.append((role, f"{rows}, span {spans(of)}", False))
    if "train" in evidence.splits:
        facts.append(("Columns", str(len(evidence.splits["train"].columns)), False))
    if evidence.anomalies is not None:
        facts.append(("Anomalies", str(len(evidence.anomalies) or "none"), False))
    if evidence.files:
        total = sum(each["bytes"] for each in evidence.files)
        facts.append(("Files", f"{len(evidence.files)}, {size(total)}", False))
    if record.data:
        facts.append(("Fingerprint", record.data, True))
    return facts or [("Data", "unknown: nothing was ingested", False)]


def _graph(evidence: Evidence) -> tuple[Any, str]:
    nodes = evidence.nodes
    if not nodes:
        return None, ""
    boxes = [
        Box(
            each.node_id,
            each.node_id,
            each.state + (f", {duration(each.seconds)}" if each.seconds is not None else ""),
            each.state,
        )
        for each in nodes
    ]
    # An edge that a longer way implies says nothing more, and hides the others.
    edges = _without_shortcuts({each.node_id: set(each.after) for each in nodes})
    words = "; ".join(
        f"{each.node_id}: {each.state}"
        + (f", {duration(each.seconds)}" if each.seconds is not None else "")
        + (f", after {' and '.join(each.after)}" if each.after else "")
        for each in nodes
    )
    return draw(boxes, edges), f"{count(len(nodes), 'node')}. {words}."


def _in_words(boxes: Sequence[Box]) -> str:
    return "; ".join(f"{each.title}, {each.detail}" if each.detail else each.title for each in boxes)


def _without_shortcuts(after: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The transitive reduction of an acyclic graph, as edges from upstream to downstream."""
    reached: dict[str, set[str]] = {}

    def upstream(node: str) -> set[str]:
        if node not in reached:
            reached[node] = set()
            reached[node] = after.get(node, set()).union(*(upstream(each) for each in after.get(node, ())))
        return reached[node]

    return [
        (each, node)
        for node, direct in after.items()
        for each in sorted(direct)
        if not any(each in upstream(other) for other in direct if other != each)
    ]


def _features(
    splits: Mapping[str, statistics.Statistics], order: Sequence[str], roles: Mapping[str, str]
) -> list[dict[str, Any]]:
    if not splits:
        return []
    reference = splits.get("train", splits[order[0]])
    features = []
    for name in statistics.names([splits[split] for split in order]):
        columns = {split: splits[split].columns[name] for split in order if name in splits[split].columns}
        kinds = {each.kind for each in columns.values()}
        before = reference.columns.get(name)
        moved = {
            split: statistics.shift(before, each) if before is not None and before.kind == each.kind else None
            for split, each in columns.items()
        }
        features.append(
            {
                "name": name,
                "role": roles.get(name),
                "splits": list(columns),
                "plot": plots.feature(name, columns, order) if len(kinds) == 1 else None,
                "figures": _figures(columns, moved, "train" if "train" in splits else order[0]),
                "shift": max((value for value in moved.values() if value is not None), default=0.0),
            }
        )
    return sorted(features, key=lambda each: (-each["shift"], each["name"]))


def _figures(
    columns: Mapping[str, statistics.Column], moved: Mapping[str, float | None], reference: str
) -> list[tuple[str, list[str]]]:
    each = list(columns.values())
    figures = [("missing", [percent(column.missing) for column in each])]
    if each[0].kind == "number":
        figures += [
            ("mean", [number(column.mean) for column in each]),
            ("deviation", [number(column.deviation) for column in each]),
            ("least", [number(column.minimum) for column in each]),
            ("median", [number(column.median) for column in each]),
            ("most", [number(column.maximum) for column in each]),
        ]
    else:
        figures += [
            ("values", [number(column.distinct) for column in each]),
            (
                "first",
                [f"{column.top[0][0]} {percent(column.top[0][1])}" if column.top else NOTHING for column in each],
            ),
        ]
    if len(columns) > 1:
        figures.append(
            (
                "moved by",
                [
                    NOTHING
                    if split == reference or moved[split] is None
                    else percent(moved[split])
                    if column.kind == "category"
                    else f"{moved[split]:.2f} sd"
                    for split, column in columns.items()
                ],
            )
        )
    return figures


def _metrics(record: RunRecord) -> list[dict[str, Any]]:
    rules = {"at_least": "at least", "at_most": "at most", "may_lose": "may lose"}
    metrics = []
    for name in sorted(record.metrics, key=lambda name: (name != record.main_metric, name not in record.thresholds)):
        asked = record.thresholds.get(name, {})
        champion = record.champion_metrics.get(name)
        change = None if champion is None else record.metrics[name] - champion
        metrics.append(
            {
                "name": name,
                "value": record.metrics[name],
                "champion": champion,
                "change": change,
                "verdict": _verdict(_direction(record, name), change),
                "asked": ", ".join(
                    f"{rules.get(rule) or rule.replace('_', ' ')} {bound:g}" for rule, bound in asked.items()
                ),
            }
        )
    return metrics


def _direction(record: RunRecord, metric: str) -> str:
    if metric == record.main_metric:
        return record.main_better
    asked = record.thresholds.get(metric, {})
    return "higher" if "at_least" in asked else "lower" if "at_most" in asked else "neither"


def _verdict(better: str, change: float | None) -> str:
    if change is None or abs(change) < 5e-5 or better == "neither":
        return ""
    return "better" if (change > 0) == (better == "higher") else "worse"


def _quality(evidence: Evidence) -> dict[str, Any]:
    found = evidence.quality
    if found is None:
        return {"quality": None, "calibration": None}
    return {
        "quality": found,
        "roc": plots.roc(found) if found.roc else None,
        "precision_recall": plots.precision_recall(found) if found.precision_recall else None,
        "calibration": plots.calibration(found),
        "scores": plots.scores(found),
        "thresholds": [
            [each.threshold, each.true_positives, each.false_positives, each.true_negatives, each.false_negatives]
            for each in found.thresholds
        ],
    }


def _slices(evidence: Evidence) -> dict[str, Any]:
    record = evidence.record
    main = record.main_metric or ""
    names = [name for name in _metrics_of([record]) if any(name in each["challenger"] for each in evidence.slices)]
    # What only counts or sums rows is no quality of a slice.
    names = [name for name in names if name not in ("example_count", "weighted_example_count")][
        : _METRICS_OF_SLICES - bool(record.champion_metrics)
    ]
    lower = record.main_better == "lower"
    least = evidence.settings.get("evaluation", {}).get("min_slice_size", _FEW_ROWS)
    ordered = sorted(
        evidence.slices,
        key=lambda each: (main not in each["challenger"], each["challenger"].get(main, 0) * (-1 if lower else 1)),
    )
    large = [each for each in ordered if each["rows"] >= least]
    return {
        "slices": [
            {
                "name": each["slice"],
                "rows": each["rows"],
                "small": each["rows"] < least,
                "cells": [_compared(record, each, name) for name in names],
            }
            for each in ordered
        ],
        "slice_metrics": names,
        "slice_metric": main if main in names else None,
        "slice_plot": plots.slices(large, main, record.metrics.get(main)) if main in names else None,
    }


def _compared(record: RunRecord, found: Mapping[str, Any], metric: str) -> dict[str, Any]:
    value, champion = found["challenger"].get(metric), found["champion"].get(metric)
    change = None if value is None or champion is None else value - champion
    return {"value": value, "change": change, "verdict": _verdict(_direction(record, metric), change)}


def _importance(evidence: Evidence) -> dict[str, Any]:
    found = evidence.importance
    if found is None:
        return {"importance": None, "importance_note": None}
    measured = [each for each in found["features"] if each["auc_drop"] is not None]
    features = [
        {"feature": each["feature"], "drop": each["auc_drop"], "deviation": each["auc_drop_std"] or 0.0}
        for each in measured[:_IMPORTANCES]
    ]
    rest = (
        f" {count(len(measured) - len(features), 'feature')} with less are left out." if measured[_IMPORTANCES:] else ""
    )
    return {
        "importance": plots.importance(features, "AUC"),
        "importance_note": f"Each raw column was shuffled {found['repeats']} times among {found['rows']:,} rows of the "
        "evaluation split; the lines are one standard deviation of the shuffles. A column that repeats what others say "
        f"gets little.{rest}",
    }


def _lead(evidence: Evidence) -> str:
    record = evidence.record
    parts = [f"The model of run {record.run_id}, started {moment(record.started)}"]
    if record.spans.get("train"):
        parts.append(f"trained on span {spans(record.spans['train'])}")
    if record.spans.get("eval"):
        parts.append(f"evaluated on span {spans(record.spans['eval'])}")
    state = f"pushed as version {record.version}" if record.version else evidence.outcome
    return f"{', '.join(parts)}; {state}."


def _limits(evidence: Evidence) -> list[str]:
    """What the figures of this run warn of."""
    record, limits = evidence.record, []
    main = record.main_metric or ""
    rules = record.thresholds
    if record.outcome != "pushed" and is_ours(record):
        limits.append(f"This model is not in use: the run is {evidence.outcome}.")
    limits += [f"{reason[:1].upper()}{reason[1:]}." for reason in record.reasons if record.outcome == "not blessed"]
    small = [each for each in evidence.slices if each["rows"] < _FEW_ROWS]
    if small:
        limits.append(
            f"{count(len(small), 'slice')} of {len(evidence.slices)} have fewer than {_FEW_ROWS} rows: their figures "
            "are mostly chance."
        )
    measured = [each for each in evidence.slices if main in each["challenger"] and each["rows"] >= _FEW_ROWS]
    if measured and record.main_better != "neither":
        worst = (max if record.main_better == "lower" else min)(measured, key=lambda each: each["challenger"][main])
        limits.append(
            f"It is weakest on {worst['slice']}: {main} {number(worst['challenger'][main])} on {worst['rows']:,} rows, "
            f"against {number(record.metrics.get(main))} overall."
        )
    if evidence.quality is not None and evidence.quality.groups:
        found = evidence.quality
        mean = sum(each.predicted * each.rows for each in found.groups) / found.rows
        if abs(mean - found.base_rate) > 0.02:
            way = "less" if mean < found.base_rate else "more"
            limits.append(
                f"It promises {way} than what came: {percent(mean)} on average, where {percent(found.base_rate)} of "
                "the rows were positive."
            )
    if record.champion_saw:
        limits.append(
            f"The champion had learned from span {spans(list(record.champion_saw))}, on which both are judged: the "
            "comparison flatters the champion."
        )
    for split in ("eval", "serving"):
        if "train" in evidence.splits and split in evidence.splits:
            limits += _moved(evidence.splits["train"], evidence.splits[split], split)
    if not rules and is_ours(record):
        limits.append("Nothing was asked of its metrics.")
    return limits


def _moved(train: statistics.Statistics, other: statistics.Statistics, split: str) -> list[str]:
    """The columns that have moved far: half a standard deviation, or a tenth of the rows."""
    far = [
        name
        for name, column in train.columns.items()
        if name in other.columns
        and other.columns[name].kind == column.kind
        and statistics.shift(column, other.columns[name]) > (0.5 if column.kind == "number" else 0.1)
    ]
    where = {"eval": "the evaluation split", "serving": "what it is asked in service"}[split]
    return [f"{', '.join(far)}: {where} differs much from what it learned from."] if far else []

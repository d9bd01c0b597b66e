"""What a run did, in one page: gathered from ML Metadata and the artifacts, saved beside the run's log."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from operations.ledger import Ledger, Output
from pipeline import store
from pipeline.settings import Metric, Settings

Outcome = Literal["pushed", "blessed", "not blessed", "failed"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class NodeSummary(_Record):
    """One node of a run: its state, wall seconds, and the process's peak memory in MiB until then."""

    node_id: str
    state: str
    seconds: float
    peak_mb: float


class SliceSummary(_Record):
    """The main metric on one slice of the evaluation split."""

    slice: str
    rows: int
    challenger: float
    champion: float | None


class RunSummary(_Record):
    """What a run did.

    Attributes:
        outcome: ``pushed``; ``blessed`` (good, but not pushed); ``not blessed``; or ``failed``.
        reasons: why it is not pushed, one sentence each; empty for ``pushed``.
        spans: the spans of each split.
        rows: the labelled rows of each split.
        anomalies: what DataGate found, one sentence each; empty is good.
        metrics: challenger's metrics on the whole evaluation split, by name.
        champion_metrics: the champion's on the same rows; empty if there was no champion.
        worst_slices: those with the worst main metric, worst first.
        version: the pushed version, a folder of `pushed_to`.
        loading_seconds: imports, of `seconds`.
    """

    run_id: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    settings_digest: str
    window: str
    spans: dict[str, list[int]] = {}
    rows: dict[str, int] = {}
    anomalies: tuple[str, ...] | None = None
    main_metric: str
    metrics: dict[str, float] = {}
    champion_metrics: dict[str, float] = {}
    worst_slices: tuple[SliceSummary, ...] = ()
    version: str | None = None
    pushed_to: str | None = None
    nodes: tuple[NodeSummary, ...]
    loading_seconds: float
    seconds: float
    peak_mb: float


def summarise(settings: Settings, outcome: Any, loading_seconds: float, seconds: float) -> RunSummary:
    """Gathers what a run left behind.

    Args:
        settings: the run's.
        outcome: its `pipeline.runners.local.RunOutcome`.
        loading_seconds: wall seconds of imports.
        seconds: wall seconds altogether.
    """
    outputs = _outputs(settings, outcome.run_id)
    main = settings.evaluation.metrics[0]
    summary: dict[str, Any] = {
        "run_id": outcome.run_id,
        "settings_digest": settings.digest(),
        "window": settings.data.window,
        "main_metric": _metric_name(main),
        "nodes": [
            NodeSummary(node_id=each.node_id, state=each.state, seconds=each.seconds, peak_mb=each.peak_mb)
            for each in outcome.nodes
        ],
        "loading_seconds": loading_seconds,
        "seconds": seconds,
        "peak_mb": max((each.peak_mb for each in outcome.nodes), default=0.0),
    }
    if examples := outputs.get("SpanExampleGen", {}).get("examples"):
        summary |= _data(examples, settings)
    if report := outputs.get("DataGate", {}).get("report"):
        findings = json.loads((report.uri / "report.json").read_text(encoding="utf-8"))["findings"]
        summary["anomalies"] = [_finding(each) for each in findings]
    evaluation = outputs.get("Evaluator", {}).get("evaluation")
    if evaluation:
        summary |= _metrics(evaluation, main, settings.evaluation.min_slice_size)
    summary |= _verdict(outcome, outputs, evaluation, settings)
    return RunSummary(**summary)


def save(summary: RunSummary, folder: Path) -> None:
    """Writes ``summary.json``, whole or not at all."""
    temporary = folder / ".summary.json"
    temporary.write_text(summary.model_dump_json(indent=2), encoding="utf-8")
    os.replace(temporary, folder / "summary.json")


def _outputs(settings: Settings, run_id: str) -> dict[str, dict[str, Output]]:
    try:
        return Ledger(store.connection(settings)).outputs(run_id)
    except ValueError:  # the run failed before its first node was recorded
        return {}


def _data(examples: Output, settings: Settings) -> dict[str, Any]:
    spans = sorted(json.loads(str(examples.properties["spans"])))
    newest = settings.data.eval_spans
    return {
        "spans": {"train": spans[:-newest], "eval": spans[-newest:]},
        "rows": json.loads(str(examples.properties["row_counts"])),
    }


def _finding(finding: dict[str, Any]) -> str:
    return f"{finding['split']}: {finding['column']}: {finding['description']}"


def _metrics(evaluation: Output, main: Metric, min_rows: int) -> dict[str, Any]:
    """Reads TFMA's metrics: the overall ones of both models, and the main one on each slice."""
    import tensorflow_model_analysis as tfma

    name = _metric_name(main)
    overall: dict[str, dict[str, float]] = {"challenger": {}, "champion": {}}
    slices = []
    for record in tfma.load_metrics(str(evaluation.uri)):
        values: dict[str, dict[str, float]] = {"challenger": {}, "champion": {}}
        for each in record.metric_keys_and_values:
            if not each.key.is_diff and each.value.WhichOneof("type") == "double_value":
                model = "champion" if each.key.model_name == "baseline" else "challenger"
                values[model][each.key.name] = each.value.double_value.value
        if not record.slice_key.single_slice_keys:
            overall = values
            continue
        rows = int(values["challenger"].get("example_count", 0))
        if rows >= min_rows and name in values["challenger"]:
            slices.append(
                SliceSummary(
                    slice=", ".join(_slice_part(part) for part in record.slice_key.single_slice_keys),
                    rows=rows,
                    challenger=values["challenger"][name],
                    champion=values["champion"].get(name),
                )
            )
    slices.sort(key=lambda each: each.challenger, reverse=main.better == "lower")
    return {
        "metrics": overall["challenger"],
        "champion_metrics": overall["champion"],
        "worst_slices": slices[:5],
    }


def _slice_part(part: Any) -> str:
    value = getattr(part, part.WhichOneof("kind"))
    return f"{part.column}={value.decode() if isinstance(value, bytes) else value}"


def _verdict(
    outcome: Any, outputs: dict[str, dict[str, Output]], evaluation: Output | None, settings: Settings
) -> dict[str, Any]:
    if not outcome.succeeded:
        failure = outcome.failure
        reason = f"{failure.node_id} failed: {failure.error}" if failure else "it was interrupted"
        return {"outcome": "failed", "reasons": [reason]}
    reasons = [] if evaluation is None else _failed_thresholds(evaluation)
    blessing = outputs.get("Evaluator", {}).get("blessing")
    blessed = blessing is not None and blessing.properties.get("blessed") == 1
    infra = outputs.get("InfraValidator", {}).get("blessing")
    if infra is not None and infra.properties.get("blessed") != 1:
        reasons.append(f"it cannot serve: {infra.properties.get('reason', 'see the log')}")
    pushed = outputs.get("Pusher", {}).get("pushed_model")
    if pushed is not None and pushed.properties.get("pushed_version"):
        return {
            "outcome": "pushed",
            "version": str(pushed.properties["pushed_version"]),
            "pushed_to": settings.pushed,
        }
    if not settings.push.enabled:
        reasons.append("pushing is switched off (push.enabled)")
    return {"outcome": "blessed" if blessed else "not blessed", "reasons": reasons}


def _failed_thresholds(evaluation: Output) -> list[str]:
    import tensorflow_model_analysis as tfma

    result = tfma.load_validation_result(str(evaluation.uri))
    reasons = []
    for per_slice in result.metric_validations_per_slice:
        where = ", ".join(_slice_part(part) for part in per_slice.slice_key.single_slice_keys)
        reasons += [_failed_threshold(failure, where) for failure in per_slice.failures]
    return reasons


def _failed_threshold(failure: Any, where: str) -> str:
    name = f"{failure.metric_key.name}{f' on {where}' if where else ''}"
    value = failure.metric_value.double_value.value
    if failure.metric_key.is_diff:
        allowed = failure.metric_threshold.change_threshold.absolute.value
        return f"{name} changed by {value:+.4f} against the champion, and {allowed:+.4f} is allowed"
    bounds = failure.metric_threshold.value_threshold
    if bounds.HasField("lower_bound") and not value >= bounds.lower_bound.value:
        return f"{name} is {value:.4f}, and must be at least {bounds.lower_bound.value:g}"
    return f"{name} is {value:.4f}, and must be at most {bounds.upper_bound.value:g}"


def _metric_name(metric: Metric) -> str:
    """The name under which TFMA reports a metric class, such as AUC -> auc."""
    import re

    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", metric.name).lower()

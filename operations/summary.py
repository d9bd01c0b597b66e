"""What a run did, in one page: gathered from ML Metadata and the artifacts, saved beside the run's log."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from operations.ledger import Ledger
from pipeline import evaluation, store
from pipeline.settings import Metric, Settings
from pipeline.store import Output

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
        champion_saw: spans of the evaluation split that the champion was trained on; then the comparison flatters it.
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
    champion_saw: tuple[int, ...] = ()
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
        "main_metric": evaluation.metric_name(main),
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
        findings = json.loads((Path(report.uri) / "report.json").read_text(encoding="utf-8"))["findings"]
        summary["anomalies"] = [_finding(each) for each in findings]
    if judged := outputs.get("Evaluator", {}).get("evaluation"):
        summary |= _metrics(judged, main, settings.evaluation.min_slice_size)
    if (champion := outputs.get("Champion", {}).get("model")) and "spans" in summary:
        seen = Ledger(store.connection(settings)).trained_on(champion.artifact_id)
        summary["champion_saw"] = sorted(set(seen) & set(summary["spans"]["eval"]))
    summary |= _verdict(outcome, outputs, settings)
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
    return f"{finding['severity']}: {finding['split']}: {finding['column']}: {finding['rule']}: {finding['found']}"


def _metrics(artifact: Output, main: Metric, min_rows: int) -> dict[str, Any]:
    found = evaluation.results(artifact.uri)
    name = evaluation.metric_name(main)
    return {
        "metrics": found[0].challenger,
        "champion_metrics": found[0].champion,
        "worst_slices": [
            SliceSummary(
                slice=each.name, rows=each.rows, challenger=each.challenger[name], champion=each.champion.get(name)
            )
            for each in evaluation.worst(found, name, main.better == "lower", min_rows)
        ],
    }


def _verdict(outcome: Any, outputs: dict[str, dict[str, Output]], settings: Settings) -> dict[str, Any]:
    if not outcome.succeeded:
        failure = outcome.failure
        reason = f"{failure.node_id} failed: {failure.error}" if failure else "it was interrupted"
        return {"outcome": "failed", "reasons": [reason]}
    judged = outputs.get("Evaluator", {}).get("evaluation")
    reasons = [] if judged is None else evaluation.failed_thresholds(judged.uri)
    blessing = outputs.get("Evaluator", {}).get("blessing")
    blessed = blessing is not None and blessing.properties.get("blessed") == 1
    infra = outputs.get("InfraValidator", {}).get("blessing")
    if infra is not None and infra.properties.get("blessed") != 1:
        blessed = False
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

"""What a task shows in the user interface of Kubeflow Pipelines: a page, its metadata ids, and metrics."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from tfx.dsl.io import fileio

from ledger.formats import duration, number
from ledger.run_record import NodeOutcome
from ledger.run_view import worst
from pipeline import evaluation
from pipeline.results import Outputs
from pipeline.settings import Evaluation

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
"""


def page(outcomes: Sequence[NodeOutcome], outputs: Outputs) -> str:
    """An HTML page about a task: its nodes, and what statistics, anomalies and evaluation they made."""
    rows = [[node.node_id, node.state, duration(node.seconds), f"{node.peak_mb:,.0f}"] for node in outcomes]
    parts = [
        "<h1>Nodes</h1>",
        _table(["node", "state", "time", "peak MiB"], rows),
        *(f"<p><b>{outcome.node_id}</b>: {html.escape(outcome.error)}</p>" for outcome in outcomes if outcome.error),
    ]
    made = {key: artifact for artifacts in outputs.values() for key, artifact in artifacts.items()}
    if "statistics" in made:
        parts += ["<h1>Statistics</h1>", *_statistics(made["statistics"].uri)]
    if "report" in made:
        with fileio.open(f"{made['report'].uri}/report.txt", "r") as file:
            parts += ["<h1>Anomalies</h1>", f"<pre>{html.escape(str(file.read()))}</pre>"]
    if "evaluation" in made:
        parts += ["<h1>Evaluation</h1>", *_evaluation(made["evaluation"].uri)]
    return f"<!doctype html><html lang='en'><meta charset='utf-8'><style>{_STYLE}</style>{''.join(parts)}</html>"


def metadata_ids(run_id: str, outcomes: Sequence[NodeOutcome], outputs: Outputs) -> str:
    """Markdown with the ids under which ML Metadata knows this task."""
    lines = [f"Pipeline run `{run_id}` in ML Metadata", ""]
    lines += ["| node | state | artifact | id | uri |", "|---|---|---|---|---|"]
    for outcome in outcomes:
        artifacts = outputs.get(outcome.node_id, {})
        lines += [
            f"| {outcome.node_id} | {outcome.state} | {key} | {artifact.artifact_id} | `{artifact.uri}` |"
            for key, artifact in sorted(artifacts.items())
        ] or [f"| {outcome.node_id} | {outcome.state} | | | |"]
    return "\n".join(lines) + "\n"


def metrics(evaluation_uri: str, asked: Evaluation) -> dict[str, float]:
    """The numbers for KFP's Metrics: all overall ones, and the main one on the five worst slices."""
    parts, main = evaluation.results(evaluation_uri), asked.metrics[0]
    champion = {f"champion_{name}": value for name, value in parts[0].champion.items()}
    slices = worst(parts, main.reported, main.better == "lower", asked.min_slice_size)
    of_slices = {f"{main.reported} on {part.slice}": part.challenger[main.reported] for part in slices}
    # KFP reads JSON, which has no NaN.
    return {name: value for name, value in (parts[0].challenger | champion | of_slices).items() if isfinite(value)}


def _statistics(uri: str) -> list[str]:
    """One table per split, from TFDV's statistics."""
    import tensorflow_data_validation as tfdv

    parts = []
    for folder in sorted(fileio.listdir(uri)):
        split = str(folder).rstrip("/").removeprefix("Split-")
        (dataset,) = tfdv.load_stats_binary(f"{uri}/Split-{split}/FeatureStats.pb").datasets
        rows = []
        for feature in sorted(dataset.features, key=lambda described: described.path.step[0]):
            numeric = feature.HasField("num_stats")
            common = (feature.num_stats if numeric else feature.string_stats).common_stats
            detail = (
                f"mean {feature.num_stats.mean:.4g}, {feature.num_stats.min:.4g} to {feature.num_stats.max:.4g}"
                if numeric
                else ", ".join(f"{top.value} ({top.frequency:,.0f})" for top in feature.string_stats.top_values[:3])
            )
            missing = common.num_missing / max(dataset.num_examples, 1)
            rows.append([feature.path.step[0], f"{missing:.1%}", detail])
        parts.append(f"<h2>{html.escape(split)}: {dataset.num_examples:,.0f} examples</h2>")
        parts.append(_table(["feature", "missing", "values"], rows))
    return parts


def _evaluation(uri: str) -> list[str]:
    parts = evaluation.results(uri)
    names = list(parts[0].challenger)
    rows = [[part.slice or "all", *(number(part.challenger.get(name)) for name in names)] for part in parts]
    reasons = "".join(f"<p>{html.escape(reason)}</p>" for reason in evaluation.failed_thresholds(uri))
    return [reasons or "<p>Every threshold is met.</p>", _table(["slice", *names], rows)]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def executor_output(executor_input: Mapping[str, Any], metadata: Mapping[str, Mapping[str, Any]]) -> str:
    """The file in which a container tells KFP the metadata of its output artifacts."""
    artifacts = {}
    for name, declared in executor_input["outputs"].get("artifacts", {}).items():
        if name in metadata:
            artifacts[name] = {
                "artifacts": [
                    {"name": artifact.get("name", ""), "uri": artifact["uri"], "metadata": dict(metadata[name])}
                    for artifact in declared["artifacts"]
                ]
            }
    return json.dumps({"artifacts": artifacts})

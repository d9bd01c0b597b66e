"""What came of a run, gathered from ML Metadata and the artifacts, as fields of its record.

The same for every runner: on a laptop after the last node, on Kubeflow by each task for what is there by then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import ml_metadata
from tfx.dsl.io import fileio
from tfx.proto.orchestration import pipeline_pb2

from components.base_model import learned_spans
from components.span_example_gen.storage import content, fingerprint_of, list_files, list_spans
from ledger.outputs import Output, outputs_of_run
from ledger.recorder import Recorder
from ledger.run_record import RunRecord
from pipeline import evaluation
from pipeline.settings import Settings
from pipeline.stamp import hyperparameters

Outputs = Mapping[str, Mapping[str, Output]]

# Beside the TensorBoard logs; what a run_fn writes there about itself: {"settings": hyperparameters as used, ...}.
TRAINING = "training.json"


def complete(
    recorder: Recorder,
    store: ml_metadata.MetadataStore,
    run_id: str,
    settings: Settings,
    ir: pipeline_pb2.Pipeline,
    *,
    ended: bool,
    failure: str | None = None,
    **further: Any,
) -> RunRecord:
    """Writes what came of a run, or of the part of it that has run so far, and returns the record.

    It has `ended` if no other node will follow; `failure` says in a clause what ended it early.
    """
    outputs = outputs_of_run(store, run_id)
    fields, documents = gather(store, outputs, settings)
    documents["graph"] = graph(ir)
    if ended or failure:
        fields |= verdict(outputs, settings, failure)
    digests = {name: recorder.put_document(content) for name, content in documents.items()}
    recorder.write(run_id, **fields, **further, documents=digests)
    return recorder.read(run_id)


def gather(
    store: ml_metadata.MetadataStore, outputs: Outputs, settings: Settings
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run's artifacts tell: fields of the record, and documents by name."""
    fields: dict[str, Any] = {}
    documents: dict[str, Any] = {}
    if examples := outputs.get("SpanExampleGen", {}).get("examples"):
        spans = sorted(json.loads(str(examples.properties["spans"])))
        rows, newest = json.loads(str(examples.properties["row_counts"])), settings.data.eval_spans
        splits = {"train": spans[:-newest], "eval": spans[-newest:]}
        # Of a prediction there is one split.
        fields["spans"] = splits if "eval" in rows else {next(iter(rows)): spans}
        fields["rows"], fields["data"] = rows, str(examples.properties["input_fingerprint"])
        if files := ingested(settings.spans, spans, fields["data"]):
            documents["files"] = files
    if report := outputs.get("DataGate", {}).get("report"):
        documents["anomalies"] = _json(f"{report.uri}/report.json")["findings"]
    trainer = outputs.get("Trainer", {})
    if model := trainer.get("model") or outputs.get("ServedModel", {}).get("model"):
        fields["model_id"] = model.artifact_id
    if (run := trainer.get("model_run")) and fileio.exists(f"{run.uri}/{TRAINING}"):
        used = _json(f"{run.uri}/{TRAINING}")
        fields["hyperparameters"] = hyperparameters(used.get("settings", {}))
        documents["training"] = used
        if taken := used.get("warm_start"):
            fields["began_with"] = str(taken["said"])
    if judged := outputs.get("Evaluator", {}).get("evaluation"):
        whole, *slices = evaluation.results(judged.uri)
        fields |= {"metrics": whole.challenger, "champion_metrics": whole.champion}
        documents["slices"] = [part.model_dump() for part in slices]
        if differences := evaluation.differences(judged.uri):
            documents["fairness"] = [column.model_dump() for column in differences]
    base = outputs.get("BaseModel", {})
    if base_model := base.get("model") or base.get("result"):
        fields["base_model_id"] = base_model.artifact_id
    if champion := outputs.get("Champion", {}).get("model"):
        fields["champion_model_id"] = champion.artifact_id
        if "spans" in fields:
            seen = learned_spans(store, champion.artifact_id)
            fields["champion_saw"] = tuple(sorted(set(seen) & set(fields["spans"]["eval"])))
    return fields, documents


def verdict(outputs: Outputs, settings: Settings, failure: str | None = None) -> dict[str, Any]:
    """How a run ended: `outcome`, `reasons`, and of a pushed model `version` and `pushed_to`."""
    if failure:
        return {"outcome": "failed", "reasons": (failure,)}
    evaluator = outputs.get("Evaluator", {})
    if (
        "evaluation" not in evaluator
        or "blessing" not in evaluator
        or "blessed" not in evaluator["blessing"].properties
    ):
        # Nothing was asked of a model: a batch prediction, or a reproduction.
        return {"outcome": "done", "reasons": ()}
    reasons = evaluation.failed_thresholds(evaluator["evaluation"].uri)
    blessed = evaluator["blessing"].properties["blessed"] == 1
    infra = outputs.get("InfraValidator", {}).get("blessing")
    if infra is not None and infra.properties.get("blessed") != 1:
        blessed = False
        reasons.append(f"it cannot serve: {infra.properties.get('reason', 'see the log')}")
    pushed = outputs.get("Pusher", {}).get("pushed_model")
    if pushed is not None and (version := pushed.properties.get("pushed_version")):
        return {"outcome": "pushed", "reasons": (), "version": str(version), "pushed_to": settings.pushed_to}
    if not settings.push.enabled or "Pusher" not in outputs:
        reasons.append("pushing is switched off (push.enabled)")
    return {"outcome": "blessed" if blessed else "not blessed", "reasons": tuple(reasons)}


def graph(ir: pipeline_pb2.Pipeline) -> list[dict[str, Any]]:
    """The nodes of a pipeline, each after those that it waits for: id, type, and the ids upstream."""
    return [
        {
            "node": compiled.pipeline_node.node_info.id,
            "type": compiled.pipeline_node.node_info.type.name.rpartition(".")[2],
            "after": sorted(compiled.pipeline_node.upstream_nodes),
        }
        for compiled in ir.nodes
    ]


def ingested(folder: str, spans: Sequence[int], fingerprint: str) -> list[dict[str, Any]] | None:
    """The files of some spans: name below the folder, span, bytes, SHA-256; None if their fingerprint differs."""
    try:
        names = list_spans(folder)
        files = sorted(file for span in spans if span in names for file in list_files(folder, span, names[span])[0])
        contents = [(file.name, *content(file)) for file in files]
    except (OSError, ValueError):  # moved away since
        return None
    if fingerprint_of(contents) != fingerprint:
        return None
    return [
        {"name": name, "span": file.span, "bytes": size, "sha256": digest}
        for file, (name, size, digest) in zip(files, contents, strict=True)
    ]


def _json(uri: str) -> Any:
    with fileio.open(uri, "rb") as file:
        return json.loads(file.read())

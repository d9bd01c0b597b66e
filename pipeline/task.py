"""What a container on Kubeflow runs: the nodes of one task, with their record. ``python -m pipeline.task``."""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import gzip
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ledger.opening import open_store
from ledger.outputs import outputs_of_run
from ledger.recorder import Recorder, RecordError, renewing
from ledger.run_record import NodeOutcome, sweep_of
from pipeline import evaluation, node, results, settings_file, task_page
from pipeline.interruption import stoppable
from pipeline.settings import Settings
from pipeline.stamp import lease, stamp
from pipeline.store import from_environment

# Who submitted a run that did not say; KFP would drop an empty text.
NOBODY = "unknown"


def encode_settings(settings: Settings) -> str:
    """Settings as text of a kilobyte or two; the same settings give the same text."""
    document = settings.document()
    if document["kubeflow"]:
        # Where it is submitted to is nothing that a run depends on.
        document["kubeflow"]["endpoint"] = None
    return base64.b64encode(gzip.compress(json.dumps(document, sort_keys=True).encode(), mtime=0)).decode()


def decode_settings(text: str, window: str, training: Mapping[str, str]) -> Settings:
    """The settings of `encode_settings`, with what was changed when the run was submitted.

    Raises a ValueError if the text is something else, or a change does not fit.
    """
    try:
        document = json.loads(gzip.decompress(base64.b64decode(text, validate=True)))
    except (OSError, EOFError, binascii.Error, ValueError) as error:
        raise ValueError("The settings that were passed are damaged.") from error
    document["data"]["window"] = window
    for key, value in training.items():
        replace(document, key, value)
    return settings_file.from_document(document)


def replace(settings: dict[str, Any], key: str, text: str) -> None:
    """Puts a value where a dotted key says, with the type of the value that is there."""
    *parents, last = key.split(".")
    for part in parents:
        settings = settings[part]
    kind = type(settings[last])
    settings[last] = text if kind is str else kind(json.loads(text.lower()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the nodes of one task, records them, and writes what KFP shows of them; returns 1 if one failed."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    ir = node.decode(given.ir)
    changes = dict(given.training)
    settings = decode_settings(given.settings, given.window, changes)
    training = json.loads(node.default(ir, "training"))
    for key, value in changes.items():
        replace(training, key, value)
    node.bind(ir, given.run_id, {"window": given.window, "training": json.dumps(training, sort_keys=True)})
    skipped = {node_id for node_id, condition in given.only_if if condition.lower() != "true"}
    connection = from_environment(retries=5)
    store = open_store(connection)
    recorder = Recorder(store)
    _begin(recorder, given, settings)
    outcomes: list[NodeOutcome] = []
    for node_id in given.nodes:
        if node_id in skipped:
            outcome = NodeOutcome(node_id, "skipped", 0.0, 0.0)
        else:
            # By default nothing stops the first process of a container, until it is killed without a word.
            with renewing(connection, given.run_id), stoppable("its pod was stopped"):
                outcome = node.launch(ir, node_id, connection, beam=settings.beam)
        outcomes.append(outcome)
        print(f"{outcome.node_id}: {outcome.state}, {outcome.seconds:.1f} s {outcome.error or ''}", flush=True)
        recorder.node(given.run_id, outcome)
        if outcome.state == "failed":
            break
    record = recorder.read(given.run_id)
    failure = outcomes[-1].failure
    results.complete(
        recorder,
        store,
        given.run_id,
        settings,
        ir,
        ended=node.node_ids(ir)[-1] in given.nodes,
        failure=failure,
        seconds=round((datetime.now(UTC) - record.started).total_seconds(), 3),
        peak_mb=max(outcome.peak_mb for outcome in record.nodes),
    )
    _show(given, settings, outcomes, outputs_of_run(store, given.run_id))
    return 1 if failure else 0


def _begin(recorder: Recorder, given: argparse.Namespace, settings: Settings) -> None:
    """Stamps the run, if this is its first task."""
    with contextlib.suppress(RecordError):
        if recorder.read(given.run_id).settings is not None:
            # Another task, or another attempt of one that had failed.
            recorder.write(given.run_id, outcome="running", **lease(settings, "kubeflow"))
            return
    further = {"parent": sweep_of(given.run_id)} if given.in_sweep else {}
    if given.submitted_by != NOBODY:
        further["user"] = given.submitted_by
    stamp(recorder, given.run_id, settings, kind="run", runner="kubeflow", **further)


def _show(
    given: argparse.Namespace, settings: Settings, outcomes: Sequence[NodeOutcome], outputs: Mapping[str, Any]
) -> None:
    """Writes the task's page, its metadata ids, and its metrics if it has any."""
    ours = {outcome.node_id: outputs.get(outcome.node_id, {}) for outcome in outcomes}
    _write(given.page, task_page.page(outcomes, ours))
    _write(given.ids, task_page.metadata_ids(given.run_id, outcomes, ours))
    if judged := ours.get("Evaluator", {}).get("evaluation"):
        executor_input = json.loads(given.executor_input)
        shown = {"metrics": task_page.metrics(judged.uri, settings.evaluation)}
        shown |= evaluation.picture(judged.uri, settings.task())
        _write(executor_input["outputs"]["outputFile"], task_page.executor_output(executor_input, shown))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.task", description=__doc__)
    parser.add_argument("--ir", required=True, help="the compiled pipeline, from `pipeline.node.encode`")
    parser.add_argument("--settings", required=True, help="the settings that it was made of, from `encode_settings`")
    parser.add_argument("--run-id", required=True, help="the same for all tasks of a run")
    parser.add_argument("--nodes", nargs="+", required=True, help="the nodes to run, in order")
    parser.add_argument("--window", required=True, help="the window of spans")
    parser.add_argument("--in-sweep", action="store_true", help="the run belongs to the sweep that it holds")
    parser.add_argument("--submitted-by", default=NOBODY, help="the person who submitted it")
    parser.add_argument(
        "--training", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), help="changes a training setting"
    )
    parser.add_argument(
        "--only-if", nargs=2, action="append", default=[], metavar=("NODE", "BOOL"), help="skips a node unless true"
    )
    parser.add_argument("--page", required=True, help="file for the HTML page")
    parser.add_argument("--ids", required=True, help="file for the metadata ids")
    parser.add_argument("--executor-input", default="{}", help="KFP's own description of the task")
    return parser


def _write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""Runs a pipeline on this machine and keeps its record."""

from __future__ import annotations

import time
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.pipeline import Pipeline

from ledger.opening import open_store
from ledger.recorder import Recorder, renewing
from ledger.run_record import Kind, RunRecord
from pipeline import node, results
from pipeline.node import NodeOutcome
from pipeline.runners import local
from pipeline.runners.local import Listener, RunOutcome
from pipeline.settings import Settings
from pipeline.stamp import stamp


def run(
    pipeline: Pipeline,
    run_id: str,
    settings: Settings,
    connection: metadata_store_pb2.ConnectionConfig,
    listener: Listener,
    *,
    kind: Kind = "run",
    loading_seconds: float = 0.0,
    **further: Any,
) -> tuple[RunOutcome, RunRecord]:
    """Runs a pipeline as `pipeline.runners.local.run` does; what is known of it is in the store at any moment.

    Args:
        pipeline: from `pipeline.definition`.
        run_id: unique in the metadata store.
        settings: those that the pipeline was made of.
        connection: how to reach the metadata store.
        listener: is told of each node.
        kind: what the run is for.
        loading_seconds: wall seconds of imports before; they count as the run's.
        further: other fields of the record, such as the parent.

    Returns:
        What became of every node, and the record.

    Raises:
        SettingsError: Beam could not start its workers here; nothing is recorded.
    """
    for beam_args in (settings.beam.args, *settings.beam.components.values()):
        local.check_workers(beam_args)
    store = open_store(connection)
    recorder = Recorder(store)
    began = time.monotonic() - loading_seconds
    stamp(recorder, run_id, settings, kind=kind, runner="local", loading_seconds=round(loading_seconds, 3), **further)
    with renewing(connection, run_id):
        outcome = local.run(pipeline, run_id, connection, _Recording(listener, recorder, run_id))
    failure = None
    if not outcome.succeeded:
        failed = outcome.failure
        failure = f"{failed.node_id} failed: {failed.error}" if failed else "it was interrupted"
    record = results.complete(
        recorder,
        store,
        run_id,
        settings,
        node.compile_pipeline(pipeline),
        ended=True,
        failure=failure,
        seconds=round(time.monotonic() - began, 3),
        peak_mb=round(max((each.peak_mb for each in outcome.nodes), default=0.0), 1),
    )
    return outcome, record


class _Recording:
    """Records each node before it tells of it."""

    def __init__(self, listener: Listener, recorder: Recorder, run_id: str) -> None:
        self._listener, self._recorder, self._run_id = listener, recorder, run_id

    def started(self, node_id: str) -> None:
        self._listener.started(node_id)

    def finished(self, outcome: NodeOutcome) -> None:
        self._recorder.node(self._run_id, outcome)
        self._listener.finished(outcome)

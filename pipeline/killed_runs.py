"""Closes the runs that were killed, and removes what they left half-written. Imports neither TensorFlow nor TFX."""

from __future__ import annotations

import shutil
from pathlib import Path

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from ledger.outputs import executions_of_run
from ledger.recorder import Recorder
from ledger.run_record import RunRecord
from pipeline import workspace
from pipeline.settings import Settings

# The folder of a node in which TFX keeps what is no artifact.
_SYSTEM = ".system"
_UNFINISHED = (metadata_store_pb2.Execution.NEW, metadata_store_pb2.Execution.RUNNING)


def close(store: ml_metadata.MetadataStore, settings: Settings) -> list[RunRecord]:
    """Closes the runs of a workspace whose process was killed.

    Those of other machines, and those that were recorded without a lease, are left alone.

    Returns:
        The records of the runs that were closed, as they are now, oldest first.
    """
    recorder = Recorder(store)
    lock = workspace.lock_of(settings)
    killed = [run for run in recorder.running() if run.owner is not None and run.owner.left(lock, run.renewed)]
    for record in killed:
        remove_unfinished(store, settings, record.run_id)
        end_executions(store, record.run_id)
        # Last, so that whoever is killed before this does it again.
        recorder.write(record.run_id, outcome="killed")
    return [recorder.read(record.run_id) for record in killed]


def remove_unfinished(store: ml_metadata.MetadataStore, settings: Settings, run_id: str) -> None:
    """Removes the folders of the nodes that a run has not finished: outputs, temporary and working folders."""
    for node, execution in executions_of_run(store, run_id).items():
        if execution.last_known_state in (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED):
            continue
        folder = Path(settings.artifacts) / node
        leftovers = [*folder.glob(f"[!.]*/{execution.id}"), *folder.glob(f"{_SYSTEM}/*/{execution.id}")]
        # TFX gives a working folder a random name and writes it down nowhere. Nobody else works in this workspace now.
        leftovers += folder.glob(f"{_SYSTEM}/stateful_working_dir/*")
        for leftover in leftovers:
            shutil.rmtree(leftover, ignore_errors=True)


def end_executions(store: ml_metadata.MetadataStore, run_id: str) -> None:
    """Marks the executions of a run that nobody goes on with as failed."""
    unfinished = [
        execution
        for execution in executions_of_run(store, run_id).values()
        if execution.last_known_state in _UNFINISHED
    ]
    for execution in unfinished:
        execution.last_known_state = metadata_store_pb2.Execution.FAILED
    if unfinished:
        store.put_executions(unfinished)

"""Ends the record of a run of Kubeflow when the server there says that the run has ended.

Its pods cannot be seen from here, and one that is killed may be started again; so the server decides, and no lease.
"""

from __future__ import annotations

import ml_metadata

from ledger.recorder import RUN, Recorder
from operations.delivery.kubeflow_run import FINISHED, Run
from pipeline import killed_runs


def end(store: ml_metadata.MetadataStore, run: Run) -> list[str]:
    """Records that a run failed, if the server says so and its own tasks could not.

    Returns:
        The names of the records that said they were running, and do not any more: the run's, and those of its sweep.
    """
    if run.state not in FINISHED or run.state == "SUCCEEDED":
        return []
    recorder = Recorder(store)
    ended = [record.run_id for record in recorder.running() if record.run_id.startswith(f"{run.run_id}-")]
    known = store.get_context_by_type_and_name(RUN, run.run_id) is not None
    if known and recorder.read(run.run_id).outcome == "running":
        ended.append(run.run_id)
    reason = f"Kubeflow Pipelines says {run.state}" + (f": {run.error}" if run.error else "")
    for run_id in ended:
        killed_runs.end_executions(store, run_id)
        recorder.write(run_id, outcome="failed", reasons=(reason,))
    return ended

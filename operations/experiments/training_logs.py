"""Where the TensorBoard logs of runs and sweeps are. Imports neither TensorFlow nor TFX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ml_metadata

from errors import FlightdeckError
from ledger.outputs import outputs_of_run
from ledger.recorder import Recorder
from ledger.run_record import RunRecord
from ledger.runs import Runs
from operations.experiments.sweep import plan as plans

# Without names: as many of the newest runs and sweeps as are still easy to tell apart.
_NEWEST = 20


def find(store: ml_metadata.MetadataStore, names: Sequence[str] = ()) -> dict[str, str]:
    """The logs of the runs, sweeps or trials of these names, or else of the newest runs and sweeps that have logs.

    Returns:
        Run id -> folder or URI, in the order of the names or else the newest first. A sweep's holds one per trial.

    Raises:
        LedgerError: there is no such run.
        FlightdeckError: one that was named has no logs, or none has.
    """
    runs = Runs(store)
    if names:
        logs = {}
        for record in [runs.find(name) for name in names]:
            if (uri := _logs(store, record)) is None:
                what = {"sweep": "Sweep", "trial": "Trial"}.get(record.kind, "Run")
                raise FlightdeckError(
                    f"{what} {record.run_id} has no TensorBoard logs: it has trained nothing, or they were removed "
                    "since."
                )
            logs[record.run_id] = uri
        return logs
    newest = {}
    for record in reversed(runs.all()):
        if record.kind in ("run", "reproduction", "sweep") and (uri := _logs(store, record)):
            newest[record.run_id] = uri
            if len(newest) == _NEWEST:
                break
    if not newest:
        raise FlightdeckError("No run has TensorBoard logs yet; make one with: flightdeck run")
    return newest


def _logs(store: ml_metadata.MetadataStore, record: RunRecord) -> str | None:
    """The folder or URI of a run's logs, if it has any."""
    if record.kind == "sweep":
        uri = plans.load(Recorder(store), record.run_id).logs
    elif record.kind == "trial" and record.parent:
        number = int(record.run_id.rpartition("-")[2])
        uri = plans.load(Recorder(store), record.parent).trial_logs(number)
    else:
        made = outputs_of_run(store, record.run_id).get("Trainer", {}).get("model_run")
        uri = "" if made is None else made.uri
    # Of another file system only TensorBoard itself knows whether there are events.
    return uri if "://" in uri or (uri and any(Path(uri).rglob("*.tfevents.*"))) else None

"""One run of the pipeline in a replay: named after its month, so that a replay that was killed goes on with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_metadata

from errors import FlightdeckError
from operations.loop.settings import Settings
from pipeline import killed_runs


def train(
    settings: Settings, store: ml_metadata.MetadataStore, run_id: str, triggers: Mapping[str, str]
) -> dict[str, Any]:
    """Runs the pipeline, or goes on with a run of that name that was killed: what it has finished is not done again.

    Triggers are key -> reason; there are none if a person trains.

    Returns:
        run, outcome, reasons, spans by split, rows by split, metrics, and of a trained model its id and `digest`.

    Raises:
        FlightdeckError: it was asked to stop.
    """
    from pipeline.runners import local

    killed_runs.close(store, settings)
    # Also of one that was interrupted: TFX goes on with the same executions, and so with their folders.
    killed_runs.remove_unfinished(store, settings, run_id)
    record = local.run("create_pipeline", run_id, settings, triggers=dict(triggers))
    if any(local.INTERRUPTED in reason for reason in record.reasons):
        raise FlightdeckError("The replay was asked to stop.")
    return {
        "run": run_id,
        "outcome": record.outcome,
        "reasons": list(record.reasons),
        "spans": record.spans,
        "rows": record.rows,
        "metrics": record.metrics,
        "model": record.model_id,
        "digest": None if record.model_id is None else weights(saved_model(store, record.model_id)),
    }


def saved_model(store: ml_metadata.MetadataStore, model_id: int) -> Path:
    """The folder of a trained model, as servers load it; a FlightdeckError if there is no such model."""
    for model in store.get_artifacts_by_id([model_id]):
        return Path(model.uri) / "Format-Serving"
    raise FlightdeckError(f"ML Metadata does not know the model {model_id}.")


def weights(folder: Path) -> str:
    """16 digits of the digest of a SavedModel's variables: the same for the same training."""
    total = hashlib.sha256()
    for file in sorted((folder / "variables").glob("variables.data-*")):
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()[:16]

"""What a served model is compared with: the data it was trained on, and its evaluation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import ml_metadata

import storage
from errors import FlightdeckError
from ledger import scores
from ledger.outputs import outputs_of_run
from ledger.recorder import Recorder
from ledger.run_record import RunRecord
from operations.monitoring.settings import Settings
from operations.registry import Registry

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2


@dataclasses.dataclass(frozen=True)
class Reference:
    """What a served version is compared with.

    Attributes:
        run: that trained it.
        training: statistics of the training split.
        newest: statistics of the evaluation split, the newest data that the run saw.
        scored: the labels of the evaluation split, and what the model answered; None if the run did not keep them.
    """

    version: str
    model_id: int
    run: RunRecord
    training: statistics_pb2.DatasetFeatureStatisticsList
    newest: statistics_pb2.DatasetFeatureStatisticsList
    scored: scores.ScoredRows | None


def reference_of(settings: Settings, store: ml_metadata.MetadataStore, version: int) -> Reference:
    """Looks up what a version of the registry, present or not, is compared with.

    Raises:
        FlightdeckError: the registry or ML Metadata does not know enough of it.
    """
    from tensorflow_metadata.proto.v0 import statistics_pb2

    known = Registry(settings).version(version)
    if known.model_id is None or known.run_id is None:
        raise FlightdeckError(f"ML Metadata does not know where version {version} comes from.")
    run = Recorder(store).read(known.run_id)
    statistics = outputs_of_run(store, known.run_id).get("StatisticsGen", {}).get("statistics")
    if statistics is None:
        raise FlightdeckError(f"Run {known.run_id}, which trained version {version}, has no statistics.")
    splits = {}
    for split in ("train", "eval"):
        file = storage.at(statistics.uri) / f"Split-{split}" / "FeatureStats.pb"
        if not file.is_file():
            raise FlightdeckError(f"The statistics of run {known.run_id} are not there any more ({file}).")
        splits[split] = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes())
    try:
        scored = scores.read(scores.find(store, run))
    except scores.NoScoresError:
        scored = None
    return Reference(str(version), known.model_id, run, splits["train"], splits["eval"], scored)

"""What a run's model said about each row of its evaluation split, as the component Scores kept it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ml_metadata

import storage
from ledger.measures import BINARY, Measures
from ledger.measures import of as measures_of
from ledger.opening import LedgerError
from ledger.outputs import executions_in, values
from ledger.run_record import RunRecord

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ARTIFACT = "Scores"
FILE = "scores.parquet"


class NoScoresError(LedgerError):
    """A run has no scores that can be read; the text is a clause that says why."""


@dataclasses.dataclass(frozen=True)
class ScoresOf:
    """Where the scores of a run are.

    Attributes:
        uri: the folder of the artifact.
        fingerprint: the same for two runs if and only if they scored the same rows in the same order.
        target: what is predicted: `label`, `task`, `classes` and `unit`; empty of old runs, whose task is binary.
    """

    run_id: str
    uri: str
    fingerprint: str
    rows: int
    target: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ScoredRows:
    """What was predicted for each row.

    Attributes:
        labels: float64 [rows]; of classes their numbers.
        predictions: float64 [rows]; of classes [rows, classes], the probability of each.
        columns: those that were kept beside them.
        measures: of the task.
    """

    labels: np.ndarray
    predictions: np.ndarray
    columns: pa.Table
    measures: Measures = BINARY
    _codes: dict[str, tuple[np.ndarray, dict[str, int]]] = dataclasses.field(default_factory=dict, repr=False)

    def slice(self, name: str) -> np.ndarray | None:
        """Which rows belong to a slice named as in the records, such as ``a=1, b=x``.

        Returns:
            bool [rows]; None if a column of the slice was not kept.
        """
        import numpy as np

        belongs = np.ones(len(self.labels), bool)
        for part in name.split(", "):
            column, sign, value = part.partition("=")
            if not sign or column not in self.columns.column_names:
                return None
            codes, values = self._encoded(column)
            belongs &= codes == values.get(value, -1)
        return belongs

    def _encoded(self, column: str) -> tuple[np.ndarray, dict[str, int]]:
        """A column as numbers, [rows], and what each text is as a number."""
        import pyarrow as pa

        if column not in self._codes:
            # Whole: each chunk would be encoded by itself.
            text = self.columns.column(column).cast(pa.string()).combine_chunks()
            encoded = text.dictionary_encode(null_encoding="encode")
            values = encoded.dictionary.to_pylist()
            numbers = {value: code for code, value in enumerate(values) if value is not None}
            self._codes[column] = (_numbers(encoded.indices), numbers)
        return self._codes[column]


def find(store: ml_metadata.MetadataStore, record: RunRecord) -> ScoresOf:
    """Where the scores of a run are; raises a NoScoresError if it kept none."""
    executions = [execution.id for execution in executions_in(store, record.run_id)]
    events = store.get_events_by_execution_ids(executions) if executions else []
    artifacts = store.get_artifacts_by_id(sorted({event.artifact_id for event in events}))
    for artifact in sorted(artifacts, key=lambda artifact: artifact.id, reverse=True):
        facts = values(artifact.properties) | values(artifact.custom_properties)
        if artifact.type == ARTIFACT and facts.get("rows_fingerprint"):
            fingerprint, rows = str(facts["rows_fingerprint"]), int(facts.get("rows", 0))
            return ScoresOf(record.run_id, artifact.uri, fingerprint, rows, target_of(facts))
    raise NoScoresError(f"run {record.run_id} kept no scores of single rows")


def target_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    """What is predicted, by the properties of an artifact with scores: see `ScoresOf`."""
    return json.loads(properties.get("target") or "{}")


def read(scores: ScoresOf) -> ScoredRows:
    """The scores; raises a NoScoresError if their file is gone, cannot be reached, or is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not `read_table`, which imports all that reading a folder of files could need.
        with storage.opened(storage.at(scores.uri) / FILE) as file:
            table = pq.ParquetFile(file).read()
        measures = measures_of(scores.target)
        labels = _numbers(table.column("label").cast(pa.float64()).combine_chunks())
        predictions = _predictions(table.column(measures.output).combine_chunks())
    except FileNotFoundError:
        raise NoScoresError(f"the scores of run {scores.run_id} are no longer at {scores.uri}") from None
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        said = str(error).strip().splitlines()[0]
        raise NoScoresError(f"the scores of run {scores.run_id} at {scores.uri} cannot be read ({said})") from None
    further = [name for name in table.column_names if name not in ("row", "label", measures.output)]
    return ScoredRows(labels, predictions, table.select(further), measures)


def _predictions(column: pa.Array) -> np.ndarray:
    """A column of numbers, float64 [rows], or of lists of equal lengths, float64 [rows, length]."""
    import pyarrow as pa

    if not pa.types.is_fixed_size_list(column.type):
        return _numbers(column.cast(pa.float64()))
    return _numbers(column.flatten().cast(pa.float64())).reshape(len(column), column.type.list_size)


def _numbers(column: pa.Array) -> np.ndarray:
    """A column without nulls as an array. `to_numpy` would import pandas, which takes a fifth of a second."""
    import numpy as np

    return np.from_dlpack(column)

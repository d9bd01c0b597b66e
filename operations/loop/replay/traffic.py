"""Answers the requests of a month with a version, and logs them as the service would have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operations.loop.settings import Settings
from operations.monitoring.served import Period
from operations.registry import Version

_BATCH_ROWS = 8192


def times(period: Period, rows: int) -> np.ndarray:
    """When each of the requests of a month comes: evenly spread, seconds since the epoch, float64 [rows]."""
    begin, end = period.begin.timestamp(), period.end.timestamp()
    # To the microsecond, as the log keeps them; the last one still lies within the month.
    return np.floor((begin + (end - begin) * np.arange(rows) / max(rows, 1)) * 1e6) / 1e6


def answer(
    settings: Settings,
    requests: pa.Table,
    at: np.ndarray,
    served: Version,
    canary: Version | None,
    name: str,
) -> int:
    """Answers requests, and writes the log: one file per version, replaced if it is there; how many there were.

    Each row is a request of its own. As the service does, it checks them by the contract of the served version.

    Args:
        settings: of the level.
        requests: in the columns of the contract.
        at: when each comes, seconds since the epoch [rows].
        served: the version whose answers are given.
        canary: one in shadow mode, which answers them too.
        name: of the files; unique for these requests.
    """
    from operations.inference import model as models
    from operations.inference import payload_log, payload_table
    from operations.inference.batch_files import to_arrays

    if not requests.num_rows:
        return 0
    contract = settings.contract()
    ids = _ids(requests, contract.row_key)
    mode, marks = settings.serving.validation, None
    for version in (served, canary) if canary is not None else (served,):
        shadow = version is canary
        model = models.load(version.folder, version.number)
        try:
            (batch,) = requests.select(list(model.inputs.names)).combine_chunks().to_batches()
            columns = to_arrays(batch)
            if not shadow and mode != "off" and model.contract is not None:
                faults = model.contract.check(columns)
                marks = None if faults is None else faults.of_rows(requests.num_rows)
            refused = np.array([mark is not None for mark in marks]) if marks and mode == "refuse" else False
            parts = [
                model.predict({column: values[start : start + _BATCH_ROWS] for column, values in columns.items()})
                for start in range(0, requests.num_rows, _BATCH_ROWS)
            ]
            payload = payload_table.Payload(
                ids,
                at,
                version.number,
                model.inputs.columns,
                columns,
                None,
                {output: np.concatenate([part[output] for part in parts]) for output in parts[0]},
                shadow=shadow,
                faults=marks,
                refused=refused,
                caller="replay",
            )
        finally:
            model.close()
        table = payload_table.as_table(payload, settings.serving.payloads.exclude)
        payload_log.write(Path(settings.payloads), table, f"{name}{'-shadow' if shadow else ''}")
    return requests.num_rows


def _ids(rows: pa.Table, keys: Sequence[str]) -> list[str]:
    """The ids of the predictions: see `data.contract.Contract.row_key`."""
    return pc.binary_join_element_wise(*[rows[key].cast(pa.string()) for key in keys], "/").to_pylist()

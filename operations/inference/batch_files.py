"""Files of rows to be predicted: Parquet or CSV, read in pieces, checked, and in the types that the model takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import storage
from data import spans as span_files
from data.contract import Contract
from errors import FlightdeckError
from operations.inference.columns import MISSING
from operations.inference.contract import MOST_FAULTS
from operations.inference.payload_table import FAULTS

if TYPE_CHECKING:
    import pyarrow as pa

    from operations.inference import contract as contracts
    from operations.inference.settings import Validation

BATCH_ROWS = 16_384
_CSV_BLOCK_BYTES = 1 << 22


class InputError(FlightdeckError):
    """Files that cannot be predicted; the text names the file, the column and what to do."""


@dataclass(frozen=True)
class InputFile:
    """A file of rows, perhaps of a span of the dataset. Its columns have Arrow types, or None in CSV."""

    path: Path
    columns: Mapping[str, pa.DataType | None]
    rows: int
    span: int | None = None


def of_window(spans: str, window: str) -> list[tuple[Path, int]]:
    """The files of a window, FIRST:LAST, of a folder of spans, each with its span.

    Raises InputError if there are none, and SpanError for a window that makes no sense.
    """
    from components.span_example_gen.window import Window

    folders = span_files.folders(storage.at(spans))
    if not folders:
        raise InputError(f"There is no span in {spans}; prepare the data, or name the files to predict.")
    files = []
    for span in Window.parse(window).resolve(list(folders), spans):
        files += [
            (file, span)
            for file in storage.entries(folders[span])
            if file.suffix in (".parquet", ".csv") and not file.name.startswith((".", "_"))
        ]
    return files


def inspect(path: Path, span: int | None = None) -> InputFile:
    """Looks at a file without reading its values; raises InputError if it is not there, or neither Parquet nor CSV."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    if path.suffix not in (".parquet", ".csv"):
        raise InputError(f"{path} is neither a .parquet nor a .csv file.")
    try:
        if path.suffix == ".parquet":
            with storage.opened(path) as stream, pq.ParquetFile(stream) as file:
                names, rows = file.schema_arrow.names, file.metadata.num_rows
                columns = dict(zip(names, file.schema_arrow.types, strict=True))
        else:
            options = pa_csv.ConvertOptions(null_values=[""], strings_can_be_null=True)
            with storage.opened(path) as stream, pa_csv.open_csv(stream, convert_options=options) as reader:
                names = reader.schema.names
                rows = sum(batch.num_rows for batch in reader)
            columns = dict.fromkeys(names)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except (pa.ArrowException, OSError) as error:
        kind = "Parquet" if path.suffix == ".parquet" else "CSV"
        raise InputError(f"{path} cannot be read as {kind}: {_reason(error)}.") from error
    if len(set(names)) != len(names):
        raise InputError(f"{path} has a column twice: {next(name for name in names if names.count(name) > 1)}.")
    return InputFile(path, columns, rows, span)


@dataclass(frozen=True)
class Inputs:
    """Files that were checked against what a model takes.

    Attributes:
        types: of the columns that the model takes: name -> int64, float32 or string.
        required: those of them that may not be missing.
        keys: the columns that identify a row, which all files have; empty if there are none.
        contract: of the version, which every row must keep; None checks only that what is required is there.
        validation: whether rows that break the contract are refused or flagged.
    """

    files: Sequence[InputFile]
    types: Mapping[str, str]
    required: frozenset[str]
    keys: tuple[str, ...]
    contract: contracts.Contract | None = None
    validation: Validation = "refuse"

    @property
    def rows(self) -> int:
        """The number of rows of all files."""
        return sum(file.rows for file in self.files)

    def batches(self) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """Reads the rows in order, a bounded number at a time.

        Yields:
            What the model takes, in its types, with nulls for missing values; and what identifies the rows: the keys
            or, if there are none, `row_id`, which is the name of the file and the number of the row from 0. If rows
            that break the contract are flagged, their columns at fault stand beside that, in `contract_faults`.

        Raises:
            InputError: a value is missing that may not be, or is not of its type; or, at the end of a file, rows of it
                broke the contract and are to be refused.
        """
        import pyarrow as pa

        for file in self.files:
            # Of each batch with rows that are refused: how many rows, how many faults, and the first of these.
            row, refused = 0, list[tuple[int, int, list[str]]]()
            for batch in self._read(file):
                typed, ids = self._typed(batch, file), self._identified(batch, file, row)
                if self.contract is not None:
                    faults = self.contract.check(to_arrays(typed))
                    if faults is not None and self.validation == "refuse":
                        first = [str(replace(fault, row=fault.row + row)) for fault in faults.first]
                        refused.append((len(faults.by_row), sum(faults.by_column.values()), first))
                    elif self.validation == "flag":
                        marks = [None] * ids.num_rows if faults is None else faults.of_rows(ids.num_rows)
                        ids = ids.append_column(FAULTS, pa.array(marks, pa.string()))
                if not refused:
                    yield typed, ids
                row += batch.num_rows
            if refused:
                raise _refusal(file, refused)

    def _read(self, file: InputFile) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        import pyarrow.csv as pa_csv
        import pyarrow.parquet as pq

        names = [*self.types, *(name for name in self.keys if name not in self.types)]
        try:
            if file.path.suffix == ".parquet":
                with storage.opened(file.path) as stream, pq.ParquetFile(stream) as parquet:
                    yield from parquet.iter_batches(batch_size=BATCH_ROWS, columns=names)
            else:
                arrow = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.string()}
                options = pa_csv.ConvertOptions(
                    column_types={name: arrow[declared] for name, declared in self.types.items()},
                    include_columns=names,
                    # As SpanExampleGen reads CSV.
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                )
                reading = pa_csv.ReadOptions(block_size=_CSV_BLOCK_BYTES)
                with (
                    storage.opened(file.path) as stream,
                    pa_csv.open_csv(stream, read_options=reading, convert_options=options) as reader,
                ):
                    yield from reader
        except (pa.ArrowException, OSError) as error:
            reason = re.sub(
                r"In CSV column #(\d+)",
                lambda match: f"in the column {list(file.columns)[int(match[1])]}",
                _reason(error),
            )
            raise InputError(f"{file.path} cannot be read: {reason}.") from error

    def _typed(self, batch: pa.RecordBatch, file: InputFile) -> pa.RecordBatch:
        import pyarrow as pa

        columns = []
        for name, declared in self.types.items():
            values = _cast(batch.column(name), declared, name, file)
            if name in self.required and values.null_count:
                raise InputError(f"{file.path}: the column {name} has missing values, but the model needs them all.")
            columns.append(values)
        return pa.record_batch(columns, names=list(self.types))

    def _identified(self, batch: pa.RecordBatch, file: InputFile, first: int) -> pa.RecordBatch:
        import pyarrow as pa

        if self.keys:
            return batch.select(list(self.keys))
        ids = [f"{file.path.name}:{number}" for number in range(first, first + batch.num_rows)]
        return pa.record_batch([pa.array(ids, pa.string())], names=["row_id"])


def _refusal(file: InputFile, refused: Sequence[tuple[int, int, list[str]]]) -> InputError:
    rows, faults, named = zip(*refused, strict=True)
    first = [fault for batch in named for fault in batch][:MOST_FAULTS]
    more = f"; and {sum(faults) - len(first):,} more" if sum(faults) > len(first) else ""
    return InputError(
        f"{file.path} is refused, because {sum(rows):,} of its rows break the contract of the version (rows are "
        f"counted from 0): {'; '.join(first)}{more}. Correct them, or have them answered and marked with: "
        "--set serving.validation=flag"
    )


def to_arrays(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """Returns int64, float32 and string columns as arrays [rows, 1], with `columns.MISSING` for nulls."""
    import pyarrow as pa

    missing = {pa.int64(): MISSING["int64"], pa.float32(): MISSING["float32"], pa.string(): MISSING["string"]}
    return {
        name: values.fill_null(missing[values.type]).to_numpy(zero_copy_only=False).reshape(-1, 1)
        for name, values in zip(batch.schema.names, batch.columns, strict=True)
    }


def check(
    files: Sequence[InputFile],
    types: Mapping[str, str],
    dataset: Contract,
    contract: contracts.Contract | None = None,
    validation: Validation = "refuse",
) -> Inputs:
    """Checks that files have what a model takes. Other columns are ignored.

    The contract of the dataset says which columns are keys, and which values may be missing unless the version carries
    a contract of its own. Raises InputError for a column that is missing or of another type.
    """
    import pyarrow as pa

    from components.span_example_gen.columns import accepts

    for file in files:
        for name, declared in types.items():
            if name not in file.columns:
                raise InputError(f"{file.path} lacks the column {name}, which the model needs.")
            given = file.columns[name]
            if given is None or accepts(declared, given):
                continue
            # Pandas writes a column of whole numbers as float64 as soon as one is missing.
            if not (declared == "int64" and pa.types.is_floating(given)):
                raise InputError(f"{file.path}: the column {name} is {given}, and {declared} is needed.")
    keys = tuple(
        column.name
        for column in dataset.columns
        if column.role == "key" and all(column.name in file.columns for file in files)
    )
    nullable = {column.name for column in dataset.columns if column.nullable}
    required = frozenset(types) - nullable if contract is None else frozenset()
    return Inputs(tuple(files), dict(types), required, keys, contract, validation)


def _cast(values: pa.Array, declared: str, name: str, file: InputFile) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    try:
        if declared == "float32":
            values = values.cast(pa.float32(), safe=False)  # float64 may lose precision
            if pc.any(pc.is_inf(values)).as_py():
                raise InputError(f"{file.path}: the column {name} holds a number that does not fit into float32.")
            return values
        return values.cast({"int64": pa.int64(), "string": pa.string()}[declared])
    except pa.ArrowException as error:
        raise InputError(f"{file.path}: the column {name} is not {declared}: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300]

"""Typed columns: the Arrow types a declared column accepts, and the types in which it is ingested."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from components.span_example_gen.errors import SpanError

_FEATURE_TYPES = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.large_binary()}

# Only what fits without changing a value, and float64, which is what most tools write for want of a choice.
_ACCEPTED = {
    "int64": {
        pa.int64(), pa.int32(), pa.int16(), pa.int8(), pa.uint32(), pa.uint16(), pa.uint8(), pa.bool_(),
        pa.null(),
    },
    "float32": {
        pa.float32(), pa.float64(), pa.float16(), pa.int16(), pa.int8(), pa.uint16(), pa.uint8(), pa.null(),
    },
    "string": {pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.null()},
}  # fmt: skip

_CSV_TYPES = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.string()}


def check_declared(columns: Mapping[str, str], ignored: tuple[str, ...] = ()) -> None:
    """Checks the declaration itself.

    Raises:
        SpanError: If there is no column, a type is not int64, float32 or string, or a column is also ignored.
    """
    if not columns:
        raise SpanError("SpanExampleGen has no column to ingest; declare at least one.")
    for name, declared in columns.items():
        if declared not in _FEATURE_TYPES:
            raise SpanError(f"The column {name!r} is declared as {declared!r}; declare int64, float32 or string.")
    if both := sorted(set(columns) & set(ignored)):
        raise SpanError(f"The column {both[0]!r} is declared both as ingested and as ignored; choose one.")


def accepts(declared: str, actual: pa.DataType) -> bool:
    """Returns whether a column with an Arrow type can be ingested as the declared type."""
    if pa.types.is_dictionary(actual):
        actual = actual.value_type
    return actual in _ACCEPTED[declared]


def csv_types(columns: Mapping[str, str]) -> dict[str, pa.DataType]:
    """Returns the Arrow types with which a CSV file is parsed."""
    return {name: _CSV_TYPES[declared] for name, declared in columns.items()}


def ingested_schema(columns: Mapping[str, str]) -> pa.Schema:
    """Returns the declared columns as they are ingested: int64, float32 or large_binary, sorted by name."""
    return pa.schema([(name, _FEATURE_TYPES[columns[name]]) for name in sorted(columns)])


def ingested(batch: pa.RecordBatch, columns: Mapping[str, str]) -> pa.RecordBatch:
    """Returns the declared columns in the types of `ingested_schema`.

    NaN becomes null, a missing value: a float column from pandas has no other way to say so, and one NaN would
    otherwise poison every sum over the column.
    """
    schema = ingested_schema(columns)
    return pa.record_batch([_values(batch.column(name), columns[name]) for name in schema.names], schema=schema)


def _values(column: pa.Array, declared: str) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # Unsafe only in letting float64 lose precision; the accepted integer types all fit.
    values = column.cast(_FEATURE_TYPES[declared], safe=False)
    if declared == "float32":
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float32()), values)
    return values

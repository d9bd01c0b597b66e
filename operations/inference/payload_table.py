"""Requests and their answers as rows: the columns that every writer and reader of the payload log agrees on."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from operations import tasks
from operations.inference.columns import MISSING, Column, Columns, concatenated

if TYPE_CHECKING:
    import pyarrow as pa

ID, TIME, VERSION, SHADOW, SECONDS = "prediction_id", "time", "model_version", "shadow", "seconds"
# What became of a row that breaks the contract, and who sent it.
FAULTS, REFUSED, CALLER = "contract_faults", "request_refused", "request_caller"


@dataclasses.dataclass(frozen=True)
class Payload:
    """One request and its answer.

    Attributes:
        prediction_ids: one per row.
        times: of the answer, seconds since the epoch; one, or one per row.
        inputs: what the model takes: name -> column.
        columns: the arrays that were asked with, or None if serialised `examples` were.
        outputs: the arrays that were answered, by the names that `tasks.column_of` gives them.
        shadow: whether nobody but the log saw the answer: that of a canary. Its id and its times are those
            of the answer that was given.
        seconds: from the request to its answer; one, or one per row. None if that was not measured.
        faults: the columns of each row that break the contract, as one text; None for a row that keeps it, or for all.
        refused: whether the request was refused; one, or one per row. The outputs of such a row are of no meaning.
        caller: who asked; one, or one per row. Empty if that is not known.
    """

    prediction_ids: Sequence[str]
    times: float | np.ndarray
    version: int
    inputs: Mapping[str, Column]
    columns: Columns | None
    examples: Sequence[bytes] | None
    outputs: Columns
    shadow: bool = False
    seconds: float | np.ndarray | None = None
    faults: Sequence[str | None] | None = None
    refused: bool | np.ndarray = False
    caller: str | Sequence[str] = ""

    def __post_init__(self) -> None:
        """Names the outputs."""
        if not self.outputs.keys().isdisjoint(self.inputs):
            named = {tasks.column_of(name, self.inputs): values for name, values in self.outputs.items()}
            object.__setattr__(self, "outputs", named)

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.prediction_ids)


def schema(inputs: Mapping[str, Column], outputs: Mapping[str, Column], exclude: Collection[str] = ()) -> pa.Schema:
    """Returns the columns of the log of a model: what it is of a request, its inputs and its outputs, each by name.

    An input that is missing is null. An output is one value per row, or a list if the model gives several; null if the
    request was refused.
    """
    import pyarrow as pa

    fields = [
        pa.field(ID, pa.string(), nullable=False),
        pa.field(TIME, pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field(VERSION, pa.int64(), nullable=False),
        pa.field(SHADOW, pa.bool_()),
        pa.field(SECONDS, pa.float32()),
        pa.field(FAULTS, pa.string()),
        pa.field(REFUSED, pa.bool_()),
    ]
    if CALLER not in exclude:
        fields.append(pa.field(CALLER, pa.string()))
    fields += [pa.field(name, _type(column)) for name, column in sorted(inputs.items()) if name not in exclude]
    for output, column in sorted(outputs.items()):
        if (name := tasks.column_of(output, inputs)) not in exclude:
            single = len(column.shape) == 1 or column.shape[1:] == (1,)
            fields.append(pa.field(name, _type(column) if single else pa.list_(_type(column))))
    return pa.schema(fields)


def as_table(payload: Payload, exclude: Collection[str] = ()) -> pa.Table:
    """Returns a payload in the form of `schema`."""
    import pyarrow as pa

    columns = payload.columns
    if columns is None:
        columns = parsed(payload.examples or (), payload.inputs) or {}
    outputs = {name: _output_column(name, values) for name, values in payload.outputs.items()}
    form = schema(payload.inputs, outputs, exclude)
    refused = np.broadcast_to(np.asarray(payload.refused, bool), payload.rows)
    times = np.broadcast_to(np.asarray(payload.times) * 1e6, payload.rows).astype(np.int64)
    nothing = pa.nulls(payload.rows)
    values: dict[str, Any] = {
        ID: list(payload.prediction_ids),
        TIME: pa.array(times).cast(pa.timestamp("us", tz="UTC")),
        VERSION: np.full(payload.rows, payload.version, np.int64),
        SHADOW: np.full(payload.rows, payload.shadow),
        SECONDS: nothing if payload.seconds is None else np.broadcast_to(payload.seconds, payload.rows),
        FAULTS: nothing if payload.faults is None else payload.faults,
        REFUSED: refused,
        CALLER: [caller or None for caller in _each_row(payload.caller, payload.rows)],
    }
    for field in form:
        if field.name in payload.inputs:
            values[field.name] = _with_nulls(columns[field.name].reshape(-1), payload.inputs[field.name].dtype)
        elif field.name in outputs:
            array = payload.outputs[field.name]
            whole = not pa.types.is_list(field.type)
            answers = array.reshape(-1) if whole else array.reshape(payload.rows, -1).tolist()
            values[field.name] = pa.array(answers, field.type, mask=refused if refused.any() else None)
    return pa.table(values, schema=form)


def kind(payload: Payload) -> tuple:
    """What payloads must have in common to be one table; the hour first."""
    forms = tuple((name, values.dtype, values.shape[1:]) for name, values in payload.outputs.items())
    answered = payload.version, payload.shadow, payload.seconds is None
    return hour_of(float(payload.times)), answered, payload.columns is None, tuple(payload.inputs), forms


def joined(payloads: Sequence[Payload]) -> Payload:
    """Payloads of one kind as one: turning 64 rows into Arrow costs nearly as much as turning 16,384."""
    first = payloads[0]
    if len(payloads) == 1:
        return first
    rows = [payload.rows for payload in payloads]

    def each_row(values: Sequence[Any]) -> np.ndarray:
        return np.repeat(values, rows)

    return dataclasses.replace(
        first,
        prediction_ids=[name for payload in payloads for name in payload.prediction_ids],
        times=each_row([float(payload.times) for payload in payloads]),
        columns=None if first.columns is None else concatenated([payload.columns or {} for payload in payloads]),
        examples=None
        if first.columns is not None
        else [example for payload in payloads for example in payload.examples or ()],
        outputs=concatenated([payload.outputs for payload in payloads]),
        seconds=None if first.seconds is None else each_row([float(payload.seconds or 0.0) for payload in payloads]),
        faults=[fault for payload in payloads for fault in payload.faults or [None] * payload.rows]
        if any(payload.faults for payload in payloads)
        else None,
        refused=each_row([bool(payload.refused) for payload in payloads]),
        caller=[caller for payload in payloads for caller in _each_row(payload.caller, payload.rows)],
    )


def _each_row(caller: str | Sequence[str], rows: int) -> Sequence[str]:
    return [caller] * rows if isinstance(caller, str) else caller


def _output_column(name: str, values: np.ndarray) -> Column:
    return Column(name, "string" if values.dtype == object else values.dtype.name, (None, *values.shape[1:]))


def _with_nulls(flat: np.ndarray, dtype: str) -> pa.Array:
    import pyarrow as pa

    mask = np.isnan(flat) if dtype.startswith("float") else flat == MISSING.get(dtype)
    return pa.array(flat, _type(Column("", dtype, ())), mask=mask.astype(bool))


def parsed(examples: Sequence[bytes], inputs: Mapping[str, Column]) -> Columns | None:
    """Returns the values of serialised tf.Examples, the first one of each feature; None if one cannot be read."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        rows = [tf.train.Example.FromString(example).features.feature for example in examples]
    except DecodeError:
        return None
    columns = {}
    for name, column in inputs.items():
        missing, dtype = MISSING.get(column.dtype), column.dtype
        lists = {"string": "bytes_list", "int64": "int64_list"}.get(dtype, "float_list")
        values = [
            next(iter(getattr(features[name], lists).value), missing) if name in features else missing
            for features in rows
        ]
        if dtype == "string":
            values = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values]
        columns[name] = np.array(values, object if dtype == "string" else dtype)
    return columns


def _type(column: Column) -> pa.DataType:
    import pyarrow as pa

    return pa.string() if column.dtype == "string" else pa.from_numpy_dtype(column.dtype)


def hour_of(moment: float) -> datetime.datetime:
    """The hour, in UTC, of seconds since the epoch."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).replace(minute=0, second=0, microsecond=0)

"""The Open Inference Protocol, version 2: tensors as JSON or as bytes in, arrays out, and back.

Nothing here knows HTTP or gRPC: `rest` and `grpc_v2` read requests and send answers. The protocol is described at
https://github.com/kserve/open-inference-protocol, and the tensors as bytes behind the JSON (the extension
``binary_tensor_data``) at https://github.com/triton-inference-server/server/blob/main/docs/protocol.

An input that a request does not hold, and a null among JSON data, is a missing value: the protocol has no word for one.
The ``id`` of a request names its prediction in the payload log; the rows of a larger one are ``ID-0``, ``ID-1`` and so
on. A model that tells classes apart answers with the name of the most probable one, too, as the output ``class``. Which
class each probability is of, and the unit of a number, stand in the metadata: over REST in the ``parameters`` of the
output, as MLServer has them; over gRPC, whose outputs have none, in KServe's ``properties`` of the model.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import math
import operator
import re
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from operations.inference import columns
from operations.inference.columns import Column, Columns
from operations.inference.contract import Faults
from operations.inference.errors import BadRequestError, UnknownModelError, UnprocessableError
from operations.inference.model import EXAMPLES, RAW, LoadedModel
from operations.serving import json_body
from operations.serving.tfserving_v1 import as_bytes, row_ids

if TYPE_CHECKING:
    from operations.serving.service import Answer, Service

SERVER = {"name": "flightdeck", "version": "0.1.0", "extensions": ["binary_tensor_data"]}
PLATFORM = "tensorflow_savedmodel"
BYTES = "BYTES"

# BF16 is left out: numpy has no such type.
NUMBERS = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
_NONE = type(None)
# Datatype -> the types of its values in JSON; null is a missing value of any.
_KINDS = {name: frozenset({float, int, _NONE} if name.startswith("FP") else {int, _NONE}) for name in NUMBERS} | {
    "BOOL": frozenset({bool, _NONE}),
    BYTES: frozenset({str, _NONE}),
}
_NAMES = {np.dtype(kind).name: name for name, kind in NUMBERS.items()} | {"string": BYTES, "object": BYTES}
_DATATYPES = {np.dtype(kind): name for name, kind in NUMBERS.items()}
_LARGEST_SIZE = 2**31
_MOST_SIZES = 8
LONGEST_ID = 200
_LONGEST_NAME = 200
_PARTS = operator.itemgetter("name", "datatype", "shape", "data")


# The values of an input: plain JSON values, or an array of numbers or objects (bytes), always flat.
Data = list[Any] | np.ndarray


@dataclasses.dataclass(frozen=True)
class InferRequest:
    """A request for predictions.

    Attributes:
        id: what the client calls it; empty if it does not.
        shapes: of the inputs, by name.
        data: of the inputs, by name.
        outputs: the names of those that are asked for, and whether as bytes; empty for all.
        binary: whether outputs that are not asked for one by one are wanted as bytes.
    """

    id: str
    shapes: Mapping[str, tuple[int, ...]]
    data: Mapping[str, Data]
    outputs: tuple[tuple[str, bool], ...] = ()
    binary: bool = False

    @functools.cached_property
    def rows(self) -> int:
        """The number of rows of its longest input."""
        return max(map(_rows, set(self.shapes.values())))


def parse(body: bytes | bytearray, header_length: int | None = None) -> InferRequest:
    """Reads the body of ``infer``: JSON of that length, or all of it, and the bytes of binary tensors behind it.

    Raises:
        BadRequestError: it is not of the protocol's form; the field is named.
    """
    if header_length is not None and not 0 <= header_length <= len(body):
        raise BadRequestError(
            f"Inference-Header-Content-Length is {header_length}, but the body has {len(body)} bytes.",
            "Inference-Header-Content-Length",
        )
    view = memoryview(body)
    document = json_body.parse(view[:header_length])
    rest = _Rest(view[len(body) if header_length is None else header_length :])
    parameters = _parameters(document, "parameters")
    inputs = _objects(document, "inputs")
    shapes, data = _plain_inputs(inputs) or _inputs(inputs, rest)
    if rest.view:
        raise BadRequestError(f"{len(rest.view)} bytes behind the JSON belong to no tensor.", "binary_data_size")
    request_id = _text(document, "id", "")
    if len(request_id) > LONGEST_ID:
        raise BadRequestError(f"`id` has more than {LONGEST_ID} characters.", "id")
    return InferRequest(request_id, shapes, data, _outputs(document), parameters.get("binary_data_output") is True)


def check_names(names: Sequence[str]) -> None:
    """Raises BadRequestError for a request without inputs, or with an input twice."""
    if not names:
        raise BadRequestError("`inputs` is empty; at least one tensor is needed.", "inputs")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRequestError(f"The input `{twice}` is there twice.", twice)


def check_tensor(name: str, datatype: str, shape: Sequence[Any]) -> tuple[int, ...]:
    """Returns the shape, or raises BadRequestError if it or the datatype is none of the protocol's."""
    if datatype not in _KINDS:
        known = ", ".join([*NUMBERS, BYTES])
        raise BadRequestError(f"`{name}` has the datatype {datatype[:40]!r}; those known are {known}.", name)
    for size in shape:
        # 2.0 is a whole number in JSON; true is none.
        if type(size) is not int and not (type(size) is float and size.is_integer()):
            break
        if not 0 <= size < _LARGEST_SIZE:
            break
    else:
        if len(shape) <= _MOST_SIZES:
            return tuple(map(int, shape))
    raise BadRequestError(f"`{name}` has a `shape` that is not a list of sizes, such as [2, 1].", name)


def from_raw(name: str, datatype: str, shape: tuple[int, ...], raw: bytes | memoryview) -> np.ndarray:
    """The values of a tensor from its bytes: little-endian numbers, or texts with four bytes of length before each.

    Raises BadRequestError if they are not as many as the shape says.
    """
    count = math.prod(shape)
    if datatype == BYTES:
        return _texts(name, count, raw)
    size = np.dtype(NUMBERS[datatype]).itemsize
    if len(raw) != count * size:
        raise BadRequestError(
            f"`{name}` has {len(raw)} bytes; {datatype} of the shape {list(shape)} has {count * size}.", name
        )
    return np.frombuffer(raw, np.dtype(NUMBERS[datatype]).newbyteorder("<"))


def arrays(request: InferRequest, model: LoadedModel) -> tuple[str, Columns]:
    """The signature and the arrays of a request; raises UnprocessableError, which names the wrong input."""
    for name, _ in request.outputs:
        if name not in model.outputs:
            known = ", ".join(model.outputs)
            raise UnprocessableError(f"The model has no output `{name}`; it has {known}.", name)
    if examples := _examples(request, model):
        return EXAMPLES, examples
    rows = request.rows
    if not {(rows,), (rows, 1)}.issuperset(request.shapes.values()):
        raise _wrong_shape(request.shapes, rows)
    binary = {name: data for name, data in request.data.items() if isinstance(data, np.ndarray)}
    if not binary:
        return RAW, columns.from_columns(request.data, model.inputs)
    plain = {name: data for name, data in request.data.items() if isinstance(data, list)}
    result = columns.from_arrays(binary, model.inputs)
    if plain:
        read = columns.from_columns(plain, model.inputs)
        result |= {name: read[name] for name in plain}
    return RAW, result


async def infer(service: Service, request: InferRequest, version: int | None, request_id: str, caller: str) -> Answer:
    """Lets a version, or the newest one, answer; raises the errors of `arrays` and `Service.predict`."""
    with service.versions.using(version) as model:
        signature, values = arrays(request, model)
        ids = row_ids(request_id, columns.row_count(values))
        return await service.predict(model, values, ids, signature, version is not None, caller)


def version_asked(served: str, name: str, version: str | None) -> int | None:
    """The number of the version that a request names, if any; UnknownModelError for another model, or no number."""
    if name != served:
        raise UnknownModelError(f"There is no model `{name[:100]}`; `{served}` is served.", "name")
    if not version:
        return None
    if not re.fullmatch("[0-9]{1,19}", version):
        raise UnknownModelError(f"`{version[:40]}` is no version; a version is a number.", "version")
    return int(version)


def chosen(request: InferRequest, outputs: Mapping[str, np.ndarray]) -> list[tuple[str, bool, np.ndarray]]:
    """The outputs that a request wants, in its order, and whether as bytes."""
    wanted = request.outputs or [(name, request.binary) for name in outputs]
    return [(name, binary, outputs[name]) for name, binary in wanted]


def answer(
    request: InferRequest,
    name: str,
    version: int,
    request_id: str,
    outputs: Mapping[str, np.ndarray],
    faults: Faults | None = None,
) -> tuple[bytes, int | None]:
    """The body of an answer, and how much of it is JSON: None if all is."""
    tensors, tail = [], []
    for output, binary, values in chosen(request, outputs):
        tensor: dict[str, Any] = {"name": output, "datatype": datatype_of(values), "shape": list(values.shape)}
        if binary:
            raw = to_raw(values)
            tensor["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)
        elif values.dtype.kind in "OSU":
            tensor["data"] = [as_bytes(value).decode(errors="replace") for value in values.reshape(-1).tolist()]
        else:
            tensor["data"] = np.ascontiguousarray(values).reshape(-1)
        tensors.append(tensor)
    document: dict[str, Any] = {"model_name": name, "model_version": str(version), "id": request_id, "outputs": tensors}
    if faults is not None:
        document["parameters"] = marks(faults)
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return (head + b"".join(tail), len(head)) if tail else (head, None)


def marks(faults: Faults) -> dict[str, str]:
    """The parameters of an answer that mark the rows that break the contract; the protocol has plain values only."""
    return {"flagged_rows": ",".join(map(str, sorted(faults.by_row))), "faults": faults.sentence}


def as_text(parameter: Any) -> str:
    """Returns a parameter where there is a place for text only: as it is, or as JSON."""
    return parameter if isinstance(parameter, str) else orjson.dumps(parameter).decode()


def datatype_of(values: np.ndarray) -> str:
    """The protocol's name for the type of an array."""
    return _DATATYPES.get(values.dtype, BYTES)


def to_raw(values: np.ndarray) -> bytes:
    """The inverse of `from_raw`."""
    if values.dtype.kind not in "OSU":
        return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    texts = map(as_bytes, values.reshape(-1).tolist())
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def model_metadata(name: str, model: LoadedModel, versions: Sequence[int]) -> dict[str, Any]:
    """The body of a model's metadata."""
    meaning = model.task.parameters
    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": PLATFORM,
        "inputs": [tensor_metadata(column) for column in model.inputs.columns.values()],
        "outputs": [
            {**tensor_metadata(column), **({"parameters": meaning[name]} if name in meaning else {})}
            for name, column in model.outputs.items()
        ],
    }


class _Rest:
    """The bytes behind the JSON, which the tensors take in turn."""

    def __init__(self, view: memoryview) -> None:
        self.view = view

    def take(self, size: int, name: str) -> memoryview:
        if size > len(self.view):
            raise BadRequestError(f"`{name}` has {size} bytes of data, but only {len(self.view)} are left.", name)
        taken, self.view = self.view[:size], self.view[size:]
        return taken


def _rows(shape: tuple[int, ...]) -> int:
    return shape[0] if shape else 1


def _wrong_shape(shapes: Mapping[str, tuple[int, ...]], rows: int) -> UnprocessableError:
    name, shape = next((name, shape) for name, shape in shapes.items() if shape not in ((rows,), (rows, 1)))
    if shape and shape[1:] in ((), (1,)):
        return UnprocessableError(f"`{name}` has {shape[0]} rows, but another input has {rows}.", name)
    return UnprocessableError(f"`{name}` has the shape {list(shape)}; [rows, 1] is needed.", name)


def _plain_inputs(
    documents: Sequence[dict[str, Any]],
) -> tuple[dict[str, tuple[int, ...]], dict[str, Data]] | None:
    """The shapes and the data of inputs that are as plain as nearly always: of one shape, with flat lists of values.

    A model has an input per column, and to look at one after the other takes longer than to predict a row. None if
    there is anything else among them, which is then looked at, or anything wrong.
    """
    try:
        parts = list(map(_PARTS, documents))
    except KeyError:
        return None
    if not parts or max(map(len, documents)) > len(parts[0]):
        return None
    names, datatypes, shapes, data = zip(*parts, strict=True)
    if not (
        set(map(type, names)) == set(map(type, datatypes)) == {str}
        and set(map(type, shapes)) == set(map(type, data)) == {list}
        and len(set(names)) == len(names)
        and max(map(len, names)) <= _LONGEST_NAME
        and _KINDS.keys() >= set(datatypes)
        and shapes.count(shapes[0]) == len(shapes)
        # Which 1.0 and true are equal to.
        and set(map(type, chain.from_iterable(shapes))) == {int}
    ):
        return None
    shape = check_tensor(names[0], datatypes[0], shapes[0])
    if set(map(len, data)) != {math.prod(shape)} or not all(
        _KINDS[datatype].issuperset(map(type, values)) for datatype, values in zip(datatypes, data, strict=True)
    ):
        return None
    return dict.fromkeys(names, shape), dict(zip(names, data, strict=True))


def _inputs(documents: Sequence[dict[str, Any]], rest: _Rest) -> tuple[dict[str, tuple[int, ...]], dict[str, Data]]:
    inputs = [_input(document, index, rest) for index, document in enumerate(documents)]
    check_names([name for name, _, _ in inputs])
    return {name: shape for name, shape, _ in inputs}, {name: data for name, _, data in inputs}


def _input(document: dict[str, Any], index: int, rest: _Rest) -> tuple[str, tuple[int, ...], Data]:
    name, datatype, shape = document.get("name"), document.get("datatype"), document.get("shape")
    if not isinstance(name, str):
        raise BadRequestError(f"inputs[{index}].`name` must be a text.", "name")
    name = name[:_LONGEST_NAME]
    if not isinstance(datatype, str):
        raise BadRequestError(f"`{name}`: `datatype` must be a text.", "datatype")
    if not isinstance(shape, list):
        raise BadRequestError(f"`{name}` has no `shape`; a list of sizes is needed, such as [2, 1].", name)
    shape = check_tensor(name, datatype, shape)
    parameters = _parameters(document, name)
    if (size := parameters.get("binary_data_size")) is not None:
        if type(size) is not int or size < 0:
            raise BadRequestError(f"`{name}` has a `binary_data_size` that is not a number of bytes.", name)
        if "data" in document:
            raise BadRequestError(f"`{name}` has both `data` and `binary_data_size`; one of them is needed.", name)
        return name, shape, from_raw(name, datatype, shape, rest.take(size, name))
    data = document.get("data")
    if not isinstance(data, list):
        raise BadRequestError(f"`{name}` has no `data`; a list of values is needed.", name)
    # Nested or flat, says the protocol.
    for _ in shape[1:]:
        if not data or not all(isinstance(values, list) for values in data):
            break
        data = list(chain.from_iterable(data))
    if len(data) != math.prod(shape):
        raise BadRequestError(f"`{name}` has {len(data)} values; the shape {list(shape)} has {math.prod(shape)}.", name)
    allowed = _KINDS[datatype]
    if not allowed.issuperset(map(type, data)):
        row = next(row for row, value in enumerate(data) if type(value) not in allowed)
        raise UnprocessableError(f"`{name}` has a value at {row} that is no {datatype}.", name)
    if datatype == BYTES and parameters.get("content_type") == "base64":
        return name, shape, _from_base64(name, data)
    return name, shape, data


def _from_base64(name: str, data: Sequence[Any]) -> np.ndarray:
    try:
        return columns.objects([base64.b64decode(text or "", validate=True) for text in data])
    except ValueError:
        raise BadRequestError(f"`{name}` has data that is not base64.", name) from None


def _texts(name: str, count: int, raw: bytes | memoryview) -> np.ndarray:
    # Each takes four bytes at least, so a shape cannot ask for more memory than the body has.
    if len(raw) < 4 * count:
        raise BadRequestError(f"`{name}` has {len(raw)} bytes, too few for {count} texts.", name)
    texts, at = [], 0
    for index in range(count):
        if at + 4 > len(raw):
            raise BadRequestError(f"`{name}` ends before text {index}.", name)
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + length > len(raw):
            raise BadRequestError(f"`{name}` ends within text {index}.", name)
        texts.append(bytes(raw[at : at + length]))
        at += length
    if at != len(raw):
        raise BadRequestError(f"`{name}` has {len(raw) - at} bytes behind its last text.", name)
    return columns.objects(texts)


def _examples(request: InferRequest, model: LoadedModel) -> Columns | None:
    """The one input of serving_default, if that is what the request has."""
    if EXAMPLES not in model.signatures or len(request.data) != 1:
        return None
    ((name, data),) = request.data.items()
    if model.signatures[EXAMPLES].inputs.names != (name,) or name in model.inputs.columns:
        return None
    shape = request.shapes[name]
    if shape[1:] not in ((), (1,)) or not shape:
        raise UnprocessableError(f"`{name}` has the shape {list(shape)}; [rows] is needed.", name)
    values = data if isinstance(data, list) else data.tolist()
    for row, value in enumerate(values):
        if not isinstance(value, str | bytes):
            raise UnprocessableError(f"`{name}` in row {row} is no serialised tf.Example.", name)
    return {name: columns.objects(list(map(as_bytes, values)))}


def _outputs(document: dict[str, Any]) -> tuple[tuple[str, bool], ...]:
    outputs = []
    for index, output in enumerate(_objects(document, "outputs")):
        name = _text(output, "name", None, f"outputs[{index}].")[:_LONGEST_NAME]
        outputs.append((name, _parameters(output, name).get("binary_data") is True))
    return tuple(outputs)


def _objects(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadRequestError(f"`{key}` must be a list of objects.", key)
    return value


def _parameters(document: dict[str, Any], field: str) -> dict[str, Any]:
    value = document.get("parameters", {})
    if not isinstance(value, dict):
        raise BadRequestError(f"The `parameters` of `{field}` must be an object.", field)
    return value


def _text(document: dict[str, Any], key: str, default: str | None, where: str = "") -> str:
    value = document.get(key, default)
    if not isinstance(value, str):
        raise BadRequestError(f"{where}`{key}` must be a text.", key)
    return value


def tensor_metadata(column: Column) -> dict[str, Any]:
    """What metadata say of an input or an output."""
    return {
        "name": column.name,
        "datatype": _NAMES.get(column.dtype, column.dtype.upper()),
        "shape": [-1 if size is None else size for size in column.shape],
    }

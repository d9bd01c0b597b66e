"""TensorFlow Serving's REST protocol, version 1: bodies in, arrays out, and back.

Nothing here knows HTTP: `rest` reads bodies and sends answers. The protocol is described at
https://www.tensorflow.org/tfx/serving/api_rest. What this adds to it, without changing the meaning of a request that
TensorFlow Serving takes:

- A column that a row does not name, or a null, is a missing value.
- ``"prediction_ids"``: one text per row, under which the payload log keeps it; or true, to be told those that are made.
  Only then does the answer hold ``"prediction_ids"``.
- Without ``"signature_name"``, a request of named columns is for ``predict_raw``, and one of serialised tf.Examples,
  which are ``{"b64": …}``, for ``serving_default``.
- Rows that break the contract of the version are refused with ``"faults"`` beside ``"error"``, or answered with
  ``"flagged_rows"`` and ``"faults"``.
- ``:explain`` takes the same body, of named columns only, and says which of them moved the answer, as KServe's verb of
  this name does: ``"explanations"``, see `explanation`.
- A model that tells classes apart answers with the name of the most probable one, too, under ``"class"``.

Errors of content have the status 400, as TensorFlow Serving's have.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from operations.inference import columns
from operations.inference.columns import Column, Columns
from operations.inference.contract import Faults
from operations.inference.errors import BadRequestError, UnknownModelError, UnprocessableError
from operations.inference.model import EXAMPLES, EXPLAIN, RAW, WHY, LoadedModel, Signature
from operations.serving import json_body
from operations.serving.versions import VersionStatus

B64 = "b64"
# gRPC's code for a version that could not be loaded; TensorFlow Serving reports the one that its loader gave.
_NOT_LOADED = "UNKNOWN"
_DTYPES = {"float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE"}
_LONGEST_ID = 200
_NESTING = 4


@dataclasses.dataclass(frozen=True)
class PredictRequest:
    """A request for predictions in the words of its body.

    Attributes:
        by_row: whether `values` came as ``instances``, and not as ``inputs``.
        signature: the signature to ask; None if the body does not say.
        encoded: whether there may be values that are bytes in base64.
        prediction_ids: one per row if the client gave some; True if it wants to know them; None otherwise.
    """

    by_row: bool
    values: Any
    signature: str | None
    encoded: bool
    prediction_ids: list[str] | bool | None

    @property
    def rows(self) -> int:
        """The number of rows, as far as that can be told before they are read."""
        if self.by_row:
            return len(self.values)
        columns = self.values.values() if isinstance(self.values, dict) else [self.values]
        return max((len(column) for column in columns if isinstance(column, list)), default=0)


def parse(body: bytes | bytearray) -> PredictRequest:
    """Reads the body of ``:predict`` or ``:explain``, or raises BadRequestError, which names the field."""
    document = json_body.parse(body)
    by_row = "instances" in document
    if by_row and "inputs" in document:
        raise BadRequestError("The body has both `instances` and `inputs`; one of them is needed.", "inputs")
    if not by_row and "inputs" not in document:
        raise BadRequestError("Missing `instances` or `inputs` key.", "instances")
    key = "instances" if by_row else "inputs"
    values = document[key]
    if by_row and not isinstance(values, list):
        raise BadRequestError("`instances` must be a list with one item per row.", key)
    if not by_row and not isinstance(values, dict | list):
        raise BadRequestError("`inputs` must be an object of columns, or the list of the only column.", key)
    if not values:
        raise BadRequestError(f"`{key}` is empty; at least one row is needed.", key)
    signature = document.get("signature_name")
    if signature is not None and not isinstance(signature, str):
        raise BadRequestError("`signature_name` must be a text.", "signature_name")
    ids = _prediction_ids(document.get("prediction_ids"))
    return PredictRequest(by_row, values, signature or None, b'"b64"' in body, ids)


def arrays(request: PredictRequest, model: LoadedModel, explain: bool = False) -> tuple[str, Columns]:
    """The signature that a request is for, and the arrays that it holds.

    Raises BadRequestError for a signature that the model lacks, that takes something else or that is for the other
    verb, and UnprocessableError for a wrong value, whose column is named.
    """
    usual = EXPLAIN if explain else _usual_signature(request, model)
    try:
        signature = model.signature(request.signature or usual)
    except UnknownModelError as error:
        # 404 is for models and versions; this is a mistake in a body.
        raise BadRequestError(str(error), error.field) from None
    if explain != (signature.name == EXPLAIN):
        verb = "predict" if explain else "explain"
        raise BadRequestError(
            f"The signature {signature.name} is for :{verb}; leave `signature_name` out.", "signature_name"
        )
    values = request.values
    if request.encoded:
        values = _decoded(values, "instances" if request.by_row else "inputs", signature.name != EXAMPLES)
    if len(signature.inputs.names) == 1:
        return signature.name, _only_input(values, request.by_row, signature)
    if request.by_row:
        return signature.name, columns.from_rows(values, signature.inputs)
    if not isinstance(values, dict):
        names = ", ".join(sorted(signature.inputs.names))
        raise BadRequestError(f"`inputs` must be an object, because the model takes the columns {names}.", "inputs")
    return signature.name, columns.from_columns(values, signature.inputs)


def answer(
    request: PredictRequest,
    outputs: Mapping[str, np.ndarray],
    prediction_ids: Sequence[str],
    faults: Faults | None = None,
) -> bytes:
    """The body of an answer: ``predictions`` by row, or ``outputs`` by column.

    Rows that break the contract are marked in ``flagged_rows``, and ``faults`` says what is wrong with the first ones.
    """
    plain = {name: _plain(name, values) for name, values in outputs.items()}
    result: Any
    if len(plain) == 1:
        (result,) = plain.values()
    elif request.by_row:
        result = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    else:
        result = plain
    return _body("predictions" if request.by_row else "outputs", result, request, prediction_ids, faults)


def explanation(
    request: PredictRequest,
    outputs: Mapping[str, np.ndarray],
    prediction_ids: Sequence[str],
    faults: Faults | None = None,
) -> bytes:
    """The body of an explanation: under ``explanations`` an object per row, or one of columns if those came.

    It has the answer, the ``base_value``, and the ``attributions`` by column, which add up to the answer - base
    value: a number each, or one per class. Rows that break the contract are marked as in `answer`.
    """
    plain = {
        name: _plain(name, values.reshape(-1) if values.shape[1:] == (1,) else values)
        for name, values in outputs.items()
    }
    why = {name.removeprefix(WHY): plain.pop(name) for name in list(plain) if name.startswith(WHY)}
    result: Any = {**plain, "attributions": why}
    if request.by_row:
        by_row = [dict(zip(why, row, strict=True)) for row in zip(*why.values(), strict=True)]
        columns = {**plain, "attributions": by_row}
        result = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _body("explanations", result, request, prediction_ids, faults)


def _body(
    key: str, result: Any, request: PredictRequest, prediction_ids: Sequence[str], faults: Faults | None
) -> bytes:
    document = {key: result}
    if request.prediction_ids:
        document["prediction_ids"] = list(prediction_ids)
    if faults is not None:
        document |= {"flagged_rows": sorted(faults.by_row), "faults": faults.documents()}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def ids_for(request: PredictRequest, request_id: str, rows: int) -> list[str]:
    """The prediction id of each row: the client's, or one from `row_ids`.

    Raises UnprocessableError for a wrong number of them.
    """
    ids = request.prediction_ids
    if not isinstance(ids, list):
        return row_ids(request_id, rows)
    if len(ids) != rows:
        raise UnprocessableError(f"There are {len(ids)} prediction ids for {rows} rows.", "prediction_ids")
    return ids


def row_ids(request_id: str, rows: int) -> list[str]:
    """The names of the rows of a request: its own name if there is one row, else with ``-0``, ``-1`` and so on."""
    return [request_id] if rows == 1 else [f"{request_id}-{row}" for row in range(rows)]


def status(versions: Sequence[VersionStatus]) -> dict[str, Any]:
    """The body of a model's status: ``model_version_status``."""
    return {
        "model_version_status": [
            {
                "version": str(status.version),
                "state": status.state,
                "status": {"error_code": _NOT_LOADED if status.error else "OK", "error_message": status.error},
            }
            for status in versions
        ]
    }


def metadata(name: str, model: LoadedModel) -> dict[str, Any]:
    """The body of a model's metadata: its signatures as TensorFlow Serving shows them, and what the outputs mean."""
    signatures = {
        signature.name: {
            "inputs": {column.name: _tensor_info(column) for column in signature.inputs.columns.values()},
            "outputs": {column.name: _tensor_info(column) for column in signature.outputs.values()},
            "method_name": "tensorflow/serving/predict",
            "defaults": {},
        }
        for signature in model.signatures.values()
    }
    meaning = model.task.parameters
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": signatures}, **({"outputs": meaning} if meaning else {})},
    }


def not_found(name: str, version: int | None, detail: UnknownModelError | None = None) -> UnknownModelError:
    """The error for a model or version that cannot be asked, in TensorFlow Serving's words, and perhaps in ours."""
    which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    more = f" ({detail})" if detail else ""
    return UnknownModelError(f"Servable not found for request: {which}{more}", detail.field if detail else "name")


def _usual_signature(request: PredictRequest, model: LoadedModel) -> str:
    """Examples come as {"b64": …}, bare or as the one input of their signature; everything else is named columns."""
    if not request.encoded or EXAMPLES not in model.signatures:
        return RAW
    first = request.values[0] if isinstance(request.values, list) else request.values
    if isinstance(first, dict) and len(first) == 1 and not first.keys() <= model.inputs.columns.keys():
        return EXAMPLES if first.keys() <= {B64, *model.signatures[EXAMPLES].inputs.names} else RAW
    return RAW


def _prediction_ids(value: Any) -> list[str] | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, list) or not all(isinstance(name, str) and 0 < len(name) <= _LONGEST_ID for name in value):
        raise BadRequestError(
            f"`prediction_ids` must be a list of texts of 1 to {_LONGEST_ID} characters, one per row, or true.",
            "prediction_ids",
        )
    return value


def _decoded(values: list[Any] | dict[str, Any], key: str, as_text: bool) -> Any:
    """Replaces every {"b64": text} by its bytes, or by the text that those are."""
    if isinstance(values, dict):
        return {name: _value(value, name, as_text) for name, value in values.items()}
    return [_value(value, key, as_text) for value in values]


def _value(value: Any, field: str, as_text: bool, depth: int = 0) -> Any:
    if depth > _NESTING:
        return value  # Nothing that is read nests like this; whoever reads the column says so.
    if isinstance(value, list):
        return [_value(item, field, as_text, depth + 1) for item in value]
    if isinstance(value, dict):
        if value.keys() == {B64}:
            return _bytes(value[B64], field[:100], as_text)
        return {name: _value(item, name, as_text, depth + 1) for name, item in value.items()}
    return value


def _bytes(encoded: Any, field: str, as_text: bool) -> str | bytes:
    try:
        value = base64.b64decode(encoded, validate=True)
    except (TypeError, ValueError):  # binascii.Error is a ValueError.
        raise BadRequestError(f"`{field}` has a `b64` that is not base64.", field) from None
    try:
        return value.decode() if as_text else value
    except UnicodeDecodeError:
        raise BadRequestError(f"`{field}` has a `b64` that is not text in UTF-8.", field) from None


def _only_input(values: Any, by_row: bool, signature: Signature) -> Columns:
    """A signature with one input takes its values without a name, too."""
    (name,) = signature.inputs.names
    if by_row:
        if isinstance(values[0], dict):
            return _typed(signature, [_named(row, index, name) for index, row in enumerate(values)])
    elif isinstance(values, dict):
        for given in values:
            if given != name:
                raise UnprocessableError(
                    f"The signature {signature.name} takes no `{given[:100]}`; it takes `{name}`.", given[:100]
                )
        values = values[name]
        if not isinstance(values, list):
            raise UnprocessableError(f"`{name}` must be a list with one value per row.", name)
    return _typed(signature, values)


def _named(row: Any, index: int, name: str) -> Any:
    if isinstance(row, dict) and row.keys() == {name}:
        return row[name]
    raise UnprocessableError(f"Row {index} must be an object with the one key `{name}`.", name)


def _typed(signature: Signature, values: list[Any]) -> Columns:
    (name,) = signature.inputs.names
    if signature.name != EXAMPLES or signature.inputs.columns[name].dtype != "string":
        return columns.from_columns({name: values}, signature.inputs)
    examples: list[Any] = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]
    for row, example in enumerate(examples):
        if not isinstance(example, str | bytes):
            raise UnprocessableError(
                f'`{name}` in row {row} must be a serialised tf.Example in base64: {{"b64": …}}.', name
            )
    return {name: columns.objects([as_bytes(example) for example in examples])}


def _plain(name: str, values: np.ndarray) -> Any:
    if values.dtype.kind not in "OSU":
        return np.ascontiguousarray(values)
    return _text(values.tolist(), name.endswith("_bytes"))


def _text(value: Any, encoded: bool) -> Any:
    if isinstance(value, list):
        return [_text(item, encoded) for item in value]
    if encoded:
        return {B64: base64.b64encode(as_bytes(value)).decode()}
    return as_bytes(value).decode(errors="replace")


def as_bytes(value: str | bytes) -> bytes:
    """Returns a text in UTF-8, and bytes as they are."""
    return value if isinstance(value, bytes) else value.encode()


def _tensor_info(column: Column) -> dict[str, Any]:
    return {
        "dtype": _DTYPES.get(column.dtype, f"DT_{column.dtype.upper()}"),
        "tensor_shape": {
            "dim": [{"size": str(-1 if size is None else size), "name": ""} for size in column.shape],
            "unknown_rank": False,
        },
        "name": column.tensor,
    }

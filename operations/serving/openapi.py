"""The service's own description, for people, clients and tests: an OpenAPI 3.1 document with the model's columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from operations.inference.columns import Column
from operations.inference.contract import Contract, Rule
from operations.inference.model import BASE_VALUE, EXAMPLES, EXPLAIN, RAW, LoadedModel
from operations.serving import open_inference_v2 as v2
from operations.serving import tfserving_v1 as v1
from operations.serving.api_keys import OPEN_ROUTES
from operations.tasks import Task

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_NULL: Schema = {"type": "null"}
_ANY: Schema = {"type": "object"}
_SIZE: Schema = {"type": "integer", "minimum": 1}
_ROW_NUMBER: Schema = {"type": "integer", "minimum": 0}
_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
_HEADERS = {
    "x-model-version": {"description": "The version that answered.", "schema": _TEXT, "required": True},
    "x-request-id": {
        "description": "Names the prediction in the payload log; rows of a larger request are ID-0, ID-1 and so on.",
        "schema": _TEXT,
    },
}
_STATES = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
_ASKED = ("404", "400", "408", "413", "415", "503")


def document(
    name: str, model: LoadedModel, limits: tuple[int, int], refuses: bool = True, protected: bool = False
) -> dict[str, Any]:
    """The document with the columns of a version; with its contract if rows that break it are refused.

    The limits are those of rows to predict and to explain. Clients of a protected service need an API key.
    """
    paths = _server_paths()
    named = _parameter("name", "path", {"type": "string", "enum": [name]})
    numbered = _parameter("version", "path", {"type": "string", "pattern": "^[0-9]{1,19}$"})
    for suffix, kind, parameters in (("", "", [named]), ("/versions/{version}", "_version", [named, numbered])):
        paths |= _v1_paths(f"/v1/models/{{name}}{suffix}", kind, parameters, EXPLAIN in model.signatures)
        paths |= _v2_paths(f"/v2/models/{{name}}{suffix}", kind, parameters)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Predictions of {name}",
            "version": v2.SERVER["version"],
            "description": "TensorFlow Serving's REST protocol (v1) and the Open Inference Protocol (v2).",
        },
        "paths": paths,
        "components": {"schemas": _schemas(model, limits, model.contract if refuses else None)},
    }
    return _protected(described) if protected else described


def _protected(described: dict[str, Any]) -> dict[str, Any]:
    """A document with the API key that all operations need, but those that are open."""
    unauthenticated = _errors(["401"])
    unauthenticated["401"]["headers"] = {"www-authenticate": {"schema": {"const": "Bearer"}}}
    for operation in (operation for path in described["paths"].values() for operation in path.values()):
        if operation["operationId"].removeprefix("v2_").removesuffix("_version") in OPEN_ROUTES:
            operation["security"] = []
        else:
            operation["responses"] |= unauthenticated
    described["components"]["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
    return {**described, "security": [{"apiKey": []}]}


def _server_paths() -> dict[str, Any]:
    live, ready = _object({"live": _FLAG}), _object({"ready": _FLAG})
    metrics = {
        "operationId": "metrics",
        "summary": "Metrics for Prometheus.",
        "responses": {"200": {"description": "Prometheus' text.", "content": {"text/plain": {}}}},
    }
    return {
        "/healthz": {"get": _operation("health", "Whether the process answers.", _object({"status": _TEXT}))},
        "/metrics": {"get": metrics},
        "/openapi.json": {"get": _operation("openapi", "This document.", _ANY, _errors(["503"]))},
        "/v2": {"get": _operation("v2_server", "What this server is.", _ref("ServerMetadata"))},
        "/v2/health/live": {"get": _operation("v2_live", "Whether it answers.", live)},
        "/v2/health/ready": {
            "get": _operation("v2_ready", "Whether requests should be sent here.", ready, _not_now(ready))
        },
    }


def _v1_paths(base: str, kind: str, at: list[Any], explains: bool) -> dict[str, Any]:
    refused, unknown = _errors(["404", "503"], "V1"), _errors(["404"], "V1")
    predict = _prediction(
        f"v1_predict{kind}", "Predictions, by row or by column.", "Predict", _errors(_ASKED, "V1"), at
    )
    explain = _prediction(
        f"v1_explain{kind}",
        "By how much each column moves the answer away from the mean answer to training rows.",
        "Explain",
        _errors(_ASKED, "V1"),
        at,
    )
    return {
        f"{base}:predict": {"post": predict},
        **({f"{base}:explain": {"post": explain}} if explains else {}),
        f"{base}/metadata": {"get": _operation(f"v1_metadata{kind}", "The model's signatures.", _ANY, refused, at)},
        base: {"get": _operation(f"v1_status{kind}", "The states of versions.", _ref("ModelStatus"), unknown, at)},
    }


def _v2_paths(base: str, kind: str, at: list[Any]) -> dict[str, Any]:
    answer = _object({"name": _TEXT, "ready": _FLAG})
    refused, not_ready = _errors(["404", "503"]), _errors(["404"]) | _not_now(answer)
    infer = _prediction(f"v2_infer{kind}", "Predictions, as tensors.", "Infer", _errors([*_ASKED, "422"]), at)
    return {
        f"{base}/infer": {"post": infer},
        f"{base}/ready": {
            "get": _operation(f"v2_model_ready{kind}", "Whether it can be asked.", answer, not_ready, at)
        },
        base: {"get": _operation(f"v2_model{kind}", "Inputs and outputs.", _ref("ModelMetadata"), refused, at)},
    }


def _schemas(model: LoadedModel, limits: tuple[int, int], contract: Contract | None) -> dict[str, Schema]:
    columns = list(model.inputs.columns.values())
    rules = contract.rules if contract is not None else {}
    values = {column.name: _kept(_value(column), rules.get(column.name)) for column in columns}
    required = [name for name in values if name in rules and rules[name].required]
    row = _object(values, required, description="One row. What is left out, or null, is missing.")
    most, explained = ({"minItems": 1, "maxItems": limit} for limit in limits)
    ids = {"anyOf": [_list(_ID, **most), _FLAG, _NULL]}

    def named(signature: str, most: Mapping[str, int]) -> list[Schema]:
        lists = {name: _list(value, **most) for name, value in values.items()}
        by_column = _object(lists, required, description="Lists of the same length.", minProperties=1)
        return [_form("instances", _list(row, **most), signature, ids), _form("inputs", by_column, signature, ids)]

    forms = named(RAW, most)
    if EXAMPLES in model.signatures:
        encoded = {v1.B64: {"type": "string", "contentEncoding": "base64"}}
        example = _object(encoded, description="A serialised tf.Example.")
        forms += [_form(key, _list(example, **most), EXAMPLES, ids) for key in ("instances", "inputs")]
    faults = _list(
        _object(
            {"column": _TEXT, "row": _ROW_NUMBER, "value": {"type": ["string", "number", "null"]}, "allowed": _TEXT}
        ),
        description="The first values that break the contract.",
    )
    flagged = {
        "flagged_rows": _list(_ROW_NUMBER, description="Rows that break the contract of the version."),
        "faults": faults,
    }
    beside = {"prediction_ids": _list(_ID), **flagged}
    status = _object(
        {
            "version": _TEXT,
            "state": {"type": "string", "enum": _STATES},
            "status": _object({"error_code": _TEXT, "error_message": _TEXT}),
        }
    )
    described = {
        "name": _TEXT,
        "datatype": {"enum": [*v2.NUMBERS, v2.BYTES]},
        "shape": _list({"type": "integer", "minimum": -1}),
    }
    tensors = _list(_open(described))
    answered = _tensors_answered(model) or _open({**described, "data": {"type": "array"}}, list(described))
    example_rows = [] if model.example is None else [model.example]
    return {
        "Error": _object({"error": _TEXT, "field": _TEXT, "faults": faults}, ["error"]),
        "ErrorV1": _object({"error": _TEXT, "faults": faults}, ["error"]),
        "PredictRequest": {"anyOf": forms, "examples": [{"instances": [row]} for row in example_rows]},
        "PredictResponse": {
            "type": "object",
            "properties": {**_predictions(model), **beside},
            "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
            "additionalProperties": False,
        },
        **(
            {
                "ExplainRequest": {
                    "anyOf": named(EXPLAIN, explained),
                    "examples": [{"instances": [row]} for row in example_rows],
                },
                "ExplainResponse": _object({"explanations": _explanations(model), **beside}, ["explanations"]),
            }
            if EXPLAIN in model.signatures
            else {}
        ),
        "ModelStatus": _object({"model_version_status": _list(status)}),
        "ServerMetadata": _open({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
        "ModelMetadata": _open(
            {
                "name": _TEXT,
                "versions": _list(_TEXT),
                "platform": _TEXT,
                "inputs": tensors,
                "outputs": _list(_open({**described, **_meaning(model)}, list(described))),
            },
            ["name", "platform", "inputs", "outputs"],
        ),
        "InferRequest": {
            **_infer_request(model, values, required),
            "examples": [_infer_example(model, row) for row in example_rows],
        },
        "InferResponse": _open(
            {
                "model_name": _TEXT,
                "model_version": _TEXT,
                "id": _TEXT,
                "parameters": {
                    "description": "Of rows that break the contract of the version: which they are, and what is wrong.",
                    "type": "object",
                    "properties": {"flagged_rows": _TEXT, "faults": _TEXT},
                },
                "outputs": _list(answered),
            },
            ["model_name", "outputs"],
        ),
    }


def _predictions(model: LoadedModel) -> dict[str, Schema]:
    """What is answered by row, ``predictions``, or by column, ``outputs``, as far as the task says what that may be."""
    if not model.task.elements:
        return {"predictions": {"type": "array"}, "outputs": {}}
    rows = {name: _row_of(column, model.task) for name, column in model.outputs.items()}
    columns = {name: _list(row) for name, row in rows.items()}
    if len(rows) == 1:
        return {"predictions": _list(*rows.values()), "outputs": next(iter(columns.values()))}
    return {"predictions": _list(_object(rows)), "outputs": _object(columns)}


def _explanations(model: LoadedModel) -> Schema:
    """What explains answers: an object per row, or lists by column."""
    task, names = model.task, model.inputs.names
    number: Schema = {"type": ["number", "null"]}
    value = number if task.width == 1 else _list(number, minItems=task.width, maxItems=task.width)
    answers = {
        name: task.elements[name] if column.dtype == "string" else value for name, column in model.outputs.items()
    }
    by_row = {**answers, BASE_VALUE: {**value, "description": "The mean answer to some training rows."}}
    meaning = "They add up to the answer - base value."
    row = _object({**by_row, "attributions": _object(dict.fromkeys(names, value), description=meaning)})
    columns = {name: _list(schema) for name, schema in by_row.items()}
    lists = _object(dict.fromkeys(names, _list(value)), description=meaning)
    return {"oneOf": [_list(row), _object({**columns, "attributions": lists})]}


def _row_of(column: Column, task: Task) -> Schema:
    """What an output may be for one row: a list of so many values, or one."""
    element = task.elements.get(column.name, {})
    if len(column.shape) == 1:
        return element
    size = {"minItems": column.shape[1], "maxItems": column.shape[1]} if len(column.shape) == 2 else {}
    meaning = "; ".join(f"{name}: {v2.as_text(value)}" for name, value in task.parameters.get(column.name, {}).items())
    return _list(element, **size, **({"description": meaning} if meaning else {}))


def _tensors_answered(model: LoadedModel) -> Schema:
    """What a tensor of an answer may look like; empty if the task does not say."""
    if not model.task.elements:
        return {}
    tensors = []
    for column in model.outputs.values():
        datatype = v2.tensor_metadata(column)["datatype"]
        rank = len(column.shape)
        sizes = ", ".join(["rows", *(str(size or "any") for size in column.shape[1:])])
        shape = _list(_SIZE, minItems=rank, maxItems=rank, description=f"[{sizes}]")
        data = _list(model.task.elements.get(column.name, {}))
        described = {"name": {"const": column.name}, "datatype": {"const": datatype}, "shape": shape}
        tensors.append(_open({**described, "data": data}, list(described)))
    return {"anyOf": tensors}


def _meaning(model: LoadedModel) -> dict[str, Schema]:
    """What the metadata of an output may say beside its type and shape."""
    meaning = [{"const": parameters} for parameters in model.task.parameters.values()]
    return {"parameters": {"anyOf": meaning}} if meaning else {}


def _infer_request(model: LoadedModel, values: Mapping[str, Schema], required: list[str]) -> Schema:
    columns = model.inputs.columns.values()
    inputs = _list(
        {"anyOf": [tensor for column in columns for tensor in _tensors(column, values[column.name])]},
        minItems=max(1, len(required)),
        description=f"Needed are {', '.join(required)}." if required else "One tensor per column.",
    )
    output = _open({"name": {"enum": list(model.outputs)}, "parameters": _ANY}, ["name"])
    name = {"type": "string", "maxLength": v2.LONGEST_ID}
    return _open({"id": name, "parameters": _ANY, "inputs": inputs, "outputs": _list(output)}, ["inputs"])


def _infer_example(model: LoadedModel, row: Mapping[str, Any]) -> dict[str, Any]:
    types = {column["name"]: column["datatype"] for column in v2.model_metadata("", model, [])["inputs"]}
    return {
        "inputs": [
            {"name": name, "datatype": types[name], "shape": [1, 1], "data": [value]} for name, value in row.items()
        ]
    }


def _form(key: str, values: Schema, signature: str, ids: Schema) -> Schema:
    """One of the forms of a request: by row or by column, of one signature."""
    properties = {key: values, "signature_name": {"enum": [signature, "", None]}, "prediction_ids": ids}
    return {**_open(properties, [key]), "not": {"required": ["inputs" if key == "instances" else "instances"]}}


def _tensors(column: Column, value: Schema) -> list[Schema]:
    """What a tensor for a column may look like, by datatype."""
    if column.dtype == "string":
        return [_tensor(column.name, [v2.BYTES], value)]
    whole = {**value, "type": ["integer" if kind == "number" else kind for kind in value["type"]]}
    real = [name for name in v2.NUMBERS if name.startswith("FP")]
    integers = [name for name in v2.NUMBERS if "INT" in name]
    return [_tensor(column.name, real, value), _tensor(column.name, integers, whole)]


def _tensor(name: str, datatypes: list[str], value: Schema) -> Schema:
    shape = {
        "description": "[rows] or [rows, 1]",
        "type": "array",
        "prefixItems": [{"type": "integer", "minimum": 1}, {"const": 1}],
        "minItems": 1,
        "maxItems": 2,
    }
    data = _list(value, minItems=1, description="Values that the datatype can hold.")
    return _open({"name": {"const": name}, "datatype": {"enum": datatypes}, "shape": shape, "data": data})


def _value(column: Column) -> Schema:
    if column.dtype == "string":
        return {"type": ["string", "null"]}
    if column.dtype.startswith("float"):
        largest = 3.4e38 if column.dtype == "float32" else 1.7e308
        return {"type": ["number", "null"], "minimum": -largest, "maximum": largest}
    if column.dtype == "int64":
        return {"type": ["integer", "null"], "minimum": -(2**63), "maximum": 2**63 - 1}
    return {}


def _kept(value: Schema, rule: Rule | None) -> Schema:
    """The schema of a value that keeps its rule."""
    if rule is None:
        return value
    value = dict(value)
    if rule.required:
        value["type"] = [kind for kind in value["type"] if kind != "null"]
        if value["type"] == ["string"]:
            value["minLength"] = 1
    if rule.values is not None:
        value["enum"] = [*rule.values, *([] if rule.required else [None])]
    bounds = {"minimum": rule.low, "maximum": rule.high}
    return value | {name: bound for name, bound in bounds.items() if bound is not None}


def _prediction(identity: str, summary: str, schema: str, errors: dict[str, Any], at: list[Any]) -> dict[str, Any]:
    """A POST whose request and answer have schemas of one name."""
    request_id = _parameter("x-request-id", "header", {"type": "string", "pattern": "^[!-~]{1,200}$"})
    operation = _operation(identity, summary, _ref(f"{schema}Response"), errors, [*at, request_id])
    operation["responses"]["200"]["headers"] = _HEADERS
    return {**operation, "requestBody": {"required": True, "content": _json(_ref(f"{schema}Request"))}}


def _operation(
    identity: str, summary: str, schema: Schema, others: Mapping[str, Any] | None = None, at: list[Any] | None = None
) -> dict[str, Any]:
    responses = {"200": {"description": "Done.", "content": _json(schema)}, **(others or {})}
    return {"operationId": identity, "summary": summary, "responses": responses, **({"parameters": at} if at else {})}


def _parameter(name: str, place: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _errors(statuses: Iterable[str], protocol: str = "") -> dict[str, Any]:
    return {status: {"description": "One sentence.", "content": _json(_ref(f"Error{protocol}"))} for status in statuses}


def _not_now(schema: Schema) -> dict[str, Any]:
    return {"503": {"description": "Not now.", "content": _json(schema)}}


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _open(properties: Mapping[str, Schema], required: list[str] | None = None) -> Schema:
    """An object that may have other properties too; all that are named are required, unless some are listed."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties) if required is None else required,
    }


def _object(properties: Mapping[str, Schema], required: list[str] | None = None, **more: Any) -> Schema:
    """An object that has no other properties."""
    return {**_open(properties, required), "additionalProperties": False, **more}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}

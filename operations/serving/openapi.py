"""The service's own description, for people, clients and tests: an OpenAPI 3.1 document with the model's columns."""

from __future__ import annotations

from typing import Any

from operations.inference.columns import Column
from operations.inference.contract import Contract, Rule
from operations.inference.model import EXAMPLES, RAW, LoadedModel
from operations.serving import open_inference_v2 as v2
from operations.serving import tfserving_v1 as v1

_ID = {"type": "string", "minLength": 1, "maxLength": 200}
_HEADERS = {
    "x-model-version": {"description": "The version that answered.", "schema": {"type": "string"}, "required": True},
    "x-request-id": {
        "description": "Names the prediction in the payload log; rows of a larger request are ID-0, ID-1 and so on.",
        "schema": {"type": "string"},
    },
}
_STATES = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


def document(name: str, model: LoadedModel, max_rows: int, refuses: bool = True) -> dict[str, Any]:
    """The document.

    Args:
        name: of the model, as it is in addresses.
        model: the version whose columns are described.
        max_rows: of one request.
        refuses: whether rows that break the contract of the version are refused; then the contract is a part of it.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Predictions of {name}",
            "version": v2.SERVER_VERSION,
            "description": "TensorFlow Serving's REST protocol (v1) and the Open Inference Protocol (v2).",
        },
        "paths": {**_server_paths(), **_v1_paths(name), **_v2_paths(name)},
        "components": {"schemas": _schemas(model, max_rows, model.contract if refuses else None)},
    }


def _server_paths() -> dict[str, Any]:
    return {
        "/healthz": {"get": _operation("health", "Whether the process answers.", _object({"status": "string"}))},
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Metrics for Prometheus.",
                "responses": {"200": {"description": "Prometheus' text.", "content": {"text/plain": {}}}},
            }
        },
        "/openapi.json": {
            "get": _operation("openapi", "This document.", {"type": "object"}, errors={"503": "Error"}),
        },
    }


def _v1_paths(name: str) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for suffix, parameters in _addresses():
        base = f"/v1/models/{{name}}{suffix}"
        kind = "_version" if suffix else ""
        parameters = [_name(name), *parameters]
        unknown = {"404": "ErrorV1"}
        paths[f"{base}:predict"] = {
            "post": {
                **_operation(
                    f"v1_predict{kind}",
                    "Predictions, by row or by column.",
                    _ref("PredictResponse"),
                    errors={**unknown, **dict.fromkeys(("400", "408", "413", "415", "503"), "ErrorV1")},
                    headers=_HEADERS,
                ),
                "parameters": [*parameters, _request_id()],
                "requestBody": _body("PredictRequest"),
            }
        }
        paths[f"{base}/metadata"] = {
            "get": {
                **_operation(
                    f"v1_metadata{kind}", "The model's signatures.", {"type": "object"},
                    errors={**unknown, "503": "ErrorV1"},
                ),
                "parameters": parameters,
            }
        }  # fmt: skip
        paths[base] = {
            "get": {
                **_operation(f"v1_status{kind}", "The states of versions.", _ref("ModelStatus"), errors=unknown),
                "parameters": parameters,
            }
        }
    return paths


def _v2_paths(name: str) -> dict[str, Any]:
    paths: dict[str, Any] = {
        "/v2": {"get": _operation("v2_server", "What this server is.", _ref("ServerMetadata"))},
        "/v2/health/live": {"get": _operation("v2_live", "Whether it answers.", _object({"live": "boolean"}))},
        "/v2/health/ready": {
            "get": _operation(
                "v2_ready", "Whether requests should be sent here.", _object({"ready": "boolean"}),
                others={"503": _object({"ready": "boolean"})},
            )
        },
    }  # fmt: skip
    for suffix, parameters in _addresses():
        base = f"/v2/models/{{name}}{suffix}"
        kind = "_version" if suffix else ""
        parameters = [_name(name), *parameters]
        unknown = {"404": "Error"}
        paths[f"{base}/infer"] = {
            "post": {
                **_operation(
                    f"v2_infer{kind}",
                    "Predictions, as tensors.",
                    _ref("InferResponse"),
                    errors={**unknown, **dict.fromkeys(("400", "408", "413", "415", "422", "503"), "Error")},
                    headers=_HEADERS,
                ),
                "parameters": [*parameters, _request_id()],
                "requestBody": _body("InferRequest"),
            }
        }
        ready = _object({"name": "string", "ready": "boolean"})
        paths[f"{base}/ready"] = {
            "get": {
                **_operation(
                    f"v2_model_ready{kind}", "Whether it can be asked.", ready, errors=unknown, others={"503": ready}
                ),
                "parameters": parameters,
            }
        }
        paths[base] = {
            "get": {
                **_operation(
                    f"v2_model{kind}", "Inputs and outputs.", _ref("ModelMetadata"), errors={**unknown, "503": "Error"}
                ),
                "parameters": parameters,
            }
        }
    return paths


def _addresses() -> list[tuple[str, list[dict[str, Any]]]]:
    version = {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]{1,19}$"},
    }
    return [("", []), ("/versions/{version}", [version])]


def _schemas(model: LoadedModel, max_rows: int, contract: Contract | None) -> dict[str, Any]:
    columns = list(model.inputs.columns.values())
    rules = contract.rules if contract is not None else {}
    values = {column.name: _kept(_value(column), rules.get(column.name)) for column in columns}
    required = [name for name in values if name in rules and rules[name].required]
    row = {
        "type": "object",
        "description": "One row. What is left out, or null, is missing.",
        "properties": values,
        "required": required,
        "additionalProperties": False,
    }
    by_column = {
        "type": "object",
        "description": "Lists of the same length.",
        "properties": {name: _list(value, max_rows) for name, value in values.items()},
        "required": required,
        "additionalProperties": False,
        "minProperties": 1,
    }
    tensors = [tensor for column in columns for tensor in _inputs(column, values[column.name])]
    ids = {"anyOf": [_list(_ID, max_rows), {"type": "boolean"}]}
    forms = [_form("instances", _list(row, max_rows), RAW, ids), _form("inputs", by_column, RAW, ids)]
    if EXAMPLES in model.signatures:
        example = {
            "type": "object",
            "description": "A serialised tf.Example.",
            "properties": {v1.B64: {"type": "string", "contentEncoding": "base64"}},
            "required": [v1.B64],
            "additionalProperties": False,
        }
        forms += [_form(key, _list(example, max_rows), EXAMPLES, ids) for key in ("instances", "inputs")]
    return {
        "Error": {
            "type": "object",
            "properties": {"error": {"type": "string"}, "field": {"type": "string"}, "faults": _faults()},
            "required": ["error"],
            "additionalProperties": False,
        },
        "ErrorV1": {
            "type": "object",
            "properties": {"error": {"type": "string"}, "faults": _faults()},
            "required": ["error"],
            "additionalProperties": False,
        },
        "PredictRequest": {
            "anyOf": forms,
            "examples": [] if model.example is None else [{"instances": [model.example]}],
        },
        "PredictResponse": {
            "type": "object",
            "properties": {
                "predictions": {"type": "array"},
                "outputs": {},
                "prediction_ids": {"type": "array", "items": _ID},
                "flagged_rows": {
                    "description": "Rows that break the contract of the version.",
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0},
                },
                "faults": _faults(),
            },
            "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
            "additionalProperties": False,
        },
        "ModelStatus": _model_status(),
        "ServerMetadata": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "version": {"type": "string"}, "extensions": _strings()},
            "required": ["name", "version", "extensions"],
        },
        "ModelMetadata": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "versions": _strings(),
                "platform": {"type": "string"},
                "inputs": {"type": "array", "items": _described_tensor()},
                "outputs": {"type": "array", "items": _described_tensor()},
            },
            "required": ["name", "platform", "inputs", "outputs"],
        },
        "InferRequest": {
            "type": "object",
            "properties": {
                "id": {"type": "string", "maxLength": v2.LONGEST_ID},
                "parameters": {"type": "object"},
                "inputs": {
                    "type": "array",
                    "minItems": max(1, len(required)),
                    "description": f"Needed are {', '.join(required)}." if required else "One tensor per column.",
                    "items": {"anyOf": tensors},
                },
                "outputs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"name": {"enum": list(model.outputs)}, "parameters": {"type": "object"}},
                        "required": ["name"],
                    },
                },
            },
            "required": ["inputs"],
            "examples": [] if model.example is None else [_infer_example(model, model.example)],
        },
        "InferResponse": _infer_response(),
    }


def _model_status() -> dict[str, Any]:
    state = {
        "type": "object",
        "properties": {
            "version": {"type": "string"},
            "state": {"type": "string", "enum": _STATES},
            "status": _object({"error_code": "string", "error_message": "string"}),
        },
        "required": ["version", "state", "status"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"model_version_status": {"type": "array", "items": state}},
        "required": ["model_version_status"],
        "additionalProperties": False,
    }


def _infer_response() -> dict[str, Any]:
    tensor = _described_tensor()
    return {
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "parameters": {
                "description": "Of rows that break the contract of the version: which they are, and what is wrong.",
                "type": "object",
                "properties": {"flagged_rows": {"type": "string"}, "faults": {"type": "string"}},
            },
            "outputs": {
                "type": "array",
                "items": {**tensor, "properties": {**tensor["properties"], "data": {"type": "array"}}},
            },
        },
        "required": ["model_name", "outputs"],
    }


def _infer_example(model: LoadedModel, row: dict[str, Any]) -> dict[str, Any]:
    types = {column["name"]: column for column in v2.model_metadata("", model, [])["inputs"]}
    return {
        "inputs": [
            {"name": name, "datatype": types[name]["datatype"], "shape": [1, 1], "data": [value]}
            for name, value in row.items()
        ]
    }


def _form(key: str, values: dict[str, Any], signature: str, ids: dict[str, Any]) -> dict[str, Any]:
    """One of the forms of a request: by row or by column, of one signature."""
    return {
        "type": "object",
        "properties": {key: values, "signature_name": {"const": signature}, "prediction_ids": ids},
        "required": [key],
        "not": {"required": ["inputs" if key == "instances" else "instances"]},
    }


def _inputs(column: Column, value: dict[str, Any]) -> list[dict[str, Any]]:
    """What a tensor for a column may look like, by datatype."""
    if column.dtype == "string":
        return [_tensor(column.name, [v2.BYTES], value)]
    whole = {**value, "type": ["integer" if kind == "number" else kind for kind in value["type"]]}
    real = [name for name in v2.NUMBERS if name.startswith("FP")]
    integers = [name for name in v2.NUMBERS if "INT" in name]
    return [_tensor(column.name, real, value), _tensor(column.name, integers, whole)]


def _tensor(name: str, datatypes: list[str], value: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "name": {"const": name},
            "datatype": {"enum": datatypes},
            "shape": {
                "description": "[rows] or [rows, 1]",
                "type": "array",
                "prefixItems": [{"type": "integer", "minimum": 1}, {"const": 1}],
                "minItems": 1,
                "maxItems": 2,
            },
            "data": {"type": "array", "minItems": 1, "items": value},
        },
        "required": ["name", "datatype", "shape", "data"],
    }


def _value(column: Column) -> dict[str, Any]:
    if column.dtype == "string":
        return {"type": ["string", "null"]}
    if column.dtype.startswith("float"):
        largest = 3.4e38 if column.dtype == "float32" else 1.7e308
        return {"type": ["number", "null"], "minimum": -largest, "maximum": largest}
    if column.dtype == "int64":
        return {"type": ["integer", "null"], "minimum": -(2**63), "maximum": 2**63 - 1}
    return {}


def _kept(value: dict[str, Any], rule: Rule | None) -> dict[str, Any]:
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


def _faults() -> dict[str, Any]:
    fault = {
        "type": "object",
        "properties": {
            "column": {"type": "string"},
            "row": {"type": "integer", "minimum": 0},
            "value": {"type": ["string", "number", "null"]},
            "allowed": {"type": "string"},
        },
        "required": ["column", "row", "value", "allowed"],
        "additionalProperties": False,
    }
    return {"description": "The first values that break the contract.", "type": "array", "items": fault}


def _described_tensor() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "datatype": {"enum": [*v2.NUMBERS, v2.BYTES]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
        },
        "required": ["name", "datatype", "shape"],
    }


def _operation(
    identity: str,
    summary: str,
    schema: dict[str, Any],
    errors: dict[str, str] | None = None,
    others: dict[str, dict[str, Any]] | None = None,
    headers: dict[str, Any] | None = None,
) -> dict[str, Any]:
    answered: dict[str, Any] = {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    if headers:
        answered["headers"] = headers
    responses = {"200": answered}
    for status, name in (errors or {}).items():
        responses[status] = {"description": "One sentence.", "content": {"application/json": {"schema": _ref(name)}}}
    for status, other in (others or {}).items():
        responses[status] = {"description": "Not now.", "content": {"application/json": {"schema": other}}}
    return {"operationId": identity, "summary": summary, "responses": responses}


def _name(name: str) -> dict[str, Any]:
    return {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": [name]}}


def _request_id() -> dict[str, Any]:
    return {
        "name": "x-request-id",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    }


def _body(name: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": _ref(name)}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


def _strings() -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}}

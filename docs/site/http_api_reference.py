"""The page about the service's HTTP interface, from the OpenAPI document that the service itself gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from flightdeck.settings import Settings
from operations.inference.columns import Column, Inputs
from operations.inference.contract import Contract
from operations.inference.model import EXAMPLES, EXPLAIN, RAW, LoadedModel, Signature
from operations.serving import openapi
from operations.tasks import task_of


def document(settings: Settings) -> dict[str, Any]:
    """The OpenAPI document for a model with the features of these settings, as `/openapi.json` would answer.

    Raises:
        SettingsError: the contract cannot be read.
    """
    types = settings.contract().ingested(labelled=False)
    columns = {name: Column(name, types[name], (None, 1)) for name in settings.features.inputs}
    target = settings.contract().target
    task = task_of(target)
    outputs = {task.output: Column(task.output, "float32", (None, task.width))}
    examples = Inputs({"examples": Column("examples", "string", (None,))})
    signatures = {
        RAW: Signature(RAW, Inputs(columns), outputs),
        EXAMPLES: Signature(EXAMPLES, examples, outputs),
        EXPLAIN: Signature(EXPLAIN, Inputs(columns), outputs),
    }
    # The document asks a model for its signatures only; no graph is loaded, and none could answer.
    described = LoadedModel(1, None, signatures, {}, Contract({}, {}, target))
    limits = settings.serving.max_rows, settings.serving.explain_rows
    return openapi.document(settings.use_case.name, described, limits)


def page(settings: Settings) -> str:
    """The Markdown of the page."""
    return "\n".join(_lines(document(settings))) + "\n"


def _lines(described: Mapping[str, Any]) -> Iterator[str]:
    yield "# HTTP API"
    yield ""
    yield (
        f"{described['info']['description']} Made from the document that `flightdeck serve` answers at "
        f"`/openapi.json`, OpenAPI {described['openapi']}, for the features of `config/local.yaml`. "
        "[The prediction service](../serving.md) explains what it means and where it differs from TensorFlow Serving."
    )
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield ""
            yield f"## {method.upper()} {path}"
            yield ""
            yield operation["summary"]
            yield from _parameters(operation.get("parameters", ()))
            if body := operation.get("requestBody"):
                yield ""
                yield f"Body: {_schema(body)}."
            yield ""
            yield "| status | answer |"
            yield "|---|---|"
            for status, response in sorted(operation["responses"].items()):
                yield f"| {status} | {response['description']} {_schema(response)} |"
    yield ""
    yield "## Schemas"
    for name, schema in sorted(described["components"]["schemas"].items()):
        yield ""
        yield f"### {name}"
        yield ""
        yield "```json"
        yield json.dumps(schema, indent=1)
        yield "```"


def _parameters(parameters: Any) -> Iterator[str]:
    if not parameters:
        return
    yield ""
    yield "| parameter | in | required | values |"
    yield "|---|---|---|---|"
    for parameter in parameters:
        schema = parameter["schema"]
        values = ", ".join(schema["enum"]) if "enum" in schema else schema.get("pattern", schema["type"])
        yield f"| `{parameter['name']}` | {parameter['in']} | {'yes' if parameter['required'] else 'no'} | `{values}` |"


def _schema(part: Mapping[str, Any]) -> str:
    """Where the schema of a body is described, or what it is if it has no name."""
    for kind, content in part.get("content", {}).items():
        schema = content.get("schema")
        if schema is None:
            return kind
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        names = ", ".join(f"`{name}`" for name in schema.get("properties", {}))
        return f"object of {names}" if names else "object"
    return ""

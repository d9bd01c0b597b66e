"""The page about the settings: every key, its type, default and meaning, from the classes that check them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import griffe
import yaml
from pydantic import BaseModel

_LONGEST_DEFAULT = 60
_BOUNDS = {
    "minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "less than",
    "pattern": "matches", "minItems": "at least this many:",
}  # fmt: skip
_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "any"}


def page(settings: type[BaseModel]) -> str:
    """The Markdown of the page.

    Args:
        settings: the class, bound to a use case, so that its `features` and `model` have types.
    """
    return "\n".join(_Reference(settings).lines()) + "\n"


def documented_attributes(text: str) -> dict[str, str]:
    """What the section ``Attributes:`` of a docstring in Google's style says: name -> meaning."""
    sections = griffe.Docstring(text).parse("google", warnings=False)
    return {
        attribute.name: " ".join(attribute.description.split())
        for section in sections
        if section.kind is griffe.DocstringSectionKind.attributes
        for attribute in section.value
    }


def _classes_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The classes of settings that a type is made of, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        inside = [field.annotation for field in annotation.model_fields.values()]
    else:
        inside = get_args(annotation)
    for argument in inside:
        yield from _classes_in(argument)


class _Reference:
    def __init__(self, settings: type[BaseModel]) -> None:
        self._schema = settings.model_json_schema(by_alias=False)
        self._classes = {section.__name__: section for section in _classes_in(settings)}
        self._definitions: Mapping[str, Any] = self._schema.get("$defs", {})
        self._places: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """The page, section by section, each before the ones inside it."""
        yield "# Settings"
        yield ""
        yield (
            "Made from the classes that check the settings; `flightdeck config schema` prints the same as JSON Schema. "
            "`--set KEY=VALUE` sets one key: `--set evaluation.min_slice_size=50`. `[]` stands for each item of a "
            "list, `NAME` for a name of your own. An unknown key is refused."
        )
        top = self._schema["properties"]
        plain = {name: field for name, field in top.items() if self._class_of(field) is None}
        yield from self._table("", plain, self._schema.get("required", ()))
        for name, field in top.items():
            if (inner := self._class_of(field)) is not None:
                yield from self._section(name, inner[1], _is_optional(field))

    def _section(self, place: str, name: str, optional: bool) -> Iterator[str]:
        definition = self._definitions[name]
        self._places[name] = place
        yield ""
        yield f"## {place}" if "." not in place and "[" not in place else f"### {place}"
        yield ""
        yield str(definition.get("description", "")).split("\n\nAttributes:")[0].strip()
        if optional:
            yield ""
            yield "A file need not have this section; there is no default."
        properties = definition.get("properties", {})
        meanings: dict[str, str] = {}
        for base in reversed(self._classes[name].__mro__):  # a class may say only what it adds
            meanings |= documented_attributes(base.__doc__ or "")
        yield from self._table(place, properties, definition.get("required", ()), meanings)
        for key, field in properties.items():
            if (inner := self._class_of(field)) is not None and inner[1] not in self._places:
                yield from self._section(f"{place}.{key}{inner[0]}", inner[1], _is_optional(field))

    def _table(
        self, place: str, properties: Mapping[str, Any], required: Any, meanings: Mapping[str, str] | None = None
    ) -> Iterator[str]:
        long: dict[str, Any] = {}
        yield ""
        yield "| key | type | default | meaning |"
        yield "|---|---|---|---|"
        for key, field in properties.items():
            if key in required:
                default = "**required**"
            elif self._class_of(field) is not None and self._class_of(field)[0] == "" and field.get("default"):  # type: ignore[index]
                default = ""
            else:
                text = json.dumps(field.get("default"))
                default = f"`{_cell(text)}`" if len(text) <= _LONGEST_DEFAULT else "see below"
                if len(text) > _LONGEST_DEFAULT:
                    long[key] = field["default"]
            meaning = field.get("description") or (meanings or {}).get(key) or self._description_of(field)
            yield f"| `{key}` | {self._type(field)} | {default} | {_cell(meaning)} |"
        for key, value in long.items():
            yield ""
            yield f"Default of `{place + '.' if place else ''}{key}`:"
            yield ""
            yield "```yaml"
            yield yaml.safe_dump(_without_nulls(value), sort_keys=False, width=100, default_flow_style=None).rstrip()
            yield "```"

    def _class_of(self, field: Mapping[str, Any]) -> tuple[str, str] | None:
        """How a field holds settings of a class of their own, and its name: as it is, in a list, or by name."""
        if "$ref" in field:
            name = str(field["$ref"]).rpartition("/")[2]
            return ("", name) if "properties" in self._definitions[name] else None
        for option in _options(field):
            if nested := self._class_of(option):
                return nested
        for key, suffix in (("items", "[]"), ("additionalProperties", ".NAME")):
            inner = field.get(key)
            if isinstance(inner, Mapping) and (nested := self._class_of(inner)):
                return suffix + nested[0], nested[1]
        return None

    def _description_of(self, field: Mapping[str, Any]) -> str:
        nested = self._class_of(field)
        text = self._definitions[nested[1]].get("description", "") if nested else ""
        return str(text).split("\n\n")[0].replace("\n", " ")

    def _type(self, field: Mapping[str, Any]) -> str:
        """A type in words, as a cell of a table."""
        if "$ref" in field:
            name = str(field["$ref"]).rpartition("/")[2]
            return "section" if "properties" in self._definitions[name] else self._type(self._definitions[name])
        if options := _options(field):
            return " or ".join(dict.fromkeys(self._type(option) for option in options))
        if "enum" in field:
            return " or ".join(f"`{json.dumps(value)}`" for value in field["enum"])
        if "const" in field:
            return f"`{json.dumps(field['const'])}`"
        kind = field.get("type")
        if kind == "null":
            return "null"
        if kind == "array":
            if "prefixItems" in field:
                return "[" + ", ".join(self._type(item) for item in field["prefixItems"]) + "]"
            inner = "anything" if "items" not in field else self._type(field["items"])
            return f"list of {inner}" + ("" if "minItems" not in field else f", at least {field['minItems']}")
        if kind == "object":
            inner = field.get("additionalProperties")
            return f"name -> {self._type(inner)}" if isinstance(inner, Mapping) else "mapping"
        bounds = [f"{word} `{_cell(str(field[key]))}`" for key, word in _BOUNDS.items() if key in field]
        name = "path" if field.get("format") == "path" else _KINDS.get(str(kind), "anything")
        return ", ".join([name, *bounds])


def _options(field: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The forms that a value can have, if there are several."""
    return field.get("anyOf") or field.get("oneOf") or ()


def _is_optional(field: Mapping[str, Any]) -> bool:
    return {"type": "null"} in field.get("anyOf", ())


def _without_nulls(value: Any) -> Any:
    """A default as a person would write it: without what is null."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _cell(text: str) -> str:
    """Text that a cell of a table can hold."""
    return " ".join(text.split()).replace("|", "\\|")

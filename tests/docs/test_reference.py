"""The reference says everything that the code has, and what it says is the code's."""

import re

import pytest
import typer

from docs.site import components_reference, http_api_reference, settings_reference
from docs.site.hooks import ROOT, mermaid, reference
from flightdeck.__main__ import app
from flightdeck.options import default_config
from flightdeck.settings import read_settings
from operations import metrics

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference()


@pytest.fixture(scope="module")
def settings():
    return read_settings(default_config())


def keys(value, place=""):
    for name, inner in value.items():
        here = f"{place}.{name}" if place else name
        yield place, name
        if isinstance(inner, dict) and inner:
            yield from keys(inner, here)


@pytest.fixture(scope="module")
def described(pages) -> dict[str, dict[str, list[str]]]:
    """Section of the settings -> key -> the other cells of its row."""
    sections: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in pages["reference/settings.md"].splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ") if line.startswith("##") else ""
        if line.startswith("| `"):
            name, *cells = re.split(r"(?<!\\)\|", line)[1:-1]
            sections.setdefault(section, {})[name.strip(" `")] = [cell.strip() for cell in cells]
    return sections


def test_every_setting_of_the_local_file_is_there(described, settings):
    # Names of one's own are described by NAME, and a list by the class of its items.
    sections = set(described)
    for place, name in keys(settings.model_dump(mode="json")):
        if place in sections and f"{place}.{name}".strip(".") not in sections:
            assert name in described[place], (place, name)
    assert {"", "data", "model", "features", "model.tuning", "evaluation.metrics[]", "kubeflow.default"} <= sections
    assert set(described["model"]) == set(type(settings.model).model_fields)
    assert set(described["features"]) == set(type(settings.features).model_fields)


def test_every_setting_has_a_type_and_a_meaning(described):
    bare = [
        (place, name)
        for place, rows in described.items()
        for name, (kind, _, meaning) in rows.items()
        if not kind or kind == "anything" or not meaning
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("place", "name", "cells"),
    [
        ("data", "eval_spans", ["whole number, at least `1`", "`1`"]),
        ("gate", "severity", ['`"error"` or `"warning"` or `"never"`', '`"error"`']),
        ("push", "keep", ["whole number, at least `1` or null", "`null`"]),
        ("use_case", "contract", ["path", "**required**"]),
        ("monitoring", "calibration", ["[number, number]", "`[0.7, 1.4]`"]),
        ("beam", "components", ['name -> `"local"` or `"flink"` or section or list of text', "`{}`"]),
        ("alerts", "email", ["section or null", "`null`"]),
    ],
)
def test_types_and_defaults_are_those_of_the_classes(described, place, name, cells):
    assert described[place][name][:2] == cells


def test_attributes_of_a_docstring():
    text = "One.\n\nAttributes:\n    a: First,\n        on two lines.\n    b: Second.\n"
    assert settings_reference.documented_attributes(text) == {"a": "First, on two lines.", "b": "Second."}


def commands(group, name="flightdeck"):
    yield name, group
    for inner, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{name} {inner}")


def test_every_command_and_option_is_there(pages):
    text = pages["reference/cli.md"]
    parts = dict(re.findall(r"^#+ (flightdeck .+?)\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL))
    for name, command in commands(typer.main.get_command(app)):
        if name == "flightdeck":
            continue
        assert name in parts
        for parameter in command.params:
            shown = parameter.param_type_name == "option" and not parameter.hidden
            for option in parameter.opts if shown else ():
                assert option in parts[name], (name, option)


def test_every_component_is_there():
    listed = set(components_reference.modules(ROOT / "components"))
    for file in (ROOT / "components").rglob("*.py"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        text = file.read_text("utf-8")
        if re.search(r"^(class \w+\((base_component|base_beam_component|resolver)\.|@component)", text, re.MULTILINE):
            assert module in listed


def test_every_route_is_there_with_the_columns_of_the_settings(pages, settings):
    text = pages["reference/http-api.md"]
    document = http_api_reference.document(settings)
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"## {method.upper()} {path}\n" in text
    row = document["components"]["schemas"]["PredictRequest"]["anyOf"][0]["properties"]["instances"]["items"]
    assert list(row["properties"]) == settings.features.inputs


def test_the_script_of_the_diagrams_is_brought_along():
    assert "mermaid" in mermaid().read_text("utf-8")[:200]


def test_every_metric_is_there_with_its_labels_and_meaning(pages):
    text = pages["reference/metrics.md"]
    for metric in metrics.ALL:
        (row,) = [line for line in text.splitlines() if f"`{metric.series[0]}`" in line]
        assert metric.help in row
        assert all(f"`{label}`" in row for label in (*metric.series, *metric.labels))

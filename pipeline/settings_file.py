"""Reads settings from YAML, applies overrides, and explains in one sentence what is wrong with them."""

from __future__ import annotations

import difflib
import importlib
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, create_model

from components.span_example_gen.window import Window
from pipeline import project as projects
from pipeline.section import DOTTED_PATH, SettingsError
from pipeline.settings import Evaluation, Settings, UseCase

# Who has the metrics without a module.
_STOCK = "TFMA or Keras"

S = TypeVar("S", bound=Settings)


class _Loader(yaml.CSafeLoader):
    """YAML 1.2: a window 1:6 is text, and not 66 by base sixty; 1e-3 is a number; off is text, and not false."""


_INT, _FLOAT, _BOOL = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_INT, _FLOAT, _BOOL)]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_INT, re.compile(r"^[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"), list("-+0123456789.")
)


def resolve(path: str) -> Any:
    """The object behind a dotted path such as ``package.module.name``; raises a SettingsError if there is none."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"`{path}` cannot be imported: {error}") from error


def load(path: Path, overrides: Sequence[str] = (), kind: type[S] = Settings, adopt: bool = False) -> S:
    """Reads settings from YAML, applies ``key=value`` overrides, and checks everything that can be checked early.

    A file may name another one beside it under ``extends``; it then says only what differs. Mappings are merged,
    anything else is replaced. Relative paths are relative to the project: the folder above ``config/``, or else the
    folder of the file. The values of overrides are YAML. `kind` has all sections that the file may have.

    With `adopt`, the project's packages are importable from now on, see `pipeline.project.adopt`.

    Raises:
        SettingsError: with one sentence per problem.
        ProjectError: packages of the use case cannot be imported.
    """
    raw = _read(path)
    for override in overrides:
        put(raw, override)
    folder = path.resolve().parent
    folder = folder.parent if folder.name == "config" else folder
    names = _dotted_paths(raw.get("use_case"))
    if adopt:
        projects.adopt(folder, names)
    settings = _validated(kind, raw, str(path), folder, projects.home(folder, names))
    _check_early(settings)
    return settings


def from_document(document: Mapping[str, Any], kind: type[S] = Settings) -> S:
    """The settings that `Settings.document` made a document of, with the files of this checkout, or image.

    A use case outside it is that of the project which this process, or the one that started it, was given. Sections
    that `kind` does not have are passed over; older runs recorded all of them.

    Raises:
        SettingsError: they mean nothing to this code, such as a setting that it no longer has.
    """
    home = projects.home(projects.current(), _dotted_paths(document.get("use_case")))
    known = {name: value for name, value in document.items() if name in kind.model_fields}
    return _validated(kind, known, "the recorded settings", home, home)


def _validated(kind: type[S], raw: Mapping[str, Any], source: str, folder: Path, home: Path) -> S:
    bound = bind(kind, raw.get("use_case"), source)
    try:
        # Through JSON, because strict validation of Python objects would want tuples where YAML has lists.
        settings = bound.model_validate_json(json.dumps(raw, default=str), context=folder)
    except ValidationError as error:
        raise SettingsError(_explain(error, bound, source)) from None
    settings._project = home
    return settings


def _dotted_paths(use_case: Any) -> list[str]:
    """The values of the section that look like dotted paths to code."""
    values = use_case.values() if isinstance(use_case, dict) else ()
    return [value for value in values if isinstance(value, str) and re.match(DOTTED_PATH, value)]


def bind(kind: type[S], use_case: Any, source: str) -> type[S]:
    """A settings class in which ``features`` and ``model`` have the types that the use case defines.

    Raises a SettingsError if the ``use_case`` section itself is wrong.
    """
    try:
        section = UseCase.model_validate_json(json.dumps(use_case, default=str))
    except ValidationError as error:
        raise SettingsError(_explain(error, UseCase, source, prefix=("use_case",))) from None
    features, model = resolve(section.features), resolve(section.model)
    return create_model(
        "Settings",
        __base__=kind,
        __doc__=kind.__doc__,
        features=(features, _section(features, section.features)),
        model=(model, _section(model, section.model)),
    )


def _section(kind: type[BaseModel], path: str) -> Any:
    try:
        return Field(default=kind(), description=f"`{path}`")
    except ValidationError:  # it has a setting without a default
        return Field(description=f"`{path}`")


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file; raises an OSError, a UnicodeDecodeError or a yaml.YAMLError."""
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)


def _read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    try:
        raw = read_yaml(path)
    except FileNotFoundError:
        raise SettingsError(f"There is no settings file {path}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"The settings file {path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise SettingsError(f"The settings file {path} must hold a mapping of sections.")
    base = raw.pop("extends", None)
    if base is None:
        return raw
    if path in seen or not isinstance(base, str):
        raise SettingsError(f"The settings file {path} cannot extend {base!r}.")
    return _merged(_read(path.parent / base, (*seen, path)), raw)


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: _merged(base[name], value) for name, value in changes.items() if _are_mappings(base.get(name), value)}
    return {**base, **changes, **both}


def _are_mappings(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def put(raw: dict[str, Any], override: str) -> None:
    """Puts a value, such as ``model.epochs=2`` with the value in YAML, into settings as a file has them.

    Raises:
        SettingsError: it is not of that form, or the key leads through something that is not a section.
    """
    key, sign, text = override.partition("=")
    if not sign or not all(key.split(".")):
        raise SettingsError(f"`--set {override}` is not of the form key=value, such as model.epochs=2.")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise SettingsError(f"The value in `--set {override}` is not valid YAML.") from None
    *parents, last = key.split(".")
    node = raw
    for part in parents:
        child = node.setdefault(part, {}) if isinstance(node, dict) else None
        if not isinstance(child, dict):
            raise SettingsError(f"`--set {override}`: `{part}` is not a section of the settings.")
        node = child
    node[last] = value


def _check_early(settings: Settings) -> None:
    """Refuses what would fail, or mislead, only minutes into a run."""
    contract = settings.contract()
    for section in ("features", "model"):
        try:
            getattr(settings, section).check(contract)
        except ValueError as error:
            raise SettingsError(f"{section}: {error}") from error
    _check_metrics(settings)
    known = contract.ingested(labelled=False)
    for column in sorted({column for crossed in settings.evaluation.slices for column in crossed} - set(known)):
        raise SettingsError(
            f"evaluation.slices: `{column}` is not an ingested column of the contract; choose among {', '.join(known)}."
        )
    try:
        Window.parse(settings.data.window)
    except ValueError as error:
        raise SettingsError(f"data.window: {error}") from error
    if not settings.use_case.schema_file.is_file():
        raise SettingsError(f"use_case.schema_file: there is no file {settings.use_case.schema_file}.")


def _check_metrics(settings: Settings) -> None:
    task, evaluation = settings.task(), settings.evaluation
    for metric in evaluation.metrics:
        if not task.fits(metric.name, metric.module):
            choice = "; ".join(f"{', '.join(names)} of {module or _STOCK}" for module, names in task.metrics.items())
            raise SettingsError(
                f"evaluation.metrics: {metric.name} of {metric.module or _STOCK} is no metric of the task {task.name}; "
                f"choose among {choice}."
            )
    if parts := task.parts(evaluation.metrics[0].name):
        raise SettingsError(
            f"evaluation.metrics: the first one ranks runs, and {evaluation.metrics[0].name} has {len(parts)} values "
            f"({', '.join(parts)}); put another one before it."
        )
    if (
        evaluation.decision_threshold != Evaluation.model_fields["decision_threshold"].default
        and not task.has_threshold
    ):
        raise SettingsError(
            f"evaluation.decision_threshold: a model of the task {task.name} does not answer with a probability that "
            "could be compared with it; leave it out."
        )
    if unknown := sorted(evaluation.fairness.keys() - {*task.disparities}):
        raise SettingsError(
            f"evaluation.fairness: {unknown[0]} is no difference that is measured of the task {task.name}; choose "
            f"among {', '.join(task.disparities)}."
        )
    if evaluation.fairness and not settings.contract().sensitive:
        raise SettingsError(
            "evaluation.fairness: the contract marks no column as sensitive, so nothing could be refused; mark one, or "
            "leave it out."
        )


def _explain(error: ValidationError, model: type[BaseModel], source: str, prefix: tuple[str, ...] = ()) -> str:
    return "\n".join(_explain_one(dict(problem), model, source, prefix) for problem in error.errors())


def _explain_one(problem: Mapping[str, Any], model: type[BaseModel], source: str, prefix: tuple[str, ...]) -> str:
    # Without the names of the forms that a value can have, which are no keys.
    location = tuple(part for part in problem["loc"] if not str(part).startswith("<"))
    key = ".".join(str(part) for part in (*prefix, *location))
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(location[-1]), _names_beside(model, location[:-1]), n=1)
        hint = (
            f"; did you mean `{'.'.join(str(part) for part in (*prefix, *location[:-1], close[0]))}`?" if close else ""
        )
        return f"{source}: there is no setting `{key}`{hint or '.'}"
    if problem["type"] == "missing":
        return f"{source}: the setting `{key}` is missing."
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    got = "" if problem["type"] == "value_error" else f" (got {json.dumps(problem['input'], default=str)[:80]})"
    return f"{source}: `{key}`: {message[:1].lower()}{message[1:]}{got}." if key else f"{source}: {message}."


def _names_beside(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The names of the settings in the section at ``location``."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        current = _section_type(current.model_fields[part].annotation) if hasattr(current, "model_fields") else None
    return list(current.model_fields) if hasattr(current, "model_fields") else []


def _section_type(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple):
        return next((kind for kind in typing.get_args(annotation) if hasattr(kind, "model_fields")), None)
    return annotation

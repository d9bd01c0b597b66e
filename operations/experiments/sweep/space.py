"""The file that says which hyperparameters a sweep searches, and among which values."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from operations.experiments.sweep.plan import SweepError
from pipeline import settings_file
from pipeline.settings import Settings

_SECTION = "model"


def read_space(path: Path, model: BaseModel) -> dict[str, Any]:
    """Reads a search space such as ``model.learning_rate: {min: 1e-4, max: 1e-2, sampling: log}``.

    Keys are settings of the model, written with a dot or nested. A value is a list of candidates or ``{choice: […]}``,
    or a range ``{min, max, step, sampling}``.

    Returns:
        What `model.tuning.search` holds, by hyperparameter.

    Raises:
        SweepError: in one sentence, with the key that is wrong.
    """
    try:
        raw = settings_file.read_yaml(path)
    except FileNotFoundError:
        raise SweepError(f"There is no file {path} with a search space.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SweepError(f"The search space {path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(raw, Mapping) or not raw:
        raise SweepError(
            f"The search space {path} must hold settings of the model and their values, such as "
            f"{_SECTION}.learning_rate: {{min: 0.0001, max: 0.01, sampling: log}}."
        )
    space: dict[str, Any] = {}
    for key, value in raw.items():
        if key == _SECTION and isinstance(value, Mapping):
            space |= {str(name): candidates for name, candidates in value.items()}
        elif str(key).startswith(f"{_SECTION}."):
            space[str(key).removeprefix(f"{_SECTION}.")] = value
        else:
            raise SweepError(f"{path}: `{key}` is not a setting of the model; its keys begin with `{_SECTION}.`.")
    for name, value in space.items():
        _check(path, name, value, model)
    return space


def searching(settings: Settings, space: Path | None, tuning: Mapping[str, Any]) -> Settings:
    """The settings of a sweep with what its command says about the search.

    Args:
        settings: of the run, in the place of the sweep.
        space: the file of the search space; without one, it is that of the settings.
        tuning: fields of `model.tuning`. Without `epochs`, a trial is trained as long as the run was.

    Raises:
        SweepError: they do not fit.
    """
    fields: dict[str, Any] = {"epochs": settings.model.epochs, **tuning}
    if space is not None:
        fields["search"] = read_space(space, settings.model)
    try:
        return settings.model_copy(update={"model": _with_tuning(settings.model, fields)})
    except ValidationError as error:
        raise SweepError(f"The search cannot be made so: {_said(error)}.") from None


def _with_tuning(model: BaseModel, tuning: Mapping[str, Any]) -> BaseModel:
    values = model.model_dump(mode="json")
    return type(model).model_validate({**values, "tuning": {**values["tuning"], **tuning}})


def _check(path: Path, name: str, value: Any, model: BaseModel) -> None:
    names = type(model).model_fields
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean `{_SECTION}.{close[0]}`?" if close else "."
        raise SweepError(f"{path}: there is no setting `{_SECTION}.{name}`{hint}")
    try:
        _with_tuning(model, {"search": {name: value}})
    except ValidationError as error:
        raise SweepError(f"{path}: `{_SECTION}.{name}`: {_said(error)}.") from None


def _said(error: ValidationError) -> str:
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ").removeprefix("tuning.search: ").rstrip(".")
    inside = [str(part) for part in first["loc"][1:]]  # after `tuning`
    # The entry's own name is said already; what is wrong inside it is not.
    inside = inside[2:] if inside[:1] == ["search"] else inside
    return f"{'.'.join(inside)}: {said}" if inside else f"{said[:1].lower()}{said[1:]}"

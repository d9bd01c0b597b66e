"""What all sections of the settings have in common: typed, frozen, strict, with places that depend on the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from errors import FlightdeckError

DOTTED_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"
DottedPath = Annotated[str, Field(pattern=DOTTED_PATH)]


def _absolute(location: str, info: ValidationInfo) -> str:
    if "://" in location:
        return location.rstrip("/")
    return location if info.context is None else str(info.context / Path(location).expanduser())


def _in_project(path: Path, info: ValidationInfo) -> Path:
    return path if info.context is None else info.context / path


# A folder, or a URI such as gs://bucket. A relative one is below the project's folder, which validation is given as its
# context; and so is a file of the project.
Location = Annotated[str, AfterValidator(_absolute)]
ProjectFile = Annotated[Path, AfterValidator(_in_project)]


class SettingsError(FlightdeckError):
    """Settings that cannot be used; the text is one sentence per problem."""


class Section(BaseModel):
    """A part of the settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

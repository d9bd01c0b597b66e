"""A component that an interruption does not stop, as AutoGraph swallows one while it converts a function."""

import contextlib
import time
from pathlib import Path

from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Model

from components.annotations import OutputArtifact, Parameter


@component
def Deaf(model: OutputArtifact[Model], begun: Parameter[str]) -> None:  # noqa: N802
    """Leaves half a model, says that it has begun, and swallows the first exception."""
    Path(model.uri, "half").touch()
    with contextlib.suppress(Exception):
        Path(begun).touch()
        time.sleep(30)
    Path(model.uri, "whole").touch()
    time.sleep(30)

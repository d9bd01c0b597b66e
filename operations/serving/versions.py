"""Which versions are loaded, and the change from one to the next without dropping a request."""

from __future__ import annotations

import dataclasses
from typing import Literal

State = Literal["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """The state of a version in the words of TensorFlow Serving.

    Attributes:
        version: its number.
        state: START and LOADING before it can answer, AVAILABLE, UNLOADING, and END after it or after a failure.
        error: why it could not be loaded; empty if it could.
    """

    version: int
    state: State
    error: str = ""

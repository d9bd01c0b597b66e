"""A version of the model: a numbered folder, and what ML Metadata knows of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import storage
from errors import FlightdeckError

Origin = Literal["run", "rollback", "promote", "unknown"]
MODEL_FILE = "saved_model.pb"
Answer = TypeVar("Answer")


class RegistryError(FlightdeckError):
    """The registry cannot do what it was asked to; the text says why, and what would help."""


@dataclass(frozen=True)
class Version:
    """A version of the model that was pushed.

    Attributes:
        folder: where its SavedModel is, or was.
        model_id: of the Model artifact; None if ML Metadata does not know it.
        run_id: the run that pushed it or, for a change by the registry, the run that trained the model.
        blessed: whether its model was ever blessed.
        champion: whether its model is the one that the next run compares its own with.
        served: whether servers answer with it: it has the highest number of those that are present.
        present: whether it is still there; retention removes old ones.
        origin: what made it.
        pushed_at: when, UTC; of a folder without a record, the time of its last change.
        who: who asked for it; None for a run.
        restores: for a rollback, the version whose model it brings back.
        rolled_back_by: the version that replaced it, if it was rolled back from.
        artifact_id: of the PushedModel artifact.
    """

    number: int
    folder: Path
    model_id: int | None = None
    run_id: str | None = None
    blessed: bool = False
    champion: bool = False
    served: bool = False
    present: bool = False
    origin: Origin = "unknown"
    pushed_at: datetime | None = None
    who: str | None = None
    reason: str | None = None
    restores: int | None = None
    rolled_back_by: int | None = None
    artifact_id: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The same in types that JSON has."""
        pushed_at = self.pushed_at.isoformat(timespec="seconds") if self.pushed_at else None
        return vars(self) | {"folder": str(self.folder), "pushed_at": pushed_at}


@dataclass(frozen=True)
class Change:
    """What a rollback or promotion did; `replaced` is the version that was served before, None for the first one."""

    version: Version
    replaced: int | None
    seconds: float


def is_about(recorded: Version, folder: Path, present: Container[int]) -> bool:
    """Whether a record is about a folder of versions that holds these numbers: one store may serve several."""
    then, here = (
        path if storage.is_bucket(path) else Path(os.path.abspath(path)) for path in (recorded.folder.parent, folder)
    )
    # A workspace that was moved, or is mounted elsewhere, still holds the versions that its records tell of.
    return recorded.number in present or then == here or (then.name == here.name and not then.is_dir())


def present_in(folder: Path) -> dict[int, Path]:
    """The versions in a folder that are complete, by number; raises RegistryError if it cannot be read."""
    # The Pusher copies the file of the model last.
    if not storage.is_bucket(folder):
        complete = [entry.name for entry in entries(folder) if (entry / MODEL_FILE).is_file()]
    else:  # one question for all
        names = (name.split("/") for name in _asked(folder, storage.files_below))
        complete = [parts[0] for parts in names if parts[1:] == [MODEL_FILE]]
    return {int(name): folder / name for name in complete if name.isdigit()}


def entries(folder: Path) -> list[Path]:
    """Whatever lies in a folder of versions, nothing if there is none yet; raises RegistryError if unreadable."""
    return _asked(folder, storage.entries)


def _asked(folder: Path, question: Callable[[Path], Answer]) -> Answer:
    try:
        return question(folder)
    except OSError as error:
        raise RegistryError(f"The registry {folder} cannot be read: {storage.why(error)}.") from error

"""A version of the model: a numbered folder, and what ML Metadata knows of it."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from errors import FlightdeckError
from operations.registry.records import PROMOTE, ROLLBACK, Model, Push

Origin = Literal["run", "rollback", "promote", "unknown"]
_ORIGINS: dict[str, Origin] = {ROLLBACK: "rollback", PROMOTE: "promote"}
MODEL_FILE = "saved_model.pb"


class RegistryError(FlightdeckError):
    """The registry cannot do what it was asked to; the text says why, and what would help."""


@dataclass(frozen=True)
class Version:
    """A version of the model that was pushed.

    Attributes:
        number: the version.
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
        reason: why, as that person wrote.
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
        document = dict(vars(self))
        document["folder"] = str(self.folder)
        document["pushed_at"] = self.pushed_at.isoformat(timespec="seconds") if self.pushed_at else None
        return document


@dataclass(frozen=True)
class Change:
    """What a rollback or promotion did.

    Attributes:
        version: the new version.
        replaced: the version that was served before; None for the first one.
        seconds: how long it took.
    """

    version: Version
    replaced: int | None
    seconds: float


def of_push(push: Push, folder: Path, models: Mapping[int, Model]) -> Version:
    """The version that a record tells of, in a folder of numbered versions."""
    model = models.get(push.model_id or 0)
    restored = push.notes.get("restored_version")
    return Version(
        number=push.number,
        folder=folder / str(push.number),
        model_id=push.model_id,
        run_id=push.run_id or (model.run_id if model else None),
        blessed=model is not None and model.blessed,
        origin=_ORIGINS.get(push.made_by, "run"),
        pushed_at=push.at,
        who=str(push.notes["who"]) if "who" in push.notes else None,
        reason=str(push.notes["reason"]) if push.notes.get("reason") else None,
        restores=int(restored) if restored is not None else None,
        artifact_id=push.artifact_id,
    )


def of_folder(folder: Path) -> Version:
    """A version that nothing is known of."""
    return Version(int(folder.name), folder, pushed_at=datetime.fromtimestamp(folder.stat().st_mtime).astimezone())


def is_about(push: Push, folder: Path, present: Container[int]) -> bool:
    """Whether a record is about a folder of versions that holds these numbers: one store may serve several."""
    recorded = Path(os.path.abspath(push.destination)).parent
    here = Path(os.path.abspath(folder))
    # A workspace that was moved, or is mounted elsewhere, still holds the versions that its records tell of.
    moved = recorded.name == here.name and not recorded.is_dir()
    return push.number in present or recorded == here or moved


def present_in(folder: Path) -> dict[int, Path]:
    """The versions in a folder that are complete, by number.

    Raises:
        RegistryError: it cannot be read.
    """
    return {int(each.name): each for each in entries(folder) if _is_version(each)}


def entries(folder: Path) -> list[Path]:
    """Whatever lies in a folder of versions; nothing if it is not there yet.

    Raises:
        RegistryError: it cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RegistryError(f"The registry {folder} cannot be read: {error.strerror}.") from error


def _is_version(folder: Path) -> bool:
    # The Pusher copies this file last.
    return folder.name.isdigit() and (folder / MODEL_FILE).is_file()

"""The last round of the loop: a file beside its lock, by which others see that the loop is alive."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

import storage
from errors import FlightdeckError

_FILE = "last-round.json"


class Heartbeat(BaseModel, frozen=True):
    """When the last round began, in UTC, and what could not be done in it: step -> sentence."""

    when: datetime
    problems: dict[str, str]


def write(folder: Path, heartbeat: Heartbeat) -> None:
    """Replaces what is known of the last round, in the folder of the loop."""
    storage.write(folder / _FILE, heartbeat.model_dump_json())


def read(folder: Path) -> Heartbeat | None:
    """The last round; None if there was none. Raises a FlightdeckError for a file that cannot be read."""
    file = folder / _FILE
    try:
        return Heartbeat.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FlightdeckError(f"The last round of the loop cannot be read from {file}.") from error

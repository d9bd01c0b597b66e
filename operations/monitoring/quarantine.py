"""Spans that must not be learned from: a marker in the span's folder, which the pipeline respects.

The data stays where it is, and comes back when the span is released. Imports neither TensorFlow nor TFX.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import storage
from components.span_example_gen.window import QUARANTINE
from data import spans
from errors import FlightdeckError
from ledger.recorder import user
from operations.monitoring.settings import Settings


@dataclasses.dataclass(frozen=True)
class Quarantined:
    """A span in quarantine: why, who put it there, and when that was, in UTC."""

    span: int
    reason: str
    who: str
    when: datetime

    def as_json(self) -> dict[str, str | int]:
        """The same in types that JSON has."""
        return {**dataclasses.asdict(self), "when": self.when.isoformat(timespec="seconds")}


def quarantine(
    settings: Settings, span: int, reason: str, who: str | None = None, when: datetime | None = None
) -> Quarantined:
    """Keeps a span out of all later runs. Idempotent: a span in quarantine keeps its first reason.

    The reason is for whoever has to decide about it later; by default, the user of this process did it now.

    Raises:
        FlightdeckError: there is no such span, no reason, or the folder cannot be written to.
    """
    if not reason.strip():
        raise FlightdeckError("A quarantine needs a reason.")
    folder = _folder(settings, span)
    if (known := _read(folder, span)) is not None:
        return known
    who, when = who or user() or "unknown", (when or datetime.now(UTC)).replace(microsecond=0)
    quarantined = Quarantined(span, reason.strip(), who, when)
    text = json.dumps(quarantined.as_json(), ensure_ascii=False, indent=2) + "\n"
    try:
        storage.replace(folder / QUARANTINE, text, None)
    except storage.ChangedError:  # by somebody who was quicker
        return _read(folder, span) or quarantined
    except OSError as error:
        raise FlightdeckError(f"Span {span} cannot be marked in {folder}: {storage.why(error)}.") from None
    return quarantined


def release(settings: Settings, span: int) -> Quarantined:
    """Lets runs learn from a span in quarantine again, and returns what its marker said."""
    folder = _folder(settings, span)
    known = _read(folder, span)
    if known is None:
        raise FlightdeckError(f"Span {span} of {settings.spans} is not in quarantine.")
    try:
        (folder / QUARANTINE).unlink(missing_ok=True)
    except OSError as error:
        raise FlightdeckError(f"Span {span} cannot be released in {folder}: {storage.why(error)}.") from None
    return known


def listed(settings: Settings) -> list[Quarantined]:
    """All spans in quarantine, by number; a FlightdeckError if the spans cannot be listed."""
    marked = (_read(folder, span) for span, folder in folders(settings).items())
    return [quarantined for quarantined in marked if quarantined is not None]


def _read(folder: Path, span: int) -> Quarantined | None:
    """What the marker says. One made by hand may say anything, and counts."""
    marker = folder / QUARANTINE
    try:
        text = marker.read_bytes().decode("utf-8", errors="replace")
        written = datetime.fromtimestamp(marker.stat().st_mtime, UTC)
    except OSError:
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        said = json.loads(text)
        return Quarantined(span, str(said["reason"]), str(said["who"]), datetime.fromisoformat(said["when"]))
    return Quarantined(span, text.strip() or "no reason was given", "unknown", written)


def _folder(settings: Settings, span: int) -> Path:
    known_folders = folders(settings)
    if span not in known_folders:
        known = f"{min(known_folders)} to {max(known_folders)}" if known_folders else "none"
        raise FlightdeckError(f"There is no span {span} in {settings.spans}; there are: {known}.")
    return known_folders[span]


def folders(settings: Settings) -> dict[int, Path]:
    """The folder of each span, by number; a FlightdeckError if they cannot be listed."""
    try:
        return spans.folders(storage.at(settings.spans))
    except OSError as error:
        raise FlightdeckError(f"The spans {settings.spans} cannot be listed: {storage.why(error)}.") from None

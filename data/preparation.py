"""What a preparation wrote, remembered beside the spans, so that the next one finds out that there is nothing to do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from data.spans import file_digest

RECORD = "preparation.json"

Kind = TypeVar("Kind")


def stored(kind: Callable[..., Kind], span: Callable[..., Any], destination: Path, fingerprint: str) -> Kind | None:
    """Returns the recorded preparation if it is of this source and all of its files are as it left them."""
    try:
        record = json.loads((destination / RECORD).read_text(encoding="utf-8"))
        if record["fingerprint"] != fingerprint:
            return None
        spans = tuple(span(path=destination / entry.pop("file"), **entry) for entry in record.pop("spans"))
        if any(file_digest(each.path) != each.sha256 for each in spans):
            return None
        return kind(path=destination, spans=spans, skipped=True, **record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # No record, or one that was damaged or written by another version: prepare again.
        return None


def write(preparation: Any, destination: Path, staging: Path) -> None:
    """Writes the record of a preparation into the folder of its spans, whole or not at all."""
    record: dict[str, Any] = asdict(preparation)
    del record["path"], record["skipped"]
    for entry in record["spans"]:
        # Relative, so that the folder can be moved or mounted elsewhere.
        entry["file"] = entry.pop("path").relative_to(destination).as_posix()
    staged = staging / RECORD
    staged.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    staged.replace(destination / RECORD)


def retire(destination: Path, kept: set[Path]) -> None:
    """Removes what the last preparation wrote and this one did not: a span of its own would stay the newest for ever.

    A file that somebody else has changed since, or put there, stays.
    """
    try:
        entries = json.loads((destination / RECORD).read_text(encoding="utf-8"))["spans"]
        old = {destination / entry["file"]: entry["sha256"] for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return
    for path, digest in old.items():
        if path not in kept and path.is_file() and file_digest(path) == digest:
            path.unlink()
            with contextlib.suppress(OSError):  # It holds files that are not ours.
                path.parent.rmdir()

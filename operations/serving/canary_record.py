"""What a service saw of a canary that its answers do not tell: failures, and requests that it left out.

Whoever judges the version is another process, perhaps on another machine; what they share is the folder of the payload
log. Each process keeps a file of its own there, ``canary/VERSION/HOST-PID-TOKEN.json``, and replaces it whole. A
container that is started anew has the host and the process id of the one before, whose failures must not be forgotten.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import socket
from pathlib import Path

import storage
from errors import FlightdeckError

_FOLDER = "canary"
_TOKEN = secrets.token_hex(4)


class CanaryRecordError(FlightdeckError):
    """What a service recorded cannot be read; the text says why."""


@dataclasses.dataclass
class CanaryRecord:
    """Counts of one service, or of several together.

    Attributes:
        failed: requests that it failed to answer, or not in time, though the served version could.
        failure: the last one in words.
        dropped_rows: rows that it was not given, because too many waited.
        does_not_load: why it could not be loaded; empty if it could.
    """

    answered: int = 0
    failed: int = 0
    failure: str = ""
    dropped_rows: int = 0
    does_not_load: str = ""


def write(log: Path, version: int, record: CanaryRecord) -> None:
    """Replaces what this process has recorded of a version in the folder of the payload log; may raise OSError."""
    folder = log / _FOLDER / str(version)
    storage.make_folder(folder)
    target = folder / f"{socket.gethostname()}-{os.getpid()}-{_TOKEN}.json"
    storage.write(target, json.dumps(dataclasses.asdict(record)))


def read(log: Path, version: int) -> CanaryRecord:
    """What all services have recorded of a version, together; raises CanaryRecordError for a damaged record."""
    together = CanaryRecord()
    written = storage.entries(log / _FOLDER / str(version))
    written = [file for file in written if file.suffix == ".json" and not file.name.startswith(".")]
    for file in sorted(written, key=lambda path: path.stat().st_mtime):
        try:
            record = CanaryRecord(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CanaryRecordError(f"What a service recorded of version {version} cannot be read: {file}.") from error
        together.answered += record.answered
        together.failed += record.failed
        together.failure = record.failure or together.failure
        together.dropped_rows += record.dropped_rows
        together.does_not_load = record.does_not_load or together.does_not_load
    return together

"""Keeps the compiled pipeline of a workspace, so that a run with nothing changed need not import TensorFlow for it.

Only what the pipeline is made of is compared here: settings, code, packages. Whether an earlier result may be reused is
for TFX to say.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import storage
from data.contract import files as contract_files
from pipeline import stamp
from pipeline.fingerprint import file_digest
from pipeline.runners.jobs import Compiled
from pipeline.settings import Settings


def key(settings: Settings, factory: str, arguments: tuple[Any, ...]) -> str:
    """A digest of everything that the compiled pipeline is made of."""
    use_case = settings.use_case
    made_of = {
        "pipeline": (factory, arguments),
        # Where Beam runs is for each run to say.
        "settings": {name: value for name, value in settings.document().items() if name != "beam"},
        "project": settings.project,
        "code": stamp.sources_of(settings),
        "files": {str(file): file_digest(file) for file in (*contract_files(use_case.contract), use_case.schema_file)},
        "packages": dict(stamp.packages()),
        "python": (sys.version, sys.prefix),
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()


def any_kept(settings: Settings, factory: str) -> bool:
    """Whether a pipeline was kept, under whatever key."""
    return _file(settings, factory).exists()


def kept(settings: Settings, factory: str, wanted: str) -> Compiled | None:
    """The pipeline that was kept under a key; None if there is none, or it cannot be read."""
    try:
        document = json.loads(_file(settings, factory).read_text(encoding="utf-8"))
        if document.pop("key") != wanted:
            return None
        return Compiled(document["ir"], {node: tuple(after) for node, after in document["after"].items()})
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def keep(settings: Settings, factory: str, name: str, compiled: Compiled) -> None:
    """Keeps a pipeline under a key, in place of the one before."""
    file = _file(settings, factory)
    file.parent.mkdir(parents=True, exist_ok=True)
    storage.write(file, json.dumps({"key": name, **dataclasses.asdict(compiled)}))


def _file(settings: Settings, factory: str) -> Path:
    return Path(settings.workspace) / "compiled" / f"{factory}.json"

"""All that a level has done, in a form that is the same for any two ways in which it came about.

A replay that was killed and went on must equal one that was not: the same runs, windows, decisions, verdicts,
versions, quarantines, alerts and answers. Numbers that only the clock or the metadata store chose are left out, or
replaced by what they stand for.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import ml_metadata

from ledger.recorder import Recorder
from operations.alerts.dispatcher import log_file, outbox_file
from operations.alerts.outbox import Kept, Outbox
from operations.loop.actions import Actions
from operations.loop.attempts import Attempts
from operations.loop.canary import act
from operations.loop.replay.training import saved_model, weights
from operations.loop.settings import Settings
from operations.monitoring import quarantine
from operations.monitoring.records import MonitoringRecords
from operations.registry import Registry, Version


def record(settings: Settings, reader: ml_metadata.MetadataStore) -> dict[str, Any]:
    """What a level has done.

    Returns:
        JSON. Two replays of one plan are equal exactly if these are.
    """
    name = settings.use_case.name
    runs = Recorder(reader).all()
    versions = sorted(Registry(settings).versions(), key=lambda each: each.number)
    told = {
        "runs": [_run(reader, each) for each in runs],
        "windows": [each.model_dump(mode="json") for each in MonitoringRecords(reader, name).windows()],
        "decisions": sorted(
            (each.model_dump(mode="json") for each in MonitoringRecords(reader, name).decisions()),
            key=lambda each: str(each),
        ),
        "verdicts": [
            each.model_dump(mode="json", exclude={"canary", "model_id"}) for each in act.verdicts(settings, reader)
        ],
        "attempts": [
            {"run": each.run_id, "outcome": each.outcome, "detail": each.detail, "triggers": each.reasons}
            for each in Attempts(settings, reader).all()
        ],
        "acts": sorted(
            f"{each.decision} {each.action} {each.outcome}: {each.text}" for each in Actions(settings, reader).all()
        ),
        "versions": [_version(each) for each in versions],
        "quarantined": [f"{each.span}: {each.reason}" for each in quarantine.listed(settings)],
        "alerts": sorted(_alert(each) for each in _outbox(settings)),
        "answers": _answers(Path(settings.payloads)),
    }
    names = {str(each.number): f"version {index}" for index, each in enumerate(versions, start=1)}
    trained = {str(each.model_id): each.run_id for each in runs if each.model_id is not None}
    return _renamed(json.loads(json.dumps(told)), names, trained)


def _renamed(value: Any, versions: dict[str, str], canaries: dict[str, str]) -> Any:
    """The same with versions by their order, and versions in shadow mode by the run that trained them."""
    if isinstance(value, dict):
        return {key: _renamed(each, versions, canaries) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, versions, canaries) for each in value]
    if isinstance(value, int) and str(value) in versions:
        return versions[str(value)]
    if isinstance(value, str):
        # A version in shadow mode has the number of its model.
        value = re.sub(r"(canary|version) (\d+)", lambda match: f"{match[1]} {canaries.get(match[2], match[2])}", value)
        return re.sub(r"\d{6,}", lambda match: versions.get(match[0], match[0]), value)
    return value


def problems(settings: Settings, reader: ml_metadata.MetadataStore) -> list[str]:
    """What must be true of every level, however often it was killed; one sentence for each thing that is not."""
    found = []
    for each in Registry(settings).versions():
        if each.present and each.model_id is not None:
            source = saved_model(reader, each.model_id)
            if _files(each.folder) != _files(source):
                found.append(f"Version {each.number} is not the whole of {source}.")
    leftovers = [each.name for each in Path(settings.pushed).iterdir() if not each.name.isdigit()]
    if leftovers:
        found.append(f"{settings.pushed} holds {', '.join(leftovers)}.")
    logged = [json.loads(line)["id"] for line in log_file(settings).read_text(encoding="utf-8").splitlines()]
    kept = {each.alert_id: each for each in _outbox(settings)}
    if missing := [each.alert.title for key, each in kept.items() if key not in logged or not each.delivered]:
        found.append(f"Alerts were lost: {', '.join(missing)}.")
    if strange := set(logged) - set(kept):
        found.append(f"{len(strange)} alerts were sent that nobody raised.")
    return found


def _run(reader: ml_metadata.MetadataStore, record: Any) -> dict[str, Any]:
    return {
        "run": record.run_id,
        "outcome": record.outcome,
        "reasons": record.reasons,
        "spans": record.spans,
        "rows": record.rows,
        "metrics": record.metrics,
        "model": None if record.model_id is None else weights(saved_model(reader, record.model_id)),
    }


def _version(version: Version) -> dict[str, Any]:
    return {
        "model": weights(version.folder),
        "run": version.run_id,
        "origin": version.origin,
        "served": version.served,
        "restores": version.restores,
        "reason": version.reason,
    }


def _outbox(settings: Settings) -> list[Kept]:
    return Outbox(outbox_file(settings), (), 0.0).kept(limit=100_000)


def _alert(kept: Kept) -> str:
    return f"{kept.alert.key}: {kept.alert.title}: {kept.alert.text}"


def _answers(folder: Path) -> dict[str, str]:
    """Digest of ids, times and outputs by file of the log."""
    import pyarrow.parquet as pq

    found = {}
    for file in sorted(folder.glob("*/[!.]*.parquet")):
        rows = pq.ParquetFile(file).read().drop_columns(["model_version"])
        text = json.dumps(rows.to_pydict(), sort_keys=True, default=str)
        found[file.name] = f"{rows.num_rows} {hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return found


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

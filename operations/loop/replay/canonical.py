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
from ledger.run_record import RunRecord
from operations.alerts.dispatcher import log_place, outbox_place
from operations.alerts.outbox import Kept, Outbox
from operations.loop.actions import Actions
from operations.loop.attempts import Attempts
from operations.loop.canary import act
from operations.loop.replay.training import saved_model, weights
from operations.loop.settings import Settings
from operations.monitoring import quarantine
from operations.monitoring.records import MonitoringRecords
from operations.registry import Registry


def record(settings: Settings, store: ml_metadata.MetadataStore) -> dict[str, Any]:
    """What a level has done, in types that JSON has. Two replays of one plan are equal exactly if these are."""
    name = settings.use_case.name
    runs = Recorder(store).all()
    versions = sorted(Registry(settings).versions(), key=lambda version: version.number)
    monitored = MonitoringRecords(store, name)
    document = {
        "runs": [_run(store, run) for run in runs],
        "windows": [window.model_dump(mode="json") for window in monitored.windows()],
        "decisions": sorted((decision.model_dump(mode="json") for decision in monitored.decisions()), key=str),
        "verdicts": [
            verdict.model_dump(mode="json", exclude={"canary", "model_id"}) for verdict in act.verdicts(settings, store)
        ],
        "attempts": [
            {"run": attempt.run_id, "outcome": attempt.outcome, "detail": attempt.detail, "triggers": attempt.reasons}
            for attempt in Attempts(settings, store).all()
        ],
        "acts": sorted(
            "{decision} {action} {outcome}: {text}".format(**dict(done)) for done in Actions(settings, store).all()
        ),
        "versions": [
            {"model": weights(version.folder)}
            | {name: getattr(version, name) for name in ("run_id", "origin", "served", "restores", "reason")}
            for version in versions
        ],
        "quarantined": [f"{span.span}: {span.reason}" for span in quarantine.listed(settings)],
        "alerts": sorted(f"{kept.alert.key}: {kept.alert.title}: {kept.alert.text}" for kept in alerts(settings)),
        "answers": _answers(Path(settings.payloads)),
    }
    names = {str(version.number): f"version {index}" for index, version in enumerate(versions, start=1)}
    trained = {str(run.model_id): run.run_id for run in runs if run.model_id is not None}
    return _renamed(json.loads(json.dumps(document)), names, trained)


def alerts(settings: Settings) -> list[Kept]:
    """Every alert of a level."""
    return Outbox(outbox_place(settings), (), 0.0).kept(limit=100_000)


def _renamed(value: Any, versions: dict[str, str], canaries: dict[str, str]) -> Any:
    """The same with versions by their order, and versions in shadow mode by the run that trained them."""
    if isinstance(value, dict):
        return {key: _renamed(item, versions, canaries) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, versions, canaries) for item in value]
    if isinstance(value, int) and str(value) in versions:
        return versions[str(value)]
    if isinstance(value, str):
        # A version in shadow mode has the number of its model.
        value = re.sub(r"(canary|version) (\d+)", lambda match: f"{match[1]} {canaries.get(match[2], match[2])}", value)
        return re.sub(r"\d{6,}", lambda match: versions.get(match[0], match[0]), value)
    return value


def problems(settings: Settings, store: ml_metadata.MetadataStore) -> list[str]:
    """What must be true of every level, however often it was killed; one sentence for each thing that is not."""
    sentences = []
    for version in Registry(settings).versions():
        if version.present and version.model_id is not None:
            source = saved_model(store, version.model_id)
            if _files(version.folder) != _files(source):
                sentences.append(f"Version {version.number} is not the whole of {source}.")
    leftovers = [entry.name for entry in Path(settings.pushed).iterdir() if not entry.name.isdigit()]
    if leftovers:
        sentences.append(f"{settings.pushed} holds {', '.join(leftovers)}.")
    logged = [json.loads(line)["id"] for line in log_place(settings).read_text(encoding="utf-8").splitlines()]
    raised = {kept.alert_id: kept for kept in alerts(settings)}
    if missing := [kept.alert.title for key, kept in raised.items() if key not in logged or not kept.delivered]:
        sentences.append(f"Alerts were lost: {', '.join(missing)}.")
    if strange := set(logged) - set(raised):
        sentences.append(f"{len(strange)} alerts were sent that nobody raised.")
    return sentences


def _run(store: ml_metadata.MetadataStore, record: RunRecord) -> dict[str, Any]:
    model = None if record.model_id is None else weights(saved_model(store, record.model_id))
    names = ("run_id", "outcome", "reasons", "spans", "rows", "metrics")
    return {"model": model, **{name: getattr(record, name) for name in names}}


def _answers(folder: Path) -> dict[str, str]:
    """Digest of ids, times and outputs by file of the log."""
    import pyarrow.parquet as pq

    digests = {}
    for file in sorted(folder.glob("*/[!.]*.parquet")):
        rows = pq.ParquetFile(file).read().drop_columns(["model_version"])
        text = json.dumps(rows.to_pydict(), sort_keys=True, default=str)
        digests[file.name] = f"{rows.num_rows} {hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return digests


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

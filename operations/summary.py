"""What a run did, in one page: its record, condensed, and saved beside its log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ledger.recorder import Recorder
from ledger.run_record import NodeRecord, Outcome, Revision, RunRecord
from pipeline import whole_file

WORST_SLICES = 5


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class SliceSummary(_Frozen):
    """The main metric on one slice of the evaluation split."""

    slice: str
    rows: int
    challenger: float
    champion: float | None


class RunSummary(_Frozen):
    """What a run did.

    Attributes:
        outcome: ``pushed``; ``blessed`` (good, but not pushed); ``not blessed``; or ``failed``.
        reasons: why it is not pushed, one sentence each; empty for ``pushed``.
        commit: of the use case's code, with `dirty`.
        platform: Flightdeck's code, if the use case is in a project of its own.
        spans: the spans of each split.
        rows: the labelled rows of each split.
        anomalies: what DataGate found, one sentence each; empty is good.
        metrics: challenger's metrics on the whole evaluation split, by name.
        champion_metrics: the champion's on the same rows; empty if there was no champion.
        champion_saw: spans of the evaluation split that the champion was trained on; then the comparison flatters it.
        worst_slices: those with the worst main metric, worst first.
        version: the pushed version, a folder of `pushed_to`.
        loading_seconds: imports, of `seconds`.
    """

    run_id: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    settings_digest: str
    commit: str | None = None
    dirty: bool | None = None
    platform: Revision | None = None
    window: str
    spans: dict[str, list[int]] = {}
    rows: dict[str, int] = {}
    anomalies: tuple[str, ...] | None = None
    main_metric: str
    metrics: dict[str, float] = {}
    champion_metrics: dict[str, float] = {}
    champion_saw: tuple[int, ...] = ()
    worst_slices: tuple[SliceSummary, ...] = ()
    version: str | None = None
    pushed_to: str | None = None
    nodes: tuple[NodeRecord, ...]
    loading_seconds: float
    seconds: float
    peak_mb: float


def summarise(recorder: Recorder, record: RunRecord, min_slice_size: int) -> RunSummary:
    """Condenses the record of a run.

    Args:
        recorder: has the documents of the record.
        record: of a run that has ended.
        min_slice_size: slices of fewer rows are not among the worst.
    """
    summary: dict[str, Any] = record.model_dump(exclude={"settings", "nodes"}) | {
        "settings_digest": record.settings,
        "commit": record.code.commit,
        "dirty": record.code.dirty,
        "platform": record.platform,
        "nodes": record.nodes,
    }
    if digest := record.documents.get("anomalies"):
        summary["anomalies"] = tuple(finding(each) for each in recorder.document(digest))
    if (digest := record.documents.get("slices")) and record.main_metric:
        summary["worst_slices"] = worst(
            recorder.document(digest), record.main_metric, record.main_better == "lower", min_slice_size
        )
    return RunSummary(**{name: value for name, value in summary.items() if name in RunSummary.model_fields})


def worst(
    slices: Sequence[dict[str, Any]], metric: str, lower_is_better: bool, min_rows: int, count: int = WORST_SLICES
) -> tuple[SliceSummary, ...]:
    """The slices on which the challenger does worst, worst first; slices of few rows are left out.

    Args:
        slices: the document `slices` of a record.
        metric: ranks them.
        lower_is_better: its direction.
        min_rows: of a slice.
        count: how many.
    """
    large = [each for each in slices if each["rows"] >= min_rows and metric in each["challenger"]]
    ranked = sorted(large, key=lambda each: each["challenger"][metric], reverse=lower_is_better)[:count]
    return tuple(
        SliceSummary(
            slice=each["slice"],
            rows=each["rows"],
            challenger=each["challenger"][metric],
            champion=each["champion"].get(metric),
        )
        for each in ranked
    )


def finding(found: dict[str, Any]) -> str:
    """An anomaly in one sentence."""
    return f"{found['severity']}: {found['split']}: {found['column']}: {found['rule']}: {found['found']}"


def save(summary: RunSummary, folder: Path) -> None:
    """Writes ``summary.json``, whole or not at all."""
    whole_file.write(folder / "summary.json", summary.model_dump_json(indent=2))

"""The page of all runs: which there are, how they went, and which is the best."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ledger.formats import NOTHING, count, moment, number
from ledger.run_facts import evaluated_like, evaluation_data, is_ours, outcome, resolved_window, shown_outcome
from ledger.run_record import RunRecord
from ledger.runs import TRAINING
from operations.report import plots

# Columns of metrics in the table of runs.
_METRICS_OF_RUNS = 3


class Tile(NamedTuple):
    """A figure at the top of a page, with what it means and how good that is."""

    name: str
    value: str
    detail: str = ""
    kind: str = ""


@dataclasses.dataclass(frozen=True)
class IndexRow:
    """A run in the table of all."""

    record: RunRecord
    link: str | None
    kind: str
    outcome: str
    window: str
    metrics: list[float | None]


@dataclasses.dataclass(frozen=True)
class IndexPage:
    """The page of all runs; `metric` is the one that the plot begins with."""

    tiles: list[Tile]
    rows: list[IndexRow]
    metrics: list[str]
    metric: str
    tagged: bool
    history: plots.Plot | None
    unlinked: str | None
    unreadable: str | None


def page(records: Sequence[RunRecord], links: Mapping[str, str], unreadable: Sequence[str]) -> IndexPage:
    """The page of all runs.

    Args:
        records: oldest first.
        links: run -> its page, of the runs that have one.
        unreadable: names of runs whose records cannot be read.
    """
    metrics = metrics_of(records)
    newest = [record for record in reversed(records) if is_ours(record)]
    main = next((record for record in newest if record.main_metric in metrics), None)
    metric, better = (main.main_metric or "", main.main_better) if main else ("", "neither")
    measured = [record for record in records if metric and metric in record.metrics]
    best = _best(measured, metric, better)
    outcomes = Counter(outcome(record) for record in records)
    tiles = [Tile("Runs", f"{len(records):,}", ", ".join(f"{of} {name}" for name, of in outcomes.most_common()))]
    if best:
        tiles.append(Tile(f"Best {metric}", number(best.metrics[metric]), _rank(best, measured), "good"))
    if pushed := next((record for record in newest if record.version), None):
        tiles.append(Tile("Last pushed", f"version {pushed.version}", moment(pushed.started)))
    if newest:
        state = shown_outcome(newest[0])
        tiles.append(Tile("Last run", state, f"{newest[0].kind}, {moment(newest[0].started)}", state))
    shown = [
        plots.Measured(
            record.run_id,
            record.started,
            outcome(record),
            window(record),
            evaluation_data(record),
            links.get(record.run_id),
            dict(record.metrics),
        )
        for record in records
        if record.metrics
    ]
    unlinked = f"The newest {count(len(links), 'run')} have a page of their own."
    return IndexPage(
        tiles=tiles,
        rows=[
            IndexRow(
                record,
                links.get(record.run_id),
                record.kind if is_ours(record) else "foreign",
                shown_outcome(record),
                window(record) or NOTHING,
                [record.metrics.get(name) for name in metrics[:_METRICS_OF_RUNS]],
            )
            for record in reversed(records)
        ],
        metrics=metrics[:_METRICS_OF_RUNS],
        metric=metric,
        tagged=any(record.tags for record in records),
        history=plots.history(shown, metric, best and best.run_id) if measured else None,
        unlinked=unlinked if len(links) < len(records) else None,
        unreadable=f"The records of {', '.join(unreadable)} cannot be read: another version wrote them."
        if unreadable
        else None,
    )


def metrics_of(records: Sequence[RunRecord]) -> list[str]:
    """The metrics that runs have, the main one first, then those with a threshold, then those that most runs have."""
    seen = Counter(name for record in records for name in record.metrics)
    mains = Counter(record.main_metric for record in records if record.main_metric in record.metrics)
    asked = {name for record in records for name in record.thresholds}
    return sorted(seen, key=lambda name: (-mains[name], name not in asked, -seen[name], name))


def _ranked(measured: Sequence[RunRecord]) -> tuple[list[RunRecord], list[RunRecord]]:
    """The runs that `flightdeck runs best` ranks, and those that it leaves out for their evaluation data."""
    meant = [each for each in measured if each.kind in TRAINING and each.outcome != "failed"]
    return evaluated_like(meant[-1], meant) if meant else ([], [])


def _best(measured: Sequence[RunRecord], metric: str, better: str) -> RunRecord | None:
    ranked, _ = _ranked(measured)
    if better == "neither" or not ranked:
        return None
    return (min if better == "lower" else max)(ranked, key=lambda each: each.metrics[metric])


def _rank(best: RunRecord, measured: Sequence[RunRecord]) -> str:
    ranked, left_out = _ranked(measured)
    if not left_out:
        return f"run {best.run_id}"
    return (
        f"run {best.run_id}, of {count(len(ranked), 'run')} evaluated on {evaluation_data(best)}; "
        f"{len(left_out)} on other data left out"
    )


def window(record: RunRecord) -> str:
    """The spans that a run saw, or else the window that was asked for; empty if neither is known."""
    return resolved_window(record) or record.window or ""

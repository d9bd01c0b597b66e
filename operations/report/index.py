"""The page of all runs: which there are, how they went, and which is the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ledger.formats import NOTHING, count, moment, number
from ledger.run_facts import evaluated_like, evaluation_data, is_ours, outcome, shown_outcome, shown_window
from ledger.run_record import RunRecord
from ledger.runs import TRAINING
from operations.report import plots

# Columns of metrics in the table of runs.
_METRICS_OF_RUNS = 3
# A figure at the top of a page: its name, the value, and perhaps what it means and how good that is.
Tile = tuple[str, ...]


def page(records: Sequence[RunRecord], links: Mapping[str, str], unreadable: Sequence[str]) -> dict[str, Any]:
    """The content of the page of all runs.

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
    best, rank = _best(measured, metric, better)
    outcomes = Counter(outcome(record) for record in records)
    tiles: list[Tile] = [
        ("Runs", f"{len(records):,}", ", ".join(f"{runs} {name}" for name, runs in outcomes.most_common()))
    ]
    if best:
        tiles.append((f"Best {metric}", number(best.metrics[metric]), rank, "good"))
    if pushed := next((record for record in newest if record.version), None):
        tiles.append(("Last pushed", f"version {pushed.version}", moment(pushed.started)))
    if newest:
        state = shown_outcome(newest[0])
        tiles.append(("Last run", state, f"{newest[0].kind}, {moment(newest[0].started)}", state))
    unlinked = f"The newest {count(len(links), 'run')} have a page of their own."
    return {
        "tiles": tiles,
        "rows": [
            {
                "record": record,
                "link": links.get(record.run_id),
                "kind": record.kind if is_ours(record) else "foreign",
                "outcome": shown_outcome(record),
                "window": shown_window(record) or NOTHING,
                "metrics": [record.metrics.get(name) for name in metrics[:_METRICS_OF_RUNS]],
            }
            for record in reversed(records)
        ],
        "metrics": metrics[:_METRICS_OF_RUNS],
        "metric": metric,
        "tagged": any(record.tags for record in records),
        "history": plots.history(records, links, metric, best and best.run_id) if measured else None,
        "unlinked": unlinked if len(links) < len(records) else None,
        "unreadable": f"The records of {', '.join(unreadable)} cannot be read: another version wrote them."
        if unreadable
        else None,
    }


def metrics_of(records: Sequence[RunRecord]) -> list[str]:
    """The metrics that runs have, the main one first, then those with a threshold, then those that most runs have.

    Those of single classes or deciles come after the others.
    """
    seen = Counter(name for record in records for name in record.metrics)
    mains = Counter(record.main_metric for record in records if record.main_metric in record.metrics)
    asked = {name for record in records for name in record.thresholds}
    return sorted(seen, key=lambda name: (-mains[name], name not in asked, "/" in name, -seen[name], name))


def _best(measured: Sequence[RunRecord], metric: str, better: str) -> tuple[RunRecord | None, str]:
    """The best of the runs that `flightdeck runs best` ranks, and a remark on those that it leaves out."""
    trained = [record for record in measured if record.kind in TRAINING and record.outcome != "failed"]
    if better == "neither" or not trained:
        return None, ""
    ranked, left_out = evaluated_like(trained[-1], trained)
    best = (min if better == "lower" else max)(ranked, key=lambda record: record.metrics[metric])
    if not left_out:
        return best, f"run {best.run_id}"
    return best, (
        f"run {best.run_id}, of {count(len(ranked), 'run')} evaluated on {evaluation_data(best)}; "
        f"{len(left_out)} on other data left out"
    )

"""What a record says of a run beyond its fields, also of runs that another TFX pipeline recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ledger.run_record import RunRecord

# What a run of another program has in place of an outcome, and one that an older version recorded without a lease.
FOREIGN, UNKNOWN = "not ours", "running or killed"
# Facts of a record that conditions and `--sort` may name besides metrics and hyperparameters.
FACTS = (
    *("run_id", "started", "renewed", "seconds", "loading_seconds", "peak_mb", "kind", "outcome", "parent", "pipeline"),
    *("runner", "user", "host", "commit", "branch", "dirty", "settings", "lock", "data", "version", "model_id"),
)


def is_ours(record: RunRecord) -> bool:
    """Whether this project recorded the run, and not another TFX pipeline in the same store."""
    return bool(record.model_fields_set & {"kind", "outcome", "settings", "runner", "user"})


def outcome(record: RunRecord) -> str:
    """The run's outcome; of another program's run, `FOREIGN`."""
    return record.outcome if is_ours(record) else FOREIGN


def shown_outcome(record: RunRecord) -> str:
    """The outcome for people: `UNKNOWN` if our record says the run is running but no lease shows it."""
    unknown = is_ours(record) and record.outcome == "running" and record.renewed is None
    return UNKNOWN if unknown else outcome(record)


def last_sign_of_life(record: RunRecord) -> datetime | None:
    """When a run that has not ended, or was killed, was heard of last; None of one that has ended."""
    return record.renewed if record.outcome in ("running", "killed") else None


def resolved_window(record: RunRecord) -> str | None:
    """FIRST:LAST of the spans that the run saw, None if it got none, or predicted files that are no spans."""
    if record.kind == "prediction" and record.window is None:
        return None
    spans = [span for split in record.spans.values() for span in split]
    return f"{min(spans)}:{max(spans)}" if spans else None


def shown_window(record: RunRecord) -> str:
    """The spans that the run saw, or else the window that was asked for; empty if neither is known."""
    return resolved_window(record) or record.window or ""


def evaluation_data(record: RunRecord) -> str:
    """The spans and rows that the run's metrics were computed on, such as ``span 3, 1,500 rows``."""
    spans = evaluation_spans(record)
    if spans is None:
        return "unknown data"
    which = f"spans {spans.replace(':', '-')}" if ":" in spans else f"span {spans}"
    return f"{which}, {record.rows['eval']:,} rows" if "eval" in record.rows else which


def by_evaluation_data(records: Sequence[RunRecord]) -> dict[str, int]:
    """How many runs were evaluated on which spans and rows."""
    return dict(Counter(evaluation_data(record) for record in records))


def evaluated_like(run: RunRecord, records: Sequence[RunRecord]) -> tuple[list[RunRecord], list[RunRecord]]:
    """The runs that were evaluated on the same spans and rows as a run, so that metrics can be compared; the others."""
    data = evaluation_data(run)
    like = [record for record in records if evaluation_data(record) == data]
    return like, [record for record in records if evaluation_data(record) != data]


def evaluation_spans(record: RunRecord) -> str | None:
    """The spans that the run's metrics were computed on, such as ``3`` or ``4:6``; None if it is not known."""
    spans = record.spans.get("eval", [])
    if not spans:
        return None
    return str(spans[0]) if len(spans) == 1 else f"{min(spans)}:{max(spans)}"


def value_of(record: RunRecord, name: str) -> Any:
    """A metric, hyperparameter or fact of a run, None if it has none.

    The name of a hyperparameter may leave out what stands before the last dot.
    """
    for values in (record.metrics, record.hyperparameters):
        if name in values:
            return values[name]
    if name in FACTS:
        if name in ("commit", "branch", "dirty"):
            return getattr(record.code, name)
        return outcome(record) if name == "outcome" else getattr(record, name)
    return next((value for key, value in record.hyperparameters.items() if key.rpartition(".")[2] == name), None)


def flattened(document: Any, prefix: str = "", lists: bool = True) -> dict[str, Any]:
    """Nested settings, or a part of them with that prefix, by dotted names.

    With `lists`, a list of named things is taken apart by those names, too: ``metrics.AUC.at_least``.
    """
    if lists and isinstance(document, list) and all(isinstance(item, Mapping) and "name" in item for item in document):
        named = [(item["name"], {key: value for key, value in item.items() if key != "name"}) for item in document]
        document = dict(named) or document
    if not isinstance(document, Mapping) or not document:
        return {prefix: document} if prefix else {}
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= flattened(value, f"{prefix}.{name}" if prefix else str(name), lists)
    return flat

"""The runs of a metadata store: finds one by what people call it, those that meet conditions, and the best of them.

Runs that another TFX pipeline recorded in the same store are among them, with what can be known of them.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from math import isnan
from typing import Any, Literal

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from ledger.directions import directions, of_metric
from ledger.fairness import FAIRNESS
from ledger.filters import Filter, did_you_mean
from ledger.opening import LedgerError
from ledger.outputs import RUN, executions_in
from ledger.recorder import read_document, recorded
from ledger.run_facts import FACTS, by_evaluation_data, evaluated_like, evaluation_spans, is_ours, value_of
from ledger.run_record import Kind, RunRecord
from ledger.run_view import ANOMALIES, SLICES, RunView, min_slice_rows

Better = Literal["higher", "lower", "neither"]
LATEST, BEST = "latest", "best"
# In place of the spans on which runs were evaluated: all runs, although their values cannot be compared.
ANY = "any"
# Kinds that train a model in full. A trial is trained for the comparison with other trials alone.
TRAINING: tuple[Kind, ...] = ("run", "reproduction")


@dataclasses.dataclass(frozen=True)
class Best:
    """The best of some runs by one metric.

    Attributes:
        better: the direction of the metric.
        others: the other runs that it was ranked with, best first.
        left_out: those that have the metric and were evaluated on other data than these, newest first.
    """

    record: RunRecord
    metric: str
    better: Better
    others: tuple[RunRecord, ...]
    left_out: tuple[RunRecord, ...]

    @property
    def evaluated_on(self) -> dict[str, int]:
        """How many of the ranked runs were evaluated on which data; on more than one only if that was asked for."""
        return by_evaluation_data((self.record, *self.others))


class Runs:
    """The records of the runs in an open store; one query for all of them, and one for a run that is named in full."""

    def __init__(self, store: ml_metadata.MetadataStore) -> None:
        self._store = store
        self._all: list[RunRecord] | None = None
        self.unreadable: tuple[str, ...] = ()
        """Names of the runs whose records cannot be read, such as those of a newer version; known after `all`."""

    def all(self) -> list[RunRecord]:
        """Every run whose record can be read, oldest first; asked once."""
        if self._all is None:
            records, unreadable = [], []
            for context in self._store.get_contexts_by_type(RUN):
                try:
                    records.append(_record(context))
                except ValueError:
                    unreadable.append(context.name)
            self._all = sorted(records, key=lambda run: (run.started, run.run_id))
            self.unreadable = tuple(unreadable)
        return self._all

    def find(self, name: str) -> RunRecord:
        """The run that a name means.

        Args:
            name: the run's, or as much of its beginning as no other run shares; ``latest``, the run that began last; or
                ``best``, the best by the main metric of those that were evaluated on the same data as the newest.

        Raises:
            LedgerError: there is no such run, or there are several.
        """
        context = self._store.get_context_by_type_and_name(RUN, name)
        if context is not None:
            try:
                return _record(context)
            except ValueError:
                raise LedgerError(
                    f"The record of run {name} cannot be read: it was written by another version, or by hand."
                ) from None
        if name == LATEST:
            return self._latest()
        if name == BEST:
            return self.best().record
        beginning = [run for run in self.all() if name and run.run_id.startswith(name)]
        if len(beginning) == 1:
            return beginning[0]
        if beginning:
            shown = ", ".join(run.run_id for run in beginning[-3:])
            more = f" and {len(beginning) - 3} more" if len(beginning) > 3 else ""
            raise LedgerError(f"{len(beginning)} runs begin with {name}: {shown}{more}.")
        hint = did_you_mean(name, [run.run_id for run in self.all()], listed=False)
        raise LedgerError(f"The metadata store has no run {name}{hint or '; flightdeck runs list shows those it has.'}")

    def document(self, record: RunRecord, name: str) -> Any:
        """A document of a run, such as its settings; raises a LedgerError if the run has none of that name."""
        if name not in record.documents:
            known = tuple(sorted(record.documents))
            raise LedgerError(f"Run {record.run_id} has no document {name!r}{did_you_mean(name, known)}")
        return read_document(self._store, record.documents[name])

    def view(self, record: RunRecord) -> RunView:
        """The run as people read it."""
        names = ("settings", "slices", "anomalies", "fairness")
        documents = {name: self.document(record, name) for name in names if name in record.documents}
        return RunView(
            record,
            SLICES.validate_python(documents.get("slices", ())),
            ANOMALIES.validate_python(documents["anomalies"]) if "anomalies" in documents else None,
            min_slice_rows(documents.get("settings")),
            FAIRNESS.validate_python(documents.get("fairness", ())),
        )

    def executions(self, record: RunRecord) -> dict[str, int]:
        """How many executions of a run, also of another program's, are in which state, such as complete or failed."""
        states = [execution.last_known_state for execution in executions_in(self._store, record.run_id)]
        return dict(Counter(metadata_store_pb2.Execution.State.Name(state).lower() for state in states))

    def select(self, wanted: Filter) -> list[RunRecord]:
        """The runs that are meant, oldest first; raises a LedgerError if a condition names what no run has."""
        for condition in wanted.conditions:
            self._require(condition.name, condition.metrics_only)
        return [run for run in self.all() if wanted.holds(run)]

    def sort(self, records: Sequence[RunRecord], field: str, descending: bool) -> list[RunRecord]:
        """Runs in the order of a metric, hyperparameter or fact; those without it, or with no number, last.

        Raises a LedgerError if no run has it.
        """
        self._require(field, metrics_only=False)
        keys = {run.run_id: _sort_key(value_of(run, field)) for run in records}
        present = sorted(
            (run for run in records if keys[run.run_id]), key=lambda run: keys[run.run_id] or (), reverse=descending
        )
        return [*present, *(run for run in records if not keys[run.run_id])]

    def best(
        self,
        metric: str | None = None,
        wanted: Filter | None = None,
        better: Better | None = None,
        evaluated_on: str | None = None,
    ) -> Best:
        """The best run by a metric, of those that were evaluated on the same data. Of equally good ones, the earliest.

        Args:
            metric: its name; default: the main metric of the newest run that is meant.
            wanted: which runs; without a kind, those that train a model in full.
            better: the metric's direction; default: as the newest run that measured it was told.
            evaluated_on: the spans of the evaluation split, such as ``3`` or ``4:6``, or ``any``; default: those of the
                newest run that has the metric. Unless it is any, only runs on the same rows are ranked.

        Raises:
            LedgerError: no run has the metric or was evaluated on those spans, or nobody says whether higher is better.
        """
        wanted = wanted or Filter()
        if not wanted.kinds:
            wanted = dataclasses.replace(wanted, kinds=TRAINING)
        if metric is not None:
            self._require(metric, metrics_only=True)
        meant = [run for run in self.select(wanted) if run.outcome not in ("failed", "killed")]
        if metric is None:
            metric = next((run.main_metric for run in reversed(meant) if run.main_metric and run.metrics), None)
        measured = [run for run in meant if metric in run.metrics]
        if metric is None or not measured:
            raise LedgerError(
                f"None of the {len(self.all()):,} runs that are meant has {metric or 'any metric'}: "
                "see flightdeck runs list."
            )
        better = better or self._direction(metric, measured)
        sign = -1 if better == "higher" else 1
        ranked, left_out = _comparable_runs(measured, evaluated_on)
        # A metric that is not a number is never the best.
        first, *others = sorted(
            ranked, key=lambda run: (isnan(run.metrics[metric]), sign * run.metrics[metric], run.started)
        )
        return Best(first, metric, better, tuple(others), tuple(left_out[::-1]))

    def _latest(self) -> RunRecord:
        for among in (lambda run: is_ours(run) and run.kind in TRAINING, is_ours, lambda _: True):
            if runs := [run for run in self.all() if among(run)]:
                return runs[-1]
        raise LedgerError("The metadata store has no runs yet.")

    def _direction(self, metric: str, measured: Sequence[RunRecord]) -> Better:
        for run in reversed(measured):
            if run.main_metric == metric and run.main_better != "neither":
                return run.main_better
            configured = directions(self.document(run, "settings")) if "settings" in run.documents else {}
            if (better := of_metric(configured, metric)) in ("higher", "lower"):
                return better
            rules = of_metric(run.thresholds, metric) or {}
            if "at_least" in rules or "at_most" in rules:
                return "higher" if "at_least" in rules else "lower"
        raise LedgerError(f"No record says whether a higher or a lower {metric} is better: add --better.")

    def _require(self, name: str, metrics_only: bool) -> None:
        metrics = sorted({metric for record in self.all() for metric in record.metrics})
        if name in metrics:
            return
        if metrics_only:
            raise LedgerError(f"No run has a metric {name!r}{did_you_mean(name, metrics)}")
        known = {name for record in self.all() for name in record.hyperparameters} | set(FACTS)
        short = {name.rpartition(".")[2] for name in known}
        if name not in known | short:
            raise LedgerError(f"No run has a value {name!r}{did_you_mean(name, [*metrics, *sorted(known | short)])}")


def _comparable_runs(measured: list[RunRecord], on: str | None) -> tuple[list[RunRecord], list[RunRecord]]:
    if on == ANY:
        return measured, []
    wanted = measured if on is None else [run for run in measured if evaluation_spans(run) == on]
    if not wanted:
        known = sorted({spans for run in measured if (spans := evaluation_spans(run))})
        raise LedgerError(f"No run that is meant was evaluated on {on!r}{did_you_mean(str(on), (*known, ANY))}")
    return evaluated_like(wanted[-1], measured)


def _record(context: Any) -> RunRecord:
    """The record of a run; one that says that it is running, and whose process is gone, was killed."""
    record = recorded(context)
    if record.outcome == "running" and record.owner is not None and record.owner.alive(record.renewed) is False:
        return record.model_copy(update={"outcome": "killed"})
    return record


def _sort_key(value: Any) -> tuple[bool, Any] | None:
    """Numbers before text, should a name be both; None for no value, or one that is no number."""
    if value is None or value != value:
        return None
    return not isinstance(value, int | float), value if isinstance(value, int | float | datetime) else str(value)

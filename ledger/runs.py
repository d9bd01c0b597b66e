"""The runs of a metadata store: finds one by what people call it, and those that meet conditions.

Runs that another TFX pipeline recorded in the same store are among them, with what can be known of them.
"""

from __future__ import annotations

import dataclasses
import difflib
import operator
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from ledger.directions import directions
from ledger.opening import LedgerError
from ledger.outputs import values
from ledger.recorder import RUN, read_document
from ledger.run_record import Kind, Outcome, RunRecord, from_properties
from ledger.run_view import RunView

Better = Literal["higher", "lower", "neither"]
# What a run of another program has in place of an outcome, and one that an older version recorded without a lease.
FOREIGN, UNKNOWN = "not ours", "running or killed"
LATEST, BEST = "latest", "best"
# In place of the spans on which runs were evaluated: all runs, although their values cannot be compared.
ANY = "any"
# Kinds that train a model in full. A trial is trained for the comparison with other trials alone.
TRAINING: tuple[Kind, ...] = ("run", "reproduction")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"\s*([^\s<>=!]+)\s*(>=|<=|!=|==|=|>|<)\s*(.+?)\s*$")
# Facts of a record that conditions and `--sort` may name besides metrics and hyperparameters.
_FACTS = (
    *("run_id", "started", "renewed", "seconds", "loading_seconds", "peak_mb", "kind", "outcome", "parent", "pipeline"),
    *("runner", "user", "host", "commit", "branch", "dirty", "settings", "lock", "data", "version", "model_id"),
)
_AGE = re.compile(r"(\d+)\s*(h|d|w)(?:\s+ago)?$")


@dataclasses.dataclass(frozen=True)
class Condition:
    """What a run must meet, such as ``auc>0.69``.

    Attributes:
        name: a metric, a hyperparameter or a fact of the record.
        sign: one of >=, <=, !=, ==, =, >, <.
        bound: as it was written.
        metrics_only: the name can only be a metric's.
    """

    name: str
    sign: str
    bound: str
    metrics_only: bool = False

    @classmethod
    def parse(cls, text: str, metrics_only: bool = False) -> Condition:
        """Reads a condition.

        Raises:
            LedgerError: it is not one.
        """
        match = _CONDITION.match(text)
        if match is None:
            raise LedgerError(f"{text!r} is not a condition; write one such as 'auc>0.69' (with quotes in a shell).")
        condition = cls(match[1], match[2], match[3], metrics_only)
        if metrics_only and _number(condition.bound) is None:
            raise LedgerError(f"{condition.bound!r} in {text!r} is not a number, and metrics are.")
        return condition

    def holds(self, record: RunRecord) -> bool:
        """Whether a run meets it; one that lacks the value does not."""
        value = record.metrics.get(self.name) if self.metrics_only else value_of(record, self.name)
        if value is None:
            return False
        bound = _number(self.bound)
        if isinstance(value, int | float) and not isinstance(value, bool) and bound is not None:
            return _SIGNS[self.sign](value, bound)
        written = str(value).lower() if isinstance(value, bool) else str(value)
        return _SIGNS[self.sign](written, self.bound)


@dataclasses.dataclass(frozen=True)
class Filter:
    """Which runs are meant. Everything given must hold.

    Attributes:
        conditions: on metrics, hyperparameters and facts.
        window: FIRST:LAST, as it was asked for or as it turned out to be.
        outcomes: any of them.
        kinds: any of them.
        commit: the beginning of the commit, be it of the use case's code or of Flightdeck.
        since: not started before.
        until: not started at or after.
        tags: all of them.
        parent: the run that it belongs to.
        note: what one of its notes must contain, in any case of letters.
    """

    conditions: tuple[Condition, ...] = ()
    window: str | None = None
    outcomes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    commit: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    tags: tuple[str, ...] = ()
    parent: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        """Refuses what no run can ever be.

        Raises:
            LedgerError: there is no such outcome or kind.
        """
        for given, known, what in (
            (self.outcomes, (*get_args(Outcome), FOREIGN), "outcome"),
            (self.kinds, get_args(Kind), "kind"),
        ):
            for each in given:
                if each not in known:
                    raise LedgerError(f"There is no {what} {each!r}{did_you_mean(each, known)}")

    def holds(self, record: RunRecord) -> bool:
        """Whether a run is meant."""
        return (
            (self.window is None or self.window in (record.window, resolved_window(record)))
            and (not self.outcomes or outcome(record) in self.outcomes)
            and (not self.kinds or (is_ours(record) and record.kind in self.kinds))
            and (self.commit is None or _has_commit(record, self.commit.lower()))
            and (self.since is None or record.started >= self.since)
            and (self.until is None or record.started < self.until)
            and set(self.tags) <= set(record.tags)
            and (self.parent is None or record.parent == self.parent)
            and (self.note is None or any(self.note.lower() in each.text.lower() for each in record.notes))
            and all(each.holds(record) for each in self.conditions)
        )


@dataclasses.dataclass(frozen=True)
class Best:
    """The best of some runs by one metric.

    Attributes:
        record: the best run.
        metric: what it is best by.
        better: the direction of that metric.
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
    """The records of the runs in a store; one query for all of them, and one for a run that is named in full."""

    def __init__(self, store: ml_metadata.MetadataStore) -> None:
        """Asks an open store, such as `opening.open_readonly` gives."""
        self._store = store
        self._all: list[RunRecord] | None = None
        self.unreadable: tuple[str, ...] = ()
        """Names of the runs whose records cannot be read, such as those of a newer version; known after `all`."""

    def all(self) -> list[RunRecord]:
        """Every run, oldest first.

        Raises:
            LedgerError: the store cannot answer.
        """
        if self._all is None:
            records, unreadable = [], []
            for context in self._store.get_contexts_by_type(RUN):
                try:
                    records.append(_record(context))
                except ValueError:
                    unreadable.append(context.name)
            self._all = sorted(records, key=lambda each: (each.started, each.run_id))
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
        names = [each.run_id for each in self.all()]
        beginning = [each for each in self.all() if name and each.run_id.startswith(name)]
        if len(beginning) == 1:
            return beginning[0]
        if beginning:
            shown = ", ".join(each.run_id for each in beginning[-3:])
            more = f" and {len(beginning) - 3} more" if len(beginning) > 3 else ""
            raise LedgerError(f"{len(beginning)} runs begin with {name}: {shown}{more}.")
        hint = did_you_mean(name, names, listed=False)
        raise LedgerError(f"The metadata store has no run {name}{hint or '; flightdeck runs list shows those it has.'}")

    def document(self, record: RunRecord, name: str) -> Any:
        """A document of a run, such as its settings.

        Raises:
            LedgerError: the run has no such document.
        """
        if name not in record.documents:
            known = tuple(sorted(record.documents))
            raise LedgerError(f"Run {record.run_id} has no document {name!r}{did_you_mean(name, known)}")
        return read_document(self._store, record.documents[name])

    def view(self, record: RunRecord) -> RunView:
        """The run as people read it.

        Raises:
            RecordError: a document of the record is not there.
        """
        return RunView.read(self._store, record)

    def executions(self, record: RunRecord) -> dict[str, int]:
        """How many executions of a run are in which state, such as complete or failed; also of another program's run.

        Raises:
            LedgerError: the store cannot answer.
        """
        context = self._store.get_context_by_type_and_name(RUN, record.run_id)
        found = [] if context is None else self._store.get_executions_by_context(context.id)
        names = metadata_store_pb2.Execution.State
        return dict(Counter(names.Name(each.last_known_state).lower() for each in found))

    def select(self, wanted: Filter) -> list[RunRecord]:
        """The runs that are meant, oldest first.

        Raises:
            LedgerError: no run has a metric or value that a condition names.
        """
        for each in wanted.conditions:
            self._require(each.name, each.metrics_only)
        return [each for each in self.all() if wanted.holds(each)]

    def sort(self, records: Sequence[RunRecord], field: str, descending: bool) -> list[RunRecord]:
        """Runs in the order of a metric, hyperparameter or fact; those without it, or with no number, last.

        Raises:
            LedgerError: no run has it.
        """
        self._require(field, metrics_only=False)
        present = [(value, each) for each in records if _comparable(value := value_of(each, field))]
        absent = [each for each in records if not _comparable(value_of(each, field))]
        # Numbers before text, should a name be both.
        present.sort(key=lambda pair: (_kind_of(pair[0]), _sortable(pair[0])), reverse=descending)
        return [*(each for _, each in present), *absent]

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
        meant = [each for each in self.select(wanted) if each.outcome not in ("failed", "killed")]
        if metric is None:
            metric = next((each.main_metric for each in reversed(meant) if each.main_metric and each.metrics), None)
        measured = [each for each in meant if metric in each.metrics]
        if metric is None or not measured:
            raise LedgerError(
                f"None of the {len(self.all()):,} runs that are meant has {metric or 'any metric'}: "
                "see flightdeck runs list."
            )
        better = better or self._direction(metric, measured)
        sign = -1 if better == "higher" else 1
        ranked, left_out = _comparable_runs(measured, evaluated_on)
        first, *others = sorted(ranked, key=lambda each: (_finite(sign * each.metrics[metric]), each.started))
        return Best(first, metric, better, tuple(others), tuple(left_out[::-1]))

    def _latest(self) -> RunRecord:
        for among in (lambda each: is_ours(each) and each.kind in TRAINING, is_ours, lambda _: True):
            if found := [each for each in self.all() if among(each)]:
                return found[-1]
        raise LedgerError("The metadata store has no runs yet.")

    def _direction(self, metric: str, measured: Sequence[RunRecord]) -> Better:
        for each in reversed(measured):
            if each.main_metric == metric and each.main_better != "neither":
                return each.main_better
            configured = directions(self.document(each, "settings")) if "settings" in each.documents else {}
            if configured.get(metric) in ("higher", "lower"):
                return configured[metric]
            rules = each.thresholds.get(metric, {})
            if "at_least" in rules or "at_most" in rules:
                return "higher" if "at_least" in rules else "lower"
        raise LedgerError(f"No record says whether a higher or a lower {metric} is better: add --better.")

    def _require(self, name: str, metrics_only: bool) -> None:
        metrics = sorted({each for record in self.all() for each in record.metrics})
        if name in metrics:
            return
        if metrics_only:
            raise LedgerError(f"No run has a metric {name!r}{did_you_mean(name, metrics)}")
        known = {each for record in self.all() for each in record.hyperparameters} | set(_FACTS)
        short = {each.rpartition(".")[2] for each in known}
        if name not in known | short:
            raise LedgerError(f"No run has a value {name!r}{did_you_mean(name, [*metrics, *sorted(known | short)])}")


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


def evaluation_data(record: RunRecord) -> str:
    """The spans and rows that the run's metrics were computed on, such as ``span 3, 1,500 rows``."""
    spans = record.spans.get("eval", [])
    if not spans:
        return "unknown data"
    which = f"span {spans[0]}" if len(spans) == 1 else f"spans {min(spans)}-{max(spans)}"
    return f"{which}, {record.rows['eval']:,} rows" if "eval" in record.rows else which


def by_evaluation_data(records: Sequence[RunRecord]) -> dict[str, int]:
    """How many runs were evaluated on which spans and rows."""
    return dict(Counter(evaluation_data(each) for each in records))


def evaluated_like(run: RunRecord, records: Sequence[RunRecord]) -> tuple[list[RunRecord], list[RunRecord]]:
    """The runs whose metrics can be compared with those of one of them, and the others.

    They were evaluated on the same spans and rows; of the others, the evaluation data decide, too.
    """
    data = evaluation_data(run)
    split: dict[bool, list[RunRecord]] = {True: [], False: []}
    for each in records:
        split[evaluation_data(each) == data].append(each)
    return split[True], split[False]


def evaluation_spans(record: RunRecord) -> str | None:
    """The spans that the run's metrics were computed on, such as ``3`` or ``4:6``; None if it is not known."""
    spans = record.spans.get("eval", [])
    if not spans:
        return None
    return str(spans[0]) if len(spans) == 1 else f"{min(spans)}:{max(spans)}"


def _comparable_runs(measured: list[RunRecord], on: str | None) -> tuple[list[RunRecord], list[RunRecord]]:
    """The runs that can be ranked, and the others."""
    if on == ANY:
        return measured, []
    wanted = measured if on is None else [each for each in measured if evaluation_spans(each) == on]
    if not wanted:
        known = sorted({spans for each in measured if (spans := evaluation_spans(each))})
        raise LedgerError(f"No run that is meant was evaluated on {on!r}{did_you_mean(str(on), (*known, ANY))}")
    return evaluated_like(wanted[-1], measured)


def value_of(record: RunRecord, name: str) -> Any:
    """A metric, hyperparameter or fact of a run, None if it has none.

    Args:
        record: of the run.
        name: a metric's; a hyperparameter's, with or without what stands before the last dot; or a fact's.
    """
    if name in record.metrics:
        return record.metrics[name]
    if name in record.hyperparameters:
        return record.hyperparameters[name]
    if name in _FACTS:
        if name in ("commit", "branch", "dirty"):
            return getattr(record.code, name)
        return outcome(record) if name == "outcome" else getattr(record, name)
    return next((value for key, value in record.hyperparameters.items() if key.rpartition(".")[2] == name), None)


def _has_commit(record: RunRecord, beginning: str) -> bool:
    return any((each.commit or "").startswith(beginning) for each in (record.code, record.platform) if each)


def moment(text: str, now: datetime | None = None, end_of_day: bool = False) -> datetime:
    """A time that a person wrote: 2013-07-01, 2013-07-01T09:30, ``today``, ``yesterday``, or an age such as 12h or 2w.

    Args:
        text: what was written; without an offset, in this machine's time zone.
        now: default: the clock.
        end_of_day: of a day alone, take its end and not its beginning.

    Returns:
        The moment, in UTC.

    Raises:
        LedgerError: it is none of these.
    """
    now = (now or datetime.now(UTC)).astimezone()
    day = timedelta(days=1) if end_of_day else timedelta(0)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        return (midnight - timedelta(days=text == "yesterday") + day).astimezone(UTC)
    if age := _AGE.match(text):
        unit = {"h": "hours", "d": "days", "w": "weeks"}[age[2]]
        try:
            return (now - timedelta(**{unit: int(age[1])})).astimezone(UTC)
        except OverflowError:
            raise LedgerError(f"{text!r} is before the beginning of time.") from None
    try:
        written = datetime.fromisoformat(text)
    except ValueError:
        raise LedgerError(
            f"{text!r} is not a time; write 2013-07-01, 2013-07-01T09:30, today, yesterday, 12h, 3d or 2w."
        ) from None
    return (written.astimezone() + (day if len(text) == len("2013-07-01") else timedelta(0))).astimezone(UTC)


def did_you_mean(name: str, known: Sequence[str], listed: bool = True) -> str:
    """The end of a sentence about a wrong name: those like it, or else all of them.

    Args:
        name: the wrong one.
        known: the right ones.
        listed: name them all if none is alike; otherwise the answer is empty then.
    """
    if close := difflib.get_close_matches(name, known, n=3, cutoff=0.6):
        return f"; did you mean {' or '.join(close)}?"
    if not listed:
        return ""
    return f"; known: {', '.join(known)}." if known else "; there are none yet."


def _record(context: Any) -> RunRecord:
    """The record of a run; one that says that it is running, and whose process is gone, was killed."""
    record = from_properties(context.name, values(context.custom_properties), context.create_time_since_epoch)
    if record.outcome == "running" and record.owner is not None and record.owner.alive(record.renewed) is False:
        return record.model_copy(update={"outcome": "killed"})
    return record


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def _finite(value: float) -> float:
    """A metric that is not a number is never the best."""
    return value if value == value else float("inf")


def _comparable(value: Any) -> bool:
    """Whether there is a value, and not one that is no number."""
    return value is not None and value == value


def _kind_of(value: Any) -> bool:
    return not isinstance(value, int | float)


def _sortable(value: Any) -> Any:
    return value if isinstance(value, int | float | datetime) else str(value)

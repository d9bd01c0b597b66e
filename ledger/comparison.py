"""How two runs differ: what went in, what came out, and whether the latter is more than chance."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import ml_metadata
import numpy as np

from ledger import scores, significance
from ledger.directions import directions, of_metric
from ledger.opening import LedgerError
from ledger.recorder import read_document
from ledger.run_facts import flattened, outcome, resolved_window
from ledger.run_record import RunRecord
from ledger.run_view import SLICES
from ledger.runs import Runs
from ledger.significance import SignificanceTest

Verdict = Literal["better", "worse", "higher", "lower", "within noise", "unknown"]
_FEW_ROWS = 100


@dataclasses.dataclass(frozen=True)
class Change:
    """A thing that is not the same in both runs; None where a run does not have it."""

    name: str
    first: Any
    second: Any


@dataclasses.dataclass(frozen=True)
class MetricChange:
    """A metric of both runs.

    Attributes:
        first: as recorded of the first run, None if that has none; `second` likewise.
        delta: second - first.
        noise: what a test on the single rows says; None if there was none.
        verdict: what the second run is, by comparison; ``unknown`` without a test.
        p_value: of the test; of slices, corrected for how many there are.
    """

    name: str
    first: float | None
    second: float | None
    delta: float | None
    noise: SignificanceTest | None = None
    verdict: Verdict = "unknown"
    p_value: float | None = None


@dataclasses.dataclass(frozen=True)
class SliceChange:
    """The main metric of a slice in both runs, with the rows of each."""

    slice: str
    metric: MetricChange
    first_rows: int | None
    second_rows: int | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How two runs differ.

    Attributes:
        sections: what differs, by what it belongs to: `outcome`, `settings`, `data`, `code`, `packages`,
            `hyperparameters`; a section without differences is empty.
        unknown: sections that cannot be compared, and why not.
        main_metric: the metric of the slices.
        metrics: those that differ; so are the `slices`.
        same_rows: whether both were evaluated on provably the same rows; None if nobody can tell.
        why_not: why no test was made, a sentence; None if it was.
    """

    first: RunRecord
    second: RunRecord
    sections: dict[str, list[Change]]
    unknown: dict[str, str]
    main_metric: str | None
    metrics: list[MetricChange]
    slices: list[SliceChange]
    same_rows: bool | None
    why_not: str | None

    @property
    def same_in(self) -> list[str]:
        """The sections in which nothing differs, as far as is known."""
        return [name for name, changes in self.sections.items() if not changes and name not in self.unknown]

    @property
    def tested(self) -> SignificanceTest | None:
        """The test of the first metric that has one; None if nothing was tested."""
        return next((change.noise for change in self.metrics if change.noise), None)

    @property
    def tested_by(self) -> str:
        """How metrics were tested, in words."""
        exact = [c.name for c in self.metrics if c.noise is not None and c.noise.test == significance.DELONG]
        others = "a paired bootstrap"
        return f"{exact[0]} by DeLong's test, others by {others}" if exact else f"all by {others}"


def compare(
    store: ml_metadata.MetadataStore, first: str, second: str, seed: int = 0, resamples: int = significance.RESAMPLES
) -> Comparison:
    """Compares two runs that `Runs.find` understands; raises a LedgerError if there is no such run, or both are one."""
    runs = Runs(store)
    one, other = runs.find(first), runs.find(second)
    if one.run_id == other.run_id:
        raise LedgerError(f"{first} and {second} are the same run, {one.run_id}.")

    @functools.cache
    def read(digest: str | None) -> Any:
        return None if digest is None else read_document(store, digest)

    def documents(name: str) -> tuple[Any, Any]:
        """A document of both runs; None where a run has none."""
        return read(one.documents.get(name)), read(other.documents.get(name))

    sections, unknown = _sections(one, other, documents)
    better = _directions(documents("settings"), one, other)
    main = one.main_metric if one.main_metric == other.main_metric else None
    rows, same_rows, why_not = _same_rows(store, one, other)
    metrics = _metrics(one.metrics, other.metrics, rows, better, seed, resamples)
    slices = _slices(documents("slices"), main, rows, of_metric(better, main), seed) if main else []
    return Comparison(one, other, sections, unknown, main, metrics, slices, same_rows, why_not)


def _sections(
    one: RunRecord, other: RunRecord, documents: Callable[[str], tuple[Any, Any]]
) -> tuple[dict[str, list[Change]], dict[str, str]]:
    unknown: dict[str, str] = {}

    def of_documents(section: str, name: str, flat: Any) -> list[Change]:
        first, second = documents(name)
        lacking = [record.run_id for record, document in ((one, first), (other, second)) if document is None]
        if lacking:
            unknown[section] = f"run {' and run '.join(lacking)} recorded no {name}"
            return []
        if name == "settings":
            # Older runs recorded the sections of everything that happens after a run, too.
            first, second = (
                {name: run[name] for name in run if name in first and name in second} for run in (first, second)
            )
        return _changes(flat(first), flat(second))

    sections = {
        "outcome": _changes(_outcome(one), _outcome(other)),
        "settings": of_documents("settings", "settings", flattened),
        "data": _changes(_data(one), _data(other)) + of_documents("files", "files", _files),
        "code": _changes(_code(one), _code(other)) + of_documents("source files", "sources", dict),
        "packages": _changes({"lock": one.lock}, {"lock": other.lock}) + of_documents("packages", "packages", dict),
        "hyperparameters": _changes(one.hyperparameters, other.hyperparameters),
    }
    return sections, unknown


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Change]:
    return [
        Change(name, first.get(name), second.get(name))
        for name in dict.fromkeys((*first, *second))
        if first.get(name) != second.get(name)
    ]


def _outcome(record: RunRecord) -> dict[str, Any]:
    return {
        "outcome": outcome(record),
        "version": record.version,
        "reasons": list(record.reasons) or None,
        "kind": record.kind,
        "runner": record.runner,
        "host": record.host,
        "user": record.user,
        "failed nodes": [node.node_id for node in record.nodes if node.state == "failed"] or None,
    }


def _data(record: RunRecord) -> dict[str, Any]:
    return {
        "window": record.window,
        "spans seen": resolved_window(record),
        **{f"{split} spans": spans for split, spans in sorted(record.spans.items())},
        **{f"{split} rows": count for split, count in sorted(record.rows.items())},
        "fingerprint": record.data,
    }


def _code(record: RunRecord) -> dict[str, Any]:
    code: dict[str, Any] = {}
    for revision, of in ((record.code, ""), (record.platform, " of Flightdeck")):
        if revision is not None:
            code |= {
                f"commit{of}": revision.commit,
                f"branch{of}": revision.branch,
                f"uncommitted changes{of}": None if revision.dirty is None else revision.diff or revision.dirty,
            }
    return code


def _files(files: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {file["name"]: f"{file['bytes']:,} bytes, sha256 {file['sha256'][:12]}" for file in files}


def _directions(settings: tuple[Any, Any], one: RunRecord, other: RunRecord) -> dict[str, str]:
    """Which direction of which metric is better, where both runs' settings agree."""
    first, second = (
        {str(record.main_metric): record.main_better} | directions(document)
        for record, document in zip((one, other), settings, strict=True)
    )
    return {name: better for name, better in first.items() if better and second.get(name) == better}


_Rows = tuple[scores.ScoredRows, scores.ScoredRows]


def _same_rows(
    store: ml_metadata.MetadataStore, one: RunRecord, other: RunRecord
) -> tuple[_Rows | None, bool | None, str | None]:
    """The scores, if both runs have them of the same rows; whether the rows are the same; why no test is made."""
    unknown = "Whether the difference is more than chance cannot be told"
    missing, places = [], []
    for record in (one, other):
        try:
            places.append(scores.find(store, record))
        except scores.NoScoresError as reason:
            missing.append(str(reason))
    if missing:
        return None, None, f"{unknown}: {' and '.join(missing)}."
    predicted = [place.target["label"] for place in places if place.target]
    if len(set(predicted)) > 1:
        return None, None, f"{unknown}: the runs predict different things, {' and '.join(predicted)}."
    if places[0].fingerprint != places[1].fingerprint:
        rows = f"{places[0].rows:,} and {places[1].rows:,}"
        return None, False, (
            f"{unknown}: the runs were evaluated on different rows ({rows}); run one of them again on the window of "
            "the other."
        )  # fmt: skip
    try:
        first, second = map(scores.read, places)
    except scores.NoScoresError as reason:
        return None, True, f"{unknown}: {reason}."
    if first.measures != second.measures or not np.array_equal(first.labels, second.labels):
        return None, True, f"{unknown}: the labels of the same rows are not the same, or not of the same classes."
    if reason := first.measures.why_not(first.labels, first.predictions, second.predictions):
        said = f"The rows are the same, but cannot tell whether the difference is more than chance: {reason}."
        return None, True, said
    return (first, second), True, None


def _metrics(
    first: Mapping[str, float],
    second: Mapping[str, float],
    rows: _Rows | None,
    better: Mapping[str, str],
    seed: int,
    resamples: int,
) -> list[MetricChange]:
    names = list(dict.fromkeys((*first, *second)))
    tests: dict[str, SignificanceTest] = {}
    further: Mapping[str, str] = {}
    if rows is not None:
        further = rows[0].measures.further
        names = list(dict.fromkeys((*names, *further)))
        labels, measures, (one, other) = rows[0].labels, rows[0].measures, (scored.predictions for scored in rows)
        compared = significance.compare(labels, one, other, names, seed, resamples, measures)
        tests = {test.metric: test for test in compared}
    changes = []
    for name in names:
        test = tests.get(name)
        one, other = first.get(name), second.get(name)
        if name in further and test is not None and one is None and other is None:
            one, other = test.first, test.second
        if one != other:
            direction = further.get(name) or of_metric(better, name)
            changes.append(_change(name, one, other, test, None if test is None else test.p_value, direction))
    return changes


def _change(
    name: str,
    first: float | None,
    second: float | None,
    test: SignificanceTest | None,
    p_value: float | None,
    better: str | None,
) -> MetricChange:
    delta = None if first is None or second is None else second - first
    return MetricChange(name, first, second, delta, test, _verdict(test, p_value, better), p_value)


def _verdict(test: SignificanceTest | None, p_value: float | None, better: str | None) -> Verdict:
    if test is None or p_value is None:
        return "unknown"
    if p_value >= 1 - significance.LEVEL:
        return "within noise"
    rose = test.difference > 0
    if better not in ("higher", "lower"):
        return "higher" if rose else "lower"
    return "better" if rose == (better == "higher") else "worse"


def _slices(
    documents: tuple[Any, Any], metric: str, rows: _Rows | None, better: str | None, seed: int
) -> list[SliceChange]:
    one, other = ({part.slice: part for part in SLICES.validate_python(document or ())} for document in documents)
    # Slice -> metric, of the slices of each run.
    first, second = ({name: part.challenger.get(metric) for name, part in run.items()} for run in (one, other))
    changed = [name for name in one | other if first.get(name) != second.get(name)]
    tests: dict[str, SignificanceTest] = {}
    for name in changed:
        test = None if rows is None else _test_of_slice(rows, name, metric, seed)
        # A slice whose name was not understood as the Evaluator meant it would have other rows.
        if test is not None and {run[name].rows for run in (one, other) if name in run} == {test.rows}:
            tests[name] = test
    corrected = dict(zip(tests, significance.holm([test.p_value for test in tests.values()]), strict=True))
    changes = [
        SliceChange(
            name,
            _change(metric, first.get(name), second.get(name), tests.get(name), corrected.get(name), better),
            one[name].rows if name in one else None,
            other[name].rows if name in other else None,
        )
        for name in changed
    ]
    return sorted(changes, key=_importance)


def _importance(change: SliceChange) -> tuple[float, bool, float]:
    """What is beyond noise first, then the largest differences; slices of few rows, or of one run alone, last."""
    p_value, delta = change.metric.p_value, change.metric.delta
    few = min(change.first_rows or 0, change.second_rows or 0) < _FEW_ROWS
    return 1.0 if p_value is None else p_value, few, 1.0 if delta is None else -abs(delta)


def _test_of_slice(rows: _Rows, name: str, metric: str, seed: int) -> SignificanceTest | None:
    """The test on the rows of a slice; None if they are unknown or too few, or single rows cannot tell the metric."""
    one, other = rows
    chosen = one.slice(name)
    if chosen is None:
        return None
    labels, first, second = one.labels[chosen], one.predictions[chosen], other.predictions[chosen]
    if one.measures.why_not(labels, first, second):
        return None
    return significance.compare_one_of_many(labels, first, second, metric, one.measures, seed)

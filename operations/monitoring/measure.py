"""Measures a window: reads the requests, their answers and labels, and computes every kind of signal."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import ml_metadata
import numpy as np
import pandas as pd

import storage
from data import schema_diff
from operations import tasks
from operations.inference import model
from operations.inference.errors import LoadError
from operations.inference.payload_table import SECONDS, TIME
from operations.monitoring import data_signals, model_signals, rescoring
from operations.monitoring.reference import Reference, reference_of
from operations.monitoring.served import ID, SPAN, VERSION, Period, answered, arrived, callers, requests, served
from operations.monitoring.settings import Settings
from operations.monitoring.signals import Signal, Window
from operations.registry import Registry, Version

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from operations.inference.model import LoadedModel

_EVALUATION = "the model's evaluation split"


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A window that another one is compared with, and how many windows it lies back: 1 for the one before."""

    period: Period
    steps: int

    @property
    def in_words(self) -> str:
        """As the signals name it."""
        return f"the last good window ({self.period.name})"


class Monitor:
    """Measures windows of one workspace; caches what it has read of models and labels."""

    def __init__(self, settings: Settings, store: ml_metadata.MetadataStore) -> None:
        self._settings, self._store = settings, store
        self._monitoring, self._payloads = settings.monitoring, storage.at(settings.payloads)
        contract = settings.contract()
        self._task, self._label = tasks.task_of(contract.target), contract.label
        self._schema = schema_diff.curated(settings.use_case.schema_file, contract)
        self._references: dict[int, Reference] = {}
        self._earlier_model: LoadedModel | None = None

    def measure(self, period: Period, before: Sequence[Window] = (), faulty: Collection[str] = ()) -> list[Window]:
        """One window per version that answered in a period; none if there were no requests.

        Versions in shadow mode are judged by `operations.loop.canary` instead. Traffic, data and labels are compared
        with the windows `before`, but data and labels never with those whose names are in `faulty`.

        Raises:
            FlightdeckError: the log or a version's reference cannot be read.
        """
        rows, refused = self._rows(period), self._rows(period, refused=True)
        if not len(rows) and not len(refused):
            return []
        truth = None if self._arrived is None else self._arrived.reindex(rows[ID])
        spans = () if truth is None else tuple(sorted({int(span) for span in truth[SPAN].dropna() if span >= 0}))
        answered = rows_by_window(period, before)
        # Data signals are of all versions together: one that came in the middle of a window has seen only its evening,
        # or its weekend, and one that left has not lost its users.
        last = pd.concat([part.loc[:, [TIME, VERSION]] for part in (rows, refused)]).sort_values(TIME).iloc[-1]
        latest = self.reference(int(last[VERSION]))
        shared = [
            *self._data_signals(rows, refused, latest, truth, self._baseline(answered, faulty)),
            model_signals.traffic(len(rows), list(answered.values()), self._monitoring),
        ]
        windows = []
        # A version that has refused everything has a window, too.
        for version in sorted({*rows[VERSION], *refused[VERSION]}):
            chosen = (rows[VERSION] == version).to_numpy(dtype=bool)
            asked, theirs = rows.loc[chosen], None if truth is None else truth.loc[chosen]
            answer_signals = self._answer_signals(asked, self.reference(int(version)), theirs) if len(asked) else ()
            windows.append(
                Window(
                    name=period.name,
                    begin=period.begin,
                    end=period.end,
                    version=str(version),
                    rows=len(asked),
                    refused=int((refused[VERSION] == version).sum()),
                    labelled=0 if theirs is None else int(theirs[self._label].notna().sum()),
                    spans=spans,
                    signals=(*shared, *answer_signals),
                )
            )
        return windows

    def counted(self, period: Period) -> dict[str, tuple[int, int]]:
        """How many requests of a period `measure` would look at, and how many of them have a label, by version."""
        rows, refused = (self._rows(period, refused=which, columns=(VERSION, ID)) for which in (False, True))
        known = self._arrived if len(rows) else None
        labelled = rows[ID].isin([] if known is None else known.index.to_list())
        none = {str(version): (0, 0) for version in refused[VERSION].unique()}
        return none | {str(version): (len(has), int(has.sum())) for version, has in labelled.groupby(rows[VERSION])}

    def _rows(self, period: Period, refused: bool = False, columns: Collection[str] | None = None) -> pd.DataFrame:
        """The rows of a period that were answered, or those that were refused, but not in shadow mode."""
        rows = served(self._payloads, period, columns=columns, refused=refused)
        return rows.loc[~rows[VERSION].isin(list(self._canaries))]

    def close(self) -> None:
        """Releases the loaded model."""
        if self._earlier_model is not None:
            self._earlier_model.close()
            self._earlier_model = None

    def reference(self, version: int) -> Reference:
        """What a version is compared with; a FlightdeckError if that is not known."""
        if version not in self._references:
            self._references[version] = reference_of(self._settings, self._store, version)
        return self._references[version]

    @functools.cached_property
    def _canaries(self) -> set[int]:
        """The numbers of all versions that ever were canaries."""
        return Registry(self._settings).canary_numbers()

    @functools.cached_property
    def _arrived(self) -> pd.DataFrame | None:
        return arrived(storage.at(self._settings.spans), self._settings.contract())

    def _baseline(self, rows: Mapping[Period, int], faulty: Collection[str]) -> Baseline | None:
        """The last of the earlier windows that was large enough and not at fault."""
        fewest = self._monitoring.fewest_rows
        good = [period for period in rows if rows[period] >= fewest and period.name not in faulty]
        return Baseline(max(good), 1 + sum(period > max(good) for period in rows)) if good else None

    def _data_signals(
        self,
        asked: pd.DataFrame,
        refused: pd.DataFrame,
        reference: Reference,
        truth: pd.DataFrame | None,
        baseline: Baseline | None,
    ) -> Iterator[Signal]:
        """The signals of the requests of a window, whichever version answered them, and of their labels.

        Args:
            asked: the requests that were answered.
            refused: those that were refused. Only missing and unseen values are looked for in them: the caller was
                told, and no model was asked.
            reference: what the version that answered last is compared with.
            truth: the rows of the same ids as they have arrived, in the order of `asked`; null where they have not.
            baseline: the window that data and labels are compared with; None for the version's evaluation split.
        """
        monitoring, schema = self._monitoring, self._schema
        everything = pd.concat([part for part in (asked, refused) if len(part)], ignore_index=True)
        unseen = functools.partial(data_signals.unseen, schema=schema, settings=monitoring)
        trained = data_signals.missing_shares(reference.training)
        missing = functools.partial(data_signals.missing, schema=schema, settings=monitoring, trained=trained)
        yield from _with_callers(unseen, asked, refused, everything)
        if self._enough(everything):
            # Not of a few requests: what is missing comes and goes with the hours and the days.
            yield from _with_callers(missing, asked, refused, everything)
        if self._enough(asked):
            yield from self._drift(asked, reference, baseline)
        if truth is None:
            return
        has = truth[self._label].notna().to_numpy()
        if self._enough(asked.loc[has]):
            # The same rows by both paths.
            which = requests(asked.loc[has])
            by_service, by_span = (
                self._statistics(rows, which, reference) for rows in (asked.loc[has], truth.loc[has])
            )
            yield from data_signals.skew(by_service, by_span, schema)
        if has.sum() >= monitoring.fewest_labels:
            yield from self._label_drift(truth.loc[has], reference, baseline)

    def _answer_signals(
        self, asked: pd.DataFrame, reference: Reference, truth: pd.DataFrame | None
    ) -> Iterator[Signal]:
        """The signals of the answers of one version; arguments as of `_data_signals`."""
        monitoring = self._monitoring
        if SECONDS in asked and (latency := model_signals.latency(asked[SECONDS].to_numpy(dtype=float), monitoring)):
            yield latency
        task, metrics = self._task, reference.run.metrics
        answers = answered(asked, task)
        if answers is None:
            return
        if self._enough(asked) and reference.scored is not None:
            yield model_signals.prediction_drift(task, answers, reference.scored.predictions, monitoring)
        if truth is None:
            return
        has = truth[self._label].notna().to_numpy()
        labels, asked, answers = truth[self._label].to_numpy(dtype=float)[has], asked.loc[has], answers[has]
        sliced = slices(asked, monitoring.slices or self._settings.evaluation.gated_slices)
        yield from model_signals.quality(task, labels, answers, sliced, metrics, monitoring)
        by_model = {f"version {reference.version}": answers}
        served_version, earlier = self._rollback
        if earlier is not None and reference.version == served_version and len(labels):
            # Only asked of the served version: whether the one that a rollback would bring back had been better.
            try:
                theirs = self._answers_of(earlier, asked)
            except (rescoring.RescoringError, LoadError) as error:
                yield rescoring.unknown(task, earlier.number, str(error), monitoring)
            else:
                by_model[f"version {earlier.number}"] = theirs
                yield rescoring.compared(task, labels, answers, theirs, earlier.number, monitoring)
        promised = metrics.get(tasks.AUC.name)
        if promised is None and reference.scored is not None:
            separated = model_signals.separation(task, reference.scored.labels, reference.scored.predictions)
            promised = None if separated is None else separated[0]
        if signal := model_signals.label_reliability(task, labels, by_model, promised, monitoring):
            yield signal

    def _answers_of(self, earlier: Version, asked: pd.DataFrame) -> np.ndarray:
        """What the version that a rollback would bring back answers to the same requests.

        Raises:
            RescoringError: the log lacks what the model takes, or the model predicts something else.
            LoadError: it cannot be loaded.
        """
        if self._earlier_model is None:
            source = Registry(self._settings).source(earlier)
            self._earlier_model = model.load(source or earlier.folder, earlier.number)
        return rescoring.answers(self._task, self._earlier_model, asked)

    @functools.cached_property
    def _rollback(self) -> tuple[str, Version | None]:
        """The served version, and the one that a rollback would bring back."""
        registry = Registry(self._settings)
        served_version = registry.current()
        return str(served_version.number if served_version else ""), registry.previous()

    def _enough(self, asked: pd.DataFrame) -> bool:
        """Whether there are enough requests to compare their distribution."""
        if len(asked) < self._monitoring.fewest_rows:
            return False
        return len(np.unique(requests(asked))) >= self._monitoring.fewest_requests

    def _statistics(
        self, rows: pd.DataFrame, which: np.ndarray, reference: Reference
    ) -> statistics_pb2.DatasetFeatureStatisticsList:
        """Statistics for distances: of rows without the extremes of a few requests."""
        trained = data_signals.ranges(reference.training, reference.newest)
        trimmed = data_signals.without_extremes(rows, which, trained, self._monitoring)
        return data_signals.statistics(trimmed, self._schema)

    def _drift(self, asked: pd.DataFrame, reference: Reference, baseline: Baseline | None) -> Iterator[Signal]:
        """Against the baseline, or the model's evaluation split if there is none with enough requests."""
        now = self._statistics(asked, requests(asked), reference)
        before = served(self._payloads, baseline.period) if baseline else None
        if baseline is not None and before is not None and self._enough(before):
            than = self._statistics(before, requests(before), reference)
            yield from data_signals.drift(now, than, self._schema, baseline.in_words, baseline.steps)
        else:
            yield from data_signals.drift(now, reference.newest, self._schema, _EVALUATION)

    def _label_drift(self, truth: pd.DataFrame, reference: Reference, baseline: Baseline | None) -> Iterator[Signal]:
        labels, before, than, steps = truth.loc[:, [self._label]], None, _EVALUATION, 1
        if baseline is not None and self._arrived is not None:
            arrived = self._arrived.reindex(served(self._payloads, baseline.period)[ID]).dropna(subset=[self._label])
            if len(arrived) >= self._monitoring.fewest_labels:
                before, than, steps = arrived.loc[:, [self._label]], baseline.in_words, baseline.steps
        now = labels[self._label].to_numpy(dtype=float)
        if self._task.label_setting:
            threshold = steps * getattr(self._monitoring, self._task.label_setting)
            earlier = None if before is None else before[self._label].to_numpy(dtype=float)
            if earlier is None and reference.scored is not None:
                earlier = reference.scored.labels
            if earlier is not None:
                yield data_signals.number_drift(self._task, now, earlier, than, threshold)
            return
        statistics = reference.newest if before is None else data_signals.statistics(before, self._schema)
        summary = self._task.summary(now)
        yield from data_signals.label_drift(labels, statistics, self._schema, summary, than, steps)


def _with_callers(
    measured: Callable[[pd.DataFrame, np.ndarray], list[Signal]],
    asked: pd.DataFrame,
    refused: pd.DataFrame,
    everything: pd.DataFrame,
) -> Iterator[Signal]:
    """Signals of all rows; where refused ones are at fault, with the names of their callers."""
    if not len(refused):
        yield from measured(everything, requests(everything))
        return
    exceeded = {signal.subject for signal in measured(asked, requests(asked)) if signal.exceeded}
    for signal in measured(everything, requests(everything)):
        if who := callers(refused, signal.subject):
            meaning = f"{signal.meaning}; of rows that were refused for it, the callers are {who}"
            only = signal.exceeded and signal.subject not in exceeded
            signal = signal.model_copy(update={"meaning": meaning, "refused": only})
        yield signal


def rows_by_window(period: Period, before: Sequence[Window]) -> dict[Period, int]:
    """How many requests all versions together answered in each window before a period."""
    rows = collections.Counter[Period]()
    for window in before:
        if window.end <= period.begin:
            rows[Period(window.begin, window.end)] += window.rows
    return rows


def slices(rows: pd.DataFrame, crossed: Sequence[Sequence[str]]) -> Mapping[str, np.ndarray]:
    """The slices of rows, as in the evaluation: ``column=value, other=value`` -> which rows, bool [rows].

    Columns that the model does not take, and that the log so does not have, are skipped.
    """
    sliced = {}
    for columns in crossed:
        if not set(columns) <= set(rows.columns):
            continue
        for values, chosen in rows.groupby(list(columns), sort=True).indices.items():
            named = zip(columns, values if isinstance(values, tuple) else (values,), strict=True)
            belongs = np.zeros(len(rows), dtype=bool)
            belongs[chosen] = True
            sliced[", ".join(f"{column}={value}" for column, value in named)] = belongs
    return sliced

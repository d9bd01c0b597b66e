"""Measures a window: reads what was served, and lets every kind of signal say what it sees."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ml_metadata
import numpy as np

from operations.inference import model
from operations.inference.errors import LoadError
from operations.inference.payload_table import SECONDS, TIME
from operations.monitoring import data_signals, model_signals, rescoring
from operations.monitoring.reference import Reference, reference
from operations.monitoring.served import ID, SPAN, VERSION, Period, arrived, callers, requests, served
from operations.monitoring.settings import Settings
from operations.monitoring.signals import Signal, Window
from operations.registry import Registry, Version

if TYPE_CHECKING:
    import pandas as pd
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

    from operations.inference.model import LoadedModel

PROBABILITY = "probability"


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A window that another one is compared with, and how many windows it lies back: 1 for the one before."""

    period: Period
    steps: int


class Monitor:
    """Measures windows of one workspace; what it has read of models and labels it keeps."""

    def __init__(self, settings: Settings, reader: ml_metadata.MetadataStore) -> None:
        """Takes the settings and an open store."""
        import tensorflow_data_validation as tfdv

        self._settings, self._reader = settings, reader
        self._schema: schema_pb2.Schema = tfdv.load_schema_text(str(settings.use_case.schema_file))
        self._references: dict[int, Reference] = {}
        self._known: pd.DataFrame | None = None
        self._earlier_model: LoadedModel | None = None

    def measure(self, period: Period, before: Sequence[Window] = (), faulty: Collection[str] = ()) -> list[Window]:
        """What is seen of each version that answered in a period.

        Args:
            period: the window.
            before: earlier windows, for the traffic and for what data and labels are compared with.
            faulty: the names of those whose data are at fault; nothing is compared with them.

        Returns:
            One window per version; none if there were no requests. What a version on trial answers is not looked at
            here, but by `operations.loop.canary`.

        Raises:
            FlightdeckError: if the log or a version's reference cannot be read.
        """
        import pandas as pd

        rows, refused = self._rows(period), self._rows(period, refused=True)
        if not len(rows) and not len(refused):
            return []
        known = self._arrived()
        truth = None if known is None else known.reindex(rows[ID])
        spans = () if truth is None else tuple(sorted({int(each) for each in truth[SPAN].dropna() if each >= 0}))
        answered = rows_by_window(period, before)
        # Of all versions together: one that came in the middle of a window has seen only its evening, or its weekend,
        # and one that left has not lost its users.
        last = pd.concat([each.loc[:, [TIME, VERSION]] for each in (rows, refused)]).sort_values(TIME).iloc[-1]
        latest = self.reference(int(last[VERSION]))
        of_the_data = [
            *self._of_the_data(rows, refused, latest, truth, self._good(answered, faulty)),
            model_signals.traffic(len(rows), list(answered.values()), self._settings.monitoring),
        ]
        windows = []
        # A version that has refused everything is seen, too.
        for version in sorted({*rows[VERSION], *refused[VERSION]}):
            chosen = (rows[VERSION] == version).to_numpy(dtype=bool)
            asked, theirs = rows.loc[chosen], None if truth is None else truth.loc[chosen]
            of_the_answers = self._of_the_answers(asked, self.reference(int(version)), theirs) if len(asked) else ()
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
                    signals=(*of_the_data, *of_the_answers),
                )
            )
        return windows

    def counted(self, period: Period) -> dict[str, tuple[int, int]]:
        """How many requests of a period `measure` would look at, and how many of them have a label, by version."""
        rows, refused = (self._rows(period, refused=each, columns=(VERSION, ID)) for each in (False, True))
        known = self._arrived() if len(rows) else None
        labelled = rows[ID].isin([] if known is None else known.index.to_list())
        none = {str(version): (0, 0) for version in refused[VERSION].unique()}
        return none | {str(version): (len(each), int(each.sum())) for version, each in labelled.groupby(rows[VERSION])}

    def _rows(self, period: Period, refused: bool = False, columns: Collection[str] | None = None) -> pd.DataFrame:
        """The rows of a period that were answered, or those that were refused, but not by a version on trial."""
        rows = served(self._payloads, period, columns=columns, refused=refused)
        return rows.loc[~rows[VERSION].isin(list(self._on_trial))]

    def close(self) -> None:
        """Gives back what was loaded."""
        if self._earlier_model is not None:
            self._earlier_model.close()
            self._earlier_model = None

    def reference(self, version: int) -> Reference:
        """What a version is compared with.

        Raises:
            FlightdeckError: if that is not known.
        """
        if version not in self._references:
            self._references[version] = reference(self._settings, self._reader, version)
        return self._references[version]

    @property
    def _label(self) -> str:
        return self._settings.contract().label

    @functools.cached_property
    def _on_trial(self) -> set[int]:
        """The numbers of all versions that ever were canaries."""
        return Registry(self._settings).canary_numbers()

    def _good(self, rows: Mapping[Period, int], faulty: Collection[str]) -> Baseline | None:
        """The last of the windows before that was large enough and not at fault."""
        fewest = self._settings.monitoring.fewest_rows
        good = max((each for each in rows if rows[each] >= fewest and each.name not in faulty), default=None)
        return None if good is None else Baseline(good, 1 + sum(each > good for each in rows))

    def _arrived(self) -> pd.DataFrame | None:
        if self._known is None:
            self._known = arrived(Path(self._settings.spans), self._settings.contract())
        return self._known

    @property
    def _payloads(self) -> Path:
        return Path(self._settings.payloads)

    def _of_the_data(
        self,
        asked: pd.DataFrame,
        refused: pd.DataFrame,
        to: Reference,
        truth: pd.DataFrame | None,
        good: Baseline | None,
    ) -> Iterator[Signal]:
        """What is seen of the requests of a window, whoever answered them, and of their labels.

        Args:
            asked: the requests that were answered.
            refused: those that were refused. Only what is missing or not allowed is looked for in them: the service has
                told the caller, and a model was never asked.
            to: what the version that answered last is compared with.
            truth: the rows of the same ids as they have arrived, in the order of `asked`; null where they have not.
            good: the window that data and labels are compared with; None for the version's evaluation split.
        """
        monitoring = self._settings.monitoring
        schema, trained = self._schema, data_signals.missing_shares(to.training)
        every = _together(asked, refused)
        yield from _named(
            lambda rows: data_signals.unseen(rows, schema, monitoring, requests(rows)), asked, refused, every
        )
        if self._enough(every):
            # Not of a few requests: what is missing comes and goes with the hours and the days.
            yield from _named(
                lambda rows: data_signals.missing(rows, trained, schema, monitoring, requests(rows)),
                asked,
                refused,
                every,
            )
        if self._enough(asked):
            yield from self._drift(asked, to, good)
        if truth is None:
            return
        has = truth[self._label].notna().to_numpy()
        if self._enough(asked.loc[has]):
            # The same rows by both ways.
            which = requests(asked.loc[has])
            by_service, by_span = (self._statistics(rows, which, to) for rows in (asked.loc[has], truth.loc[has]))
            yield from data_signals.skew(by_service, by_span, self._schema)
        if has.sum() >= monitoring.fewest_labels:
            yield from self._label_drift(truth.loc[has], to, good)

    def _of_the_answers(self, asked: pd.DataFrame, to: Reference, truth: pd.DataFrame | None) -> Iterator[Signal]:
        """What is seen of the answers of one version, in the terms of `_of_the_data`."""
        monitoring = self._settings.monitoring
        if SECONDS in asked:
            took = model_signals.latency(asked[SECONDS].to_numpy(dtype=float), monitoring)
            yield from [took] if took is not None else []
        if self._enough(asked) and PROBABILITY in asked and to.predictions is not None:
            answers = asked[PROBABILITY].to_numpy(dtype=float)
            yield model_signals.prediction_drift(answers, to.predictions, monitoring)
        if truth is None:
            return
        has = truth[self._label].notna().to_numpy()
        labels, asked = truth[self._label].to_numpy(dtype=float)[has], asked.loc[has]
        answers = asked[PROBABILITY].to_numpy(dtype=float)
        yield from model_signals.quality(
            labels,
            answers,
            slices(asked, monitoring.slices or self._settings.evaluation.gated_slices),
            to.run.metrics,
            monitoring,
        )
        by_model = {f"version {to.version}": answers}
        served_version, earlier = self._going_back
        if earlier is not None and to.version == served_version and len(labels):
            # Only asked of the served version: whether the one that a rollback would bring back had been better.
            try:
                theirs = self._answers_of(earlier, asked)
            except (rescoring.RescoringError, LoadError) as error:
                yield rescoring.unknown(earlier.number, str(error), monitoring)
            else:
                by_model[f"version {earlier.number}"] = theirs
                yield rescoring.compared(labels, answers, theirs, earlier.number, monitoring)
        told = model_signals.label_reliability(self._label, labels, by_model, to.run.metrics, monitoring)
        yield from [told] if told is not None else []

    def _answers_of(self, earlier: Version, asked: pd.DataFrame) -> np.ndarray:
        """What the version that a rollback would bring back answers to the same requests, float64 [rows].

        Raises:
            RescoringError: the log does not have what it takes.
            LoadError: it cannot be loaded.
        """
        if self._earlier_model is None:
            source = Registry(self._settings).source(earlier)
            self._earlier_model = model.load(source or earlier.folder, earlier.number)
        return rescoring.answers(self._earlier_model, asked, PROBABILITY)

    @functools.cached_property
    def _going_back(self) -> tuple[str, Version | None]:
        """The served version, and the one that a rollback would bring back."""
        registry = Registry(self._settings)
        served_version = registry.current()
        return str(served_version.number if served_version else ""), registry.previous()

    def _enough(self, asked: pd.DataFrame) -> bool:
        """Whether rows are enough, and came with enough requests, to say something about distributions."""
        monitoring = self._settings.monitoring
        return len(asked) >= monitoring.fewest_rows and len(np.unique(requests(asked))) >= monitoring.fewest_requests

    def _statistics(
        self, rows: pd.DataFrame, which: np.ndarray, to: Reference
    ) -> statistics_pb2.DatasetFeatureStatisticsList:
        """What distances are measured by: statistics of rows, whatever a few requests had in them."""
        trained = data_signals.ranges(to.training, to.newest)
        kept = data_signals.without_extremes(rows, which, trained, self._settings.monitoring)
        return data_signals.statistics(kept, self._schema)

    def _drift(self, asked: pd.DataFrame, to: Reference, good: Baseline | None) -> Iterator[Signal]:
        """Against the last good window, or if there is none with enough requests the newest data that the model saw."""
        now = self._statistics(asked, requests(asked), to)
        before = None if good is None else served(self._payloads, good.period)
        if good is not None and before is not None and self._enough(before):
            than = self._statistics(before, requests(before), to)
            yield from data_signals.drift(now, than, self._schema, _in_words(good), good.steps)
        else:
            yield from data_signals.drift(now, to.newest, self._schema, "the model's evaluation split")

    def _label_drift(self, truth: pd.DataFrame, to: Reference, good: Baseline | None) -> Iterator[Signal]:
        """As `_drift`, of the labels that have arrived."""
        reference, than, steps = to.newest, "the model's evaluation split", 1
        if good is not None and (known := self._arrived()) is not None:
            before = known.reindex(served(self._payloads, good.period)[ID]).dropna(subset=[self._label])
            if len(before) >= self._settings.monitoring.fewest_labels:
                reference, than, steps = data_signals.statistics(before, self._schema), _in_words(good), good.steps
        yield from data_signals.label_drift(truth.loc[:, [self._label]], reference, self._schema, than, steps)


def _together(asked: pd.DataFrame, refused: pd.DataFrame) -> pd.DataFrame:
    """Every row that was asked about: those answered, and those refused."""
    import pandas as pd

    return pd.concat([each for each in (asked, refused) if len(each)], ignore_index=True)


def _named(
    measured: Callable[[pd.DataFrame], list[Signal]], asked: pd.DataFrame, refused: pd.DataFrame, every: pd.DataFrame
) -> Iterator[Signal]:
    """Signals of all rows; where refused ones are at fault, with the names of their callers.

    Args:
        measured: gives the signals of rows, one per column.
        asked: the rows that were answered.
        refused: those that were refused.
        every: both.
    """
    without = {each.subject for each in measured(asked) if each.exceeded} if len(refused) else set()
    for signal in measured(every):
        who = callers(refused, signal.subject) if len(refused) else ""
        if not who:
            yield signal
            continue
        meaning = f"{signal.meaning}; of rows that were refused for it, the callers are {who}"
        only = signal.exceeded and signal.subject not in without
        yield signal.model_copy(update={"meaning": meaning, "refused": only})


def rows_by_window(period: Period, before: Sequence[Window]) -> dict[Period, int]:
    """How many requests were answered in each window before a period, by all versions together."""
    rows: dict[Period, int] = {}
    for each in before:
        if each.end <= period.begin:
            which = Period(each.begin, each.end)
            rows[which] = rows.get(which, 0) + each.rows
    return rows


def _in_words(good: Baseline) -> str:
    return f"the last good window ({good.period.name})"


def slices(rows: pd.DataFrame, crossed: Sequence[Sequence[str]]) -> Mapping[str, np.ndarray]:
    """The slices of rows, as in the evaluation: ``column=value, other=value`` -> which rows, bool [rows].

    Columns that the model does not take, and the log so does not have, are passed over.
    """
    found = {}
    for columns in crossed:
        if not set(columns) <= set(rows.columns):
            continue
        for values, chosen in rows.groupby(list(columns), sort=True).indices.items():
            named = zip(columns, values if isinstance(values, tuple) else (values,), strict=True)
            belongs = rows.index.to_numpy() != rows.index.to_numpy()
            belongs[chosen] = True
            found[", ".join(f"{column}={value}" for column, value in named)] = belongs
    return found

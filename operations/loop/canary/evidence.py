"""What was seen of a canary beside the served one: from the payload log, the labels and the service."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from operations.inference.payload_table import SECONDS
from operations.loop.settings import Settings
from operations.monitoring.model_signals import p99
from operations.monitoring.policy import faulty
from operations.monitoring.quarantine import listed
from operations.monitoring.records import MonitoringRecords
from operations.monitoring.served import ID, SPAN, TIME, Period, arrived, period_of, served
from operations.monitoring.settings import WindowLength
from operations.registry import Version
from operations.serving import canary_record

PROBABILITY = "probability"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What was seen of a canary.

    Attributes:
        canary: its number.
        model_id: its Model artifact, if ML Metadata knows it.
        served: the version it is compared with; None if nothing is served, and then the rest is empty.
        until: when it was looked at, UTC; what was asked later is left out.
        paired: whether both answered the same requests (shadow), or each its own (split).
        answered: rows that it answered and that count. In the mode shadow: that both did.
        left_out: rows that do not count, because the data of their windows are at fault.
        requests: that it answered, of any number of rows, as the services counted them.
        failed: requests that it failed to answer, or not in time.
        failure: the last time, in words.
        dropped: rows that it was not given, because too many waited.
        does_not_load: why it cannot be loaded; empty if it can.
        canary_answers: its probabilities, float64 [answered]; empty if its answers are none.
        served_answers: those of the served version, float64 [answered], or if not paired [rows it answered meanwhile].
        labels: of the canary's rows whose label has arrived, 0 or 1, float64 [labelled].
        canary_labelled: its probabilities of them [labelled].
        served_labels: `labels` if paired; otherwise the labels of the served version's rows.
        served_labelled: the served version's probabilities of those.
        same_model: whether both have the same model.
        canary_p99_seconds: the slowest of its answers but for one in a hundred; None if that was not measured, as of
            shadows, which wait for company.
        served_p99_seconds: the same of the served version, of the same requests or the same time.
    """

    canary: int
    model_id: int | None
    served: int | None
    until: datetime
    paired: bool
    answered: int
    left_out: int
    requests: int
    failed: int
    failure: str
    dropped: int
    does_not_load: str
    canary_answers: np.ndarray
    served_answers: np.ndarray
    labels: np.ndarray
    canary_labelled: np.ndarray
    served_labels: np.ndarray
    served_labelled: np.ndarray
    same_model: bool = False
    canary_p99_seconds: float | None = None
    served_p99_seconds: float | None = None

    @property
    def labelled(self) -> int:
        """Rows of the canary whose label has arrived."""
        return len(self.labels)

    @property
    def not_numbers(self) -> int:
        """How many of its answers are not finite."""
        return int((~np.isfinite(self.canary_answers)).sum())

    @property
    def has_answers(self) -> bool:
        """Whether there are probabilities to compare."""
        return bool(len(self.canary_answers) and len(self.served_answers))


def gather(
    settings: Settings, store: Any, canary: Version, served_version: Version | None, until: datetime
) -> Evidence:
    """Reads what was seen of a canary.

    Rows of windows in which the monitor found a fault in data or labels do not count, nor do labels that came with a
    span in quarantine: they say nothing about a model.

    Args:
        settings: of the workspace.
        store: an open metadata store, for the decisions of the monitor.
        canary: the canary.
        served_version: the version that it is compared with; None if there is none.
        until: requests from then on are left out.

    Raises:
        FlightdeckError: the log or the labels cannot be read.
    """
    log, columns = Path(settings.payloads), (ID, TIME, SECONDS, PROBABILITY)
    record = canary_record.read(log, canary.number)
    paired = settings.canary.mode != "split"
    ours = served(log, Period(_BEGINNING, until), paired, canary.number, columns)
    beside = ours.iloc[:0]
    if len(ours) and served_version is not None:
        since = Period(ours[TIME].min().to_pydatetime(), until)
        beside = served(log, since, version=served_version.number, columns=columns)
    if not paired:
        # Of the time in which both were there: what it answered beside another version cannot be compared.
        ours = ours.loc[ours[TIME] >= beside[TIME].min()] if len(beside) else ours.iloc[:0]
    at_fault = faulty(MonitoringRecords(store, settings.use_case.name).decisions())
    length = settings.monitoring.window
    sound, beside = _sound(ours, at_fault, length), _sound(beside, at_fault, length)
    left_out = len(ours) - len(sound)
    if paired:
        sound, beside = _both(sound, beside)
    known = _known(settings) if len(sound) else None
    answers, theirs = _answers(sound), _answers(beside)
    labels, their_labels = _labels(known, sound, answers), _labels(known, beside, theirs)
    has, they_have = ~np.isnan(labels), ~np.isnan(their_labels)
    return Evidence(
        canary=canary.number,
        model_id=canary.model_id,
        served=served_version.number if served_version else None,
        until=until,
        paired=paired,
        answered=len(sound),
        left_out=left_out,
        requests=record.answered,
        failed=record.failed,
        failure=record.failure,
        dropped=record.dropped_rows,
        does_not_load=record.does_not_load,
        canary_answers=answers,
        served_answers=theirs,
        labels=labels[has],
        canary_labelled=answers[has],
        served_labels=their_labels[they_have],
        served_labelled=theirs[they_have],
        same_model=served_version is not None and served_version.model_id == canary.model_id,
        canary_p99_seconds=_p99(sound),
        served_p99_seconds=_p99(beside),
    )


def _p99(rows: pd.DataFrame) -> float | None:
    return p99(rows[SECONDS].to_numpy(dtype=float)) if SECONDS in rows.columns else None


def _sound(rows: pd.DataFrame, at_fault: Collection[str], length: WindowLength) -> pd.DataFrame:
    """The rows of windows whose data are not at fault."""
    if not at_fault or not len(rows):
        return rows
    names = {moment: period_of(moment.to_pydatetime(), length).name for moment in rows[TIME].dt.floor("min").unique()}
    return rows.loc[~rows[TIME].dt.floor("min").map(names).isin(list(at_fault))]


def _both(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that both answered, in one order. A row is an id at a time: a client may ask for the same twice."""
    one, other = (rows.drop_duplicates([ID, TIME]).set_index([ID, TIME]) for rows in (ours, theirs))
    shared = one.index.intersection(other.index).sort_values()
    return one.loc[shared].reset_index(), other.loc[shared].reset_index()


def _known(settings: Settings) -> pd.Series | None:
    """The labels that have arrived with spans that are not in quarantine, by prediction id."""
    known = arrived(Path(settings.spans), settings.contract())
    if known is None:
        return None
    bad = [each.span for each in listed(settings)]
    return known.loc[~known[SPAN].isin(bad), settings.contract().label]


def _labels(known: pd.Series | None, rows: pd.DataFrame, answers: np.ndarray) -> np.ndarray:
    """The label of each answer; nan where it has not arrived."""
    if known is None or not len(answers):
        return np.full(len(answers), np.nan)
    return known.reindex(rows[ID]).to_numpy(dtype=float, na_value=np.nan)


def _answers(rows: pd.DataFrame) -> np.ndarray:
    """The probabilities; none if the answers are not one number each."""
    if PROBABILITY not in rows.columns or not pd.api.types.is_numeric_dtype(rows[PROBABILITY]):
        return np.empty(0)
    return rows[PROBABILITY].to_numpy(dtype=float)

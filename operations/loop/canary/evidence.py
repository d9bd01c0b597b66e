"""What was seen of a canary beside the served one: from the payload log, the labels and the service."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

import storage
from operations import tasks
from operations.inference.payload_table import SECONDS
from operations.loop.settings import Settings
from operations.monitoring.model_signals import p99
from operations.monitoring.policy import faulty
from operations.monitoring.quarantine import listed
from operations.monitoring.records import MonitoringRecords
from operations.monitoring.served import ID, SPAN, TIME, Period, answered, arrived, period_of, served
from operations.monitoring.settings import WindowLength
from operations.registry import Version
from operations.serving import canary_record
from operations.serving.canary_record import CanaryRecord

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Answers:
    """The rows of one version that count.

    Attributes:
        rows: how many there are.
        predictions: float64 [rows] or [rows, classes]; empty if the answers are something else.
        labels: as of the task, nan where none has arrived, float64 [as many as predictions].
        p99_seconds: the 99th percentile of the latency; None if it was not measured, as of shadows.
    """

    rows: int
    predictions: np.ndarray
    labels: np.ndarray
    p99_seconds: float | None = None

    @property
    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """The labels that have arrived, float64 [labelled], and the predictions of their rows."""
        known = ~np.isnan(self.labels)
        return self.labels[known], self.predictions[known]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What was seen of a canary.

    Attributes:
        canary: the version.
        served: the version it is compared with; None if nothing is served, and then the rest is empty.
        until: when it was looked at, UTC; what was asked later is left out.
        paired: whether both answered the same requests (shadow), or each its own (split).
        by_canary: its rows that count. In the mode shadow: that both answered, in one order.
        by_served: those of the served version; if not paired, of the same time.
        left_out: rows that do not count, because the data of their windows are at fault.
        counts: of the services: requests that were answered, failed or were left out.
        task: what follows from what is predicted.
    """

    canary: Version
    served: Version | None
    until: datetime
    paired: bool
    by_canary: Answers
    by_served: Answers
    left_out: int
    counts: CanaryRecord
    task: tasks.Task


def gather(
    settings: Settings, store: Any, canary: Version, served_version: Version | None, until: datetime
) -> Evidence:
    """Reads what was seen of a canary.

    Requests from `until` on do not count, nor do rows of windows in which the monitor found a fault in data or labels,
    nor labels that came with a span in quarantine: they say nothing about a model.

    Raises:
        FlightdeckError: the log or the labels cannot be read.
    """
    task = tasks.task_of(settings.contract().target)
    log, columns = storage.at(settings.payloads), (ID, TIME, SECONDS, *task.names)
    counts = canary_record.read(log, canary.number)
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
    labels = _labels(settings) if len(sound) else None
    by_canary, by_served = (_answers(task, rows, labels) for rows in (sound, beside))
    return Evidence(canary, served_version, until, paired, by_canary, by_served, left_out, counts, task)


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


def _labels(settings: Settings) -> pd.Series | None:
    """The labels that have arrived with spans that are not in quarantine, by prediction id."""
    rows = arrived(storage.at(settings.spans), settings.contract())
    if rows is None:
        return None
    bad = [quarantined.span for quarantined in listed(settings)]
    return rows.loc[~rows[SPAN].isin(bad), settings.contract().label]


def _answers(task: tasks.Task, rows: pd.DataFrame, labels: pd.Series | None) -> Answers:
    latency = p99(rows[SECONDS].to_numpy(dtype=float)) if SECONDS in rows.columns else None
    predictions = answered(rows, task)
    if predictions is None:
        return Answers(len(rows), np.empty(0), np.empty(0), latency)
    none = pd.Series(dtype=float)
    of_rows = (none if labels is None else labels).reindex(rows[ID]).to_numpy(dtype=float, na_value=np.nan)
    return Answers(len(rows), predictions, of_rows, latency)

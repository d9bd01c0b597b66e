"""Signals of a window of served requests: numbers with a threshold, and what each means in words."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from operations.monitoring.settings import SignalKind


class Signal(BaseModel, frozen=True):
    """One number about a window.

    Attributes:
        name: the measure, such as ``jensen_shannon_divergence`` or ``auc``.
        subject: the column or the slice that it is about; empty for all of the window.
        value: None if it could not be measured; `meaning` then says why.
        low: lower end of the 95 % confidence interval, if it has one; `high` is the upper end.
        threshold: what it must not exceed, or fall below; None if nothing is asked of it.
        exceeded: whether it is on the wrong side of its threshold with all of its interval.
        meaning: one sentence for people: what the number says, and what its threshold is.
        refused: whether it is exceeded only because of rows that the service refused.
    """

    kind: SignalKind
    name: str
    subject: str = ""
    value: float | None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    exceeded: bool = False
    meaning: str
    refused: bool = False


class Window(BaseModel, frozen=True):
    """The signals of one served version in one window.

    Attributes:
        name: of the window, such as ``2013-07``; windows sort by `end`.
        rows: requests in the window, without those that were refused.
        refused: rows of requests that were refused, because some of them broke the contract of the version.
        labelled: how many of `rows` have their true label by now.
        spans: the spans that the labels of all its requests came with, whichever version answered.
        signals: of the data, which all versions of the window share, and of this version's answers.
    """

    name: str
    begin: datetime
    end: datetime
    version: str
    rows: int
    refused: int = 0
    labelled: int
    spans: tuple[int, ...] = ()
    signals: tuple[Signal, ...]

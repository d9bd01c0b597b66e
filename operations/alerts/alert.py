"""One thing that a person should know."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

Severity = Literal["info", "warning", "critical"]


class Alert(BaseModel, frozen=True):
    """One thing that a person should know.

    Attributes:
        key: what it is about. Alerts of one key within the settings' `alerts.quiet_seconds` are one.
        severity: how soon somebody should look.
        title: one line.
        text: one or a few sentences: what was seen, what is normal, what was done.
        source: what noticed it, such as ``serving`` or ``monitor``.
        facts: further values by name, as text.
        when: in UTC.
    """

    key: str = Field(min_length=1, max_length=200)
    severity: Severity
    title: str = Field(min_length=1, max_length=200)
    text: str = ""
    source: str
    facts: dict[str, str] = {}
    when: datetime = Field(default_factory=lambda: datetime.now(UTC))

"""One thing that a person should know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

from pipeline.settings import Settings

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


def alert_of(
    settings: Settings, source: str, key: str, severity: Severity, title: str, text: str, facts: Mapping[str, str]
) -> Alert:
    """An alert about a use case, with whose name key and title begin; both are cut to the length that they may have."""
    name = settings.use_case.name
    about, title = f"{name}/{key}"[:200], f"{name}: {title}"[:200]
    return Alert(key=about, severity=severity, title=title, text=text, source=source, facts=dict(facts))

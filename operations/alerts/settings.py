"""The settings of alerts."""

from __future__ import annotations

from pydantic import Field

from pipeline import settings
from pipeline.section import Section


class Email(Section):
    """A mail server. Its password comes from the environment, as FLIGHTDECK_ALERTS_SMTP_PASSWORD."""

    host: str = Field(description="Name or address of the server.")
    port: int = Field(default=587, ge=1, le=65535, description="Port of the server.")
    starttls: bool = Field(default=True, description="Encrypt the connection before the login.")
    username: str | None = Field(default=None, description="User name of the login. Default: no login.")
    sender: str = Field(description="Address to send from.")
    recipients: tuple[str, ...] = Field(min_length=1, description="Addresses to send to.")


class AlertSettings(Section):
    """Where alerts go. Every alert is also a line of `alerts/alerts.jsonl`."""

    webhook: bool = Field(
        default=False, description="Post Slack-compatible JSON to the address in FLIGHTDECK_ALERTS_WEBHOOK."
    )
    email: Email | None = Field(default=None, description="Send mail over SMTP.")
    quiet_seconds: float = Field(
        default=3600.0,
        ge=0,
        description="Deduplicates alerts about the same subject within this time, and counts them.",
    )
    timeout_seconds: float = Field(default=10.0, gt=0, description="Timeout of one attempt to deliver.")


class Settings(settings.Settings):
    """The settings of the pipeline, with those of alerts."""

    alerts: AlertSettings = AlertSettings()

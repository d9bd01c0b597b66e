"""The settings that alerts need."""

from __future__ import annotations

from pydantic import Field

from pipeline import settings
from pipeline.settings import Section


class Email(Section):
    """A mail server. Its password is in the environment, as FLIGHTDECK_ALERTS_SMTP_PASSWORD."""

    host: str = Field(description="Name or address of the server.")
    port: int = Field(default=587, ge=1, le=65535, description="Of the server.")
    starttls: bool = Field(default=True, description="Whether the connection is encrypted before anything is said.")
    username: str | None = Field(default=None, description="For the login. Default: none.")
    sender: str = Field(description="The address that mail is from.")
    recipients: tuple[str, ...] = Field(min_length=1, description="The addresses that it goes to.")


class AlertSettings(Section):
    """Who is told when something needs a person. Every alert is also a line of `alerts/alerts.jsonl`."""

    webhook: bool = Field(
        default=False, description="Post Slack-compatible JSON to the address in FLIGHTDECK_ALERTS_WEBHOOK."
    )
    email: Email | None = Field(default=None, description="Send mail over SMTP.")
    quiet_seconds: float = Field(
        default=3600.0, ge=0, description="Alerts about the same thing within this time are one, and counted."
    )
    timeout_seconds: float = Field(default=10.0, gt=0, description="Of one attempt to deliver.")


class Settings(settings.Settings):
    """The pipeline's settings, and those of alerts."""

    alerts: AlertSettings = AlertSettings()

"""Where alerts go: a structured log, a webhook, e-mail."""

from __future__ import annotations

import json
import smtplib
import ssl
import threading
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import storage
from errors import FlightdeckError
from operations.alerts.alert import Alert
from operations.alerts.outbox import Channel, DeliveryError
from operations.alerts.settings import AlertSettings, Email

WEBHOOK_VARIABLE = "FLIGHTDECK_ALERTS_WEBHOOK"
PASSWORD_VARIABLE = "FLIGHTDECK_ALERTS_SMTP_PASSWORD"
_MARK = {"info": ":information_source:", "warning": ":warning:", "critical": ":rotating_light:"}


class Log:
    """One JSON document per line, appended to a file, which is made if need be; in a bucket, a file for each."""

    name = "log"

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def send(self, alert_id: str, alert: Alert, repeated: int) -> None:
        """Appends a line."""
        line = json.dumps({"id": alert_id, **alert.model_dump(mode="json"), "repeated": repeated}, ensure_ascii=False)
        try:
            if storage.is_bucket(self._file):
                storage.write(self._file / f"{alert.when:%Y%m%dT%H%M%SZ}-{alert_id}.json", line + "\n")
                return
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise DeliveryError(f"{self._file} cannot be written to: {storage.why(error)}") from error


class Webhook:
    """JSON over HTTP, in the form that Slack, Mattermost and others show: https://api.slack.com/messaging/webhooks.

    The address is a secret: it is in no message and no error.
    """

    name = "webhook"

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self._address, self._timeout = address, timeout_seconds

    def send(self, alert_id: str, alert: Alert, repeated: int) -> None:
        """Posts once; an answer that is not of the 200s is a failure."""
        import requests

        try:
            answer = requests.post(
                self._address,
                json=slack_message(alert_id, alert, repeated),
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            # Its text holds the address.
            raise DeliveryError(f"the webhook did not answer ({type(error).__name__})") from None
        if not 200 <= answer.status_code < 300:
            raise DeliveryError(f"the webhook answered {answer.status_code}")


class Mail:
    """E-mail over SMTP. The timeout is for each step of the conversation."""

    name = "email"

    def __init__(self, settings: Email, password: str | None, timeout_seconds: float) -> None:
        self._settings, self._password, self._timeout = settings, password, timeout_seconds

    def send(self, alert_id: str, alert: Alert, repeated: int) -> None:
        """Sends one message; every attempt has the same Message-ID, so that a mailbox can tell a repetition."""
        try:
            with smtplib.SMTP(self._settings.host, self._settings.port, timeout=self._timeout) as server:
                if self._settings.starttls:
                    server.starttls(context=ssl.create_default_context())
                if self._settings.username:
                    server.login(self._settings.username, self._password or "")
                server.send_message(self._message(alert_id, alert, repeated))
        except (OSError, smtplib.SMTPException) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise DeliveryError(f"the mail server did not take it ({reason})") from error

    def _message(self, alert_id: str, alert: Alert, repeated: int) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = f"[{alert.severity}] {alert.title}".replace("\r", " ").replace("\n", " ")
        message["From"] = self._settings.sender
        message["To"] = ", ".join(self._settings.recipients)
        message["Date"] = format_datetime(alert.when)
        message["Message-ID"] = f"<{alert_id}@flightdeck>"
        message.set_content(plain_text(alert, repeated))
        return message


def slack_message(alert_id: str, alert: Alert, repeated: int) -> dict[str, Any]:
    """The JSON document of a webhook: `text` for notifications, `blocks` for the message itself."""
    facts = {**alert.facts, **({"raised again": f"{repeated} times"} if repeated else {})}
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": alert.title[:150]}},
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": f"{_MARK[alert.severity]} {_escaped(alert.text or alert.title)}"[:3000]},
        },
    ]
    if facts:
        # Slack takes ten fields at most.
        fields = [{"type": "mrkdwn", "text": f"*{_escaped(k)}*\n{_escaped(v)}"[:2000]} for k, v in facts.items()]
        blocks.append({"type": "section", "fields": fields[:10]})
    blocks.append(
        {
            "type": "context",
            "elements": [{"type": "mrkdwn", "text": f"{alert.source}, {alert.when:%Y-%m-%d %H:%M:%S} UTC, {alert_id}"}],
        }
    )
    return {"text": f"{alert.severity}: {_escaped(alert.title)}", "blocks": blocks}


def plain_text(alert: Alert, repeated: int) -> str:
    """An alert as the text of a letter."""
    lines = [alert.text or alert.title, ""]
    lines += [f"{name}: {value}" for name, value in alert.facts.items()]
    if repeated:
        lines.append(f"raised again: {repeated} times")
    lines += ["", f"{alert.source}, {alert.when:%Y-%m-%d %H:%M:%S} UTC"]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Slack's own marks, as text: https://api.slack.com/reference/surfaces/formatting#escaping."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def channels(settings: AlertSettings, log: Path, environment: Mapping[str, str]) -> dict[str, Channel]:
    """The channels of the settings, by name; the log is always one.

    The environment holds the secrets: the webhook's address and the mail server's password.

    Raises:
        FlightdeckError: a secret is missing, or not what it should be.
    """
    chosen: list[Channel] = [Log(log)]
    if settings.webhook:
        address = environment.get(WEBHOOK_VARIABLE, "")
        if not address.startswith(("http://", "https://")):
            raise FlightdeckError(f"alerts.webhook is on, so {WEBHOOK_VARIABLE} must hold its address, http(s)://...")
        chosen.append(Webhook(address, settings.timeout_seconds))
    if settings.email:
        password = environment.get(PASSWORD_VARIABLE)
        if settings.email.username and not password:
            raise FlightdeckError(f"alerts.email has a username, so {PASSWORD_VARIABLE} must hold its password.")
        chosen.append(Mail(settings.email, password, settings.timeout_seconds))
    return {channel.name: channel for channel in chosen}

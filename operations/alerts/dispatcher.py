"""Empties an outbox in the background of a process that goes on with its work."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import storage
from operations.alerts.alert import Alert
from operations.alerts.channels import channels
from operations.alerts.outbox import Channel, Outbox, Server
from operations.alerts.settings import Settings
from pipeline import store

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 5.0


def outbox_place(settings: Settings) -> Path | Server:
    """Where a workspace keeps its alerts: one in a bucket beside its metadata."""
    if storage.is_bucket(settings.workspace):
        return Server(store.connection(settings).mysql, settings.workspace)
    return Path(settings.workspace) / "alerts" / "outbox.sqlite"


def log_place(settings: Settings) -> Path:
    """The structured log of a workspace's alerts: a file; in a bucket a folder, as nothing is appended there."""
    return storage.at(settings.workspace) / "alerts" / "alerts.jsonl"


def open_outbox(settings: Settings) -> tuple[Outbox, dict[str, Channel]]:
    """The outbox of a workspace and the channels that its settings name; a FlightdeckError if one cannot be used."""
    by_name = channels(settings.alerts, log_place(settings), os.environ)
    return Outbox(outbox_place(settings), tuple(by_name), settings.alerts.quiet_seconds), by_name


class Dispatcher:
    """Takes alerts at once and delivers them from a thread; what it could not deliver waits for the next process."""

    def __init__(self, outbox: Outbox, channels: Mapping[str, Channel]) -> None:
        self._outbox, self._channels = outbox, dict(channels)
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def alert(self, alert: Alert) -> bool:
        """Keeps an alert on disk; false if one of its key is so recent that it is only counted."""
        if not self._outbox.put(alert):
            return False
        self._wake.set()
        return True

    def close(self, seconds: float = 10.0) -> None:
        """Delivers what can be delivered in so many seconds, and ends the thread."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()
            try:
                self._outbox.deliver(self._channels)
            except Exception:
                # Whatever happens to alerts must not end the service that raises them.
                _log.exception("alerts could not be delivered; they are kept")
            if self._stopped.is_set():
                return

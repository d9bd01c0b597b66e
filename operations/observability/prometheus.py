"""A Prometheus of one's own on this machine, to try rules and dashboards with; it keeps nothing."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
import yaml

from errors import FlightdeckError
from operations.observability import rules
from operations.observability.files import scraping
from pipeline.child_process import last_line
from pipeline.project import CHECKOUT

_UNPACKED = CHECKOUT / ".tools" / "prometheus" / "usr" / "bin"
_START_SECONDS = 60.0


class PrometheusError(FlightdeckError):
    """There is no Prometheus, or it does not do what it should; the text says what to do."""


def program(name: str) -> Path:
    """Where `prometheus` or `promtool` is: unpacked in this checkout, or installed; a PrometheusError if it is not."""
    found = shutil.which(name, path=str(_UNPACKED)) or shutil.which(name)
    if found is None:
        raise PrometheusError(
            f"There is no {name} on this machine: requirements/system-packages.sh prometheus fetches it."
        )
    return Path(found)


class Prometheus:
    """A server that scrapes; `url` is where a browser sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression returns now; raises requests.HTTPError if Prometheus refuses it."""
        return self._ask("query", query=expression)["result"]

    def firing(self) -> list[dict[str, Any]]:
        """The alerts that fire now, as Prometheus describes them: `labels`, `annotations`, `value`."""
        return [alert for alert in self._ask("alerts")["alerts"] if alert["state"] == "firing"]

    def wait_for(self, alert: str, seconds: float = 90.0) -> dict[str, Any] | None:
        """The first alert of a name that fires; None if none does within so many seconds."""

        def fires() -> dict[str, Any] | None:
            return next((firing for firing in self.firing() if firing["labels"]["alertname"] == alert), None)

        return _awaited(fires, seconds)

    def wait_for_series(self, expression: str, seconds: float = 90.0) -> list[dict[str, Any]]:
        """What an expression returns as soon as it is something; empty if it is nothing within so many seconds."""
        return _awaited(lambda: self.query(expression), seconds)

    def _ask(self, what: str, **parameters: str) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=30)
        answer.raise_for_status()
        return answer.json()["data"]


@contextlib.contextmanager
def running(folder: Path, service: str, exporter: str) -> Iterator[Prometheus]:
    """Runs one on this machine until the block ends, with our rules, which fire at once.

    It scrapes and judges every second: what takes minutes for operators shall take seconds for whoever looks on.

    Args:
        folder: for its settings, data and log; must exist.
        service: HOST:PORT to scrape.
        exporter: the same.

    Raises:
        PrometheusError: there is none, or it does not start.
    """
    command, port = program("prometheus"), _free_port()
    (folder / "rules.yml").write_text(yaml.safe_dump(rules.document(hold="0s")), encoding="utf-8")
    (folder / "prometheus.yml").write_text(
        yaml.safe_dump(scraping(service, exporter, "rules.yml", "1s")), encoding="utf-8"
    )
    arguments = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    arguments += [f"--web.listen-address=127.0.0.1:{port}"]
    log = folder / "prometheus.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [command, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        server = Prometheus(f"http://127.0.0.1:{port}")
        if (
            not _awaited(lambda: process.poll() is not None or _ready(server), _START_SECONDS)
            or process.poll() is not None
        ):
            raise PrometheusError(f"Prometheus does not start: {last_line(log)}")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(server: Prometheus) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{server.url}/-/ready", timeout=5).ok
    return False


def _awaited(condition: Callable[[], Any], seconds: float) -> Any:
    """The first true result of a condition; a false one if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return result


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]

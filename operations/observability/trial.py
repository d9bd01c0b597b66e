"""Tries the alert rules: a real service, a real Prometheus, and faults that it must notice.

The service answers with the newest pushed version, beside whatever is served otherwise: on a free port, and with a
payload log of its own, so that no monitor takes the injected faults for traffic.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

from errors import FlightdeckError
from operations.inference.example_row import FILE as EXAMPLE
from operations.loop.settings import Settings
from operations.observability import exporter, prometheus
from operations.registry import Registry
from operations.serving import child

_REQUESTS = 20
HOST = "127.0.0.1"


@dataclasses.dataclass(frozen=True)
class Trial:
    """What runs: a service, and the Prometheus that scrapes it.

    Attributes:
        predict: the address that answers requests.
        row: a real row of what the version was evaluated on.
        stop_service: ends it.
    """

    predict: str
    row: dict[str, Any]
    prometheus: prometheus.Prometheus
    stop_service: Callable[[], None]

    @property
    def faults(self) -> dict[str, Callable[[], str]]:
        """Each alert that must come -> what causes it, and says what it did; in this order."""
        return {"FlightdeckRefusedRows": self.break_contract, "FlightdeckServiceDown": self.end_service}

    def ask(self) -> None:
        """Asks for some predictions as clients should; raises requests.HTTPError if they are refused."""
        for _ in range(_REQUESTS):
            self._post(self.row).raise_for_status()

    def break_contract(self) -> str:
        """Sends rows without any value, which the contract must refuse.

        Raises:
            FlightdeckError: the service answers them: the version has no contract, or every column may be missing.
        """
        self.ask()
        # Only what comes after a first look is an increase.
        self.prometheus.wait_for_series("flightdeck_serving_contract_faults_total")
        for _ in range(_REQUESTS):
            if self._post({}).ok:
                raise FlightdeckError("The service answers a row without any value: there is nothing that it refuses.")
        return f"{_REQUESTS} requests were answered, and {_REQUESTS} without any value were refused."

    def end_service(self) -> str:
        """Ends the service."""
        self.stop_service()
        return "The service was ended."

    def _post(self, row: dict[str, Any]) -> requests.Response:
        return requests.post(
            self.predict, json={"instances": [row]}, headers={"X-Caller": "flightdeck observe"}, timeout=30
        )


@contextlib.contextmanager
def running(settings: Settings, note: Callable[[str], None] = lambda text: None) -> Iterator[Trial]:
    """Runs service, exporter and Prometheus until the block ends; `note` is told what takes time.

    Raises:
        RegistryError: nothing is pushed yet.
        FlightdeckError: the version carries no example of a row, or one of the three does not start.
    """
    version, name = Registry(settings).served(), settings.use_case.name
    prometheus.program("prometheus")
    try:
        row = json.loads((version.folder / EXAMPLE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FlightdeckError(
            f"Version {version.number} carries no example of a request, so it cannot be asked: push one that does "
            "with: flightdeck run"
        ) from None
    note("Starting the service, the exporter and Prometheus ...")
    serving = settings.serving.model_copy(update={"validation": "refuse"})
    canary = ["--canaries", settings.canaries, "--canary", settings.canary.model_dump_json()]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flightdeck-observe-")))
        told = stack.enter_context(exporter.serving(settings, HOST, 0))
        scraped = stack.enter_context(contextlib.ExitStack())
        service = scraped.enter_context(
            child.serving(name, Path(settings.pushed), serving, folder / "payloads", folder / "service.log", *canary)
        )
        server = stack.enter_context(
            prometheus.running(folder, service.url.removeprefix("http://"), told.removeprefix("http://"))
        )
        yield Trial(f"{service.url}/v1/models/{name}:predict", row, server, scraped.close)

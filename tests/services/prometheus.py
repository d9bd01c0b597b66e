"""Prometheus and promtool of the distribution, unpacked into .tools where the machine has none."""

from pathlib import Path

from operations.observability.prometheus import PrometheusError, program
from tests.services.daemon import install


def installed(name: str) -> Path:
    try:
        return program(name)
    except PrometheusError:
        install("prometheus")
        return program(name)

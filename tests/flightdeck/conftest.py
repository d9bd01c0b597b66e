"""A server that speaks the API of Kubeflow Pipelines, and the command that asks it."""

from collections.abc import Callable, Iterator

import pytest

from tests.operations.delivery import kfp_server
from tests.operations.delivery.kfp_server import KfpServer


@pytest.fixture
def server() -> Iterator[KfpServer]:
    """The server."""
    with kfp_server.serving() as running:
        yield running


@pytest.fixture
def kubeflow(server: KfpServer, flightdeck) -> Callable[..., tuple[int, str, str]]:
    """Runs `flightdeck kubeflow` against the server: exit code, standard output, standard error."""

    def run(*arguments: str, endpoint: str = server.endpoint) -> tuple[int, str, str]:
        return flightdeck("kubeflow", *arguments, "--set", f"kubeflow.endpoint={endpoint}")

    return run

"""Live servers of small real models, started once."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.operations.serving import small_model
from tests.operations.serving.live_server import LiveServer, Served, served, serving


@pytest.fixture
def anyio_backend() -> str:
    """Tests that are coroutines run on the event loop of the service."""
    return "asyncio"


@pytest.fixture(scope="session")
def shop(models: dict[float, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A live server of the small model with the bias 0, as version 7, under low limits."""
    folder = tmp_path_factory.mktemp("shop")
    small_model.push(models[0.0], folder / "versions", 7)
    limits = {"max_body_bytes": 200_000, "max_rows": 1000}
    with serving(folder / "versions", "shop", folder / "log", "--payloads", str(folder / "payloads"), **limits) as live:
        yield live


@pytest.fixture(scope="session")
def client(shop: LiveServer) -> Iterator[httpx.Client]:
    with shop.client() as client:
        yield client


@pytest.fixture(scope="session")
def multiclass(of_tasks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A live server of classes, with rules for two of its columns."""
    contract = {**small_model.contract_of("multiclass"), "columns": small_model.CONTRACT["columns"][1:]}
    with served(of_tasks["multiclass"], tmp_path_factory.mktemp("multiclass"), contract) as server:
        yield server


@pytest.fixture(scope="session")
def regression(of_tasks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A live server of a number."""
    contract = small_model.contract_of("regression", label_quantiles=small_model.QUANTILES)
    with served(of_tasks["regression"], tmp_path_factory.mktemp("regression"), contract) as server:
        yield server

"""A small world of real spans, made once for all workers; the command line; the order in which tests run."""

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.once import once

# What takes longest begins first, so that no worker is left with it at the end.
SLOWEST_FIRST = ("proof", "e2e", "component")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run modules, and the tests of each, in random order")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slowest kinds first, where several workers share them; or at random, the same for every worker."""
    if (seed := config.getoption("shuffle")) is not None:
        # Modules stay together: their fixtures are made once.
        drawn = random.Random(seed)
        items.sort(key=lambda item: item.nodeid)
        drawn.shuffle(items)
        modules = {item.path: drawn.random() for item in items}
        items.sort(key=lambda item: modules[item.path])
    elif config.getoption("numprocesses", None) or "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in SLOWEST_FIRST])


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All twelve real spans."""
    from data.prepare import prepare

    return once(tmp_path_factory, "prepared", prepare)


@pytest.fixture(scope="session")
def small_spans(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first three months, 1,500 flights each."""
    from data.prepare import slice_spans

    return once(
        tmp_path_factory,
        "small-spans",
        lambda folder: slice_spans(prepared, folder, rows_per_span=1500, spans=(1, 2, 3)),
    )


@pytest.fixture(scope="session")
def emulators() -> Iterator[None]:
    """Cloud Storage and S3, emulated."""
    from tests.services import buckets

    with buckets.cloud_storage() as gs, buckets.s3() as s3, buckets.variables(gs, s3):
        yield


@pytest.fixture(params=["folder", "gs", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An empty folder, then one in a bucket of either kind; a test that is not for all of them names its own."""
    import storage
    from tests.services import buckets

    if request.param == "folder":
        return tmp_path / "place"
    request.getfixturevalue("emulators")
    return storage.at(buckets.new_bucket(request.param)) / "place"


@pytest.fixture
def server() -> Iterator[Any]:
    """Speaks the API of Kubeflow Pipelines."""
    from tests.operations.delivery import kfp_server

    with kfp_server.serving() as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; Playwright's event loop must not run in modules that need one of their own."""
    from tests.services.browser import browser

    with browser() as running:
        yield running


@pytest.fixture
def flightdeck(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs `flightdeck` with some arguments: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        from flightdeck.__main__ import main

        monkeypatch.setattr(sys, "argv", ["flightdeck", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run

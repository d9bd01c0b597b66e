"""A cluster's parts on this machine: a Docker engine, the real image, MariaDB, and Kubeflow's own local executor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kubeflow.cluster import Cluster, new_database, open_cluster
from tests.services.up import up
from tests.small_run import SMALL


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Settings of a run that takes seconds."""
    return (*SMALL, "model.accelerator=cpu")


@pytest.fixture(scope="session")
def services() -> dict[str, Any]:
    """Docker, MariaDB and the image of this very checkout, started and built if need be. Fails without them."""
    return up(["docker", "mariadb", "image"])


@pytest.fixture(scope="session")
def spans(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months, 1,500 rows each."""
    from data.prepare import slice_spans

    folder = tmp_path_factory.mktemp("spans")
    slice_spans(prepared, folder, rows_per_span=1500, spans=(1, 2))
    return folder


@pytest.fixture(scope="session")
def database(services: dict[str, Any]) -> Callable[[], dict[str, str]]:
    """Makes the environment of a database that nobody has used: ``database()``."""
    return lambda: new_database(services)


@pytest.fixture(scope="session")
def cluster_in(
    services: dict[str, Any], spans: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Cluster]:
    """Makes a cluster with a workspace of its own: ``cluster_in()``."""
    return lambda: open_cluster(services, spans, tmp_path_factory.mktemp("cluster"))

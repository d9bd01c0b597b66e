"""A cluster's parts on this machine: a Docker engine, the real image, MariaDB, and Kubeflow's own local executor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kubeflow.cluster import Cluster, open_cluster
from tests.services.up import up


@pytest.fixture(scope="session")
def services() -> dict[str, Any]:
    """Docker, MariaDB and the image of this very checkout, started and built if need be. Fails without them."""
    return up(["docker", "mariadb", "image"])


@pytest.fixture(scope="session")
def database(services: dict[str, Any]) -> Callable[[], dict[str, str]]:
    """Makes the environment of a database that nobody has used: ``database()``."""
    return services["mysql"].new_database


@pytest.fixture(scope="session")
def cluster_in(
    services: dict[str, Any], small_spans: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Cluster]:
    """Makes a cluster with a workspace of its own: ``cluster_in()``."""
    return lambda: open_cluster(services, small_spans, tmp_path_factory.mktemp("cluster"))

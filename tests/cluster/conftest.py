"""A real Kubernetes: the one that KUBECONFIG names, or one that the tests start; with the overlays applied to it."""

import contextlib
import dataclasses
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.life import API_KEY, SETTINGS, secret
from tests.cluster.project import Project
from tests.deploy.kustomize import APPLIED, MANIFESTS, copy_of_manifests
from tests.services.daemon import ServiceError, one_at_a_time
from tests.services.kubernetes import images, own_cluster, programs
from tests.services.kubernetes.cluster import Cluster, wait_for

IMAGE_VARIABLE, SERVER_IMAGE_VARIABLE = "FLIGHTDECK_TEST_IMAGE", "FLIGHTDECK_TEST_SERVER_IMAGE"
NAMESPACES = ("kubeflow", "flightdeck")


@dataclasses.dataclass(frozen=True)
class Applied:
    """What kubectl said of each object when an overlay was applied, and when the same was applied once more."""

    first: list[str]
    second: list[str]
    generations: dict[str, int]  # disruption budget -> how many times its specification was set


@pytest.fixture(scope="session")
def kernel() -> dict[str, str]:
    """What a kubelet would set of this machine's kernel, before there is one."""
    return own_cluster.kernel_settings()


@pytest.fixture(scope="session")
def cluster(kernel: dict[str, str]) -> Iterator[Cluster]:
    if os.environ.get("KUBECONFIG"):
        yield _given()
        return
    with one_at_a_time(), ThreadPoolExecutor() as pool:
        programs.go_program()  # before two of them install packages of the system at once
        # The image waits for downloads, and the programs for the processors.
        built = pool.submit(programs.build)
        made = images.build(os.environ.get(IMAGE_VARIABLE), os.environ.get(SERVER_IMAGE_VARIABLE))
        built.result()
    database = Project(MANIFESTS).find("StatefulSet", "flightdeck-metadata")["spec"]["template"]["spec"]
    with own_cluster.running(made, database["containers"][0]["image"]) as cluster:
        _volume_for_the_database(cluster)
        yield cluster


def _given() -> Cluster:
    command = (shutil.which("kubectl") or str(programs.build() / "kubectl"),)
    image, server_image = (os.environ.get(name, "") for name in (IMAGE_VARIABLE, SERVER_IMAGE_VARIABLE))
    cluster = Cluster(command, ours=False, image=image, server_image=server_image)
    if not (image and server_image):
        raise ServiceError(
            f"Set {IMAGE_VARIABLE} and {SERVER_IMAGE_VARIABLE} to the images of Flightdeck that the nodes of your "
            "cluster have."
        )
    if cluster.has("namespace", "flightdeck"):
        raise ServiceError(
            "Your cluster has a namespace `flightdeck`, which the tests would remove: set KUBECONFIG to another."
        )
    return cluster


def _volume_for_the_database(cluster: Cluster) -> None:
    """Our node has no provisioner of volumes, and this is what one would make; 999 is the user of MariaDB's image."""
    folder = own_cluster.node_folder("database", owner=999)
    spec = {
        "capacity": {"storage": "2Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": str(folder), "type": "Directory"},
    }
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "database"}, "spec": spec})


@pytest.fixture(scope="session")
def image(cluster: Cluster) -> str:
    return cluster.image


@pytest.fixture(scope="session")
def project(cluster: Cluster, image: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The manifests with the settings that a person edits: the images, and in them how canaries are tried."""
    project = Project(copy_of_manifests(tmp_path_factory.mktemp("deploy")))
    project.set_images(image, cluster.server_image)
    project.set_settings(*SETTINGS)
    return project


@pytest.fixture(scope="session")
def kubeflow(cluster: Cluster) -> Iterator[None]:
    """The namespace of Kubeflow and the definitions of custom resources, as far as the cluster has them not."""
    made = []
    with contextlib.ExitStack() as stack:
        for file in programs.definitions():
            group, _, plural = file.stem.partition("_")  # as every generator of definitions names its files
            name = f"{plural}.{group}"
            if not cluster.has("customresourcedefinition", name):
                # Too long for the annotation in which kubectl's own way of applying keeps them.
                cluster.kubectl("create", f"--filename={file}")
                made.append(f"customresourcedefinition/{name}")
        if made:
            stack.callback(_delete_at_the_end, cluster, *made)
            # kubectl fails, instead of waiting, for one that has no condition yet.
            established = ("wait", "--for=condition=Established", "--timeout=10s", *made)
            if not wait_for(lambda: cluster.succeeds(*established), 60):
                raise ServiceError(f"The cluster does not establish {', '.join(made)}.")
        if not cluster.has("namespace", "kubeflow"):
            cluster.kubectl("create", "namespace", "kubeflow")
            stack.callback(_delete_at_the_end, cluster, "namespace/kubeflow")
        yield


@pytest.fixture(scope="session")
def applied(cluster: Cluster, project: Project, kubeflow: None) -> Iterator[dict[str, Applied]]:
    """Every overlay that the cluster can have, applied twice; the last one, `local`, stays."""
    results = {}
    *others, last = sorted(APPLIED, key=lambda overlay: overlay == "local")
    for overlay in others:
        results[overlay] = _apply_twice(cluster, project.overlay(overlay))
        _delete(cluster, f"--kustomize={project.overlay(overlay)}")
    with _secrets(cluster):
        results[last] = _apply_twice(cluster, project.overlay(last))
        yield results
        _delete_at_the_end(cluster, f"--kustomize={project.overlay(last)}")


@contextlib.contextmanager
def _secrets(cluster: Cluster) -> Iterator[None]:
    """What deploy/kubernetes/README.md has a person create by hand."""
    password = secrets.token_hex(24)
    metadata = {
        "host": "flightdeck-metadata.flightdeck.svc",
        "port": "3306",
        "database": "metadata",
        "username": "flightdeck",
        "password": password,
    }
    cluster.kubectl("create", "namespace", "flightdeck")
    cluster.apply(
        *(secret("flightdeck-metadata", namespace, metadata) for namespace in NAMESPACES),
        secret("flightdeck-metadata-root", "flightdeck", {"password": secrets.token_hex(24)}),
        secret("flightdeck-serving", "flightdeck", {"api-keys": f"{secrets.token_hex(24)}\n{API_KEY}\n"}),
    )
    yield
    _delete_at_the_end(cluster, "secret/flightdeck-metadata", "--namespace=kubeflow")


def _apply_twice(cluster: Cluster, overlay: Path) -> Applied:
    apply = ("apply", "--validate=strict", f"--kustomize={overlay}")
    first = cluster.kubectl(*apply).splitlines()
    second = cluster.kubectl(*apply).splitlines()
    budgets = cluster.get("poddisruptionbudgets", namespace="flightdeck")["items"]
    return Applied(first, second, {budget["metadata"]["name"]: budget["metadata"]["generation"] for budget in budgets})


def _delete_at_the_end(cluster: Cluster, *what: str) -> None:
    """Ours ends as a whole."""
    if not cluster.ours:
        _delete(cluster, *what)


def _delete(cluster: Cluster, *what: str) -> None:
    cluster.kubectl("delete", "--ignore-not-found", *what, seconds=600)

"""What the tests of a model's life on a cluster share: a pod with the workspace, and the API of Kubeflow Pipelines."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import forked
from tests.cluster.compiled_tasks import NAMESPACE, OF_A_PIPELINE, pod_spec, secret_variable
from tests.deploy.kustomize import ROOT
from tests.services.kubernetes.cluster import Cluster

KFP_SERVER = ROOT / "tests" / "operations" / "delivery" / "kfp_server.py"
# The server of the tests listens on this machine only; a Service reaches a pod by its address.
SERVE_KFP = """
from kfp_server import KfpServer


class OnEveryAddress(KfpServer):
    def server_bind(self):
        self.server_address = ("0.0.0.0", 8888)
        super().server_bind()


OnEveryAddress().serve_forever()
"""


@dataclasses.dataclass(frozen=True)
class Desk:
    """A pod of Flightdeck's image in which people would work: with the workspace and the metadata store."""

    cluster: Cluster
    name: str = "desk"

    def run(self, *command: str, seconds: float = 300) -> str:
        """Runs a command in the pod and returns what it prints; raises `KubectlError` if it fails."""
        return self.cluster.kubectl("exec", f"--namespace={NAMESPACE}", self.name, "--", *command, seconds=seconds)

    def flightdeck(self, *arguments: str) -> str:
        """Runs a command of Flightdeck's with the settings of the cluster."""
        return self.run("flightdeck", *arguments, "--config", "config/kubeflow.yaml")

    def copy(self, source: Path, destination: str) -> None:
        """Copies a file or folder of this machine into the pod."""
        self.cluster.kubectl("cp", "--no-preserve", str(source), f"{NAMESPACE}/{self.name}:{destination}")


def desk_pod(image: str) -> dict[str, Any]:
    """The manifest of a `Desk`."""
    keys = ("host", "port", "database", "username", "password")
    container = {
        "image": image,
        "command": ["sleep", "infinity"],
        "env": [secret_variable(f"FLIGHTDECK_METADATA_{key.upper()}", "flightdeck-metadata", key) for key in keys],
        "volumeMounts": [{"name": "workspace", "mountPath": "/workspace"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    workspace = {"name": "workspace", "persistentVolumeClaim": {"claimName": "flightdeck-workspace"}}
    return _pod(Desk.name, OF_A_PIPELINE, container, [workspace, {"name": "tmp", "emptyDir": {}}])


def kfp_server(image: str) -> list[dict[str, Any]]:
    """The API of Kubeflow Pipelines as the tests' own server speaks it, for a cluster that has no other."""
    labels = {"app": "ml-pipeline"}
    described = {"apiVersion": "v1", "metadata": {"name": "ml-pipeline", "namespace": NAMESPACE}}
    files = {"kfp_server.py": KFP_SERVER.read_text(), "serve.py": SERVE_KFP}
    container = {
        "image": image,
        "command": ["python", "/server/serve.py"],
        "volumeMounts": [{"name": "server", "mountPath": "/server"}],
        "readinessProbe": {"tcpSocket": {"port": 8888}},
    }
    return [
        {**described, "kind": "ConfigMap", "data": files},
        _pod("ml-pipeline", labels, container, [{"name": "server", "configMap": {"name": "ml-pipeline"}}]),
        {**described, "kind": "Service", "spec": {"selector": labels, "ports": [{"name": "http", "port": 8888}]}},
    ]


def _pod(
    name: str, labels: Mapping[str, str], container: Mapping[str, Any], volumes: list[dict[str, Any]]
) -> dict[str, Any]:
    spec = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {**pod_spec(container, volumes), **spec},
    }


def compile_pipeline(destination: Path, *overrides: str) -> Path:
    """``flightdeck kubeflow compile`` with the settings of the cluster, and others beside them."""
    done = forked.run(
        *("flightdeck", "kubeflow", "compile", "--config", "config/kubeflow.yaml", "--output", str(destination)),
        *(part for override in overrides for part in ("--set", override)),
    )
    assert done.returncode == 0, done.stderr
    return destination

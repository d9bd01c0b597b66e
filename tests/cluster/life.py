"""What the tests of a model's life on a cluster share: pods to work and to ask from, and Kubeflow Pipelines' API."""

import dataclasses
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests import forked
from tests.cluster.compiled_tasks import NAMESPACE, pod_spec
from tests.deploy.kustomize import MANIFESTS, ROOT
from tests.services.kubernetes.cluster import Cluster

API_KEY = secrets.token_hex(24)
# How canaries are tried where little is asked, and what would hurry nobody on a cluster of one's own.
SETTINGS = (
    "canary.mode=split",
    "canary.share=0.5",
    "canary.rows=40",
    "canary.prediction_distance=10",
    # Where others keep the processors busy, a late answer is no fault of the version.
    "canary.answer_seconds=20",
    "serving.payloads.rotate_seconds=5",
    "continuous.level=2",
    "monitoring.window=minute",
    # A few flights again and again are no month of them: nothing is found at fault but what a test asks for.
    "monitoring.fewest_rows=1000000",
    "monitoring.fewest_labels=1000000",
)
KFP_SERVER = ROOT / "tests" / "operations" / "delivery" / "kfp_server.py"
CLIENT = Path(__file__).with_name("client.py")
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
    """The manifest of a `Desk`, as people have it."""
    pod = yaml.safe_load((MANIFESTS / "desk.yaml").read_text())
    pod["spec"]["containers"][0]["image"] = image
    return pod


@dataclasses.dataclass(frozen=True)
class Client:
    """A pod in a namespace that the service lets in; tests/cluster/client.py says what it can do."""

    cluster: Cluster
    namespace: str = "clients"
    name: str = "client"

    def command(self, *arguments: str, key: str = API_KEY) -> list[str]:
        """How kubectl runs the program once more in the pod."""
        program = ("env", f"API_KEY={key}", "python", "/client/client.py", *arguments)
        return ["exec", f"--namespace={self.namespace}", self.name, "--", *program]

    def asks(self, *arguments: str, key: str = API_KEY) -> Any:
        """What the program says."""
        return json.loads(self.cluster.kubectl(*self.command(*arguments, key=key)))

    def printed(self) -> list[dict[str, Any]]:
        """What its own requests came to, until now."""
        lines = self.cluster.kubectl("logs", f"--namespace={self.namespace}", self.name).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def stop(self) -> None:
        """Ends its requests; what it printed stays."""
        self.cluster.kubectl("exec", f"--namespace={self.namespace}", self.name, "--", "touch", "/tmp/stop")


def client_pod(image: str, model: str, url: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The manifests of a `Client` that asks the service again and again for some rows, by their prediction ids."""
    where = {"namespace": Client.namespace}
    files = {"client.py": CLIENT.read_text(), "rows.json": json.dumps(rows)}
    container = {
        "name": "client",
        "image": image,
        "command": ["python", "/client/client.py", "load", url],
        "env": [{"name": "MODEL", "value": model}, {"name": "API_KEY", "value": API_KEY}],
        "volumeMounts": [{"name": "client", "mountPath": "/client"}],
    }
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False}
    volumes = [{"name": "client", "configMap": {"name": "client"}}]
    labels = {"flightdeck.dev/ingress": "true"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": Client.namespace, "labels": labels}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "client", **where}, "data": files},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": Client.name, **where},
            "spec": {**spec, "containers": [container], "volumes": volumes},
        },
    ]


def secret(name: str, namespace: str, values: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of a Secret."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(values)}


def round_of_the_loop(cluster: Cluster, name: str, *settings: str) -> list[dict[str, Any]]:
    """What happened in a round of the loop's CronJob, begun now, perhaps with more settings."""
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": NAMESPACE}}
    spec = cluster.get("cronjob", "flightdeck-watch", NAMESPACE)["spec"]["jobTemplate"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    container["args"] += [word for setting in settings for word in ("--set", setting)]
    cluster.apply({**job, "spec": spec})
    printed = cluster.job(name, NAMESPACE, seconds=600)
    cluster.kubectl("delete", "job", name, f"--namespace={NAMESPACE}")
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


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

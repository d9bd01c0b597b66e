"""The overlay with Flink has the cluster of docs/beam.md, and config/kubeflow-flink.yaml submits to it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flightdeck.settings import read_settings
from pipeline.beam_settings import Flink
from tests.deploy.kustomize import MANIFESTS, ROOT, build

pytestmark = pytest.mark.unit

Manifests = list[dict[str, Any]]


@pytest.fixture(scope="module")
def manifests() -> Manifests:
    return build(MANIFESTS / "overlays" / "gke-flink")


@pytest.fixture(scope="module")
def flink() -> Flink:
    section = read_settings(ROOT / "config" / "kubeflow-flink.yaml").beam.flink
    assert section is not None
    return section


def spec_of(manifests: Manifests, kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found["spec"]


def configuration(manifests: Manifests) -> dict[str, str]:
    return spec_of(manifests, "FlinkDeployment", "flightdeck-flink")["flinkConfiguration"]


def test_the_settings_differ_from_those_of_kubeflow_in_the_engine_alone():
    flink, plain = (
        read_settings(ROOT / "config" / name).model_dump(exclude={"beam"})
        for name in ("kubeflow-flink.yaml", "kubeflow.yaml")
    )
    assert flink == plain
    assert read_settings(ROOT / "config" / "kubeflow-flink.yaml").beam.engine == "flink"


def test_the_settings_name_the_service_of_the_job_server_and_its_ports(manifests, flink):
    (service,) = [
        each for each in manifests if each["kind"] == "Service" and each["metadata"]["name"] == "flink-job-server"
    ]
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    ports = {port["name"]: f"{host}:{port['port']}" for port in service["spec"]["ports"]}
    assert (flink.job_endpoint, flink.artifact_endpoint) == (ports["jobs"], ports["artifacts"])

    (server,) = spec_of(manifests, "Deployment", "flink-job-server")["template"]["spec"]["containers"]
    listens = {port["name"]: port["containerPort"] for port in server["ports"]}
    assert f"--job-port={listens['jobs']}" in server["args"]
    assert f"--artifact-port={listens['artifacts']}" in server["args"]


def test_the_job_server_submits_to_the_cluster(manifests):
    (cluster,) = [each["metadata"] for each in manifests if each["kind"] == "FlinkDeployment"]
    (server,) = spec_of(manifests, "Deployment", "flink-job-server")["template"]["spec"]["containers"]
    # Flink itself makes this Service, and calls it so.
    rest = f"{cluster['name']}-rest.{cluster['namespace']}.svc:{configuration(manifests)['rest.port']}"
    assert f"--flink-master={rest}" in server["args"]


def test_each_task_manager_has_one_pool_of_our_image_where_the_settings_look_for_it(manifests, flink):
    containers = spec_of(manifests, "FlinkDeployment", "flightdeck-flink")["taskManager"]["podTemplate"]["spec"][
        "containers"
    ]
    (pool,) = [each for each in containers if each["name"] != "flink-main-container"]
    settings = yaml.safe_load((MANIFESTS / "settings" / "gke" / "settings.yaml").read_text())["data"]
    assert pool["image"] == settings["image"]
    (port,) = pool["ports"]
    assert pool["args"] == [f"--port={port['containerPort']}"]
    assert flink.environment_type == "EXTERNAL"
    assert flink.environment_config == f"localhost:{port['containerPort']}"


def test_the_cluster_has_the_slots_that_a_job_takes(manifests, flink):
    given = configuration(manifests)
    assert int(given["slotmanager.number-of-slots.max"]) == flink.parallelism
    assert int(given["taskmanager.numberOfTaskSlots"]) == flink.workers_per_task_manager


def test_the_cluster_has_the_settings_of_the_documentation(manifests):
    text = (ROOT / "docs" / "beam.md").read_text()
    table = text.partition("A cluster needs:")[2].partition("In a pod,")[0]
    named = dict(re.findall(r"`([a-z-]+\.[a-z.-]+): ([\w-]+)`", table))
    (memory,) = re.findall(r"`taskmanager\.memory\.network\.min` and `\.max` of (\w+)", table)
    named |= {f"taskmanager.memory.network.{bound}": memory for bound in ("min", "max")}

    assert len(named) == 5
    assert named.items() <= configuration(manifests).items()


def test_nobody_reaches_the_pool_and_only_tasks_reach_the_job_server(manifests):
    policies = [each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"]
    opened = [
        (peer, port["port"])
        for policy in policies
        for rule in policy.get("ingress", [])
        for peer in rule["from"]
        for port in rule["ports"]
    ]
    assert 50000 not in [port for _, port in opened]
    tasks = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kubeflow"}},
        "podSelector": {"matchLabels": {"pipelines.kubeflow.org/v2_component": "true"}},
    }
    assert [peer for peer, port in opened if port in (8098, 8099)] == [tasks, tasks]


def test_task_managers_are_to_google_what_tasks_are(manifests):
    accounts = {
        each["metadata"]["name"]: each["metadata"].get("annotations")
        for each in manifests
        if each["kind"] == "ServiceAccount"
    }
    assert accounts["flightdeck-flink"] == accounts["flightdeck-runner"] is not None
    # The others of the component read no bucket.
    assert not accounts["flink-jobmanager"]
    assert not accounts["flink-job-server"]
    (chosen,) = spec_of(manifests, "NetworkPolicy", "allow-google-cloud")["podSelector"]["matchExpressions"]
    assert "flink-taskmanager" in chosen["values"]


def test_the_jobmanager_reaches_the_control_plane_of_terraform(manifests):
    blocks = [
        peer["ipBlock"]["cidr"]
        for rule in spec_of(manifests, "NetworkPolicy", "flink-jobmanager")["egress"]
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    terraform = (ROOT / "deploy" / "gke" / "cluster.tf").read_text()
    assert blocks == re.findall(r'master_ipv4_cidr_block\s*=\s*"(.*)"', terraform)


def test_the_quota_has_room_for_the_whole_cluster(manifests, flink):
    cluster = spec_of(manifests, "FlinkDeployment", "flightdeck-flink")
    (server,) = spec_of(manifests, "Deployment", "flink-job-server")["template"]["spec"]["containers"]
    containers = cluster["taskManager"]["podTemplate"]["spec"]["containers"]
    (pool,) = [each["resources"] for each in containers if each["name"] == "worker-pool"]
    before = next(
        each["spec"]["hard"]
        for each in yaml.safe_load_all((MANIFESTS / "base" / "quota.yaml").read_text())
        if each["kind"] == "ResourceQuota"
    )
    after = spec_of(manifests, "ResourceQuota", "flightdeck")["hard"]
    for part in ("requests", "limits"):
        for resource, amount in (("cpu", cores), ("memory", gibibytes)):
            # Flink requests what it is limited to, and writes `m` for MiB.
            jvm = [str(cluster[each]["resource"][resource]) for each in ("jobManager", "taskManager")]
            master, worker = (amount(f"{each}i".replace("mi", "Mi") if resource == "memory" else each) for each in jvm)
            needed = master + flink.parallelism * (worker + amount(pool[part][resource]))
            needed += amount(server["resources"][part][resource])
            assert amount(after[f"{part}.{resource}"]) >= amount(before[f"{part}.{resource}"]) + needed


def cores(amount: str) -> float:
    return float(amount[:-1]) / 1000 if amount.endswith("m") else float(amount)


def gibibytes(amount: str) -> float:
    return float(amount[:-2]) / {"Mi": 1024, "Gi": 1}[amount[-2:]]


@pytest.mark.parametrize(
    "file",
    [
        MANIFESTS / "settings" / "gke" / "settings.yaml",
        MANIFESTS / "README.md",
        ROOT / "deploy" / "gke" / "outputs.tf",
    ],
    ids=lambda path: path.name,
)
def test_the_job_server_that_is_named_is_of_our_version_of_beam(file: Path):
    (version,) = re.findall(r"^apache-beam==(\S+)", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE)
    named = re.findall(r"(?:1\.20-beam-|1\.20-job-server:)(\d+\.\d+\.\d+)", file.read_text())
    assert set(named) == {version}

"""The Kubernetes manifests: every overlay is built, held against the schema, and searched for what a schema misses."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy import manifest_checks as checks
from tests.deploy.kustomize import MANIFESTS, OVERLAYS, ROOT, build

pytestmark = pytest.mark.unit

Manifests = list[dict[str, Any]]

# The oldest release that Google still offered when this was written, and the newest that the validator knows.
KUBERNETES = ("1.32", kubernetes_validate.latest_version())
CUSTOM = {"InferenceService"}


@pytest.fixture(scope="module")
def built() -> dict[str, Manifests]:
    return {overlay: build(MANIFESTS / "overlays" / overlay) for overlay in OVERLAYS}


@pytest.fixture
def local(built: dict[str, Manifests]) -> Manifests:
    return copy.deepcopy(built["local"])


@pytest.fixture
def kserve(built: dict[str, Manifests]) -> Manifests:
    return copy.deepcopy(built["gke-kserve"])


def find(manifests: Manifests, kind: str, name: str = "") -> dict[str, Any]:
    return next(each for each in manifests if each["kind"] == kind and each["metadata"]["name"].startswith(name))


def container(manifests: Manifests, kind: str = "Deployment", name: str = "model-server") -> dict[str, Any]:
    return find(manifests, kind, name)["spec"]["template"]["spec"]["containers"][0]


def test_every_overlay_folder_is_tested() -> None:
    assert {path.name for path in (MANIFESTS / "overlays").iterdir()} == set(OVERLAYS)


def test_every_component_is_part_of_an_overlay() -> None:
    used = [
        name
        for overlay in OVERLAYS
        for name in yaml.safe_load((MANIFESTS / "overlays" / overlay / "kustomization.yaml").read_text())["components"]
    ]
    assert {Path(name).name for name in used} == {path.name for path in (MANIFESTS / "components").iterdir()}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", KUBERNETES)
def test_manifests_satisfy_the_strict_schema_of_kubernetes(
    built: dict[str, Manifests], overlay: str, version: str
) -> None:
    for manifest in built[overlay]:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_fails_the_schema(local: Manifests) -> None:
    container(local)["resoures"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="resoures"):
        kubernetes_validate.validate(find(local, "Deployment"), KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_overlays_pass_every_check(built: dict[str, Manifests], overlay: str, check: Callable) -> None:
    assert list(check(built[overlay])) == []


def _drop(manifests: Manifests, kind: str, name: str = "") -> None:
    manifests.remove(find(manifests, kind, name))


def _edit(kind: str, name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Manifests], Any]:
    return lambda manifests: change(find(manifests, kind, name))


def _server(change: Callable[[dict[str, Any]], Any]) -> Callable[[Manifests], Any]:
    return lambda manifests: change(container(manifests))


def _pod(change: Callable[[dict[str, Any]], Any]) -> Callable[[Manifests], Any]:
    return lambda manifests: change(find(manifests, "Deployment", "model-server")["spec"]["template"]["spec"])


def _job(manifests: Manifests) -> dict[str, Any]:
    return find(manifests, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]


FAULTS: dict[str, tuple[Callable, Callable[[Manifests], Any], str]] = {
    "no namespace": (checks.namespaces, _edit("Service", "model", lambda e: e["metadata"].pop("namespace")), "none"),
    "unknown namespace": (
        checks.namespaces,
        _edit("Service", "model", lambda e: e["metadata"].update(namespace="kube-flow")),
        "kube-flow",
    ),
    "same name twice": (checks.namespaces, lambda m: m.append(find(m, "Service", "model")), "twice"),
    "workload selects other pods": (
        checks.selectors,
        _edit("Deployment", "", lambda e: e["spec"]["selector"]["matchLabels"].update(a="b")),
        "its own pods",
    ),
    "service selects nothing": (
        checks.selectors,
        _edit("Service", "model-server", lambda e: e["spec"]["selector"].update(a="b")),
        "Service flightdeck/model-server selects no pod",
    ),
    "service without selector": (
        checks.selectors,
        _edit("Service", "model-server", lambda e: e["spec"].pop("selector")),
        "selects no pod",
    ),
    "policy for nobody": (
        checks.selectors,
        _edit("NetworkPolicy", "allow-requests", lambda e: e["spec"]["podSelector"]["matchLabels"].update(a="b")),
        "allow-requests selects no pod",
    ),
    "budget for nobody": (
        checks.selectors,
        _edit("PodDisruptionBudget", "", lambda e: e["spec"]["selector"]["matchLabels"].update(a="b")),
        "PodDisruptionBudget",
    ),
    "autoscaler of nothing": (
        checks.selectors,
        _edit("HorizontalPodAutoscaler", "", lambda e: e["spec"]["scaleTargetRef"].update(name="x")),
        "scales Deployment x",
    ),
    "service to a missing port": (
        checks.service_ports,
        _edit("Service", "model-server", lambda e: e["spec"]["ports"][1].update(targetPort=8502)),
        "port 8502",
    ),
    "probe of a missing port": (
        checks.probes,
        _server(lambda e: e["readinessProbe"]["httpGet"].update(port="web")),
        "asks port web",
    ),
    "no liveness probe": (checks.probes, _server(lambda e: e.pop("livenessProbe")), "no livenessProbe"),
    "overlapping schedule": (
        checks.schedules,
        _edit("CronJob", "", lambda e: e["spec"].update(concurrencyPolicy="Allow")),
        "twice at a time",
    ),
    "endless schedule": (
        checks.schedules,
        _edit("CronJob", "", lambda e: e["spec"]["jobTemplate"]["spec"].pop("activeDeadlineSeconds")),
        "for ever",
    ),
    "schedule of no time zone": (checks.schedules, _edit("CronJob", "", lambda e: e["spec"].pop("timeZone")), "clock"),
    "unknown secret of a job": (
        checks.references,
        lambda m: _job(m)["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"].update(name="x"),
        "CronJob kubeflow/flightdeck-watch names Secret x",
    ),
    "job as root": (checks.security, lambda m: _job(m)["securityContext"].pop("runAsNonRoot"), "run as root"),
    "unknown secret": (
        checks.references,
        lambda m: container(m, "StatefulSet", "")["env"][0]["valueFrom"]["secretKeyRef"].update(name="x"),
        "names Secret x",
    ),
    "unknown config map": (checks.references, lambda m: _drop(m, "ConfigMap", "model-server"), "names ConfigMap"),
    "unknown account": (checks.references, lambda m: _drop(m, "ServiceAccount", "flightdeck-server"), "ServiceAccount"),
    "unknown claim": (
        checks.references,
        _pod(lambda e: e["volumes"].append({"name": "x", "persistentVolumeClaim": {"claimName": "x"}})),
        "PersistentVolumeClaim x",
    ),
    "unknown secret for all variables": (
        checks.references,
        _server(lambda e: e.update(envFrom=[{"secretRef": {"name": "x"}}])),
        "names Secret x",
    ),
    "unknown volume": (checks.references, _server(lambda e: e["volumeMounts"][0].update(name="x")), "mounts volume x"),
    "unknown role": (checks.references, lambda m: _drop(m, "Role"), "names Role kubeflow/flightdeck-runner"),
    "unknown headless service": (checks.references, lambda m: _drop(m, "Service", "flightdeck"), "names Service"),
    "claim without its volume": (checks.references, lambda m: _drop(m, "PersistentVolume"), "names volume"),
    "claim of another mode": (
        checks.references,
        _edit("PersistentVolume", "flightdeck-workspace-r", lambda e: e["spec"].update(accessModes=["ReadWriteOnce"])),
        "do not fit",
    ),
    "volume with an empty class": (
        checks.completed,
        _edit("PersistentVolume", "", lambda e: e["spec"].update(storageClassName="")),
        "empty storage class",
    ),
    "strategy without a type": (
        checks.completed,
        _edit("Deployment", "", lambda e: e["spec"]["strategy"].pop("type")),
        "without its type",
    ),
    "short claim template": (
        checks.completed,
        _edit("StatefulSet", "", lambda e: e["spec"]["volumeClaimTemplates"][0].pop("status")),
        "server completes",
    ),
    "latest image": (checks.images, _server(lambda e: e.update(image="registry:5000/server:latest")), "no fixed tag"),
    "image without tag": (checks.images, _server(lambda e: e.update(image="registry:5000/server")), "no fixed tag"),
    "no memory limit": (checks.resources, _server(lambda e: e["resources"]["limits"].pop("memory")), "limits.memory"),
    "no requests": (checks.resources, _server(lambda e: e["resources"].pop("requests")), "requests.cpu"),
    "root by default": (checks.security, _pod(lambda e: e["securityContext"].pop("runAsNonRoot")), "run as root"),
    "root by number": (checks.security, _pod(lambda e: e["securityContext"].update(runAsUser=0)), "run as root"),
    "escalation": (
        checks.security,
        _server(lambda e: e["securityContext"].pop("allowPrivilegeEscalation")),
        "gain privileges",
    ),
    "capability": (
        checks.security,
        _server(lambda e: e["securityContext"]["capabilities"].update(add=["SYS_PTRACE"])),
        "capabilities",
    ),
    "writable image": (
        checks.security,
        _server(lambda e: e["securityContext"].pop("readOnlyRootFilesystem")),
        "write its own image",
    ),
    "no seccomp": (checks.security, _pod(lambda e: e["securityContext"].pop("seccompProfile")), "seccomp"),
    "token": (checks.security, _pod(lambda e: e.pop("automountServiceAccountToken")), "token"),
    "host folder": (
        checks.security,
        _pod(lambda e: e["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
        "folder of its node",
    ),
    "wildcard": (checks.least_privilege, _edit("Role", "", lambda e: e["rules"][0].update(verbs=["*"])), "wildcard"),
    "all secrets": (
        checks.least_privilege,
        _edit("Role", "", lambda e: next(r for r in e["rules"] if r["resources"] == ["secrets"]).pop("resourceNames")),
        "every Secret",
    ),
    "unknown secret in a role": (
        checks.least_privilege,
        _edit("Role", "", lambda e: [rule.update(resourceNames=["x"]) for rule in e["rules"]]),
        "names Secret",
    ),
    "cluster role": (
        checks.least_privilege,
        lambda m: m.append({"kind": "ClusterRole", "metadata": {"name": "x"}, "rules": []}),
        "beyond a namespace",
    ),
    "secret in the files": (
        checks.least_privilege,
        lambda m: m.append({"kind": "Secret", "metadata": {"name": "x", "namespace": "flightdeck"}}),
        "into the repository",
    ),
    "no default deny": (checks.network, lambda m: _drop(m, "NetworkPolicy", "default-deny"), "deny by default"),
    "default deny that allows": (
        checks.network,
        _edit("NetworkPolicy", "default-deny", lambda e: e["spec"].update(egress=[{}])),
        "deny by default",
    ),
    "open to everybody": (
        checks.network,
        _edit("NetworkPolicy", "allow-requests", lambda e: e["spec"]["ingress"][0].pop("from")),
        "without peers",
    ),
    "all ports": (
        checks.network,
        _edit("NetworkPolicy", "allow-requests", lambda e: e["spec"]["ingress"][0].pop("ports")),
        "without ports",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_checks_catch_a_planted_fault(local: Manifests, fault: str) -> None:
    check, plant, expected = FAULTS[fault]
    plant(local)
    assert re.search(re.escape(expected), "\n".join(check(local)))


KSERVE_FAULTS: dict[str, tuple[Callable, Callable[[dict[str, Any]], Any], str]] = {
    "old version": (checks.custom_resources, lambda e: e.update(apiVersion="serving.kserve.io/v1alpha1"), "v1beta1"),
    "unknown part": (checks.custom_resources, lambda e: e["spec"].update(predicter={}), "unknown parts"),
    "no format": (checks.custom_resources, lambda e: e["spec"]["predictor"]["model"].pop("modelFormat"), "modelFormat"),
    "no model": (checks.custom_resources, lambda e: e["spec"]["predictor"].pop("storageUris"), "exactly one"),
    "two models": (
        checks.custom_resources,
        lambda e: e["spec"]["predictor"]["model"].update(storageUri="gs://bucket/model"),
        "exactly one",
    ),
    "mounted under another number": (
        checks.custom_resources,
        lambda e: e["spec"]["predictor"]["storageUris"][0].update(mountPath="/mnt/models/2"),
        "folder of its number",
    ),
    "canary beyond 100": (
        checks.custom_resources,
        lambda e: e["spec"]["predictor"].update(canaryTrafficPercent=110),
        "between 0 and 100",
    ),
    "no limit": (checks.resources, lambda e: e["spec"]["predictor"]["model"]["resources"].pop("limits"), "limits.cpu"),
    "root": (checks.security, lambda e: e["spec"]["predictor"]["model"]["securityContext"].pop("runAsNonRoot"), "root"),
    "no account": (checks.references, lambda e: e["spec"]["predictor"].pop("serviceAccountName"), "Account default"),
    "policy selects it by label": (checks.selectors, lambda e: e["metadata"].pop("labels"), "selects no pod"),
}  # fmt: skip


@pytest.mark.parametrize("fault", KSERVE_FAULTS)
def test_checks_catch_a_planted_fault_in_an_inference_service(kserve: Manifests, fault: str) -> None:
    check, plant, expected = KSERVE_FAULTS[fault]
    plant(find(kserve, "InferenceService"))
    assert re.search(re.escape(expected), "\n".join(check(kserve)))


def test_an_overlay_that_cannot_be_built_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    with pytest.raises(RuntimeError, match=r"missing\.yaml"):
        build(tmp_path)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_model_is_named_by_the_settings_alone(tmp_path: Path, overlay: str) -> None:
    copied = tmp_path / "kubernetes"
    shutil.copytree(MANIFESTS, copied)
    for settings in copied.glob("settings/*/settings.yaml"):
        settings.write_text(
            settings.read_text().replace("late-flights", "taxi-tips").replace("example-project", "mine")
        )
    text = yaml.safe_dump_all(build(copied / "overlays" / overlay))
    assert "taxi-tips" in text
    assert "late-flights" not in text
    assert "example-project" not in text


@pytest.mark.parametrize(("place", "overlays"), [("local", ["local"]), ("gke", ["gke", "gke-kserve"])])
def test_every_setting_reaches_a_manifest(tmp_path: Path, place: str, overlays: list[str]) -> None:
    copied = tmp_path / "kubernetes"
    shutil.copytree(MANIFESTS, copied)
    path = copied / "settings" / place / "settings.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["data"] = {name: f"marker-of-{name.lower()}" for name in settings["data"]}
    path.write_text(yaml.safe_dump(settings))
    text = yaml.safe_dump_all([each for overlay in overlays for each in build(copied / "overlays" / overlay)])
    assert {marker for marker in settings["data"].values() if marker not in text} == set()
    assert "from-settings" not in text
    assert "flightdeck-settings" not in text


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_pipelines_and_the_loop_reach_the_metadata(built: dict[str, Manifests], overlay: str) -> None:
    open_to = [
        peer
        for policy in built[overlay]
        if policy["kind"] == "NetworkPolicy"
        for rule in policy["spec"].get("ingress", [])
        if {"protocol": "TCP", "port": 3306} in rule["ports"]
        for peer in rule["from"]
    ]
    watched = any(each["kind"] == "CronJob" for each in built[overlay])
    labels = [{"pipelines.kubeflow.org/v2_component": "true"}, {"app.kubernetes.io/component": "watch"}]
    assert open_to == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kubeflow"}},
            "podSelector": {"matchLabels": each},
        }
        for each in labels[: 1 + watched]
    ]


def test_the_loop_begins_with_settings_that_it_accepts(built: dict[str, Manifests]) -> None:
    from flightdeck.settings import read_settings

    loop = _job(built["local"])["containers"][0]
    words = loop["args"]
    given = dict(zip(words[::2], words[1::2], strict=True))
    overrides = [value for option, value in zip(words[::2], words[1::2], strict=True) if option == "--set"]
    settings = read_settings(ROOT / given["--config"], overrides)

    assert loop["command"] == ["flightdeck", "watch", "--once", "--json"]
    assert settings.continuous.runner == "kubeflow"
    assert settings.kubeflow is not None
    assert settings.kubeflow.image == loop["image"]
    assert settings.workspace == loop["volumeMounts"][0]["mountPath"]
    secrets = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in loop["env"]}
    needed = {secret["name"] for secret in secrets.values() if not secret.get("optional")}
    assert needed == {settings.kubeflow.metadata_secret}
    assert {name for name, secret in secrets.items() if secret.get("optional")} == {
        "FLIGHTDECK_ALERTS_WEBHOOK", "FLIGHTDECK_ALERTS_SMTP_PASSWORD", "FLIGHTDECK_KFP_TOKEN",
    }  # fmt: skip


def test_overlays_choose_one_way_of_serving_and_one_metadata_store(built: dict[str, Manifests]) -> None:
    kinds = {overlay: {each["kind"] for each in manifests} for overlay, manifests in built.items()}
    assert "InferenceService" in kinds["gke-kserve"]
    assert "HorizontalPodAutoscaler" not in kinds["gke-kserve"]
    for overlay in ("local", "gke"):
        assert "HorizontalPodAutoscaler" in kinds[overlay]
        assert "InferenceService" not in kinds[overlay]
    assert {overlay for overlay in OVERLAYS if "StatefulSet" in kinds[overlay]} == {"local"}


def test_everything_that_is_created_elsewhere_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "deploy-gke.md").read_text()
    readme = (MANIFESTS / "README.md").read_text()
    missing = {name for _, _, name in checks.EXTERNAL if name not in guide + readme}
    assert missing == set()

"""The Kubernetes manifests: every overlay is built, held against the schema, and searched for what a schema misses."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import storage
from tests.deploy import manifest_checks as checks
from tests.deploy.kustomize import MANIFESTS, OVERLAYS, ROOT, build, copy_of_manifests

pytestmark = pytest.mark.unit

Manifests = list[dict[str, Any]]

# The oldest release that Google still offered when this was written, and the newest that the validator knows.
KUBERNETES = ("1.32", kubernetes_validate.latest_version())
CUSTOM = {"InferenceService", "FlinkDeployment"}


GONE = object()
POD = "Deployment/model-server:spec.template.spec"
CONTAINER = f"{POD}.containers.0"
JOB = "CronJob/flightdeck-watch:spec.jobTemplate.spec.template.spec"
SERVICE = "Service/model-server:spec"
FLINK = "FlinkDeployment:spec"
TASK_MANAGER = f"{FLINK}.taskManager.podTemplate.spec"
OF_TASK_MANAGER = "NetworkPolicy/flink-taskmanager:spec"
FROM_REPORT = "allow-metadata-from-report:spec.ingress.0.from.0"
POLICY = "NetworkPolicy/allow-requests:spec"
SECRET = "valueFrom.secretKeyRef.name"
MODEL, URIS = "InferenceService:spec.predictor.model", "InferenceService:spec.predictor.storageUris"


@pytest.fixture(scope="module")
def built() -> dict[str, Manifests]:
    return {overlay: build(MANIFESTS / "overlays" / overlay) for overlay in OVERLAYS}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return copy_of_manifests(tmp_path)


def find(manifests: Manifests, kind: str, name: str = "") -> dict[str, Any]:
    return next(
        manifest for manifest in manifests if manifest["kind"] == kind and manifest["metadata"]["name"].startswith(name)
    )


def planted(manifests: Manifests, where: str, value: Any) -> Manifests:
    """A copy in which one field, such as ``Role/flightdeck-runner:rules.0.verbs``, has another value or is gone."""
    manifests = copy.deepcopy(manifests)
    manifest, path = where.split(":")
    *steps, field = [int(step) if step.isdigit() else step for step in path.split(".")]
    section: Any = find(manifests, *manifest.split("/"))
    for step in steps:
        section = section[step]
    if value is GONE:
        del section[field]
    else:
        section[field] = value
    return manifests


def test_every_overlay_folder_is_tested():
    assert {path.name for path in (MANIFESTS / "overlays").iterdir()} == set(OVERLAYS)


def test_every_component_is_part_of_an_overlay_or_is_an_option_that_is_tested():
    used = [name for overlay in OVERLAYS for name in kustomization(MANIFESTS / "overlays" / overlay)["components"]]
    options = {"scaling-by-requests", "serving-tfserving", "serving-tfserving-volume"}
    components = {path.name for path in (MANIFESTS / "components").iterdir()}
    assert {Path(name).name for name in used} | options == components | {"observability"}


def kustomization(overlay: Path) -> dict[str, Any]:
    return yaml.safe_load((overlay / "kustomization.yaml").read_text())


def chosen(copied: Path, overlay: str, add: list[str], without: Sequence[str] = ()) -> Manifests:
    """An overlay with more components, and without some."""
    folder = copied / "overlays" / overlay
    document = kustomization(folder)
    kept = [name for name in document["components"] if Path(name).name not in without]
    # What says where the workspace is comes after the components that it tells.
    last = next(index for index, name in enumerate(kept) if Path(name).name.startswith("workspace-"))
    document["components"] = [*kept[:last], *(f"../../components/{name}" for name in add), *kept[last:]]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))
    return build(folder)


def test_replicas_can_follow_the_requests_in_flight_that_the_service_exports(copied):
    from operations.metrics import REQUESTS_IN_FLIGHT

    manifests = chosen(copied, "local", ["scaling-by-requests"])

    cpu, requests = find(manifests, "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert cpu["resource"]["name"] == "cpu"
    assert requests["pods"]["metric"]["name"] == REQUESTS_IN_FLIGHT.name
    kubernetes_validate.validate(find(manifests, "HorizontalPodAutoscaler"), KUBERNETES[-1], strict=True)


def test_tensorflow_serving_can_serve_a_volume(copied):
    settings = copied / "settings" / "local" / "settings.yaml"
    document = yaml.safe_load(settings.read_text())
    document["data"] |= {"modelName": "late-flights", "modelFolder": "/workspace/models/late-flights"}
    settings.write_text(yaml.safe_dump(document))
    overlay = copied / "overlays" / "local"
    small = [part for part in yaml.safe_load_all((overlay / "small.yaml").read_text()) if part["kind"] != "Deployment"]
    (overlay / "small.yaml").write_text(yaml.safe_dump_all(small))

    manifests: list[Any] = chosen(
        copied, "local", ["serving-tfserving", "serving-tfserving-volume"], without=("serving-flightdeck", "watch")
    )

    for check in checks.ALL:
        assert list(check(manifests)) == [], check.__name__
    (server,) = find(manifests, "Deployment", "model-server")["spec"]["template"]["spec"]["containers"]
    assert {mount["mountPath"]: mount.get("readOnly") for mount in server["volumeMounts"]}["/workspace"] is True


def test_tensorflow_serving_can_serve_a_bucket_in_place_of_the_service_and_its_loop(copied):
    manifests: list[Any] = chosen(copied, "gke", ["serving-tfserving"], without=("serving-flightdeck", "watch"))

    for check in checks.ALL:
        assert list(check(manifests)) == [], check.__name__
    (server,) = find(manifests, "Deployment", "model-server")["spec"]["template"]["spec"]["containers"]
    assert "--model_base_path=gs://example-project-flightdeck/models/late-flights" in server["args"]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", KUBERNETES)
def test_manifests_satisfy_the_strict_schema_of_kubernetes(built, overlay, version):
    for manifest in built[overlay]:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)
    for pod in templates_of_flink(built[overlay]):
        kubernetes_validate.validate(pod, version, strict=True)


def templates_of_flink(manifests: Manifests) -> Manifests:
    """The templates in a FlinkDeployment, as pods, whose schema they have."""
    return [
        {"apiVersion": "v1", "kind": "Pod", **manifest["spec"][part]["podTemplate"]}
        for manifest in manifests
        if manifest["kind"] == "FlinkDeployment"
        for part in ("jobManager", "taskManager")
    ]


def test_a_misspelt_field_of_a_template_of_flink_fails_the_schema(built):
    _, pod = templates_of_flink(planted(built["gke-flink"], f"{TASK_MANAGER}.containers.1.resoures", {}))
    with pytest.raises(kubernetes_validate.ValidationError, match="resoures"):
        kubernetes_validate.validate(pod, KUBERNETES[-1], strict=True)


def test_a_misspelt_field_fails_the_schema(built):
    manifests = planted(built["local"], f"{CONTAINER}.resoures", {})
    with pytest.raises(kubernetes_validate.ValidationError, match="resoures"):
        kubernetes_validate.validate(find(manifests, "Deployment"), KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_overlays_pass_every_check(built, overlay, check):
    assert list(check(built[overlay])) == []


FAULTS: list[tuple[Callable, str, Any, str]] = [
    # A check, the field that is changed, its new value, and what the check says then.
    (checks.namespaces, "Service/model:metadata.namespace", GONE, "none"),
    (checks.namespaces, "Service/model:metadata.namespace", "kube-flow", "kube-flow"),
    (checks.selectors, "Deployment:spec.selector.matchLabels.a", "b", "its own pods"),
    (checks.selectors, f"{SERVICE}.selector.a", "b", "Service flightdeck/model-server selects no pod"),
    (checks.selectors, f"{SERVICE}.selector", GONE, "selects no pod"),
    (checks.selectors, f"{POLICY}.podSelector.matchLabels.a", "b", "allow-requests selects no pod"),
    (checks.selectors, "PodDisruptionBudget:spec.selector.matchLabels.a", "b", "PodDisruptionBudget"),
    (checks.references, "HorizontalPodAutoscaler:spec.scaleTargetRef.name", "x", "names Deployment flightdeck/x"),
    (checks.selectors, "InferenceService:metadata.labels", GONE, "selects no pod"),
    (checks.service_ports, f"{SERVICE}.ports.1.targetPort", 8502, "port 8502"),
    (checks.probes, f"{CONTAINER}.readinessProbe.httpGet.port", "web", "asks port web"),
    (checks.probes, f"{CONTAINER}.livenessProbe", GONE, "no livenessProbe"),
    (checks.endings, f"{POD}.terminationGracePeriodSeconds", GONE, "may be killed"),
    (checks.endings, f"{POD}.terminationGracePeriodSeconds", 59, "up to 60 s"),
    (checks.endings, f"{CONTAINER}.args", ["--set", "serving.drain_seconds=0"], "before every node has heard"),
    (checks.schedules, "CronJob/flightdeck-watch:spec.concurrencyPolicy", "Allow", "twice at a time"),
    (checks.schedules, "CronJob/flightdeck-watch:spec.jobTemplate.spec.activeDeadlineSeconds", GONE, "for ever"),
    (checks.schedules, "CronJob/flightdeck-watch:spec.timeZone", GONE, "clock"),
    (checks.references, f"{JOB}.containers.0.env.0.{SECRET}", "x", "watch names Secret kubeflow/x"),
    (checks.references, f"StatefulSet:spec.template.spec.containers.0.env.0.{SECRET}", "x", "Secret flightdeck/x"),
    (checks.references, f"{CONTAINER}.envFrom", [{"secretRef": {"name": "x"}}], "names Secret flightdeck/x"),
    (checks.references, f"{CONTAINER}.env.0.{SECRET}", "x", "names Secret flightdeck/x"),
    (checks.references, "ServiceAccount/flightdeck-server:metadata.name", "x", "ServiceAccount"),
    (checks.references, "InferenceService:spec.predictor.serviceAccountName", GONE, "Account flightdeck/default"),
    (checks.references, f"{POD}.volumes.1", {"persistentVolumeClaim": {"claimName": "x"}, "name": "x"}, "flightdeck/x"),
    (checks.references, f"{CONTAINER}.volumeMounts.0.name", "x", "mounts volume x"),
    (checks.references, "Role:metadata.name", "x", "names Role kubeflow/flightdeck-runner"),
    (checks.references, "Service/flightdeck:metadata.name", "x", "names Service"),
    (checks.references, "PersistentVolume:metadata.name", "x", "names PersistentVolume"),
    (checks.references, "PersistentVolume/flightdeck-workspace-r:spec.accessModes", ["ReadWriteOnce"], "do not fit"),
    (checks.images, f"{CONTAINER}.image", "registry:5000/server:latest", "no fixed tag"),
    (checks.images, f"{CONTAINER}.image", "registry:5000/server", "no fixed tag"),
    (checks.resources, f"{CONTAINER}.resources.limits.memory", GONE, "limits.memory"),
    (checks.resources, f"{CONTAINER}.resources.requests", GONE, "requests.cpu"),
    (checks.resources, f"{MODEL}.resources.limits", GONE, "limits.cpu"),
    (checks.security, f"{JOB}.securityContext.runAsNonRoot", GONE, "run as root"),
    (checks.security, f"{POD}.securityContext.runAsNonRoot", GONE, "run as root"),
    (checks.security, f"{POD}.securityContext.runAsUser", 0, "run as root"),
    (checks.security, f"{MODEL}.securityContext.runAsNonRoot", GONE, "run as root"),
    (checks.security, f"{CONTAINER}.securityContext.allowPrivilegeEscalation", GONE, "gain privileges"),
    (checks.security, f"{CONTAINER}.securityContext.capabilities.add", ["SYS_PTRACE"], "capabilities"),
    (checks.security, f"{CONTAINER}.securityContext.readOnlyRootFilesystem", GONE, "write its own image"),
    (checks.security, f"{POD}.securityContext.seccompProfile", GONE, "seccomp"),
    (checks.security, f"{POD}.automountServiceAccountToken", GONE, "token"),
    (checks.security, f"{POD}.volumes.1", {"name": "x", "hostPath": {"path": "/"}}, "folder of its node"),
    (checks.least_privilege, "Role:rules.0.verbs", ["*"], "wildcard"),
    (checks.least_privilege, "Role:rules.5.resourceNames", GONE, "every Secret"),
    (checks.least_privilege, "Role:rules.5.resourceNames", ["x"], "names Secret"),
    (checks.least_privilege, "Role:kind", "ClusterRole", "beyond a namespace"),
    (checks.least_privilege, "ConfigMap:kind", "Secret", "into the repository"),
    (checks.accounts, f"{POD}.serviceAccountName", "flightdeck-site", "has the account of"),
    (checks.accounts, f"{JOB}.serviceAccountName", "flightdeck-runner", "has a role that it does not need"),
    (checks.loop, f"{CONTAINER}.command", ["tensorflow_model_server"], "writes no payload log"),
    (checks.database, f"NetworkPolicy/{FROM_REPORT}.podSelector.matchLabels.a", "b", "flightdeck-report is told"),
    (checks.database, f"NetworkPolicy/{FROM_REPORT}.namespaceSelector", {"matchLabels": {}}, "report is told"),
    (checks.database, f"{JOB}.containers.0.env", [], "of which it knows nothing"),
    (checks.buckets, "ServiceAccount/flightdeck-site:metadata.annotations", GONE, "no identity at Google"),
    (checks.buckets, "NetworkPolicy/allow-google-cloud:spec.egress.0.ports.0.port", 8443, "port 443 of Google"),
    (checks.buckets, "NetworkPolicy/allow-google-cloud:spec.egress.1.ports.0.port", 81, "port 80 of Google"),
    (checks.network, "NetworkPolicy/default-deny:spec.policyTypes", ["Ingress"], "deny by default"),
    (checks.network, "NetworkPolicy/default-deny:spec.egress", [{}], "deny by default"),
    (checks.network, f"{POLICY}.ingress.0.from", GONE, "without peers"),
    (checks.network, f"{POLICY}.ingress.0.ports", GONE, "without ports"),
    (checks.custom_resources, "InferenceService:apiVersion", "serving.kserve.io/v1alpha1", "v1beta1"),
    (checks.custom_resources, "InferenceService:spec.predicter", {}, "unknown parts"),
    (checks.custom_resources, f"{MODEL}.modelFormat", GONE, "modelFormat"),
    (checks.custom_resources, "InferenceService:spec.predictor.storageUris", GONE, "exactly one"),
    (checks.custom_resources, f"{MODEL}.storageUri", "gs://bucket/model", "exactly one"),
    (checks.custom_resources, f"{URIS}.0.mountPath", "/mnt/models/2", "folder of its number"),
    (checks.custom_resources, "InferenceService:spec.predictor.canaryTrafficPercent", 110, "between 0 and 100"),
    (checks.flink, f"{FLINK}.podTemplate", {}, "unknown fields ['podTemplate']"),
    (checks.flink, f"{FLINK}.taskManager.resource.cpus", 1, "['cpus'] in spec.taskManager.resource"),
    (checks.flink, "FlinkDeployment:apiVersion", "flink.apache.org/v1", "v1beta1"),
    (checks.flink, f"{FLINK}.flinkVersion", "v2_0", "job server of Flink 1.20"),
    (checks.flink, f"{FLINK}.mode", "standalone", "keeps idle TaskManagers"),
    (checks.flink, f"{FLINK}.flinkConfiguration.taskmanager", 1, "must be text"),
    (checks.flink, f"{FLINK}.flinkConfiguration", {"kubernetes.namespace": "x"}, "refuses kubernetes.namespace"),
    (checks.flink, f"{FLINK}.flinkConfiguration", {}, "has None slots"),
    (checks.flink, f"{TASK_MANAGER}.containers.0.name", "main", "no flink-main-container"),
    (checks.images, f"{FLINK}.image", "flink", "jobManager: image flink has no fixed tag"),
    (checks.resources, f"{FLINK}.jobManager.resource.memory", GONE, "limits.memory"),
    (checks.resources, f"{TASK_MANAGER}.containers.1.resources", GONE, "worker-pool has no requests.cpu"),
    (checks.references, f"{FLINK}.serviceAccount", "flink", "names ServiceAccount flightdeck/flink"),
    (checks.accounts, f"{FLINK}.flinkConfiguration", {}, "taskManager has the account of"),
    (checks.security, f"{TASK_MANAGER}.automountServiceAccountToken", True, "mounts a token"),
    (checks.security, f"{FLINK}.jobManager.podTemplate.spec.automountServiceAccountToken", False, "lacks its token"),
    (checks.security, f"{TASK_MANAGER}.containers.1.securityContext.runAsUser", 0, "worker-pool may run as root"),
    (checks.connections, f"{OF_TASK_MANAGER}.ingress.0.ports.0.port", 1, "port 6122 to which no ingress answers"),
    (checks.connections, f"{OF_TASK_MANAGER}.egress.0.ports.0.port", 1, "port 6123 to which no egress answers"),
]


@pytest.mark.parametrize(("check", "where", "value", "expected"), FAULTS)
def test_checks_catch_a_planted_fault(built, check, where, value, expected):
    overlay = "gke-kserve" if where.startswith("InferenceService") else "gke" if check is checks.buckets else "local"
    overlay = "gke-flink" if where.startswith("FlinkDeployment") or where.startswith(OF_TASK_MANAGER) else overlay
    assert expected in "\n".join(check(planted(built[overlay], where, value)))


def test_an_overlay_that_cannot_be_built_is_an_error_that_says_why(tmp_path: Path):
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    with pytest.raises(RuntimeError, match=r"missing\.yaml"):
        build(tmp_path)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_model_is_named_by_the_settings_alone(copied: Path, overlay):
    for settings in copied.glob("settings/*/settings.yaml"):
        settings.write_text(
            settings.read_text().replace("late-flights", "taxi-tips").replace("example-project", "mine")
        )
    text = yaml.safe_dump_all(build(copied / "overlays" / overlay))
    # Our own service reads the name from the settings in its image, as the loop does.
    assert ("taxi-tips" in text) == (overlay != "local")
    assert "late-flights" not in text
    assert "example-project" not in text


@pytest.mark.parametrize(("place", "overlays"), [("local", ["local"]), ("gke", ["gke", "gke-kserve", "gke-flink"])])
def test_every_setting_reaches_a_manifest(copied, place, overlays):
    path = copied / "settings" / place / "settings.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["data"] = {name: f"marker-of-{name.lower()}" for name in settings["data"]}
    path.write_text(yaml.safe_dump(settings))
    text = yaml.safe_dump_all([manifest for overlay in overlays for manifest in build(copied / "overlays" / overlay)])
    assert {marker for marker in settings["data"].values() if marker not in text} == set()
    assert "from-settings" not in text
    assert "flightdeck-settings" not in text


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_reach_the_metadata_by_their_labels_and_from_one_namespace(built, overlay):
    open_to = [
        peer
        for policy in built[overlay]
        if policy["kind"] == "NetworkPolicy"
        for rule in policy["spec"].get("ingress", [])
        if {"protocol": "TCP", "port": 3306} in rule["ports"]
        for peer in rule["from"]
    ]
    assert {"pipelines.kubeflow.org/v2_component": "true"} in [peer["podSelector"]["matchLabels"] for peer in open_to]
    assert {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in open_to} == {"kubeflow"}


WITH_A_LOOP = ("local", "gke", "gke-flink")


@pytest.mark.parametrize("overlay", WITH_A_LOOP)
def test_the_loop_begins_with_settings_that_it_accepts(built, overlay):
    loop = container_of(built[overlay], "CronJob", "flightdeck-watch")
    settings = settings_of(loop)

    assert loop["command"] == ["flightdeck", "watch", "--once", "--json"]
    assert settings.continuous.runner == "kubeflow"
    assert settings.kubeflow is not None
    assert {settings.kubeflow.image} | {task.image for task in settings.kubeflow.resources.values() if task.image} == {
        loop["image"]
    }
    if overlay == "local":
        assert settings.kubeflow.claim is not None
        assert settings.workspace == loop["volumeMounts"][0]["mountPath"] == settings.kubeflow.claim.mount
    else:
        assert settings.workspace == "gs://example-project-flightdeck"
        assert settings.kubeflow.claim is None
    secrets = {variable["name"]: variable["valueFrom"]["secretKeyRef"] for variable in loop["env"]}
    needed = {secret["name"] for secret in secrets.values() if not secret.get("optional")}
    assert needed == {settings.kubeflow.metadata_secret}
    assert {name for name, secret in secrets.items() if secret.get("optional")} == {
        "FLIGHTDECK_ALERTS_WEBHOOK", "FLIGHTDECK_ALERTS_SMTP_PASSWORD", "FLIGHTDECK_KFP_TOKEN",
    }  # fmt: skip


def container_of(manifests: Manifests, kind: str, name: str) -> dict[str, Any]:
    """The container of a workload that has one."""
    spec = find(manifests, kind, name)["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if kind == "CronJob" else spec["template"]
    (container,) = template["spec"]["containers"]
    return container


def settings_of(container: dict[str, Any]):
    """What a command of ours in a container reads, from the image's settings and its own."""
    from flightdeck.settings import read_settings

    options = list(zip(container["args"][::2], container["args"][1::2], strict=True))
    return read_settings(ROOT / dict(options)["--config"], [value for option, value in options if option == "--set"])


def options_of(container: dict[str, Any]) -> dict[str, str]:
    """The options of a command of ours in a container; of one that is repeated the last."""
    return dict(zip(container["args"][::2], container["args"][1::2], strict=True))


@pytest.mark.parametrize("overlay", WITH_A_LOOP)
def test_the_service_serves_what_the_loop_watches(built, overlay):
    server = container_of(built[overlay], "Deployment", "model-server")
    served, watched = settings_of(server), settings_of(container_of(built[overlay], "CronJob", "flightdeck-watch"))

    assert server["command"] == ["flightdeck", "serve", "--json"]
    for part in ("use_case", "pushed", "canaries", "payloads", "canary"):
        assert getattr(served, part) == getattr(watched, part)
    assert served.serving.wait_for_version
    # What it does not send is kept where the pod may write, and needs no database.
    assert not storage.is_bucket(served.workspace)
    assert not any("METADATA" in variable["name"] for variable in server["env"])


def test_in_a_bucket_the_service_pays_for_few_looks_and_others_read_what_the_loop_writes(built):
    assert settings_of(container_of(built["gke"], "Deployment", "model-server")).serving.poll_seconds >= 5
    workspaces = {
        settings_of(container_of(built["gke"], kind, name)).workspace
        for kind, name in (
            ("CronJob", "flightdeck-watch"), ("CronJob", "flightdeck-report"), ("Deployment", "flightdeck-exporter"),
        )
    }  # fmt: skip
    assert workspaces == {"gs://example-project-flightdeck"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_site_serves_what_the_report_writes_and_has_nothing_else(built, overlay):
    report = container_of(built[overlay], "CronJob", "flightdeck-report")
    site = container_of(built[overlay], "Deployment", "report-site")
    written, served = options_of(report)["--output"], options_of(site)["--folder"]
    mounts = {mount["name"]: mount for mount in site["volumeMounts"]}

    assert report["command"] == ["flightdeck", "report", "--json"]
    assert site["command"] == ["flightdeck", "report", "serve"]
    assert "env" not in site
    if overlay == "local":
        assert mounts.keys() == {"shared", "tmp"}
        assert mounts["shared"]["readOnly"] is True
        assert served.replace(mounts["shared"]["mountPath"], f"/workspace/{mounts['shared']['subPath']}") == written
    else:
        assert mounts.keys() == {"tmp"}
        assert served == written == "gs://example-project-flightdeck/reports/latest"


def test_the_service_has_the_folders_of_the_claim_that_it_must(built):
    server = container_of(built["local"], "Deployment", "model-server")
    served = settings_of(server)
    watched = settings_of(container_of(built["local"], "CronJob", "flightdeck-watch"))
    shared = {mount["mountPath"]: mount for mount in server["volumeMounts"] if mount["name"] == "shared"}

    for folder in (served.pushed, served.canaries):
        assert Path(folder).is_relative_to("/workspace/models")
    assert served.payloads == "/workspace/payloads"
    assert {path: mount.get("readOnly", False) for path, mount in shared.items()} == {
        "/workspace/models": True,
        "/workspace/payloads": False,
    }
    # What the claim's folders are called is what the loop, which has the whole workspace, calls them.
    assert {f"{watched.workspace}/{mount['subPath']}" for mount in shared.values()} == set(shared)


def test_a_project_of_its_own_names_its_images_and_folders_and_nothing_else(copied):
    file = copied / "settings" / "local" / "settings.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["data"] |= {
        **{"image": "taxi:1", "serverImage": "taxi:1-serve"},
        **{"workspace": "/workspace/taxi", "models": "taxi/models", "payloads": "taxi/payloads"},
        "reports": "taxi/reports",
    }
    file.write_text(yaml.safe_dump(settings))

    manifests = build(copied / "overlays" / "local")

    server = container_of(manifests, "Deployment", "model-server")
    report = container_of(manifests, "CronJob", "flightdeck-report")
    assert options_of(report)["--output"] == "/workspace/taxi/reports/latest"
    assert container_of(manifests, "Deployment", "report-site")["volumeMounts"][0]["subPath"] == "taxi/reports"
    mounts = {mount["mountPath"]: (mount["name"], mount.get("subPath")) for mount in server["volumeMounts"]}
    assert server["image"] == "taxi:1-serve"
    assert mounts == {
        "/workspace/taxi/models": ("shared", "taxi/models"),
        "/workspace/taxi/payloads": ("shared", "taxi/payloads"),
        "/workspace/taxi": ("workspace", None),
        "/tmp": ("tmp", None),
    }


def test_probes_ask_for_what_the_service_answers(built):
    from operations.serving.rest import ROUTES

    (server,) = find(built["local"], "Deployment", "model-server")["spec"]["template"]["spec"]["containers"]
    asked = {name: server[name]["httpGet"]["path"] for name in server if name.endswith("Probe")}
    assert set(asked.values()) <= {path for method, path, _, _ in ROUTES if method == "GET"}
    assert asked["readinessProbe"] == "/v2/health/ready"
    # A version that cannot be loaded is not cured by starting again.
    assert asked["livenessProbe"] == asked["startupProbe"] == "/v2/health/live"


def test_clients_and_prometheus_are_let_in_by_labels_of_their_namespaces(built):
    def let_in(policy: str) -> tuple[dict[str, str], set[int]]:
        (rule,) = find(built["local"], "NetworkPolicy", policy)["spec"]["ingress"]
        ((peer,), ports) = rule["from"], rule["ports"]
        return peer["namespaceSelector"]["matchLabels"], {port["port"] for port in ports}

    assert let_in("allow-requests") == ({"flightdeck.dev/ingress": "true"}, {8500, 8501})
    assert let_in("allow-metrics") == ({"flightdeck.dev/metrics": "true"}, {8501})


def test_overlays_choose_one_way_of_serving_and_one_metadata_store(built):
    kinds = {overlay: {manifest["kind"] for manifest in manifests} for overlay, manifests in built.items()}
    assert "InferenceService" in kinds["gke-kserve"]
    assert "HorizontalPodAutoscaler" not in kinds["gke-kserve"]
    for overlay in ("local", "gke"):
        assert "HorizontalPodAutoscaler" in kinds[overlay]
        assert "InferenceService" not in kinds[overlay]
    assert {overlay for overlay in OVERLAYS if "StatefulSet" in kinds[overlay]} == {"local"}


def test_the_desk_is_a_pod_of_the_overlay_local(built):
    desk = yaml.safe_load((MANIFESTS / "desk.yaml").read_text())
    settings = yaml.safe_load((MANIFESTS / "settings" / "local" / "settings.yaml").read_text())["data"]
    loop = container_of(built["local"], "CronJob", "flightdeck-watch")
    (container,) = desk["spec"]["containers"]

    kubernetes_validate.validate(desk, KUBERNETES[-1], strict=True)
    assert container["image"] == settings["image"]
    assert container["volumeMounts"] == loop["volumeMounts"]
    assert container["securityContext"] == loop["securityContext"]
    assert [variable for variable in loop["env"] if "METADATA" in variable["name"]] == container["env"]
    assert (
        find(built["local"], "ServiceAccount", desk["spec"]["serviceAccountName"])["metadata"]["namespace"]
        == "kubeflow"
    )


def test_everything_that_is_created_elsewhere_is_in_the_guide():
    guide = (ROOT / "docs" / "deploy-gke.md").read_text()
    readme = (MANIFESTS / "README.md").read_text()
    missing = {name for _, _, name in checks.EXTERNAL if name not in guide + readme}
    assert missing == set()

"""What neither Kustomize nor a schema notices: things that name each other, and habits that every pod must have.

Each check takes all manifests of one overlay and yields one sentence per problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Manifest = Mapping[str, Any]

CLUSTER_SCOPED = {"Namespace", "PersistentVolume", "ClusterRole", "ClusterRoleBinding"}
SERVICES = {"Deployment", "StatefulSet", "DaemonSet"}  # run until they are stopped
WORKLOADS = {*SERVICES, "Job", "CronJob"}

# What a person or another product creates before these manifests work; docs/deploy-gke.md tells how and when.
EXTERNAL = {
    ("Secret", "flightdeck", "flightdeck-metadata"),  # kubectl create secret
    ("Secret", "kubeflow", "flightdeck-metadata"),  # kubectl create secret
    ("Secret", "kubeflow", "flightdeck-watch"),  # kubectl create secret; optional
    ("Secret", "flightdeck", "flightdeck-metadata-root"),  # kubectl create secret; MariaDB only
    ("Namespace", "", "kubeflow"),  # Kubeflow Pipelines
    ("ConfigMap", "kubeflow", "kfp-launcher"),  # Kubeflow Pipelines
    ("Secret", "kubeflow", "mlpipeline-minio-artifact"),  # Kubeflow Pipelines
}


def label(manifest: Manifest) -> str:
    """How messages call a manifest."""
    return f"{manifest['kind']} {_namespace(manifest) or '(cluster)'}/{manifest['metadata']['name']}"


def namespaces(manifests: list[Manifest]) -> Iterator[str]:
    """Everything says its namespace, which exists; no two things have the same name."""
    seen = set()
    known = _names(manifests, "Namespace") | _external("Namespace")
    for manifest in manifests:
        key = (manifest["kind"], _namespace(manifest), manifest["metadata"]["name"])
        if key in seen:
            yield f"{label(manifest)} appears twice"
        seen.add(key)
        if manifest["kind"] not in CLUSTER_SCOPED and ("", _namespace(manifest)) not in known:
            yield f"{label(manifest)} is in a namespace that does not exist: {_namespace(manifest) or 'none'}"


def selectors(manifests: list[Manifest]) -> Iterator[str]:
    """Workloads select their own pods; Services, budgets and policies select some pod; autoscalers have a target."""
    pods = list(_pods(manifests))
    for manifest in manifests:
        spec, kind = manifest.get("spec", {}), manifest["kind"]
        if kind in SERVICES and not _matches(spec["selector"], spec["template"]["metadata"]["labels"]):
            yield f"{label(manifest)} does not select its own pods"
        if kind in {"Service", "PodDisruptionBudget", "NetworkPolicy"}:
            wanted = spec.get("podSelector" if kind == "NetworkPolicy" else "selector")
            if kind == "Service":
                wanted = {"matchLabels": wanted} if wanted else None
            if not any(
                namespace == _namespace(manifest) and _matches(wanted, labels) for namespace, labels, _, _ in pods
            ):
                yield f"{label(manifest)} selects no pod of its namespace"
        if kind == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            if (_namespace(manifest), target["name"]) not in _names(manifests, target["kind"]):
                yield f"{label(manifest)} scales {target['kind']} {target['name']}, which does not exist"


def service_ports(manifests: list[Manifest]) -> Iterator[str]:
    """The port that a Service sends to is a port of the container that it selects."""
    for service in (each for each in manifests if each["kind"] == "Service"):
        selector = {"matchLabels": service["spec"].get("selector")}
        chosen = [
            pod
            for namespace, labels, pod, _ in _pods(manifests)
            if pod and namespace == _namespace(service) and _matches(selector, labels)
        ]
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            yield from [
                f"{label(service)} sends to port {target}, which its pods do not have"
                for pod in chosen
                if not any(target in _ports(container) for container in pod["containers"])
            ]


def probes(manifests: list[Manifest]) -> Iterator[str]:
    """Every container that serves has a readiness and a liveness probe; a probe asks a port that is there."""
    ends = {label(each) for each in manifests if each["kind"] in WORKLOADS - SERVICES}
    for owner, container in _containers(manifests):
        for name in () if owner in ends else ("readinessProbe", "livenessProbe"):
            if name not in container:
                yield f"{owner}: container {container['name']} has no {name}"
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(name, {})
            port = (probe.get("httpGet") or probe.get("tcpSocket") or probe.get("grpc") or {}).get("port")
            if port is not None and port not in _ports(container):
                yield f"{owner}: {name} of {container['name']} asks port {port}, which is not there"


def schedules(manifests: list[Manifest]) -> Iterator[str]:
    """What the clock starts ends by itself, never runs twice at a time, and says in which time zone."""
    for job in (each for each in manifests if each["kind"] == "CronJob"):
        if job["spec"].get("concurrencyPolicy") != "Forbid":
            yield f"{label(job)} may run twice at a time"
        if "activeDeadlineSeconds" not in job["spec"]["jobTemplate"]["spec"]:
            yield f"{label(job)} may run for ever"
        if "timeZone" not in job["spec"]:
            yield f"{label(job)} goes by the clock of whatever node"


def references(manifests: list[Manifest]) -> Iterator[str]:
    """Every Secret, ConfigMap, ServiceAccount, claim, Role and volume that is named exists, or is made elsewhere."""
    for namespace, _, pod, owner in _pods(manifests):
        for kind, name in _named_by(pod):
            if (namespace, name) not in _names(manifests, kind) | _external(kind):
                yield f"{owner} names {kind} {name}, which does not exist in {namespace}"
        volumes = {volume["name"] for volume in pod.get("volumes", [])} | set(pod.get("claims", []))
        for container in pod.get("containers", []) + pod.get("initContainers", []):
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{owner} mounts volume {mount['name']}, which the pod does not have"
    for service in (each for each in manifests if each["kind"] == "InferenceService"):
        name = service["spec"]["predictor"].get("serviceAccountName", "default")
        if (_namespace(service), name) not in _names(manifests, "ServiceAccount"):
            yield f"{label(service)} names ServiceAccount {name}, which does not exist"
    for binding in (each for each in manifests if each["kind"] == "RoleBinding"):
        wanted = [(binding["roleRef"]["kind"], _namespace(binding), binding["roleRef"]["name"])]
        wanted += [(each["kind"], each.get("namespace", ""), each["name"]) for each in binding["subjects"]]
        for kind, namespace, name in wanted:
            if (namespace, name) not in _names(manifests, kind):
                yield f"{label(binding)} names {kind} {namespace}/{name}, which does not exist"
    for claim in (each for each in manifests if each["kind"] == "PersistentVolumeClaim"):
        yield from _volume_of(claim, manifests)
    for workload in (each for each in manifests if each["kind"] == "StatefulSet"):
        name = workload["spec"]["serviceName"]
        if (_namespace(workload), name) not in _names(manifests, "Service"):
            yield f"{label(workload)} names Service {name}, which does not exist"


def images(manifests: list[Manifest]) -> Iterator[str]:
    """Every image says which version it is."""
    for owner, container in _containers(manifests):
        _, _, tag = container["image"].rpartition("/")[2].partition(":")
        if not tag or tag == "latest":
            yield f"{owner}: image {container['image']} has no fixed tag"


def resources(manifests: list[Manifest]) -> Iterator[str]:
    """Every container requests CPU and memory, and has a limit of both."""
    for owner, container in [*_containers(manifests), *_models(manifests)]:
        for part in ("requests", "limits"):
            for resource in ("cpu", "memory"):
                if resource not in container.get("resources", {}).get(part, {}):
                    yield f"{owner}: container {container.get('name', 'model')} has no {part}.{resource}"


def security(manifests: list[Manifest]) -> Iterator[str]:
    """No pod runs as root, escalates, keeps a capability, writes its image or holds a token it has no use for."""
    for _, _, pod, owner in _pods(manifests):
        if not pod:
            continue
        whole = pod.get("securityContext", {})
        for container in pod["containers"] + pod.get("initContainers", []):
            yield from [f"{owner}: container {container['name']} {fault}" for fault in _weak(container, whole)]
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{owner} mounts a token of the Kubernetes API"
        yield from [f"{owner} mounts a folder of its node" for each in pod.get("volumes", []) if "hostPath" in each]
    for owner, model in _models(manifests):
        yield from [f"{owner}: the model's container {fault}" for fault in _weak(model, {})]


def least_privilege(manifests: list[Manifest]) -> Iterator[str]:
    """Roles name what they allow: no wildcard, no cluster-wide role, Secrets by name; and no Secret is in the files."""
    for manifest in manifests:
        if manifest["kind"] in {"ClusterRole", "ClusterRoleBinding"}:
            yield f"{label(manifest)} reaches beyond a namespace"
        if manifest["kind"] == "Secret":
            yield f"{label(manifest)} would put a secret into the repository"
        for rule in manifest.get("rules", []):
            if "*" in rule["verbs"] + rule["resources"] + rule["apiGroups"]:
                yield f"{label(manifest)} has a wildcard"
            if "secrets" in rule["resources"] and not rule.get("resourceNames"):
                yield f"{label(manifest)} may use every Secret of its namespace"
            for kind, resource in (("Secret", "secrets"), ("ConfigMap", "configmaps")):
                missing = {(_namespace(manifest), name) for name in rule.get("resourceNames", [])}
                missing -= _names(manifests, kind) | _external(kind)
                if resource in rule["resources"] and missing:
                    yield f"{label(manifest)} names {kind} {sorted(missing)}, which does not exist"


def network(manifests: list[Manifest]) -> Iterator[str]:
    """Each namespace of ours denies by default, and a policy never opens a port to everybody."""
    policies = [each for each in manifests if each["kind"] == "NetworkPolicy"]
    for namespace in sorted(name for _, name in _names(manifests, "Namespace")):
        if not any(
            _namespace(each) == namespace
            and each["spec"]["podSelector"] == {}
            and set(each["spec"]["policyTypes"]) == {"Ingress", "Egress"}
            and not {"ingress", "egress"} & set(each["spec"])
            for each in policies
        ):
            yield f"namespace {namespace} does not deny by default"
    for policy in policies:
        for peer in ("from", "to"):
            for rule in policy["spec"].get({"from": "ingress", "to": "egress"}[peer], []):
                if not rule.get(peer) or not rule.get("ports"):
                    yield f"{label(policy)} has a rule without peers or without ports"


def custom_resources(manifests: list[Manifest]) -> Iterator[str]:
    """The fields that KServe requires of an InferenceService; its schema is not among those of Kubernetes."""
    for service in (each for each in manifests if each["kind"] == "InferenceService"):
        predictor = service.get("spec", {}).get("predictor", {})
        model, uris = predictor.get("model", {}), predictor.get("storageUris", [])
        if service["apiVersion"] != "serving.kserve.io/v1beta1":
            yield f"{label(service)} is not of serving.kserve.io/v1beta1"
        if unknown := set(service["spec"]) - {"predictor", "transformer", "explainer"}:
            yield f"{label(service)} has unknown parts {sorted(unknown)}"
        if not model.get("modelFormat", {}).get("name"):
            yield f"{label(service)} has no model.modelFormat.name"
        if bool(uris) == bool(model.get("storageUri")):
            yield f"{label(service)} needs exactly one of storageUris and model.storageUri"
        for each in uris:
            version = each["uri"].rpartition("/")[2]
            if not version.isdigit() or each["mountPath"] != f"/mnt/models/{version}":
                yield f"{label(service)}: {each['uri']} must be a version, mounted in a folder of its number"
        share = predictor.get("canaryTrafficPercent")
        if not isinstance(share, int) or not 0 <= share <= 100:
            yield f"{label(service)}: canaryTrafficPercent must be between 0 and 100, not {share}"


def completed(manifests: list[Manifest]) -> Iterator[str]:
    """Nothing is written otherwise than the API server keeps it, or `kubectl apply` would call it changed each time."""
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "PersistentVolume" and spec.get("storageClassName") == "":
            yield f"{label(manifest)} has an empty storage class, which the API server drops"
        if manifest["kind"] == "Deployment" and "strategy" in spec and "type" not in spec["strategy"]:
            yield f"{label(manifest)} has a strategy without its type"
        for claim in spec.get("volumeClaimTemplates", []):
            kept = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": "Pending"}}
            if "volumeMode" not in claim["spec"] or {key: claim.get(key) for key in kept} != kept:
                yield f"{label(manifest)} has a claim template that the API server completes"


ALL = (
    namespaces,
    selectors,
    service_ports,
    probes,
    schedules,
    references,
    images,
    resources,
    security,
    least_privilege,
    network,
    custom_resources,
    completed,
)


def _namespace(manifest: Manifest) -> str:
    return manifest["metadata"].get("namespace", "")


def _names(manifests: list[Manifest], kind: str) -> set[tuple[str, str]]:
    return {(_namespace(each), each["metadata"]["name"]) for each in manifests if each["kind"] == kind}


def _external(kind: str) -> set[tuple[str, str]]:
    return {(namespace, name) for each, namespace, name in EXTERNAL if each == kind}


def _pods(manifests: list[Manifest]) -> Iterator[tuple[str, Mapping[str, str], dict[str, Any], str]]:
    """Namespace, labels and specification of every pod, and what makes it.

    The pods of an InferenceService have its labels; their specification is KServe's, and empty here.
    """
    for manifest in manifests:
        if manifest["kind"] in WORKLOADS:
            job = manifest["spec"]["jobTemplate"] if manifest["kind"] == "CronJob" else manifest
            template = job["spec"]["template"]
            claims = [each["metadata"]["name"] for each in manifest["spec"].get("volumeClaimTemplates", [])]
            pod = {**template["spec"], "claims": claims}
            yield _namespace(manifest), template["metadata"].get("labels", {}), pod, label(manifest)
        elif manifest["kind"] == "InferenceService":
            yield _namespace(manifest), manifest["metadata"].get("labels", {}), {}, label(manifest)


def _containers(manifests: list[Manifest]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for _, _, pod, owner in _pods(manifests):
        for container in pod.get("containers", []) + pod.get("initContainers", []):
            yield owner, container


def _models(manifests: list[Manifest]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for manifest in manifests:
        if manifest["kind"] == "InferenceService":
            yield label(manifest), manifest["spec"]["predictor"]["model"]


def _matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    fits = all(labels.get(key) == value for key, value in wanted.items())
    for rule in selector.get("matchExpressions", []):
        if rule["operator"] != "In":
            raise NotImplementedError(f"operator {rule['operator']} of a selector")
        fits = fits and labels.get(rule["key"]) in rule["values"]
    return fits


def _ports(container: Mapping[str, Any]) -> set[int | str]:
    ports = container.get("ports", [])
    return {port["containerPort"] for port in ports} | {port["name"] for port in ports if "name" in port}


def _named_by(pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Kind and name of everything that a pod needs to exist."""
    if pod:
        yield "ServiceAccount", pod.get("serviceAccountName", "default")
    for container in pod.get("containers", []) + pod.get("initContainers", []):
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
                if field in source:
                    yield kind, source[field]["name"]
        for source in container.get("envFrom", []):
            for field, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
                if field in source:
                    yield kind, source[field]["name"]
    for volume in pod.get("volumes", []):
        for field, kind, key in (
            ("secret", "Secret", "secretName"),
            ("configMap", "ConfigMap", "name"),
            ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
        ):
            if field in volume:
                yield kind, volume[field][key]


def _volume_of(claim: Manifest, manifests: list[Manifest]) -> list[str]:
    """A claim that names a volume must be the one for which that volume waits, with the same mode and class."""
    name = claim["spec"].get("volumeName")
    volume = next((e for e in manifests if e["kind"] == "PersistentVolume" and e["metadata"]["name"] == name), None)
    if name is None:
        return []
    if volume is None:
        return [f"{label(claim)} names volume {name}, which does not exist"]
    waits = volume["spec"]["claimRef"]
    same = (waits["namespace"], waits["name"]) == (_namespace(claim), claim["metadata"]["name"])
    same = same and volume["spec"]["accessModes"] == claim["spec"]["accessModes"]
    # A claim that names no class gets the default one; a volume that names none has none.
    same = same and volume["spec"].get("storageClassName", "") == claim["spec"]["storageClassName"]
    return [] if same else [f"{label(claim)} and volume {name} do not fit each other"]


def _weak(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    if not own.get("runAsNonRoot", pod.get("runAsNonRoot")) or own.get("runAsUser", pod.get("runAsUser", 1)) == 0:
        yield "may run as root"
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield "may gain privileges"
    if own.get("capabilities", {}).get("drop") != ["ALL"] or own.get("capabilities", {}).get("add"):
        yield "keeps capabilities"
    if not own.get("readOnlyRootFilesystem"):
        yield "may write its own image"
    if (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"

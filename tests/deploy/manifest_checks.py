"""What neither Kustomize nor a schema notices: things that name each other, and habits that every pod must have.

Each check takes all manifests of one overlay and yields one sentence per problem.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from operations.serving.server import LAST_SECONDS
from operations.serving.settings import Serving

Manifest = Mapping[str, Any]

CLUSTER_SCOPED = {"Namespace", "PersistentVolume", "ClusterRole", "ClusterRoleBinding"}
SERVICES = {"Deployment", "StatefulSet", "DaemonSet"}  # run until they are stopped
WORKLOADS = {*SERVICES, "Job", "CronJob"}

# Flink's JobManager starts and ends TaskManagers; nothing else of ours asks the Kubernetes API.
ASKS_KUBERNETES = ("flightdeck", "flink-jobmanager")

_IDENTITY = "iam.gke.io/gcp-service-account"
# Until kube-proxy of every node, and a gateway, have taken a pod that ends out of their tables.
_SLOWEST_NODE_SECONDS = 10.0

# What a person or another product creates before these manifests work; docs/deploy-gke.md tells how and when.
EXTERNAL = {
    ("Secret", "flightdeck", "flightdeck-metadata"),  # kubectl create secret
    ("Secret", "kubeflow", "flightdeck-metadata"),  # kubectl create secret
    ("Secret", "kubeflow", "flightdeck-watch"),  # kubectl create secret; optional
    ("Secret", "flightdeck", "flightdeck-metadata-root"),  # kubectl create secret; MariaDB only
    ("Secret", "flightdeck", "flightdeck-serving"),  # kubectl create secret; optional
    ("Namespace", "", "kubeflow"),  # Kubeflow Pipelines
    ("ConfigMap", "kubeflow", "kfp-launcher"),  # Kubeflow Pipelines
    ("Secret", "kubeflow", "mlpipeline-minio-artifact"),  # Kubeflow Pipelines
}


# Fields of a pod that name another object: its kind, and the field within that has the name.
_REFERENCES = {
    "secretKeyRef": ("Secret", "name"),
    "secretRef": ("Secret", "name"),
    "secret": ("Secret", "secretName"),
    "configMapKeyRef": ("ConfigMap", "name"),
    "configMapRef": ("ConfigMap", "name"),
    "configMap": ("ConfigMap", "name"),
    "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
}


def label(manifest: Manifest) -> str:
    """How messages call a manifest."""
    return f"{manifest['kind']} {_namespace(manifest) or '(cluster)'}/{manifest['metadata']['name']}"


def namespaces(manifests: list[Manifest]) -> Iterator[str]:
    """Everything says its namespace, which exists."""
    for manifest in manifests:
        if manifest["kind"] not in CLUSTER_SCOPED and ("", _namespace(manifest)) not in _names(manifests, "Namespace"):
            yield f"{label(manifest)} is in a namespace that does not exist: {_namespace(manifest) or 'none'}"


def selectors(manifests: list[Manifest]) -> Iterator[str]:
    """Workloads select their own pods; Services, budgets and policies select some pod."""
    pods = [(namespace, labels) for namespace, labels, _, _ in _pods(manifests)]
    for manifest in manifests:
        spec, kind = manifest.get("spec", {}), manifest["kind"]
        if kind in SERVICES and not _matches(spec["selector"], spec["template"]["metadata"]["labels"]):
            yield f"{label(manifest)} does not select its own pods"
        if kind in {"Service", "PodDisruptionBudget", "NetworkPolicy"}:
            wanted = spec.get("podSelector" if kind == "NetworkPolicy" else "selector")
            if kind == "Service":
                wanted = {"matchLabels": wanted} if wanted else None
            if not any(namespace == _namespace(manifest) and _matches(wanted, labels) for namespace, labels in pods):
                yield f"{label(manifest)} selects no pod of its namespace"


def service_ports(manifests: list[Manifest]) -> Iterator[str]:
    """The port that a Service sends to is a port of the container that it selects."""
    for service in _of_kind(manifests, "Service"):
        selector = {"matchLabels": service["spec"].get("selector")}
        for namespace, labels, pod, _ in _pods(manifests):
            if pod and namespace == _namespace(service) and _matches(selector, labels):
                ports = set().union(*map(_ports, pod["containers"]))
                targets = [port.get("targetPort", port["port"]) for port in service["spec"]["ports"]]
                for target in set(targets) - ports:
                    yield f"{label(service)} sends to port {target}, which its pods do not have"


def probes(manifests: list[Manifest]) -> Iterator[str]:
    """Every container that serves has a readiness and a liveness probe; a probe asks a port that is there."""
    serving = [label(manifest) for manifest in _of_kind(manifests, *SERVICES)]
    for owner, container in _containers(manifests):
        for name in ("readinessProbe", "livenessProbe") if owner in serving else ():
            if name not in container:
                yield f"{owner}: container {container['name']} has no {name}"
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(name, {})
            port = (probe.get("httpGet") or probe.get("tcpSocket") or probe.get("grpc") or {}).get("port")
            if port is not None and port not in _ports(container):
                yield f"{owner}: {name} of {container['name']} asks port {port}, which is not there"


def endings(manifests: list[Manifest]) -> Iterator[str]:
    """A pod of the service lives for as long as the service may take to end, and answers until others know it ends."""
    for _, _, pod, owner in _pods(manifests):
        for container in pod.get("containers", []):
            if container.get("command", [])[:2] != ["flightdeck", "serve"]:
                continue
            times = ("serving.drain_seconds=", "serving.grace_seconds=")
            given = dict(word.split("=", 1) for word in container["args"] if word.startswith(times))
            serving = Serving.model_validate_json(
                json.dumps({name.removeprefix("serving."): json.loads(value) for name, value in given.items()})
            )
            needed = serving.drain_seconds + serving.grace_seconds + LAST_SECONDS
            if pod.get("terminationGracePeriodSeconds", 30) < needed:
                yield f"{owner} may be killed before its service has ended, which takes up to {needed:g} s"
            if serving.drain_seconds < _SLOWEST_NODE_SECONDS:
                yield f"{owner} stops before every node has heard that it ends"


def schedules(manifests: list[Manifest]) -> Iterator[str]:
    """What the clock starts ends by itself, never runs twice at a time, and says in which time zone."""
    for job in _of_kind(manifests, "CronJob"):
        if job["spec"].get("concurrencyPolicy") != "Forbid":
            yield f"{label(job)} may run twice at a time"
        if "activeDeadlineSeconds" not in job["spec"]["jobTemplate"]["spec"]:
            yield f"{label(job)} may run for ever"
        if "timeZone" not in job["spec"]:
            yield f"{label(job)} goes by the clock of whatever node"


def references(manifests: list[Manifest]) -> Iterator[str]:
    """Every object and every volume of a pod that is named exists, or is made elsewhere."""
    for owner, kind, namespace, name in _named(manifests):
        if (namespace, name) not in _names(manifests, kind):
            yield f"{owner} names {kind} {namespace}/{name}, which does not exist"
    for _, _, pod, owner in _pods(manifests):
        volumes = {volume["name"] for volume in pod.get("volumes", [])} | set(pod.get("claims", []))
        for container in pod.get("containers", []) + pod.get("initContainers", []):
            for name in {mount["name"] for mount in container.get("volumeMounts", [])} - volumes:
                yield f"{owner} mounts volume {name}, which the pod does not have"
    for claim in _of_kind(manifests, "PersistentVolumeClaim"):
        for volume in _of_kind(manifests, "PersistentVolume"):
            if volume["metadata"]["name"] == claim["spec"].get("volumeName") and not _fit(claim, volume):
                yield f"{label(claim)} and volume {volume['metadata']['name']} do not fit each other"


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
    for namespace, _, pod, owner in _pods(manifests):
        if not pod:
            continue
        asks = (namespace, pod.get("serviceAccountName")) == ASKS_KUBERNETES
        whole = pod.get("securityContext", {})
        for container in pod["containers"] + pod.get("initContainers", []):
            yield from [f"{owner}: container {container['name']} {fault}" for fault in _weak(container, whole)]
        if pod.get("automountServiceAccountToken") is not asks:
            yield f"{owner} {'lacks its' if asks else 'mounts a'} token of the Kubernetes API"
        if any("hostPath" in volume for volume in pod.get("volumes", [])):
            yield f"{owner} mounts a folder of its node"
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
                missing -= _names(manifests, kind)
                if resource in rule["resources"] and missing:
                    yield f"{label(manifest)} names {kind} {sorted(missing)}, which does not exist"


def accounts(manifests: list[Manifest]) -> Iterator[str]:
    """Every workload has an account of its own, and only what asks the Kubernetes API has a role there."""
    bound = {
        (subject["namespace"], subject["name"])
        for binding in _of_kind(manifests, "RoleBinding")
        for subject in binding["subjects"]
    }
    owners: dict[tuple[str, str], str] = {}
    for namespace, _, pod, owner in _pods(manifests):
        account = (namespace, pod.get("serviceAccountName", "default"))
        if pod and account in owners:
            yield f"{owner} has the account of {owners[account]}, {'/'.join(account)}"
        if account in bound and account != ASKS_KUBERNETES:
            yield f"{owner} has the account {'/'.join(account)}, which has a role that it does not need"
        owners[account] = owner


def loop(manifests: list[Manifest]) -> Iterator[str]:
    """A loop has the service beside it that writes the payload log and tries canaries."""
    commands = [container.get("command", [])[:2] for _, container in _containers(manifests)]
    if ["flightdeck", "watch"] in commands and ["flightdeck", "serve"] not in commands:
        yield "The loop watches a server that writes no payload log and tries no canary"


def database(manifests: list[Manifest]) -> Iterator[str]:
    """The pods that are told where the metadata are reach them by a policy, and no others of ours do."""
    for namespace, labels, pod, owner in _pods(manifests):
        told = any(
            variable["name"] == "FLIGHTDECK_METADATA_HOST"
            for container in pod.get("containers", [])
            for variable in container.get("env", [])
        )
        let_in = any(_lets_in(policy, namespace, labels, 3306) for policy in _of_kind(manifests, "NetworkPolicy"))
        if told and not let_in:
            yield f"{owner} is told of the database, and no policy lets it in"
        if let_in and not told:
            yield f"{owner} is let into the database, of which it knows nothing"


def buckets(manifests: list[Manifest]) -> Iterator[str]:
    """A pod that is told of a bucket, or reaches the database through Google, has an identity there, and gets there."""
    closed = {_namespace(policy) for policy in _of_kind(manifests, "NetworkPolicy")}
    identities = {
        (_namespace(account), account["metadata"]["name"])
        for account in _of_kind(manifests, "ServiceAccount")
        if _IDENTITY in account["metadata"].get("annotations", {})
    }
    for namespace, labels, pod, owner in _pods(manifests):
        words = [word for container in pod.get("containers", []) for word in container.get("args", [])]
        if not any("gs://" in word or word == "--private-ip" for word in words):
            continue
        if (namespace, pod.get("serviceAccountName", "default")) not in identities:
            yield f"{owner} has no identity at Google"
        policies = [
            rule
            for policy in _of_kind(manifests, "NetworkPolicy")
            if _namespace(policy) == namespace and _matches(policy["spec"]["podSelector"], labels)
            for rule in policy["spec"].get("egress", [])
        ]
        for port in (443, 80):  # of Google's APIs, and of the node's server of tokens
            if namespace in closed and not any(port == given["port"] for rule in policies for given in rule["ports"]):
                yield f"{owner} does not reach port {port} of Google"


def network(manifests: list[Manifest]) -> Iterator[str]:
    """Each namespace of ours denies by default, and a policy never opens a port to everybody."""
    policies = _of_kind(manifests, "NetworkPolicy")
    closed = [
        _namespace(policy)
        for policy in policies
        if policy["spec"]["podSelector"] == {}
        and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not {"ingress", "egress"} & set(policy["spec"])
    ]
    for namespace in _of_kind(manifests, "Namespace"):
        if namespace["metadata"]["name"] not in closed:
            yield f"namespace {namespace['metadata']['name']} does not deny by default"
    for policy in policies:
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            if not all(rule.get(peers) and rule.get("ports") for rule in policy["spec"].get(direction, [])):
                yield f"{label(policy)} has a rule without peers or without ports"


def custom_resources(manifests: list[Manifest]) -> Iterator[str]:
    """The fields that KServe requires of an InferenceService; its schema is not among those of Kubernetes."""
    for service in _of_kind(manifests, "InferenceService"):
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
        for source in uris:
            version = source["uri"].rpartition("/")[2]
            if not version.isdigit() or source["mountPath"] != f"/mnt/models/{version}":
                yield f"{label(service)}: {source['uri']} must be a version, mounted in a folder of its number"
        share = predictor.get("canaryTrafficPercent")
        if not isinstance(share, int) or not 0 <= share <= 100:
            yield f"{label(service)}: canaryTrafficPercent must be between 0 and 100, not {share}"


def flink(manifests: list[Manifest]) -> Iterator[str]:
    """A FlinkDeployment has fields that the operator's reference has, and values that our work needs."""
    for cluster in _of_kind(manifests, "FlinkDeployment"):
        spec, owner = cluster["spec"], label(cluster)
        for where, fields in _FLINK_FIELDS.items():
            part = spec
            for step in where:
                part = part.get(step, {})
            if unknown := set(part) - fields:
                yield f"{owner} has unknown fields {sorted(unknown)} in {'.'.join(('spec', *where))}"
        if cluster["apiVersion"] != "flink.apache.org/v1beta1":
            yield f"{owner} is not of flink.apache.org/v1beta1"
        if spec.get("flinkVersion") != "v1_20":
            yield f"{owner} is of {spec.get('flinkVersion')}, and Beam's job server of Flink 1.20"
        if spec.get("mode") != "native":
            yield f"{owner} keeps idle TaskManagers"
        configuration = spec.get("flinkConfiguration", {})
        for name, value in configuration.items():
            if not isinstance(value, str):
                yield f"{owner}: {name} must be text"
            if name in {"kubernetes.namespace", "kubernetes.cluster-id"}:
                yield f"{owner}: the operator refuses {name}"
        slots = configuration.get("taskmanager.numberOfTaskSlots")
        if slots != "1":
            yield f"{owner} has {slots} slots on a TaskManager with one Python process"
        for _, _, pod, each in _pods([cluster]):
            if "flink-main-container" not in [container["name"] for container in pod["containers"]]:
                yield f"{each} has no flink-main-container"


_FLINK_FIELDS = {
    (): {
        # Without podTemplate, of which the operator merges lists by position with those of the two below.
        *("image", "imagePullPolicy", "flinkVersion", "mode", "serviceAccount", "flinkConfiguration"),
        *("jobManager", "taskManager", "logConfiguration", "restartNonce"),
    },
    ("jobManager",): {"replicas", "resource", "podTemplate"},
    ("taskManager",): {"replicas", "resource", "podTemplate"},
    ("jobManager", "resource"): {"cpu", "memory", "ephemeralStorage"},
    ("taskManager", "resource"): {"cpu", "memory", "ephemeralStorage"},
}


def connections(manifests: list[Manifest]) -> Iterator[str]:
    """Between pods of a namespace, what one policy lets out another lets in, and the other way round."""
    policies = [policy for policy in _of_kind(manifests, "NetworkPolicy") if policy["spec"]["podSelector"]]
    for direction, peers, other in (("egress", "to", "ingress"), ("ingress", "from", "egress")):
        for policy in policies:
            opened = [
                (peer["podSelector"], given["port"])
                for rule in policy["spec"].get(direction, [])
                for peer in rule[peers]
                if "podSelector" in peer and "namespaceSelector" not in peer
                for given in rule["ports"]
            ]
            for selector, port in opened:
                if not any(_opens(each, other, selector, policy["spec"]["podSelector"], port) for each in policies):
                    yield f"{label(policy)} has {direction} on port {port} to which no {other} answers"


def _opens(policy: Manifest, direction: str, of: Any, to: Any, port: int) -> bool:
    """Whether a policy of some pods opens a port between them and others of its namespace."""
    return policy["spec"]["podSelector"] == of and any(
        {"podSelector": to} in rule["from" if direction == "ingress" else "to"]
        and port in [given["port"] for given in rule["ports"]]
        for rule in policy["spec"].get(direction, [])
    )


ALL = (
    *(namespaces, selectors, service_ports, probes, endings, schedules, references, images, resources),
    *(security, least_privilege, accounts, loop, database, buckets, network, connections),
    *(custom_resources, flink),
)


def _namespace(manifest: Manifest) -> str:
    return manifest["metadata"].get("namespace", "")


def _of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def _names(manifests: list[Manifest], kind: str) -> set[tuple[str, str]]:
    """Namespace and name of every object of a kind, those that are made elsewhere included."""
    ours = {(_namespace(manifest), manifest["metadata"]["name"]) for manifest in _of_kind(manifests, kind)}
    return ours | {(namespace, name) for external, namespace, name in EXTERNAL if external == kind}


def _pods(manifests: list[Manifest]) -> Iterator[tuple[str, Mapping[str, str], dict[str, Any], str]]:
    """Namespace, labels and specification of every pod, and what makes it.

    The pods of an InferenceService have its labels; their specification is KServe's, and empty here.
    """
    for manifest in manifests:
        if manifest["kind"] in WORKLOADS:
            job = manifest["spec"]["jobTemplate"] if manifest["kind"] == "CronJob" else manifest
            template = job["spec"]["template"]
            claims = [claim["metadata"]["name"] for claim in manifest["spec"].get("volumeClaimTemplates", [])]
            pod = {**template["spec"], "claims": claims}
            yield _namespace(manifest), template["metadata"].get("labels", {}), pod, label(manifest)
        elif manifest["kind"] == "InferenceService":
            yield _namespace(manifest), manifest["metadata"].get("labels", {}), {}, label(manifest)
        elif manifest["kind"] == "FlinkDeployment":
            yield from _pods_of_flink(manifest)


def _pods_of_flink(cluster: Manifest) -> Iterator[tuple[str, Mapping[str, str], dict[str, Any], str]]:
    """The two kinds of pods, with what Flink makes of their templates, the image, the resources and the accounts."""
    spec = cluster["spec"]
    of_task_managers = spec["flinkConfiguration"].get("kubernetes.taskmanager.service-account", spec["serviceAccount"])
    for part, account in (("jobManager", spec["serviceAccount"]), ("taskManager", of_task_managers)):
        template = spec[part]["podTemplate"]
        pod = {**copy.deepcopy(template["spec"]), "serviceAccountName": account}
        amounts = {name: spec[part]["resource"][name] for name in ("cpu", "memory") if name in spec[part]["resource"]}
        for container in pod["containers"]:
            if container["name"] == "flink-main-container":
                container |= {"image": spec["image"], "resources": {"requests": amounts, "limits": amounts}}
        yield _namespace(cluster), template["metadata"]["labels"], pod, f"{label(cluster)} {part}"


def _containers(manifests: list[Manifest]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for _, _, pod, owner in _pods(manifests):
        for container in pod.get("containers", []) + pod.get("initContainers", []):
            yield owner, container


def _models(manifests: list[Manifest]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for service in _of_kind(manifests, "InferenceService"):
        yield label(service), service["spec"]["predictor"]["model"]


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


def _lets_in(policy: Manifest, namespace: str, labels: Mapping[str, str], port: int) -> bool:
    """Whether a policy opens a port to a pod of a namespace by its name."""
    return any(
        port in [given["port"] for given in rule["ports"]]
        and peer["namespaceSelector"]["matchLabels"].get("kubernetes.io/metadata.name") == namespace
        and _matches(peer.get("podSelector"), labels)
        for rule in policy["spec"].get("ingress", [])
        for peer in rule["from"]
    )


def _ports(container: Mapping[str, Any]) -> set[int | str]:
    ports = container.get("ports", [])
    return {port["containerPort"] for port in ports} | {port["name"] for port in ports if "name" in port}


def _named(manifests: list[Manifest]) -> Iterator[tuple[str, str, str, str]]:
    for namespace, _, pod, owner in _pods(manifests):
        for kind, name in _named_within(pod):
            yield owner, kind, namespace, name
        if pod:
            yield owner, "ServiceAccount", namespace, pod.get("serviceAccountName", "default")
    for manifest in manifests:
        owner, namespace, spec = label(manifest), _namespace(manifest), manifest.get("spec", {})
        match manifest["kind"]:
            case "InferenceService":
                yield owner, "ServiceAccount", namespace, spec["predictor"].get("serviceAccountName", "default")
            case "RoleBinding":
                yield owner, manifest["roleRef"]["kind"], namespace, manifest["roleRef"]["name"]
                for subject in manifest["subjects"]:
                    yield owner, subject["kind"], subject.get("namespace", ""), subject["name"]
            case "PersistentVolumeClaim" if "volumeName" in spec:
                yield owner, "PersistentVolume", "", spec["volumeName"]
            case "StatefulSet":
                yield owner, "Service", namespace, spec["serviceName"]
            case "HorizontalPodAutoscaler":
                yield owner, spec["scaleTargetRef"]["kind"], namespace, spec["scaleTargetRef"]["name"]


def _named_within(part: Any) -> Iterator[tuple[str, str]]:
    for inner in part if isinstance(part, list) else ():
        yield from _named_within(inner)
    for field, inner in part.items() if isinstance(part, Mapping) else ():
        if field in _REFERENCES:
            kind, name = _REFERENCES[field]
            yield kind, inner[name]
        yield from _named_within(inner)


def _fit(claim: Manifest, volume: Manifest) -> bool:
    """Whether a volume waits for a claim, with the same mode and class."""
    waits = volume["spec"]["claimRef"]
    return (
        (waits["namespace"], waits["name"]) == (_namespace(claim), claim["metadata"]["name"])
        and volume["spec"]["accessModes"] == claim["spec"]["accessModes"]
        # A claim that names no class gets the default one; a volume that names none has none.
        and volume["spec"].get("storageClassName", "") == claim["spec"]["storageClassName"]
    )


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

"""The overlays on a real API server: applied, applied again, bound, limited; and what they forbid is refused."""

import copy
import functools
import socket
from typing import Any

import pytest

from tests.deploy.kustomize import APPLIED
from tests.services.kubernetes import own_cluster
from tests.services.kubernetes.cluster import KubectlError, wait_for

pytestmark = pytest.mark.cluster

RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(namespace: str = "flightdeck", **container: Any) -> dict[str, Any]:
    """A pod that is allowed unless the container says otherwise; it is never waited for."""
    described = {"name": "probe", "image": "probe:1", "securityContext": RESTRICTED, **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"automountServiceAccountToken": False, "containers": [described]},
    }


@pytest.fixture
def manifests(project, applied):
    """The overlay that is applied while the tests run."""
    return project


@pytest.mark.parametrize("overlay", APPLIED)
def test_an_overlay_is_applied_strictly_and_whole(project, applied, overlay):
    assert len(applied[overlay].first) == len(project.manifests(overlay))
    assert {line.split()[-1] for line in applied[overlay].first} <= {"created", "configured"}


@pytest.mark.parametrize("overlay", APPLIED)
def test_applying_the_same_again_changes_nothing(applied, overlay):
    said = [line for line in applied[overlay].second if not line.endswith(" unchanged")]

    # kubectl sends the selector of a disruption budget every time, whatever the server has: kubectl patches it by
    # replacing. That nothing comes of it shows in its generation.
    assert [line for line in said if not line.startswith("poddisruptionbudget.policy/")] == []
    assert set(applied[overlay].generations.values()) == {1}
    assert len(said) == len(applied[overlay].generations)


def test_this_machine_is_left_alone(cluster, kernel):
    assert own_cluster.kernel_settings() == kernel
    assert not {name for _, name in socket.if_nameindex()} & {"node0", "pods0"}


def test_every_claim_is_bound(cluster, manifests):
    claims = manifests.names("PersistentVolumeClaim")
    claims += [
        (stateful["metadata"]["namespace"], f"{template['metadata']['name']}-{stateful['metadata']['name']}-0")
        for stateful in manifests.all("StatefulSet")
        for template in stateful["spec"]["volumeClaimTemplates"]
    ]

    assert len(claims) == 3
    bound = ("wait", "--for=jsonpath={.status.phase}=Bound", "--timeout=10s")
    for namespace, claim in claims:
        ask = functools.partial(cluster.succeeds, *bound, f"pvc/{claim}", f"--namespace={namespace}")
        assert wait_for(ask, seconds=120), claim


def test_no_pod_of_ours_is_refused(cluster, manifests):
    def pods():
        return {
            component: cluster.get("pods", "", "flightdeck", f"app.kubernetes.io/component={component}")["items"]
            for component in ("metadata", "model-server")
        }

    assert wait_for(lambda: all(pods().values()), seconds=60), pods()
    events = cluster.get("events", namespace="flightdeck")["items"]
    assert [event["message"] for event in events if event["reason"] == "FailedCreate"] == []


def test_a_pod_without_a_security_context_is_refused(cluster, manifests):
    with pytest.raises(KubectlError, match=r'violates PodSecurity "restricted:latest".*runAsNonRoot'):
        cluster.apply(pod(securityContext={}))


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation != false"),
        ({"capabilities": {"add": ["NET_ADMIN"]}}, "unrestricted capabilities"),
        ({"runAsUser": 0}, "runAsUser=0"),
        ({"seccompProfile": {"type": "Unconfined"}}, "seccompProfile"),
    ],
)
def test_each_right_that_a_pod_may_not_have_is_refused(cluster, manifests, fault, rule):
    with pytest.raises(KubectlError, match=rf'violates PodSecurity "restricted:latest".*{rule}'):
        cluster.apply(pod(securityContext={**RESTRICTED, **fault}))


def test_the_same_pod_without_a_fault_is_taken_and_gets_the_default_limits(cluster, manifests):
    cluster.apply(pod())
    (made,) = cluster.get("pod", "probe", "flightdeck")["spec"]["containers"]
    cluster.kubectl("delete", "pod", "probe", "--namespace=flightdeck", "--now")

    assert made["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort"])
def test_a_service_that_the_outside_reaches_is_refused(cluster, manifests, kind):
    service = copy.deepcopy(manifests.find("Service", "model-server"))
    service["metadata"]["name"] = "open"
    service["spec"]["type"] = kind

    with pytest.raises(KubectlError, match=rf"exceeded quota: flightdeck, .*services\.{kind.lower()}s=[12]"):
        cluster.apply(service)


CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "large", "namespace": "flightdeck"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Gi"}}},
}


@pytest.mark.parametrize(
    ("manifest", "refusal"),
    [
        (
            pod(resources={"limits": {"memory": "17Gi"}}),
            "maximum memory usage per Container is 16Gi, but limit is 17Gi",
        ),
        (
            pod(resources={"limits": {"cpu": "8"}, "requests": {"cpu": "8"}}),
            r"exceeded quota: flightdeck, requested: .*requests\.cpu=8",
        ),
        (CLAIM, r"exceeded quota: flightdeck, requested: requests\.storage=100Gi"),
    ],
    ids=["a container's limit", "the pods' requests", "storage"],
)
def test_more_than_the_limits_and_the_quota_is_refused(cluster, manifests, manifest, refusal):
    with pytest.raises(KubectlError, match=refusal):
        cluster.apply(manifest)


def test_more_gpus_than_the_quota_of_gke_are_refused(cluster, manifests):
    quota = manifests.find("ResourceQuota", "flightdeck-gpu", overlay="gke")
    gpus = pod(namespace="kubeflow", resources={"limits": {"nvidia.com/gpu": "2"}})
    cluster.apply(quota)
    try:
        used = wait_for(lambda: cluster.get("quota", "flightdeck-gpu", "kubeflow").get("status", {}).get("used"), 60)
        assert used == {"requests.nvidia.com/gpu": "0"}
        with pytest.raises(KubectlError, match=r"exceeded quota: flightdeck-gpu, .*limited: .*gpu=1"):
            cluster.apply(gpus)
    finally:
        cluster.kubectl("delete", "quota", "flightdeck-gpu", "--namespace=kubeflow")


def test_a_misspelt_field_of_kserve_is_refused(cluster, manifests):
    (service,) = copy.deepcopy(manifests.all("InferenceService", "gke-kserve"))
    service["spec"]["predictor"]["minReplica"] = service["spec"]["predictor"].pop("minReplicas")

    with pytest.raises(KubectlError, match=r'unknown field "spec\..*minReplica"'):
        cluster.apply(service)

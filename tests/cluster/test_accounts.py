"""What each service account may do, asked of a real API server: its role, and nothing else."""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import pytest
import yaml

pytestmark = pytest.mark.cluster

RUNNER = ("kubeflow", "flightdeck-runner")  # the only one that has a role
# The accounts of the overlay `local`.
ACCOUNTS = (
    RUNNER,
    ("kubeflow", "flightdeck-watch"),
    ("kubeflow", "flightdeck-exporter"),
    ("kubeflow", "flightdeck-report"),
    ("flightdeck", "flightdeck-server"),
    ("flightdeck", "flightdeck-site"),
    ("flightdeck", "flightdeck-database"),
)


class Right(NamedTuple):
    """What a rule of a role grants, or an account wants to do."""

    verb: str
    resource: str  # with its subresource, such as pods/exec
    group: str = ""
    name: str = ""


FORBIDDEN = (
    Right("list", "secrets"),
    Right("get", "secrets", name="flightdeck-metadata"),
    Right("create", "pods"),
    Right("delete", "pods"),
    Right("create", "pods/exec"),
    Right("update", "configmaps"),
    Right("list", "nodes"),
    Right("create", "serviceaccounts/token"),
    Right("impersonate", "serviceaccounts"),
    Right("create", "jobs", "batch"),
    Right("patch", "deployments", "apps"),
    Right("create", "workflows", "argoproj.io"),
    Right("create", "rolebindings", "rbac.authorization.k8s.io"),
    Right("*", "*", "*"),
)


@pytest.fixture
def accounts(project, applied):
    return set(project.names("ServiceAccount"))


def allowed(cluster, account: tuple[str, str], rights: Iterable[Right], namespace: str) -> list[Right]:
    """Those of some rights that an account has, by the question that ``kubectl auth can-i`` asks."""
    rights = list(rights)
    groups = ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]

    def review(right: Right) -> dict:
        resource, _, subresource = right.resource.partition("/")
        what = {"resource": resource, "subresource": subresource, "group": right.group, "name": right.name}
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{account[0]}:{account[1]}",
                "groups": groups,
                "resourceAttributes": {"namespace": namespace, "verb": right.verb, **what},
            },
        }

    reviews = yaml.safe_dump_all(map(review, rights))
    answers = cluster.kubectl("create", "--filename=-", '--output=jsonpath={.status.allowed}{"\\n"}', stdin=reviews)
    return [right for right, answer in zip(rights, answers.split(), strict=True) if answer == "true"]


def test_every_account_is_asked_about(accounts):
    assert accounts == set(ACCOUNTS)


@pytest.mark.parametrize("account", ACCOUNTS, ids="/".join)
@pytest.mark.parametrize("namespace", ["kubeflow", "flightdeck", "kube-system"])
def test_no_account_may_do_what_only_people_do(cluster, accounts, account, namespace):
    assert allowed(cluster, account, FORBIDDEN, namespace) == []


def test_the_runner_may_do_what_its_role_says_and_only_in_kubeflow(cluster, accounts, project):
    granted = [
        Right(verb, resource, group, name)
        for rule in project.find("Role", "flightdeck-runner")["rules"]
        for group, resource, verb, name in itertools.product(
            rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""])
        )
    ]

    assert Right("create", "workflowtaskresults", "argoproj.io") in granted
    assert allowed(cluster, RUNNER, granted, "kubeflow") == granted
    assert allowed(cluster, RUNNER, granted, "flightdeck") == []


@pytest.mark.parametrize("account", ACCOUNTS[1:], ids="/".join)
def test_the_others_may_do_no_more_than_any_account(cluster, accounts, account):
    def rights(name: str) -> list[str]:
        user = f"--as=system:serviceaccount:{account[0]}:{name}"
        listed = cluster.kubectl("auth", "can-i", "--list", f"--namespace={account[0]}", user)
        return sorted(line for line in listed.splitlines() if line)

    assert rights(account[1]) == rights("nobody")


def test_only_pods_that_ask_for_the_kubernetes_api_have_a_token(cluster, accounts):
    mounted = {
        account: cluster.get("serviceaccount", account[1], account[0]).get("automountServiceAccountToken", True)
        for account in ACCOUNTS
    }
    assert [account for account, token in mounted.items() if token] == [RUNNER]


def test_no_pod_of_the_overlay_holds_a_token(cluster, accounts):
    names = {account for _, account in ACCOUNTS}
    pods = [
        pod
        for namespace in ("kubeflow", "flightdeck")
        for pod in cluster.get("pods", namespace=namespace)["items"]
        if pod["spec"]["serviceAccountName"] in names - {RUNNER[1]}
    ]
    assert {pod["spec"]["serviceAccountName"] for pod in pods} >= {
        *("flightdeck-server", "flightdeck-site", "flightdeck-exporter", "flightdeck-database"),
    }
    sources = [
        source
        for pod in pods
        for volume in pod["spec"].get("volumes", [])
        for source in volume.get("projected", {}).get("sources", [])
    ]
    assert [source for source in sources if "serviceAccountToken" in source] == []

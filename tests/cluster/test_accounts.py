"""What each service account may do, asked of a real API server: its role, and nothing else."""

import itertools

import pytest

from tests.services.kubernetes.cluster import KubectlError

pytestmark = pytest.mark.cluster

# The accounts of the overlay `local`, and those that have a role.
ACCOUNTS = (
    ("kubeflow", "flightdeck-runner"),
    ("kubeflow", "flightdeck-watch"),
    ("flightdeck", "flightdeck-server"),
    ("flightdeck", "flightdeck-database"),
)
FORBIDDEN = (
    ("list", "secrets"),
    ("get", "secrets/flightdeck-metadata"),
    ("create", "pods"),
    ("delete", "pods"),
    ("create", "pods/exec"),
    ("create", "jobs.batch"),
    ("patch", "deployments.apps"),
    ("create", "workflows.argoproj.io"),
    ("update", "configmaps"),
    ("create", "serviceaccounts/token"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("impersonate", "serviceaccounts"),
    ("list", "nodes"),
    ("*", "*"),
)


@pytest.fixture
def accounts(project, applied):
    return {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in project.all("ServiceAccount")}


def can(cluster, account: tuple[str, str], verb: str, resource: str, namespace: str) -> bool:
    """What the API server answers for an account."""
    user = f"--as=system:serviceaccount:{account[0]}:{account[1]}"
    try:
        return cluster.kubectl("auth", "can-i", verb, resource, f"--namespace={namespace}", user).strip() == "yes"
    except KubectlError as error:
        if ": no" not in str(error):
            raise
        return False


def test_every_account_is_asked_about(accounts):
    assert accounts == set(ACCOUNTS)


@pytest.mark.parametrize("account", ACCOUNTS, ids="/".join)
@pytest.mark.parametrize("namespace", ["kubeflow", "flightdeck", "kube-system"])
def test_no_account_may_do_what_only_people_do(cluster, accounts, account, namespace):
    assert [each for each in FORBIDDEN if can(cluster, account, *each, namespace)] == []


def test_the_runner_may_do_what_its_role_says_and_only_in_kubeflow(cluster, accounts, project):
    runner = ("kubeflow", "flightdeck-runner")
    granted = [
        (verb, f"{resource}.{group}" if group else resource, name)
        for rule in project.find("Role", "flightdeck-runner")["rules"]
        for group, resource, verb, name in itertools.product(
            rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""])
        )
    ]

    def asked(namespace: str) -> dict[tuple[str, str, str], bool]:
        return {
            (verb, resource, name): can(cluster, runner, verb, f"{resource}/{name}" if name else resource, namespace)
            for verb, resource, name in granted
        }

    assert ("create", "workflowtaskresults.argoproj.io", "") in granted
    assert [each for each, allowed in asked("kubeflow").items() if not allowed] == []
    assert [each for each, allowed in asked("flightdeck").items() if allowed] == []


@pytest.mark.parametrize("account", [each for each in ACCOUNTS if each[1] != "flightdeck-runner"], ids="/".join)
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
    assert [account for account, token in mounted.items() if token] == [("kubeflow", "flightdeck-runner")]

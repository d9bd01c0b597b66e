"""The Terraform configuration: parsed, and searched for names that nobody declared. No cloud account is used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from tests.deploy import terraform_checks as checks
from tests.deploy.kustomize import MANIFESTS, ROOT

pytestmark = pytest.mark.unit

CONFIGURATION = ROOT / "deploy" / "gke"
GPU_LABEL = {"flightdeck.dev/pool": "gpu"}
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIGURATION, tmp_path / "gke"))


def resource(kind: str, name: str) -> dict[str, Any]:
    """One resource, without the quotes that the parser keeps."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key.strip('"'): plain(each) for key, each in value.items() if not key.startswith("__")}
        if isinstance(value, list):
            return [plain(each) for each in value]
        return value.strip('"') if isinstance(value, str) else value

    for blocks in checks.parse(CONFIGURATION).values():
        for block in blocks.get("resource", []):
            found = plain(block)
            if name in found.get(kind, {}):
                return found[kind][name]
    raise AssertionError(f"there is no {kind}.{name}")


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_the_configuration_passes_every_check(check: Callable[[Path], list[str]]) -> None:
    assert check(CONFIGURATION) == []


FAULTS: dict[str, tuple[Callable[[Path], list[str]], str, str, str, str]] = {
    "undefined variable": (checks.references, "sql.tf", "var.database_tier", "var.databse_tier", "var.databse_tier"),
    "undefined variable in a string": (checks.references, "sql.tf", "${var.name}", "${var.nam}", "var.nam"),
    "undefined local": (checks.references, "apis.tf", "for_each = local.apis", "for_each = local.api", "local.api"),
    "undefined resource": (
        checks.references,
        "pools.tf",
        "google_container_cluster.main.id",
        "google_container_cluster.cluster.id",
        "google_container_cluster.cluster",
    ),
    "undefined resource to wait for": (
        checks.references,
        "sql.tf",
        "[google_service_networking_connection.google_services]",
        "[google_service_networking_connection.services]",
        "google_service_networking_connection.services",
    ),
    "undefined module": (checks.references, "sql.tf", "var.database_tier", "module.sizes.tier", "module.sizes"),
    "undefined data": (checks.references, "sql.tf", "var.database_tier", "data.google_x.y.z", "data.google_x.y"),
    "undefined variable as a key": (checks.references, "variables.tf", "var.gpu_count)", "var.gpus)", "var.gpus"),
    "unused variable": (checks.unused, "sql.tf", "var.database_tier", '"db-g1-small"', "var.database_tier is never"),
    "unused local": (checks.unused, "apis.tf", "for_each = local.apis", 'for_each = toset(["a"])', "local.apis is"),
    "variable without type": (checks.documentation, "variables.tf", "  type        = map(string)\n", "", "no type"),
    "variable without description": (
        checks.documentation,
        "variables.tf",
        '  description = "GPUs of each node of the training pool."\n',
        "",
        "gpu_count has no description",
    ),
    "declared twice": (checks.duplicates, "outputs.tf", 'output "gpu" {', 'variable "zone" {', "var.zone is declared"),
    "wrong indentation": (checks.formatting, "bucket.tf", '      type = "Delete"', '     type = "Delete"', "6 spaces"),
    "unaligned": (checks.formatting, "sql.tf", "edition           =", "edition =", "columns"),
    "needless spaces": (checks.formatting, "apis.tf", "  for_each = local", "  for_each  = local", "columns"),
    "space at the end": (checks.formatting, "apis.tf", "= local.apis", "= local.apis ", "end of the line"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_checks_catch_a_planted_fault(copied: Path, fault: str) -> None:
    check, file, before, after, expected = FAULTS[fault]
    text = (copied / file).read_text()
    assert before in text
    if fault == "needless spaces":
        after += ".a\n  each = local"  # a paragraph needs two lines to be unaligned
    (copied / file).write_text(text.replace(before, after, 1))
    assert expected in "\n".join(check(copied))


def test_a_file_that_is_no_hcl_is_an_error(copied: Path) -> None:
    (copied / "broken.tf").write_text('resource "a" "b" {\n')
    with pytest.raises(Exception, match="Unexpected"):
        checks.parse(copied)


def test_the_example_values_are_of_existing_variables() -> None:
    example = hcl2.loads((CONFIGURATION / "terraform.tfvars.example").read_text())
    known = {name for name, _ in checks.declared(checks.parse(CONFIGURATION))}
    assert {f"var.{name}" for name in example if not name.startswith("__")} <= known


def test_the_training_pool_is_empty_until_something_trains() -> None:
    pool = resource("google_container_node_pool", "gpu")
    assert pool["initial_node_count"] == 0
    assert pool["autoscaling"][0]["min_node_count"] == 0


def test_the_training_pool_is_labelled_and_tainted_as_the_guide_tells_the_trainer() -> None:
    node = resource("google_container_node_pool", "gpu")["node_config"][0]
    assert node["labels"] == GPU_LABEL
    assert node["taint"] == [GPU_TAINT]
    guide = (ROOT / "docs" / "deploy-gke.md").read_text()
    for text in ("flightdeck.dev/pool: gpu", "nvidia.com/gpu=present:NoSchedule", "cloud.google.com/gke-accelerator"):
        assert text in guide


def test_manifests_select_the_pool_that_exists() -> None:
    labels = resource("google_container_node_pool", "cpu")["node_config"][0]["labels"]
    selected = set()
    for path in MANIFESTS.rglob("*.yaml"):
        selected |= {line.strip() for line in path.read_text().splitlines() if "flightdeck.dev/pool" in line}
    assert {f"{key}: {value}" for key, value in labels.items()} == {
        line.removeprefix("value: {").removesuffix("}") for line in selected
    }


def test_no_password_reaches_the_state() -> None:
    kinds = {
        kind.strip('"')
        for blocks in checks.parse(CONFIGURATION).values()
        for block in blocks.get("resource", [])
        for kind in block
    }
    assert not {kind for kind in kinds if kind in {"google_sql_user", "google_service_account_key", "random_password"}}


def test_identities_are_those_of_the_manifests() -> None:
    blocks = checks.parse(CONFIGURATION)["identity.tf"]["locals"][0]["workloads"]
    used = {
        (overlay.parent / each).resolve()
        for overlay in MANIFESTS.glob("overlays/gke*/kustomization.yaml")
        for each in yaml.safe_load(overlay.read_text())["components"]
    }
    accounts = set()
    for path in [*MANIFESTS.glob("base/*.yaml"), *(file for folder in used for file in folder.glob("*.yaml"))]:
        for manifest in yaml.safe_load_all(path.read_text()):
            if manifest and manifest.get("kind") == "ServiceAccount":
                accounts.add(f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}")
    assert {value.strip('"') for key, value in blocks.items() if not key.startswith("__")} == accounts


def test_the_settings_that_terraform_writes_are_those_that_the_overlay_reads() -> None:
    file = yaml.safe_load((MANIFESTS / "settings" / "gke" / "settings.yaml").read_text())
    output = (CONFIGURATION / "outputs.tf").read_text().split('output "kubernetes_settings"')[1]
    written = {
        line.split("=")[0].strip() for line in output.split("\n    data = {")[1].split("}\n  })")[0].splitlines()
    }
    assert {name for name in written if name and name != "}"} == set(file["data"])

"""The Terraform configuration: parsed, and searched for names that nobody declared. No cloud account is used."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hcl2 import SerializationOptions
from hcl2.query import BlockView, DocumentView, NodeView
from hcl2.rules.containers import ObjectRule

from tests.deploy import terraform_checks as checks
from tests.deploy.kustomize import MANIFESTS, ROOT

pytestmark = pytest.mark.unit

CONFIGURATION = ROOT / "deploy" / "gke"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIGURATION, tmp_path / "gke"))


def block(*labels: str) -> BlockView:
    return next(block for _, block in checks.blocks(CONFIGURATION) if block.labels == list(labels))


def plain(view: NodeView | None) -> Any:
    assert view is not None
    return view.to_dict(SerializationOptions(explicit_blocks=False, strip_string_quotes=True, with_comments=False))


def node_pool(name: str) -> dict[str, Any]:
    kind = "google_container_node_pool"
    return plain(block("resource", kind, name))[kind][name]


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_the_configuration_passes_every_check(check):
    assert check(CONFIGURATION) == []


FAULTS: list[tuple[Callable[[Path], list[str]], str, str, str, str]] = [
    # A check, the file that is changed, what is replaced and by what, and what the check says then.
    (checks.references, "sql.tf", "var.database_tier", "var.databse_tier", "var.databse_tier"),
    (checks.references, "sql.tf", "${var.name}", "${var.nam}", "var.nam"),
    (checks.references, "apis.tf", "for_each = local.apis", "for_each = local.api", "local.api"),
    (checks.references, "pools.tf", "container_cluster.main.id", "container_cluster.mine.id", "_cluster.mine"),
    (checks.references, "sql.tf", "connection.google_services]", "connection.services]", "_connection.services"),
    (checks.references, "sql.tf", "var.database_tier", "module.sizes.tier", "module.sizes"),
    (checks.references, "sql.tf", "var.database_tier", "data.google_x.y.z", "data.google_x.y"),
    (checks.references, "variables.tf", "var.gpu_count)", "var.gpus)", "var.gpus"),
    (checks.unused, "sql.tf", "var.database_tier", '"db-g1-small"', "var.database_tier is never"),
    (checks.unused, "apis.tf", "for_each = local.apis", 'for_each = toset(["a"])', "local.apis is"),
    (checks.documentation, "variables.tf", "  type        = map(string)\n", "", "no type"),
    (checks.documentation, "variables.tf", 'description = "GPUs of each', 'default = "GPUs of each', "no description"),
    (checks.duplicates, "outputs.tf", 'output "gpu" {', 'variable "zone" {', "var.zone is declared"),
    (checks.formatting, "bucket.tf", '      type = "Delete"', '     type = "Delete"', "6 spaces"),
    (checks.formatting, "sql.tf", "edition           =", "edition =", "columns"),
    # A paragraph needs two lines to be unaligned.
    (checks.formatting, "apis.tf", "  for_each = local", "  for_each  = local.a\n  each = local", "columns"),
    (checks.formatting, "apis.tf", "= local.apis", "= local.apis ", "end of the line"),
]


@pytest.mark.parametrize(("check", "file", "before", "after", "expected"), FAULTS)
def test_checks_catch_a_planted_fault(copied: Path, check, file, before, after, expected):
    text = (copied / file).read_text()
    assert before in text
    (copied / file).write_text(text.replace(before, after, 1))
    assert expected in "\n".join(check(copied))


def test_a_file_that_is_no_hcl_is_an_error(copied: Path):
    (copied / "broken.tf").write_text('resource "a" "b" {\n')
    with pytest.raises(Exception, match="Unexpected"):
        checks.blocks(copied)


def test_the_example_values_are_of_existing_variables():
    example = DocumentView.parse_file(str(CONFIGURATION / "terraform.tfvars.example"))
    known = {name for _, block in checks.blocks(CONFIGURATION) for name in checks.declared(block)}
    assert {f"var.{attribute.name}" for attribute in example.attributes()} <= known


def test_the_training_pool_is_empty_until_something_trains():
    pool = node_pool("gpu")
    assert pool["initial_node_count"] == 0
    assert pool["autoscaling"][0]["min_node_count"] == 0


def test_the_training_pool_is_labelled_and_tainted_as_the_guide_tells_the_trainer():
    (node,) = node_pool("gpu")["node_config"]
    assert node["labels"] == {"flightdeck.dev/pool": "gpu"}
    assert node["taint"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]
    guide = (ROOT / "docs" / "deploy-gke.md").read_text()
    for text in ("flightdeck.dev/pool: gpu", "nvidia.com/gpu=present:NoSchedule", "cloud.google.com/gke-accelerator"):
        assert text in guide


def test_manifests_select_the_pool_that_exists():
    labels = node_pool("cpu")["node_config"][0]["labels"]
    texts = "\n".join(path.read_text() for path in MANIFESTS.rglob("*.yaml"))
    selected = set(re.findall(r"flightdeck\.dev/pool: [\w-]+", texts))
    assert {f"{key}: {value}" for key, value in labels.items()} == selected


def test_no_password_reaches_the_state():
    kinds = {block.labels[1] for _, block in checks.blocks(CONFIGURATION) if block.block_type == "resource"}
    assert not kinds & {"google_sql_user", "google_service_account_key", "random_password"}


def test_identities_are_those_of_the_manifests():
    workloads = next(view for _, block in checks.blocks(CONFIGURATION) if (view := block.attribute("workloads")))
    used = {
        (overlay.parent / component).resolve()
        for overlay in MANIFESTS.glob("overlays/gke*/kustomization.yaml")
        for component in yaml.safe_load(overlay.read_text())["components"]
    }
    accounts = set()
    for path in [*MANIFESTS.glob("base/*.yaml"), *(file for folder in used for file in folder.glob("*.yaml"))]:
        for manifest in yaml.safe_load_all(path.read_text()):
            # Those by another name are nobody at Google.
            if (
                manifest
                and manifest.get("kind") == "ServiceAccount"
                and manifest["metadata"]["name"].startswith("flightdeck-")
            ):
                accounts.add(f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}")
    # It has no identity of its own, but that of tasks.
    flink = block("resource", "google_service_account_iam_member", "flink")
    assert "[flightdeck/flightdeck-flink]" in plain(flink.attribute("member"))["member"]
    assert set(plain(workloads)["workloads"].values()) | {"flightdeck/flightdeck-flink"} == accounts


def local(name: str) -> Any:
    """A local value."""
    locals_of = [block for _, block in checks.blocks(CONFIGURATION) if block.block_type == "locals"]
    return plain(next(view for block in locals_of if (view := block.attribute(name))))[name]


def test_each_identity_has_of_the_bucket_what_it_needs_and_no_more():
    """Only pipelines and the loop write where others read; the service and the site see their own folders alone."""
    whole, folders = local("bucket"), local("folders").values()
    assert {who for who, role in whole.items() if role == "roles/storage.objectUser"} == {"runner", "watch"}
    assert {who for who, role in whole.items() if role == "roles/storage.objectViewer"} == {"exporter", "report"}
    assert sorted((given["workload"], given["folder"], given["role"].split(".")[1]) for given in folders) == [
        ("report", "reports", "objectUser"),
        ("server", "models", "objectViewer"),
        ("server", "payloads", "objectUser"),
        ("site", "reports", "objectViewer"),
    ]
    # The proxy uses no file.
    assert whole.keys() | {given["workload"] for given in folders} == local("workloads").keys() - {"database"}


def test_the_folders_that_are_granted_are_those_of_the_settings():
    settings = yaml.safe_load((MANIFESTS / "settings" / "gke" / "settings.yaml").read_text())["data"]
    made = plain(block("resource", "google_storage_managed_folder", "workspace").attribute("for_each"))["for_each"]
    for name, folder in (("modelFolder", "models"), ("payloadFolder", "payloads"), ("reportFolder", "reports")):
        assert settings[name].startswith(f"{settings['workspace']}/{folder}")
        assert f'"{folder}"' in made


def test_the_settings_that_terraform_writes_are_those_that_the_overlay_reads():
    file = yaml.safe_load((MANIFESTS / "settings" / "gke" / "settings.yaml").read_text())
    document = block("output", "kubernetes_settings").find_all(ObjectRule)[0]
    assert set(plain(document.get("data"))) == set(file["data"])

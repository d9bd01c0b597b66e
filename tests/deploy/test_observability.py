"""An overlay with the exporter, dashboards and rules passes what all overlays pass."""

import json

import kubernetes_validate
import pytest
import yaml

from operations.observability import dashboards
from operations.observability.rules import EXPORTER_JOB, SERVING_JOB
from tests.deploy import manifest_checks as checks
from tests.deploy.kustomize import build, copy_of_manifests

pytestmark = pytest.mark.unit

CUSTOM = {"PrometheusRule", "ServiceMonitor"}


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    copied = copy_of_manifests(tmp_path_factory.mktemp("deploy"))
    file = copied / "overlays" / "local" / "kustomization.yaml"
    overlay = yaml.safe_load(file.read_text())
    overlay["components"].append("../../../observability/operator")
    file.write_text(yaml.safe_dump(overlay))
    return build(file.parent)


def one(manifests, kind: str, name: str):
    return next(one for one in manifests if (one["kind"], one["metadata"]["name"]) == (kind, name))


def test_it_satisfies_the_strict_schema_of_kubernetes(manifests):
    assert {manifest["kind"] for manifest in manifests} >= CUSTOM
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_it_passes_every_check(manifests, check):
    assert list(check(manifests)) == []


def test_the_exporter_runs_the_image_of_the_loop_and_is_scraped_as_the_rules_know_it(manifests):
    exporter = one(manifests, "Deployment", "flightdeck-exporter")["spec"]["template"]
    loop = one(manifests, "CronJob", "flightdeck-watch")["spec"]["jobTemplate"]["spec"]["template"]
    monitor = one(manifests, "ServiceMonitor", "flightdeck-exporter")["spec"]
    service = one(manifests, "Service", "flightdeck-exporter")

    assert exporter["spec"]["containers"][0]["image"] == loop["spec"]["containers"][0]["image"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["endpoints"][0]["relabelings"] == [{"targetLabel": "job", "replacement": EXPORTER_JOB}]


def test_the_service_is_scraped_as_the_rules_know_it(manifests):
    monitor = one(manifests, "ServiceMonitor", "model-server")["spec"]
    service = one(manifests, "Service", "model-server")

    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert monitor["endpoints"][0]["relabelings"] == [{"targetLabel": "job", "replacement": SERVING_JOB}]


def test_grafana_finds_every_dashboard(manifests):
    config = one(manifests, "ConfigMap", "flightdeck-dashboards")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    titles = {json.loads(text)["title"] for text in config["data"].values()}
    assert titles == {dashboard.title for dashboard in dashboards.ALL}

"""Dashboards and alert rules name what the code exports, and Prometheus' own tools find nothing wrong with them."""

import json
import re
import subprocess

import pytest
import yaml

from operations import metrics
from operations.observability import dashboards, rules
from operations.observability.__main__ import FOLDER
from operations.observability.expressions import check
from operations.observability.files import contents
from operations.serving.metrics import Metrics
from tests.services.prometheus import installed
from tests.world import ROOT

pytestmark = pytest.mark.unit


def test_the_files_are_those_that_the_code_makes():
    generated = {name: (FOLDER / name).read_text() for name in contents()}
    assert generated == contents(), "make them anew: python -m operations.observability"
    assert {path.name for path in (FOLDER / "dashboards").iterdir()} == {
        f"{board.name}.json" for board in dashboards.ALL
    }


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("rate(flightdeck_serving_requests_totals[5m])", "Nobody exports flightdeck_serving_requests_totals"),
        ("rate(flightdeck_serving_requests[5m])", "Nobody exports"),  # a counter is called _total
        ("rate(flightdeck_serving_request_seconds[5m])", "Nobody exports"),  # and a histogram _bucket, _sum and _count
        ('flightdeck_monitor_signal{kinds="drift"}', "no label kinds"),
        ("sum by (colour) (flightdeck_monitor_signal)", "no label colour"),
        ("rate(node_cpu_seconds_total[5m])", "names no metric of ours"),
    ],
)
def test_an_expression_that_names_what_nobody_exports_is_refused(expression, said):
    with pytest.raises(ValueError, match=said):
        check(expression)
    with pytest.raises(ValueError, match=said):
        rules.Rule("Wrong", expression, "1m", "info", "", "")
    with pytest.raises(ValueError, match=said):
        dashboards.Query(expression)


def test_the_service_exports_what_the_list_says_of_it():
    families = {family.name: family for family in Metrics().registry.collect()}
    declared = {metric.name: metric for metric in metrics.ALL if metric.source == "service"}

    assert {name for name in families if name.startswith("flightdeck")} == set(declared)
    for name, metric in declared.items():
        assert (families[name].type, families[name].documentation) == (metric.kind, metric.help)
    assert {metric.name for metric in metrics.ALL if metric.source == "process"} <= set(families)


def test_every_alert_says_what_to_do_and_has_a_section_that_says_more():
    sections = set(re.findall(r"^### (Flightdeck\w+)$", (ROOT / rules.PAGE).read_text(), re.MULTILINE))
    alerts = {rule.alert for group in rules.GROUPS.values() for rule in group}

    assert sections == alerts
    assert all(rule.summary and rule.remedy for group in rules.GROUPS.values() for rule in group)


def test_promtool_finds_nothing_wrong_with_rules_and_settings():
    for checked in ("rules", "config"):
        file = {"rules": "rules.yml", "config": "prometheus.yml"}[checked]
        done = subprocess.run(
            [installed("promtool"), "check", checked, FOLDER / file], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_rules_on_kubernetes_are_the_same():
    rule = yaml.safe_load((FOLDER / "operator" / "rule.yaml").read_text())
    assert rule["spec"] == yaml.safe_load((FOLDER / "rules.yml").read_text())


def test_grafana_can_place_and_ask_every_panel():
    for board in dashboards.ALL:
        document = json.loads((FOLDER / "dashboards" / f"{board.name}.json").read_text())
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in document["panels"]]
        assert len(set(places)) == len(board.panels)
        assert all(panel["targets"] for panel in document["panels"])

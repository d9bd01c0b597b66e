"""`runs compare` and `runs lineage` on runs that really happened."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pydot
import pytest
from sklearn import metrics

from tests.services.collector import collecting
from tests.world import World

pytestmark = pytest.mark.e2e


class Happened:
    """Two runs on the same window, of which the second trained longer and was traced, and a batch prediction."""

    def __init__(self, world: World):
        self.world = world
        self.first = world.run()
        with collecting() as collector:
            self.second = dataclasses.replace(world, variables=collector.variables).run("model.epochs=3")
        self.spans = collector.spans["flightdeck-run"]
        world.says("predict", "--window", "3:3")

    def ask(self, command: str, *arguments: str) -> Any:
        return self.world.json("runs", command, *arguments)

    def scores(self, run: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        nodes = self.ask("lineage", f"run:{run['run_id']}", "--downstream")["nodes"]
        made = [node for node in nodes if (node["type"], node["run_id"]) == ("Scores", run["run_id"])]
        (uri,) = {node["facts"]["uri"] for node in made if node["kind"] == "artifact"}
        table = pq.read_table(f"{uri}/scores.parquet")
        return table.column("label").to_numpy(), table.column("probability").to_numpy()


@pytest.fixture(scope="module")
def happened(tmp_path_factory: pytest.TempPathFactory, small_spans: Path) -> Happened:
    return Happened(World(tmp_path_factory.mktemp("real-runs"), small_spans))


def test_the_scores_are_those_that_the_evaluation_measured(happened):
    for run in (happened.first, happened.second):
        labels, probabilities = happened.scores(run)
        recorded = happened.ask("show", run["run_id"])
        assert len(labels) == recorded["rows"]["eval"]
        # TFMA counts in 10,000 bins of probability.
        assert metrics.roc_auc_score(labels, probabilities) == pytest.approx(recorded["metrics"]["auc"], abs=1e-3)
        assert probabilities.mean() == pytest.approx(recorded["metrics"]["mean_prediction"], abs=1e-6)


def test_runs_on_the_same_window_are_compared_row_by_row(happened):
    compared = happened.ask("compare", happened.first["run_id"], happened.second["run_id"])

    assert compared["same_rows"] is True
    assert compared["why_not_tested"] is None
    settings = {change["name"]: (change["first"], change["second"]) for change in compared["differences"]["settings"]}
    assert settings == {"model.epochs": (1, 3)}
    assert compared["differences"]["data"] == compared["differences"]["packages"] == []
    auc = next(metric for metric in compared["metrics"] if metric["name"] == "auc")
    labels, first = happened.scores(happened.first)
    _, second = happened.scores(happened.second)
    by_scikit = metrics.roc_auc_score(labels, second) - metrics.roc_auc_score(labels, first)
    assert auc["noise"]["difference"] == pytest.approx(by_scikit, abs=1e-9)
    assert auc["noise"]["rows"] == len(labels)
    assert auc["verdict"] in ("better", "worse", "within noise")
    assert any(part["metric"]["noise"] for part in compared["slices"] if part["slice"].startswith("origin="))


def test_a_model_is_traced_to_the_bytes_of_its_files(happened):
    lineage = happened.ask("lineage", happened.first["run_id"], "--upstream")

    files = {node["name"]: node["facts"] for node in lineage["nodes"] if node["kind"] == "file"}
    on_disk = {
        path.relative_to(happened.world.spans).as_posix(): path.read_bytes()
        for path in sorted(happened.world.spans.rglob("*.parquet"))
    }
    assert {name: (facts["bytes"], facts["sha256"]) for name, facts in files.items()} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in on_disk.items()
    }
    assert {"code", "settings"} <= {node["kind"] for node in lineage["nodes"]}


def test_what_came_of_the_predicting_model_is_the_prediction(happened):
    pushed = [run for run in (happened.first, happened.second) if run["outcome"] == "pushed"][-1]
    version = happened.ask("show", pushed["run_id"])["version"]

    lineage = happened.ask("lineage", version)

    kinds = {(node["type"], node["name"].partition(" ")[0]) for node in lineage["nodes"]}
    assert ("Examples", "Predictions") in kinds
    assert any(node["facts"].get("pushed_version") == version for node in lineage["nodes"])
    dot = happened.world.says("runs", "lineage", version, "--dot", "-")
    (graph,) = pydot.graph_from_dot_data(dot) or [None]
    assert graph is not None
    assert len(graph.get_edges()) == len(lineage["edges"])


def test_the_second_run_used_what_the_first_had_made(happened):
    lineage = happened.ask("lineage", happened.second["run_id"], "--upstream")

    makers = {node["type"]: node["run_id"] for node in lineage["nodes"] if node["kind"] == "execution"}
    assert makers["SpanExampleGen"] == makers["Transform"] == happened.first["run_id"]
    assert makers["Trainer"] == happened.second["run_id"]


def test_a_traced_run_has_its_nodes_as_parts_as_they_were_recorded(happened):
    (whole,) = [span for span in happened.spans if not span.parent_span_id]
    nodes = [span for span in happened.spans if span.parent_span_id == whole.span_id]
    recorded = {node["node_id"]: node for node in happened.second["nodes"]}

    assert whole.name == "run late-flights"
    assert (whole.end_time_unix_nano - whole.start_time_unix_nano) / 1e9 == pytest.approx(happened.second["seconds"])
    assert {node.name for node in nodes} == set(recorded)
    for node in nodes:
        seconds = (node.end_time_unix_nano - node.start_time_unix_nano) / 1e9
        assert seconds == pytest.approx(recorded[node.name]["seconds"], abs=1e-3)
        facts = {attribute.key: attribute.value.string_value for attribute in node.attributes}
        assert facts["state"] == recorded[node.name]["state"]
    by_name = {node.name: node for node in nodes}
    assert by_name["Trainer"].end_time_unix_nano <= by_name["Evaluator"].start_time_unix_nano

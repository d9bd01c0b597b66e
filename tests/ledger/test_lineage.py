"""Lineage in a real metadata store: what is found, what is not followed, and how many questions it takes."""

import json
import sqlite3
from typing import Any

import pydot
import pytest

from ledger import dot
from ledger.lineage import Lineage, trace
from ledger.opening import LedgerError, open_readonly
from tests.ledger.executions import CACHED, Executions
from tests.ledger.seeding import Seeder, calls

pytestmark = pytest.mark.unit
FILES = [
    {"name": f"span-00{span}/parcels.parquet", "span": span, "bytes": 1000 * span, "sha256": f"{span:064x}"}
    for span in (1, 2, 3)
]


class Story:
    """Two runs of which the first was pushed, rolled back to and asked; the second was compared with it."""

    def __init__(self, seeder: Seeder):
        self.seeder = seeder
        self.executions = Executions(seeder.store)
        self.schema = self.executions.artifact("Schema")
        self.executions.execute("first-run", "CuratedSchema", {}, {"schema": self.schema})
        self.examples, self.model, self.pushed = self.train("first-run", version="1700000001")
        self.rolled_back = self.executions.artifact("PushedModel", pushed_version="1700000009")
        act = {"who": "ann", "reason": 'the newer one was "odd"'}
        taken, made = {"model": self.model}, {"pushed_model": self.rolled_back}
        self.executions.execute("first-run", "flightdeck.Rollback", taken, made, **act)
        self.predictions = self.predict("a-prediction")
        _, self.other_model, _ = self.train("second-run", baseline=self.model)

    def train(self, run_id: str, version: str = "", baseline: int | None = None, **fields: Any) -> tuple[int, int, int]:
        make, execute = self.executions.artifact, self.executions.execute
        examples = make("Examples", row_counts='{"train": 3000, "eval": 1500}')
        graph, model, log = make("TransformGraph"), make("Model"), make("ModelRun")
        blessing = make("ModelBlessing", blessed=int(bool(version)))
        pushed = make("PushedModel", pushed_version=version)
        execute(run_id, "SpanExampleGen", {}, {"examples": examples})
        if run_id != "first-run":
            # From the cache: the schema is the first run's.
            execute(run_id, "CuratedSchema", {}, {"schema": self.schema}, state=CACHED)
        execute(run_id, "Transform", {"examples": examples, "schema": self.schema}, {"transform_graph": graph})
        learned_from = {"examples": examples, "transform_graph": graph, "schema": self.schema}
        execute(run_id, "Trainer", learned_from, {"model": model, "model_run": log})
        against = {} if baseline is None else {"baseline_model": baseline}
        if baseline is not None:
            execute(run_id, "Resolver", {}, {"model": baseline}, internal=True)
        execute(run_id, "Evaluator", {"examples": examples, "model": model, **against}, {"blessing": blessing})
        execute(run_id, "Pusher", {"model": model, "model_blessing": blessing}, {"pushed_model": pushed})
        documents = {"files": self.seeder.recorder.put_document(FILES)}
        recorded = {"model_id": model, "version": version or None, "settings": "c0ffee", "documents": documents}
        self.seeder.run(run_id, 0.7, **recorded, **fields)
        return examples, model, pushed

    def predict(self, run_id: str) -> int:
        asked, answers = self.executions.artifact("Examples"), self.executions.artifact("Examples")
        self.executions.execute(run_id, "SpanExampleGen", {}, {"examples": asked})
        taken = {"examples": asked, "model": self.model}
        self.executions.execute(run_id, "BulkInferrer", taken, {"output_examples": answers})
        return answers

    def trace(self, *arguments) -> Lineage:
        return trace(open_readonly(self.seeder.connection), *arguments)


@pytest.fixture
def story(seeder: Seeder) -> Story:
    return Story(seeder)


def ancestors(lineage: Lineage, key: str) -> set[str]:
    direct = {edge.source for edge in lineage.sources().get(key, [])}
    return direct.union(*(ancestors(lineage, source) for source in direct))


def names(lineage: Lineage, kind: str) -> list[str]:
    return [node.name for node in lineage.nodes.values() if node.kind == kind]


def artifacts(lineage: Lineage) -> set[int]:
    return {int(key.removeprefix("artifact ")) for key, node in lineage.nodes.items() if node.kind == "artifact"}


def test_a_model_of_a_project_comes_from_its_code_and_from_flightdeck_s(story):
    fields = {"use_case_commit": "a" * 40, "use_case_dirty": True, "commit": "f" * 40, "dirty": False}
    _, model, _ = story.train("own", **fields)

    code = [dot.label(node) for node in story.trace(str(model), "upstream").nodes.values() if node.kind == "code"]
    assert code[0] == [f"commit {'a' * 12}+", "with uncommitted changes"]
    assert code[1:] == [[f"commit {'f' * 12} of Flightdeck", "as committed"]]


def test_a_model_comes_from_its_files_code_and_settings(story):
    lineage = story.trace(str(story.model), "upstream")

    assert names(lineage, "file") == [file["name"] for file in FILES]
    assert names(lineage, "settings") == ["c0ffee"]
    assert names(lineage, "code") == [f"{1:040x}"[:12]]
    assert sorted(names(lineage, "execution")) == ["CuratedSchema", "SpanExampleGen", "Trainer", "Transform"]
    model = f"artifact {story.model}"
    assert (lineage.upstream_of, lineage.downstream_of) == ((model,), ())
    assert ancestors(lineage, model) == set(lineage.nodes) - {model}
    file = next(node for node in lineage.nodes.values() if node.kind == "file")
    assert file.facts == {"bytes": 1000, "sha256": f"{1:064x}", "span": 1}


def test_what_came_of_a_model_is_its_versions_rollbacks_and_predictions(story):
    lineage = story.trace(f"model:{story.model}", "downstream")

    made = {node.type for node in lineage.nodes.values() if node.kind == "artifact"}
    assert made == {"Model", "ModelBlessing", "PushedModel", "Examples"}
    assert {story.pushed, story.rolled_back, story.predictions} <= artifacts(lineage)
    (rollback,) = (node for node in lineage.nodes.values() if node.type == "Rollback")
    assert (rollback.facts["who"], rollback.facts["reason"]) == ("ann", 'the newer one was "odd"')
    predictions = lineage.nodes[f"artifact {story.predictions}"]
    assert (predictions.name, predictions.run_id) == (f"Predictions {story.predictions}", "a-prediction")


def test_a_challenger_does_not_come_from_its_champion(story):
    lineage = story.trace(str(story.model))

    assert story.other_model not in artifacts(lineage)
    assert lineage.compared == {f"artifact {story.model}": 1}
    assert story.model not in artifacts(story.trace(str(story.other_model)))


def test_what_was_taken_from_the_cache_comes_from_the_run_that_made_it(story):
    lineage = story.trace("second-run", "upstream")

    schema = lineage.nodes[f"artifact {story.schema}"]
    assert schema.run_id == "first-run"
    assert sum(node.type == "CuratedSchema" for node in lineage.nodes.values()) == 1


def test_a_version_comes_from_its_blessing_too_and_its_predictions_come_of_it(story):
    lineage = story.trace("1700000001")

    assert lineage.upstream_of == (f"artifact {story.pushed}",)
    assert lineage.downstream_of == (f"artifact {story.model}",)
    assert "ModelBlessing" in {node.type for node in lineage.nodes.values()}
    assert story.predictions in artifacts(lineage)
    # The version that a rollback made comes from the same model.
    assert story.model in artifacts(story.trace("version:1700000009", "upstream"))


def test_a_prediction_comes_from_its_model_and_what_was_asked(story):
    lineage = story.trace("a-prediction", "upstream")

    assert f"artifact {story.predictions}" in lineage.upstream_of
    assert {story.model, story.examples} <= artifacts(lineage)
    assert names(lineage, "file")


def test_a_run_of_another_pipeline_has_a_lineage_without_files(story):
    made, model = story.executions.artifact("Examples"), story.executions.artifact("Model")
    story.executions.execute("theirs", "CsvExampleGen", {}, {"examples": made})
    story.executions.execute("theirs", "Trainer", {"examples": made}, {"model": model})

    lineage = story.trace("run:theirs")

    assert artifacts(lineage) == {made, model}
    assert {node.kind for node in lineage.nodes.values()} == {"artifact", "execution"}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("version:12", "no pushed version 12"),
        ("model:999", "There is no model 999: the store has no such artifact."),
        ("model:1", "There is no model 1: artifact 1 is a Schema."),
        ("model:first", "a model is named by its number"),
        ("no-such-run", "no run no-such-run"),
        ("empty-run", "Run empty-run made nothing that is recorded"),
    ],
)
def test_what_does_not_exist_is_one_sentence(story, what, said):
    story.seeder.run("empty-run", outcome="failed")

    with pytest.raises(LedgerError, match=said):
        story.trace(what)


def test_the_number_of_questions_does_not_grow_with_what_came_of_a_model(story, monkeypatch):
    def questions() -> int:
        store = open_readonly(story.seeder.connection)
        return len(calls(monkeypatch, store, lambda: trace(store, str(story.model))))

    few = questions()
    for index in range(40):
        story.predict(f"prediction-{index}")

    assert questions() == few


def test_dot_is_read_by_pydot_with_every_node_and_edge(story):
    lineage = story.trace("1700000001")

    (graph,) = pydot.graph_from_dot_data(dot.written(lineage)) or [None]

    assert graph is not None
    # pydot takes a newline after a semicolon for a node, too.
    nodes = {node.get_name().strip('"') for node in graph.get_nodes()} - {"node", "edge", "graph", "\\n"}
    assert nodes == set(lineage.nodes)
    edges = [(edge.get_source().strip('"'), edge.get_destination().strip('"')) for edge in graph.get_edges()]
    assert sorted(edges) == sorted((edge.source, edge.target) for edge in lineage.edges)
    (rollback,) = (node for node in graph.get_nodes() if "Rollback" in str(node.get("label")))
    assert 'by ann: the newer one was \\"odd\\"' in str(rollback.get("label"))


@pytest.mark.parametrize(
    "name", ['a "quoted" name', "back\\slash", "two\nlines", "ends in \\", "日本 <b>&amp;", "a;b}"]
)
def test_dot_quotes_whatever_a_name_holds(seeder, name):
    executions = Executions(seeder.store)
    model = executions.artifact("Model", uri=name)
    executions.execute("a-run", "Trainer", {}, {"model": model}, reason=name, who="ann")

    text = dot.written(trace(open_readonly(seeder.connection), "a-run"))

    (graph,) = pydot.graph_from_dot_data(text) or [None]
    assert graph is not None
    assert len(graph.get_edges()) == 1


def test_the_tree_shows_each_thing_once_and_then_by_name(story, runs_command):
    code, out, err = runs_command("lineage", "version:1700000001")

    assert code == 0, err
    origin, _, use = out.partition("What came of it")
    assert origin.count("span-001/parcels.parquet  1,000 bytes, sha256 000000000000") == 1
    assert origin.count(f"Model {story.model}  from Trainer, run first-run") == 1
    assert f"Model {story.model}  (see above)" in origin
    assert "settings c0ffee" in origin
    assert f"PushedModel {story.rolled_back}  version 1700000009" in use
    assert 'by ann: the newer one was "odd"' in use
    assert f"Predictions {story.predictions}  from BulkInferrer, run a-prediction" in use
    assert f"Model {story.model} was the champion in 1 evaluation of others." in use


def test_versions_are_not_hidden_by_many_predictions_and_those_are_the_newest(story, runs_command):
    newest = [story.predict(f"prediction-{index}") for index in range(25)][-1]
    version = story.executions.artifact("PushedModel", pushed_version="1700000050")
    story.executions.execute("a-promotion", "flightdeck.Promote", {"model": story.model}, {"pushed_model": version})

    shown = runs_command("lineage", f"model:{story.model}", "--downstream")[1]

    assert "version 1700000050" in shown
    assert f"Predictions {newest} " in shown
    assert f"Predictions {story.predictions} " not in shown
    assert "more: add --all" in shown


def test_json_and_dot_hold_the_whole_graph(story, runs_command, tmp_path):
    document = json.loads(runs_command("lineage", "first-run", "--json", "--upstream")[1])
    assert {node["name"] for node in document["nodes"] if node["kind"] == "file"} == {file["name"] for file in FILES}
    keys = {node["key"] for node in document["nodes"]}
    assert all({edge["source"], edge["target"]} <= keys for edge in document["edges"])

    assert "Wrote" in runs_command("lineage", "first-run", "--dot", str(tmp_path / "lineage.dot"))[1]
    on_screen = runs_command("lineage", "first-run", "--dot", "-")[1]
    assert (tmp_path / "lineage.dot").read_text() == on_screen
    assert on_screen.startswith("digraph lineage {")

    code, _, err = runs_command("lineage", "first-run", "--dot", str(tmp_path / "no" / "folder.dot"))
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("The graph cannot be written to ")


def test_things_removed_from_the_store_do_not_break_it(story):
    graph = min(artifact.id for artifact in story.seeder.store.get_artifacts_by_type("TransformGraph"))
    transform = min(run.id for run in story.seeder.store.get_executions() if run.type.endswith("Transform"))
    # ML Metadata deletes nothing; an event may still point to what another tool removed.
    with sqlite3.connect(story.seeder.connection.sqlite.filename_uri) as database:
        database.execute("DELETE FROM Artifact WHERE id = ?", (graph,))
        database.execute("DELETE FROM Execution WHERE id = ?", (transform,))

    lineage = story.trace(str(story.model))

    assert not {f"artifact {graph}", f"execution {transform}"} & lineage.nodes.keys()
    assert names(lineage, "file")

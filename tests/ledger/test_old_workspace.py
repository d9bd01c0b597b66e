"""A workspace that the code before issue 14 made: one real `flightdeck run --window 1:3`, its store kept as SQL."""

import json
import sqlite3
from pathlib import Path

import pytest

from ledger.opening import open_readonly
from ledger.runs import Runs
from tests.ledger.seeding import sqlite

pytestmark = pytest.mark.unit
RUN, VERSION, MODEL_ID = "20261129-120109-0327", 1795953730, 8


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing but the metadata store: what the ledger knows is read from no other file."""
    folder = tmp_path_factory.mktemp("old")
    with sqlite3.connect(folder / "metadata.sqlite") as database:
        database.executescript(Path(__file__).with_name("old_workspace.sql").read_text(encoding="utf-8"))
    database.close()
    return folder


@pytest.fixture
def answer(flightdeck, workspace: Path):
    """What a command prints about the workspace: ``answer("runs", "list")``; with ``--json``, as plain values."""

    def run(*arguments: str):
        code, out, err = flightdeck(*arguments, "--set", f"workspace={workspace}")
        assert code == 0, err
        return json.loads(out) if "--json" in arguments else out

    return run


def test_its_run_is_listed(answer):
    (run,) = answer("runs", "list", "--json")["runs"]

    assert (run["run_id"], run["kind"], run["outcome"], run["window"]) == (RUN, "run", "pushed", "1:3")
    assert run["commit"] == "49ab48c903d310e04aadd3a016340ab4e1f86458"
    assert run["spans"] == {"train": [1, 2], "eval": [3]}
    assert answer("runs", "best", "--json")["run_id"] == RUN


def test_its_run_is_shown_with_its_documents(answer):
    page = answer("runs", "show", "latest")
    shown = answer("runs", "show", RUN, "--json")

    assert "pushed" in page
    assert "0.7308" in page
    assert "worst slices" in page
    assert shown["contents"]["settings"]["use_case"]["name"] == "late-flights"
    assert {row["slice"] for row in shown["contents"]["slices"]} >= {"origin=EWR"}


def test_its_summary_is_what_it_was(workspace):
    """`summary.json` as the code of then wrote it, to the last digit."""
    runs = Runs(open_readonly(sqlite(workspace / "metadata.sqlite")))

    summary = runs.view(runs.find(RUN)).summary()

    # What has been added since: it was not recorded then.
    assert {node.pop("cpu_seconds") for node in summary["nodes"]} == {None}
    assert {node.pop("engine") for node in summary["nodes"]} == {None}
    assert summary == json.loads(Path(__file__).with_name("old_summary.json").read_text(encoding="utf-8"))


def test_its_settings_can_be_loaded(answer):
    from flightdeck.settings import Settings
    from pipeline import settings_file

    document = answer("runs", "show", RUN, "--json")["contents"]["settings"]
    settings = settings_file.from_document(document)

    assert (settings.use_case.name, settings.model.epochs) == ("late-flights", 3)
    assert settings.infra_validation.server == "operations.serving"
    # It recorded all sections. A run records the pipeline's own now; what it said still holds, beside what came later.
    assert_holds(document, settings.document())
    assert document.keys() - settings.document().keys() == {
        "alerts", "batch", "canary", "continuous", "monitoring", "replay", "serving",
    }  # fmt: skip
    whole = settings_file.from_document(document, Settings).whole_document()
    assert document.keys() <= whole.keys()
    assert_holds(document, whole)


def assert_holds(recorded, now):
    """All that was recorded of the sections that there are now is the same."""
    for name, section in now.items():
        said = recorded.get(name, section)
        assert (section | said if isinstance(said, dict) else said) == section, name


def test_its_lineage_leads_from_the_files_to_the_pushed_model(answer):
    for what in (RUN, f"version:{VERSION}", f"model:{MODEL_ID}"):
        graph = answer("runs", "lineage", what, "--json")
        nodes = graph["nodes"]
        assert {"file", "code", "settings", "artifact", "execution"} == {node["kind"] for node in nodes}
        assert {"Examples", "Model", "PushedModel"} <= {node["type"] for node in nodes}


def test_its_model_is_listed_and_shown_with_its_metrics(answer):
    (version,) = answer("models", "list", "--json")
    shown = answer("models", "show", str(VERSION), "--json")

    assert (version["number"], version["run_id"], version["blessed"]) == (VERSION, RUN, True)
    assert shown["model_id"] == MODEL_ID
    # Nothing but the ledger is there: no folder of the run with its summary.
    assert shown["metrics"]["auc"] == 0.7307584597328177

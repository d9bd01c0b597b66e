"""`flightdeck runs reproduce` as a person types it: in a checkout of its own, on a real run of the pipeline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.repository import git
from tests.small_run import SMALL
from tests.world import ROOT

pytestmark = pytest.mark.proof


class Checkout:
    """A git repository with this code in it, so that its files can be changed; a workspace; and spans."""

    def __init__(self, folder: Path, spans: Path) -> None:
        self.folder, self.workspace, self.spans = folder / "checkout", folder / "workspace", folder / "spans"
        shutil.copytree(spans, self.spans)
        listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.folder / name)
        git(self.folder, "init", "--quiet", "--initial-branch=main")
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--message=the code")
        self.commit = git(self.folder, "rev-parse", "HEAD")

    def flightdeck(
        self,
        *arguments: str,
        spans: Path | None = None,
        overrides: tuple[str, ...] = (),
        imports_anew: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        settings = (f"workspace={self.workspace}", f"data.spans={spans or self.spans}", *overrides)
        command = ["flightdeck", *arguments, *(part for setting in settings for part in ("--set", setting))]
        environment = self._environment(PYTHONPATH=str(self.folder))
        if imports_anew:
            program = [sys.executable, "-m", *command]
            return subprocess.run(
                program, capture_output=True, text=True, cwd=self.folder, env=environment, timeout=600
            )
        return forked.run(*command, cwd=self.folder, env=environment)

    def reproduce(self, *arguments: str, expect: int, **where: Any) -> subprocess.CompletedProcess[str]:
        done = self.flightdeck("runs", "reproduce", *arguments, **where)
        assert done.returncode == expect, f"{done.stdout}\n{done.stderr}\n{self._log()[-5000:]}"
        assert "Traceback" not in done.stderr
        return done

    def record(self, run_id: str) -> dict[str, Any]:
        done = self.flightdeck("runs", "show", run_id, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def pushed(self) -> list[str]:
        return sorted(path.name for path in (self.workspace / "models").glob("*/*"))

    def store(self):
        from ledger.opening import open_store
        from tests.ledger.seeding import sqlite

        return open_store(sqlite(self.workspace / "metadata.sqlite"))

    def _log(self) -> str:
        logs = sorted(self.workspace.glob("runs/*/run.log"))
        return logs[-1].read_text(errors="replace") if logs else ""

    @staticmethod
    def _environment(**further: str) -> dict[str, str]:
        # In a git hook, or in an image, these are about another checkout.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "FLIGHTDECK_COMMIT"))}
        return {**kept, **further}


@pytest.fixture(scope="module")
def checkout(small_spans, tmp_path_factory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("reproduce"), small_spans)


@pytest.fixture(scope="module")
def run_id(checkout) -> str:
    """A run with hyperparameters that are not those of the settings file."""
    done = checkout.flightdeck("run", "--json", overrides=SMALL)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    summary = json.loads(done.stdout)
    assert summary["outcome"] == "pushed"
    return summary["run_id"]


@pytest.fixture(scope="module")
def reproduction(checkout, run_id) -> dict[str, Any]:
    return json.loads(checkout.reproduce(run_id, "--json", expect=0, imports_anew=True).stdout)


@pytest.fixture
def changed_row(checkout, tmp_path) -> Path:
    """The same spans, but for one number in one row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shutil.copytree(checkout.spans, tmp_path / "spans")
    file = tmp_path / "spans" / "span-002" / "flights.parquet"
    table = pq.read_table(file)
    field = table.schema.field("distance")
    column = table.column("distance").to_pylist()
    column[0] += 700
    pq.write_table(
        table.set_column(table.schema.get_field_index("distance"), field, pa.array(column, field.type)), file
    )
    return tmp_path / "spans"


def test_a_run_made_again_is_bit_identical_and_measures_the_same(reproduction):
    assert reproduction["identical"]
    assert reproduction["differences"] == []
    assert reproduction["reasons"] == []
    comparison = reproduction["comparison"]
    assert comparison["values"] > 1000
    assert comparison["slices"] > 3
    assert comparison["metrics"] > comparison["slices"]


def test_the_reproduction_is_a_run_of_its_own_that_links_to_the_original(checkout, run_id, reproduction):
    original, record = checkout.record(run_id), checkout.record(reproduction["run_id"])

    assert (record["kind"], record["parent"], record["outcome"]) == ("reproduction", run_id, "done")
    assert record["metrics"] == original["metrics"]
    assert record["model_id"] not in (None, original["model_id"])
    assert "cached" not in {node["state"] for node in record["nodes"]}
    shown = checkout.flightdeck("runs", "show", record["run_id"], "--document", "verdict", "--json")
    assert json.loads(shown.stdout)["identical"] is True
    assert json.loads(shown.stdout)["original"] == run_id


def test_the_settings_file_is_another_by_now_and_the_recorded_settings_count(checkout, run_id, reproduction):
    used = checkout.record(reproduction["run_id"])["hyperparameters"]

    assert used == checkout.record(run_id)["hyperparameters"]
    assert used["epochs"] == 1
    assert any("model.epochs is 3, and was 1" in note for note in reproduction["notes"])


def test_a_reproduction_is_neither_blessed_nor_pushed_nor_seen_by_the_pipeline_that_looks_for_a_champion(
    checkout, run_id, reproduction
):
    store = checkout.store()
    model = checkout.record(reproduction["run_id"])["model_id"]
    (pipeline,) = [each for each in store.get_contexts_by_type("pipeline") if each.name == "late-flights"]

    assert len(checkout.pushed()) == 1
    assert model not in {each.id for each in store.get_artifacts_by_context(pipeline.id)}
    blessed = [
        each.custom_properties["current_model_id"].int_value
        for each in store.get_artifacts_by_type("ModelBlessing")
        if "blessed" in each.custom_properties
    ]
    assert blessed == [checkout.record(run_id)["model_id"]]


def test_a_changed_row_is_found_with_its_span_and_what_it_changes_is_shown_on_request(checkout, run_id, changed_row):
    refused = json.loads(checkout.reproduce(run_id, "--json", expect=2, spans=changed_row).stdout)

    assert not refused["reproducible"]
    assert [(each["aspect"], each["name"], each["span"]) for each in refused["differences"]] == [
        ("data", "span-002/flights.parquet", 2)
    ]

    shown = checkout.reproduce(run_id, "--allow-different", expect=1, spans=changed_row).stdout
    assert "Different    span-002/flights.parquet (span 2)" in shown
    assert "not identical" in shown
    assert "largest difference" in shown
    assert "auc" in shown
    latest = checkout.record("latest")
    assert (latest["kind"], latest["outcome"]) == ("reproduction", "done")
    assert any("variables differ" in reason for reason in latest["reasons"])


def test_a_changed_package_is_named_with_both_versions(checkout, run_id):
    from importlib.metadata import version

    from ledger.recorder import PREFIX, RUN, Recorder

    store = checkout.store()
    recorder = Recorder(store)
    packages = recorder.document(recorder.read(run_id).documents["packages"])
    context = store.get_context_by_type_and_name(RUN, run_id)
    copy = type(context)(type_id=context.type_id, name="of-an-older-keras")
    for name, value in context.custom_properties.items():
        copy.custom_properties[name].CopyFrom(value)
    older = recorder.put_document({**packages, "keras": "3.0.0"})
    copy.custom_properties[f"{PREFIX}documents.packages"].string_value = older
    store.put_contexts([copy])

    refused = checkout.reproduce("of-an-older-keras", expect=2).stderr

    assert f"Packages: keras is {version('keras')}, and was 3.0.0." in refused
    assert "requirements/install.sh runtime" in refused
    assert "Code:" not in refused


def test_changed_code_is_named_and_the_run_is_made_again_in_a_worktree_of_its_commit(checkout, run_id):
    network = checkout.folder / "models" / "network.py"
    before = network.read_text()
    network.write_text(before.replace("relu", "tanh") + "# changed\n")
    try:
        refused = checkout.reproduce(run_id, expect=2).stderr
        assert "Code: models/network.py has changed." in refused
        assert f"flightdeck runs reproduce {run_id} --at {checkout.commit[:12]}" in refused

        shown = checkout.reproduce(run_id, "--at", checkout.commit[:12], expect=0).stdout
        assert "identical" in shown
        record = checkout.record("latest")
        assert (record["parent"], record["commit"], record["dirty"]) == (run_id, checkout.commit, False)
        assert network.read_text() != before
        assert not (checkout.workspace / "worktrees").exists()
    finally:
        network.write_text(before)

"""`flightdeck runs reproduce` as a person types it: in a checkout of its own, on a real run of the pipeline."""

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.damaged_spans import damaged
from tests.repository import git
from tests.small_run import SMALL
from tests.world import ROOT, World

pytestmark = pytest.mark.proof


class Checkout(World):
    """A git repository with this code in it, so that its files can be changed; a workspace; and spans."""

    def options(self, *overrides: str) -> list[str]:
        settings = (f"workspace={self.workspace}", f"data.spans={self.spans}", *overrides)
        return [part for setting in settings for part in ("--set", setting)]

    def reproduce(self, *arguments: str, expect: int, imports_anew: bool = False) -> subprocess.CompletedProcess[str]:
        done = self.flightdeck("runs", "reproduce", *arguments, imports_anew=imports_anew)
        assert done.returncode == expect, f"{done.stdout}\n{done.stderr}\n{self.latest_log()[-5000:]}"
        assert "Traceback" not in done.stderr
        return done

    def record(self, run_id: str) -> dict[str, Any]:
        return self.json("runs", "show", run_id)


@pytest.fixture(scope="module")
def checkout(small_spans, tmp_path_factory) -> Iterator[Checkout]:
    place = tmp_path_factory.mktemp("reproduce")
    folder = place / "checkout"
    shutil.copytree(small_spans, place / "spans")
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=the code")
    with pytest.MonkeyPatch.context() as patched:
        # In a git hook, or in an image, these are about another checkout.
        for name in [name for name in os.environ if name.startswith(("GIT_", "FLIGHTDECK_COMMIT"))]:
            patched.delenv(name)
        variables = {"PYTHONPATH": str(folder)}
        yield Checkout(place / "workspace", place / "spans", variables=variables, folder=folder)


@pytest.fixture(scope="module")
def run_id(checkout) -> str:
    """A run with hyperparameters that are not those of the settings file."""
    summary = checkout.run(*SMALL)
    assert summary["outcome"] == "pushed"
    return summary["run_id"]


@pytest.fixture(scope="module")
def reproduction(checkout, run_id) -> dict[str, Any]:
    return json.loads(checkout.reproduce(run_id, "--json", expect=0, imports_anew=True).stdout)


@pytest.fixture
def changed_row(checkout, tmp_path) -> Checkout:
    """The same checkout and spans, but for one number in one row."""
    import pyarrow as pa

    def further(distances: pa.ChunkedArray) -> pa.ChunkedArray:
        first, *others = distances.to_pylist()
        return pa.chunked_array([pa.array([first + 700, *others], distances.type)])

    return dataclasses.replace(checkout, spans=damaged(checkout.spans, tmp_path, "distance", further))


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
    verdict = checkout.json("runs", "show", record["run_id"], "--document", "verdict")
    assert (verdict["identical"], verdict["original"]) == (True, run_id)


def test_the_settings_file_is_another_by_now_and_the_recorded_settings_count(checkout, run_id, reproduction):
    used = checkout.record(reproduction["run_id"])["hyperparameters"]

    assert used == checkout.record(run_id)["hyperparameters"]
    assert used["epochs"] == 1
    assert any("model.epochs is 3, and was 1" in note for note in reproduction["notes"])


def test_a_reproduction_is_neither_blessed_nor_pushed_nor_seen_by_the_pipeline_that_looks_for_a_champion(
    checkout, run_id, reproduction
):
    from ledger.opening import open_store

    store = open_store(checkout.connection())
    model = checkout.record(reproduction["run_id"])["model_id"]
    pipeline = store.get_context_by_type_and_name("pipeline", "late-flights")

    assert len(checkout.versions()) == 1
    assert model not in {artifact.id for artifact in store.get_artifacts_by_context(pipeline.id)}
    blessed = [
        blessing.custom_properties["current_model_id"].int_value
        for blessing in store.get_artifacts_by_type("ModelBlessing")
        if "blessed" in blessing.custom_properties
    ]
    assert blessed == [checkout.record(run_id)["model_id"]]


def test_a_changed_row_is_found_with_its_span_and_what_it_changes_is_shown_on_request(run_id, changed_row):
    refused = json.loads(changed_row.reproduce(run_id, "--json", expect=2).stdout)

    assert not refused["reproducible"]
    (difference,) = refused["differences"]
    assert (difference["aspect"], difference["name"], difference["span"]) == ("data", "span-002/flights.parquet", 2)

    shown = changed_row.reproduce(run_id, "--allow-different", expect=1).stdout
    assert "Different    span-002/flights.parquet (span 2)" in shown
    assert "not identical" in shown
    assert "largest difference" in shown
    assert "auc" in shown
    latest = changed_row.record("latest")
    assert (latest["kind"], latest["outcome"]) == ("reproduction", "done")
    assert any("variables differ" in reason for reason in latest["reasons"])


def test_a_changed_package_is_named_with_both_versions(checkout, run_id):
    from importlib.metadata import version

    from ledger.opening import open_store
    from ledger.recorder import PREFIX, RUN, Recorder

    store = open_store(checkout.connection())
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
    commit = git(checkout.folder, "rev-parse", "HEAD")
    network = checkout.folder / "models" / "network.py"
    before = network.read_text()
    network.write_text(before.replace("relu", "tanh") + "# changed\n")
    try:
        refused = checkout.reproduce(run_id, expect=2).stderr
        assert "Code: models/network.py has changed." in refused
        assert f"flightdeck runs reproduce {run_id} --at {commit[:12]}" in refused

        shown = checkout.reproduce(run_id, "--at", commit[:12], expect=0).stdout
        assert "identical" in shown
        record = checkout.record("latest")
        assert (record["parent"], record["commit"], record["dirty"]) == (run_id, commit, False)
        assert network.read_text() != before
        assert not (checkout.workspace / "worktrees").exists()
    finally:
        network.write_text(before)

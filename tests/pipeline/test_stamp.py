"""What a run is stamped with before it begins."""

import re
from pathlib import Path

import pydantic
import pytest

from flightdeck.settings import read_settings
from ledger.opening import open_store
from ledger.recorder import Recorder
from ledger.run_record import Revision, RunRecord
from pipeline import stamp, store
from pipeline.task import decode_settings, encode_settings
from tests.repository import git
from tests.world import LOCAL, ROOT

pytestmark = pytest.mark.unit


@pytest.fixture
def checkout(tmp_path):
    git(tmp_path, "init", "--initial-branch=trunk")
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "begin")
    return tmp_path


def test_a_clean_checkout_is_its_commit_and_branch(checkout):
    commit = git(checkout, "rev-parse", "HEAD").strip()

    assert stamp.code(checkout, {}) == Revision(commit=commit, branch="trunk", dirty=False)


def test_every_kind_of_difference_is_in_the_diff(checkout):
    (checkout / "code.py").write_text("x = 2\n")
    (checkout / "new.py").write_text("y = 1\n")
    first = stamp.code(checkout, {})
    (checkout / "new.py").write_text("y = 2\n")
    second = stamp.code(checkout, {})

    assert first.dirty
    assert "+x = 2" in first.diff
    assert "untracked new.py" in first.diff
    assert first.diff != second.diff


def test_a_long_difference_is_only_hashed(checkout):
    (checkout / "code.py").write_text("x = 1\n" * 100_000)

    assert re.fullmatch(r"\d+ characters, sha256 [0-9a-f]{64}", stamp.code(checkout, {}).diff)


def test_a_project_of_its_own_is_stamped_with_its_code_also_before_its_first_commit(checkout, tmp_path_factory):
    settings = read_settings(LOCAL, [f"workspace={tmp_path_factory.mktemp('workspace')}"])
    recorder = Recorder(open_store(store.connection(settings)))
    alone = tmp_path_factory.mktemp("alone")

    def stamped(project: Path) -> RunRecord:
        settings._project = project
        stamp.stamp(recorder, project.name, settings, kind="run", runner="local")
        return recorder.read(project.name)

    assert stamped(ROOT).platform is None
    own, nowhere = stamped(checkout), stamped(alone)
    assert (own.code.commit, own.code.branch, own.code.dirty) == (stamp.code(checkout, {}).commit, "trunk", False)
    assert (nowhere.code.commit, nowhere.code.dirty) == (None, True)
    assert own.platform == nowhere.platform == stamped(ROOT).code


def test_outside_git_nothing_is_made_up_and_an_image_knows_its_commit_from_its_build(tmp_path):
    assert stamp.code(tmp_path, {}) == Revision()
    commit = "c" * 40
    assert stamp.code(ROOT, {"FLIGHTDECK_COMMIT": commit}) == Revision(commit=commit, dirty=False)
    dirty = stamp.code(ROOT, {"FLIGHTDECK_COMMIT": f"{commit}-dirty-12345678"})
    assert dirty == Revision(commit=commit, dirty=True, diff="12345678")


def test_the_sources_are_those_that_make_a_model_and_packages_have_their_versions():
    sources = stamp.sources()

    assert {"pipeline/definition.py", "data/contract.yaml", "data/schema.pbtxt"} <= sources.keys()
    assert not [path for path in sources if path.startswith(("flightdeck/", "operations/", "tests/"))]
    assert stamp.packages()["pydantic"] == pydantic.VERSION


def test_what_is_changed_at_submission_is_in_the_recorded_settings():
    settings = read_settings(ROOT / "config" / "kubeflow.yaml", ["kubeflow.endpoint=http://localhost:1"])
    text = encode_settings(settings)

    changed = decode_settings(text, "1:6", {"model.epochs": "5", "model.learning_rate": "0.5"})

    assert changed.data.window == "1:6"
    assert changed.model == settings.model.model_copy(update={"epochs": 5, "learning_rate": 0.5})
    assert text == encode_settings(read_settings(ROOT / "config" / "kubeflow.yaml"))
    with pytest.raises(ValueError, match="damaged"):
        decode_settings("H4sI", "1:6", {})

"""A commit in a folder of its own: made, used and removed, in a real repository."""

import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flightdeck.settings import read_settings
from ledger.run_record import RunRecord
from operations.experiments.reproduction import worktree
from operations.experiments.reproduction.circumstances import Original, ReproductionError
from pipeline import stamp
from pipeline.beam_settings import Beam
from tests.ledger.seeding import BEGIN
from tests.operations.serving.live_server import wait_for
from tests.repository import commit, git
from tests.world import LOCAL

pytestmark = pytest.mark.unit

# The command line of the repository's commits: it tells what it was given, and waits if it should.
COMMAND_LINE = """
import json, os, pathlib, signal, sys, time
given = {"arguments": sys.argv[1:], "folder": os.getcwd(), "file": __file__}
given["commit"] = os.environ.get("FLIGHTDECK_COMMIT")
given["config"] = json.loads(pathlib.Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
pathlib.Path(given["config"]["workspace"], "told.json").write_text(json.dumps(given))
if "--json" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    time.sleep(60)
sys.exit(CODE)
"""


@pytest.fixture
def repository(tmp_path):
    """Three commits: one without the command, one whose command exits with 1, one whose command exits with 0."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, {"models/network.py": "first\n", "data/contract.yaml": "x: 1\n", "requirements/runtime.txt": ""})
    for code in (1, 0):
        command = {"__init__": "", "__main__": COMMAND_LINE.replace("CODE", str(code)), "runs/reproduce": ""}
        network = f"code {code}\n" + "".join(f"line {number}\n" for number in range(9))
        commit(
            folder, {"models/network.py": network, **{f"flightdeck/{name}.py": text for name, text in command.items()}}
        )
    return folder


@pytest.fixture
def here(tmp_path):
    (tmp_path / "workspace").mkdir()
    return read_settings(LOCAL, [f"workspace={tmp_path / 'workspace'}"])


@pytest.fixture
def checked_out(repository, original, tmp_path):
    """Checks a revision out below a folder `w`."""

    def check_out(revision: str = "main", run: Original | None = None, keep: bool = False, project=repository):
        return worktree.checked_out(project, revision, tmp_path / "w", keep, run or original())

    return check_out


@pytest.fixture
def original(here):
    def made(commit: str | None = None, dirty: bool = False, diff: str | None = None) -> Original:
        record = RunRecord(run_id="20130701-0930-aaaa", started=BEGIN, commit=commit, dirty=dirty)
        settings = here.document() | {"workspace": "/where/it/ran"}
        return Original(record, settings, {}, {}, None, [], diff, "/model", None)

    return made


@pytest.mark.parametrize(("revision", "code"), [("main~1", 1), ("main", 0)])
def test_the_commits_own_command_runs_with_our_places(
    repository, checked_out, here, original, tmp_path, monkeypatch, revision, code
):
    monkeypatch.setenv("FLIGHTDECK_COMMIT", "of the image")
    with checked_out(revision) as tree:
        assert worktree.make_again(tree, original(), here, ["--allow-different"]) == code
        given = json.loads((tmp_path / "workspace" / "told.json").read_text())

        assert (given["folder"], given["commit"]) == (str(tree.folder), None)
        assert Path(given["file"]).is_relative_to(tree.folder)
        assert given["arguments"][:3] == ["runs", "reproduce", "20130701-0930-aaaa"]
        assert given["arguments"][-1] == "--allow-different"
        assert given["config"]["workspace"] == str(tmp_path / "workspace")
        assert given["config"]["use_case"]["contract"] == str(tree.folder / "data/contract.yaml")
    assert not (tmp_path / "w").exists()
    assert git(repository, "worktree", "list").count("\n") == 0
    assert git(repository, "status", "--porcelain") == ""


def test_code_from_before_engines_is_given_arguments_only(checked_out, original, tmp_path):
    own = "components: {Transform: flink, Evaluator: [--runner=SparkRunner]}"
    flink = f"beam={{engine: flink, flink: {{job_endpoint: 'jobs:8099'}}, {own}}}"
    here = read_settings(LOCAL, [f"workspace={tmp_path / 'workspace'}", flink])
    run = original()
    of_then = {name: run.settings["beam"][name] for name in ("args", "components")}
    run = dataclasses.replace(run, settings={**run.settings, "beam": of_then})

    with checked_out(run=run) as tree:
        assert worktree.make_again(tree, run, here, []) == 0

    given = json.loads((tmp_path / "workspace" / "told.json").read_text())["config"]["beam"]
    assert given == {"args": list(Beam().args), "components": {"Evaluator": ["--runner=SparkRunner"]}}


def test_a_kept_worktree_stays_is_used_again_and_its_environment_is_preferred(checked_out):
    with checked_out(keep=True) as tree:
        assert tree.python == sys.executable
    own = tree.folder / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)

    with checked_out() as again:
        assert (again.folder, again.python, again.foreign_packages()) == (tree.folder, str(own), [])
    assert again.kept
    assert tree.folder.is_dir()


def test_a_lock_file_that_is_not_this_environments_is_told_of(repository, checked_out):
    commit(repository, {"requirements/runtime.txt": "pydantic==0.0.1\nnot-made-yet==1\n"})

    with checked_out() as tree:
        missing, other = tree.foreign_packages()

        assert worktree.how_to_install(tree) == f"{tree.folder}/requirements/install.sh runtime"
    assert missing == "not-made-yet is not installed here, and 1 in the lock file there"
    assert other.startswith("pydantic is ")
    assert other.endswith("0.0.1 in the lock file there")


@pytest.mark.parametrize(
    ("revision", "sentence"), [("nowhere", "no commit nowhere"), ("main~2", "older than"), ("--all", "no commit --all")]
)
def test_a_commit_that_is_not_there_or_cannot_do_it_is_refused(checked_out, tmp_path, revision, sentence):
    with pytest.raises(ReproductionError, match=sentence), checked_out(revision):
        pass

    assert not (tmp_path / "w").exists()


def test_without_a_repository_there_is_one_sentence(checked_out, tmp_path):
    with pytest.raises(ReproductionError, match="no git checkout"), checked_out(project=tmp_path):
        pass


@pytest.mark.parametrize("untracked", [False, True])
def test_the_changes_that_a_run_had_on_top_of_its_commit_are_applied(repository, checked_out, original, untracked):
    network = repository / "models" / "network.py"
    changed = network.read_text().replace("line 4", "line four") + "\n   \n"
    network.write_text(changed)
    if untracked:
        (repository / "models" / "new.py").write_text("untracked")
    stamped = stamp.code(repository, {})
    assert stamped.dirty
    git(repository, "checkout", "--quiet", "models/network.py")
    run = original(stamped.commit, True, stamped.diff)

    with checked_out("main", run) as tree:
        assert tree.applied
        assert (tree.folder / "models" / "network.py").read_text() == changed
    with checked_out("main~1", run) as other:
        assert not other.applied


def test_changes_of_which_only_a_digest_is_on_record_cannot_be_applied(repository, checked_out, original, tmp_path):
    run = original(git(repository, "rev-parse", "main"), True, "300000 characters, sha256 abcd")

    with pytest.raises(ReproductionError, match="only their digest is on record"), checked_out("main", run, keep=True):
        pass

    assert not (tmp_path / "w").exists()
    assert git(repository, "worktree", "list").count("\n") == 0


def test_what_a_killed_process_left_behind_is_removed_by_the_next(repository, checked_out, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    commit = git(repository, "rev-parse", "main")[:12]
    left, own = (tmp_path / "w" / f"{commit}-{process}-abc" for process in (dead.pid, os.getpid()))
    git(repository, "worktree", "add", "--quiet", "--detach", str(left), "main")
    own.mkdir()

    with checked_out():
        assert not left.exists()
        assert own.is_dir()
    assert git(repository, "worktree", "list").count("\n") == 0


def _make_again(repository: Path, worktrees: Path, run: Original, workspace: Path) -> None:
    with worktree.checked_out(repository, "main", worktrees, False, run) as tree:
        code = worktree.make_again(tree, run, read_settings(LOCAL, [f"workspace={workspace}"]), ["--json"])
    sys.exit(40 + code)


def test_a_request_to_stop_reaches_the_command_and_the_worktree_goes(repository, original, tmp_path):
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_make_again, args=(repository, tmp_path / "w", original(), tmp_path / "workspace"))
    process.start()
    wait_for((tmp_path / "workspace" / "told.json").exists)
    time.sleep(0.5)
    process.terminate()
    process.join(60)

    assert process.exitcode == 41
    assert not (tmp_path / "w").exists()

"""A project is brought to another Flightdeck: what that changed, and what the person did."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.settings_file import read_yaml
from tests.repository import git
from tests.teaching.new_project import small_project
from tests.teaching.new_project.flightdecks import Flightdeck, at

pytestmark = pytest.mark.e2e
TEMPLATES = "teaching/new_project/templates"
# Before projects said how they were made.
EARLIER = "74cff6fde178a3739a41b0de768ba88f94fc68b3"


@pytest.fixture(scope="module")
def flightdeck(tmp_path_factory: pytest.TempPathFactory) -> Flightdeck:
    return Flightdeck(tmp_path_factory.mktemp("platform"))


def new(flightdeck: Flightdeck, folder: Path) -> Path:
    """A project of the clone, as it is now."""
    table = small_project.loans(folder)
    flightdeck.says(folder, "new", "loans", "--from", str(table), *small_project.OPTIONS)
    return folder / "loans"


def edit(file: Path, old: str, text: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, text))


@pytest.fixture(scope="module")
def project(flightdeck: Flightdeck, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project on which a person has worked, while Flightdeck went on."""
    made = new(flightdeck, tmp_path_factory.mktemp("projects"))
    old = git(flightdeck.folder, "rev-parse", "HEAD")
    # Elsewhere than Flightdeck, in the very line, against it, and where Flightdeck makes nothing.
    edit(made / "README.md", "# loans\n", "# Loans of our bank\n")
    edit(made / "config" / "local.yaml", "learning_rate: 0.002", "learning_rate: 0.003")
    edit(made / "Dockerfile", f"flightdeck:{old[:12]}", f"host/flightdeck:{old[:12]}")
    edit(made / "config" / "staging.yaml", "newest-2:newest", "newest-1:newest")
    (made / "tests" / "test_run.py").unlink()
    (made / "NOTES.md").write_text("ours\n")
    (made / "Makefile").chmod(0o600)
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "-m", "work")

    flightdeck.edit(f"{TEMPLATES}/README.md.j2", ("# answer requests", "# answer the requests"))
    flightdeck.edit(f"{TEMPLATES}/local.yaml.j2", ("learning_rate: 0.002", "learning_rate: 0.001"))
    flightdeck.edit(f"{TEMPLATES}/Makefile.j2", ("## Run the main job", "## Run the one job"))
    flightdeck.edit(f"{TEMPLATES}/test_run.py.j2", ('"""One small run', '"""A small run'))
    taken_away = (
        '    ".dockerignore": "dockerignore.j2",\n',
        '    "config/staging.yaml": "staging.yaml.j2",\n',
    )
    flightdeck.edit(
        "teaching/new_project/delivery.py",
        (taken_away[0], '    "NEWS.md": "news.md.j2",\n    "NOTES.md": "news.md.j2",\n'),
        (taken_away[1], ""),
    )
    (flightdeck.folder / TEMPLATES / "news.md.j2").write_text("news of {{ name }}\n")
    flightdeck.commit()
    return made


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(project, tmp_path / "loans"))


def contents(folder: Path) -> dict[str, bytes]:
    files = git(folder, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    return {name: (folder / name).read_bytes() for name in files if (folder / name).is_file()}


def refused(flightdeck: Flightdeck, project: Path) -> str:
    """What is said of a project that cannot be upgraded, and stays as it is."""
    before = contents(project)
    said = flightdeck.says(project, "upgrade", "--json", expect=2)
    assert said.count("\n") == 1
    assert contents(project) == before
    return said


@pytest.fixture(scope="module")
def upgraded(flightdeck: Flightdeck, project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The project after an upgrade, and what that said."""
    folder = Path(shutil.copytree(project, tmp_path_factory.mktemp("upgraded") / "loans"))
    return folder, json.loads(flightdeck.says(folder, "upgrade", "--json", expect=1))


EXPECTED = {
    "Makefile": "updated",
    "README.md": "merged",
    "NEWS.md": "added",
    ".dockerignore": "removed",
    "config/local.yaml": "conflict",
    "tests/test_run.py": "conflict",
    "NOTES.md": "conflict",
    "config/staging.yaml": "kept",
    "Dockerfile": "merged",
    "config/kubeflow.yaml": "updated",
    ".github/workflows/ci.yml": "updated",
    "flightdeck.yaml": "updated",
}


def test_what_changes_is_said_first_and_nothing_is_written(flightdeck, copy: Path, upgraded):
    said = flightdeck.says(copy, "upgrade", "--check", expect=1)

    listed, _, patch = said.partition("--- a/")
    assert {line.split()[1]: line.split()[0] for line in listed.splitlines()[3:] if line} == EXPECTED
    assert "+demo: setup  ## Run the one job" in patch
    assert git(copy, "status", "--short") == ""


def test_what_only_flightdeck_changed_is_taken_and_what_the_person_changed_elsewhere_stays(flightdeck, upgraded):
    folder, told = upgraded
    old, new = told["old"], git(flightdeck.folder, "rev-parse", "HEAD")
    readme = (folder / "README.md").read_text()

    assert {change["path"]: change["change"] for change in told["changes"]} == EXPECTED
    assert "## Run the one job" in (folder / "Makefile").read_text()
    assert (folder / "Makefile").stat().st_mode & 0o777 == 0o600
    assert readme.startswith("# Loans of our bank\n")
    assert "# answer the requests" in readme
    assert (folder / "NEWS.md").read_text() == "news of loans\n"
    assert not (folder / ".dockerignore").exists()
    assert told["new"] == new
    assert f"ARG FLIGHTDECK=host/flightdeck:{new[:12]}\n" in (folder / "Dockerfile").read_text()
    assert read_yaml(folder / "config" / "kubeflow.yaml")["delivery"]["flightdeck"] == new
    assert read_yaml(folder / "flightdeck.yaml")["flightdeck"] == new
    assert not [name for name, text in contents(folder).items() if old[:12].encode() in text]
    assert told["packages_differ"] is False


def test_conflicts_are_named_and_left_to_the_person(upgraded):
    folder, told = upgraded
    settings = (folder / "config" / "local.yaml").read_text()

    assert set(told["conflicts"]) == {"config/local.yaml", "tests/test_run.py", "NOTES.md"}
    first, _, second = settings.partition("=======")
    assert "<<<<<<< yours\n  learning_rate: 0.003" in first
    assert "learning_rate: 0.001\n" in second.partition(">>>>>>> Flightdeck")[0]
    assert not (folder / "tests" / "test_run.py").exists()
    assert "ours\n" in (folder / "NOTES.md").read_text()
    assert "newest-1:newest" in (folder / "config" / "staging.yaml").read_text()
    # Before they are resolved, nothing else is held against it.
    assert told["problems"] == []


def test_resolved_and_committed_it_is_up_to_date(flightdeck, upgraded, tmp_path: Path):
    folder = Path(shutil.copytree(upgraded[0], tmp_path / "loans"))
    git(folder, "checkout", "--quiet", "HEAD", "--", "config/local.yaml", "NOTES.md")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "upgrade")

    assert "is up to date" in flightdeck.says(folder, "upgrade")
    assert json.loads(flightdeck.says(folder, "upgrade", "--check", "--json"))["changes"] == []
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_usecase.py"]
    done = subprocess.run(tests, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_one_that_was_killed_half_way_goes_on_and_ends_as_if_it_had_not_been(flightdeck, copy: Path, upgraded):
    for name in ("Makefile", "NEWS.md", "config/local.yaml"):
        shutil.copy(upgraded[0] / name, copy / name)
    (copy / ".dockerignore").unlink()

    flightdeck.says(copy, "upgrade", "--json", expect=1)

    assert contents(copy) == contents(upgraded[0])


def test_what_no_commit_holds_is_never_written_over(flightdeck, copy: Path):
    for file in ("Makefile", "NEWS.md"):  # one that is there in the commit, and one that is not
        with (copy / file).open("a") as changed:
            changed.write("# not committed\n")

    said = refused(flightdeck, copy)

    assert f"Makefile, NEWS.md of {copy} would be written, and what is in it now is in no commit" in said


@pytest.mark.parametrize(
    ("part", "instead", "sentence"),
    [
        ("flightdeck: ", "plane: ", "flightdeck.yaml cannot be used: "),
        ('flightdeck: "', 'flightdeck: "0123456789', "flightdeck.yaml cannot be used: "),
        ("{commit}", "1" * 40, "does not have commit 111111111111, which made the project; fetch it first"),
        (
            '"good?"',
            '"bad?"',
            "cannot make the project anew by the options in flightdeck.yaml: The table has no column",
        ),
        ("my loans.csv", "gone.csv", "from which both Flightdecks make the project: put it there."),
    ],
)
def test_how_it_was_made_must_be_right(flightdeck, copy: Path, part: str, instead: str, sentence: str):
    file = copy / "flightdeck.yaml"
    edit(file, part.format(commit=read_yaml(file)["flightdeck"]), instead)
    git(copy, "commit", "--quiet", "--all", "-m", "spoil")

    assert sentence in refused(flightdeck, copy)


def test_one_that_does_not_say_how_it_was_made_is_told_to(flightdeck, copy: Path):
    git(copy, "rm", "--quiet", "flightdeck.yaml")
    git(copy, "commit", "--quiet", "-m", "forget")

    assert "write that file as docs/adapt.md shows, and commit it" in refused(flightdeck, copy)


def test_a_flightdeck_with_changes_is_nothing_that_a_project_could_be_for(flightdeck, copy: Path):
    changed = flightdeck.folder / "README.md"
    before = changed.read_text()
    changed.write_text("changed")

    assert "changes that no commit holds" in flightdeck.says(copy, "upgrade", expect=2)
    changed.write_text(before)


def test_in_flightdeck_itself_git_is_the_way(flightdeck):
    assert "upgraded by git" in flightdeck.says(flightdeck.folder, "upgrade", expect=2)


def test_a_project_of_an_earlier_flightdeck_gets_all_that_there_is_now(flightdeck, tmp_path: Path):
    """One from before projects said how they were made: a person writes that down, as docs/adapt.md shows."""
    earlier = git(flightdeck.folder, "rev-parse", EARLIER)
    project = at(flightdeck, earlier, lambda: new(flightdeck, tmp_path))
    assert not (project / "Dockerfile").exists()
    options = ", ".join(json.dumps(option) for option in small_project.OPTIONS)
    made = f'flightdeck: "{earlier}"\nname: loans\ntable: my loans.csv\noptions: [{options}]\n'
    (project / "flightdeck.yaml").write_text(made)
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "-m", "how it was made")

    told = json.loads(flightdeck.says(project, "upgrade", "--json"))

    assert (told["conflicts"], told["problems"]) == ([], [])
    assert {"Dockerfile", "config/kubeflow.yaml"} <= {
        change["path"] for change in told["changes"] if change["change"] == "added"
    }
    # As if this one had made it.
    (tmp_path / "fresh").mkdir()
    assert contents(project) == contents(new(flightdeck, tmp_path / "fresh"))

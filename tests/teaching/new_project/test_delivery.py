"""What takes a new project further: its image, its settings for a cluster, its CI, and how it was made."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flightdeck.settings import read_settings
from pipeline.settings_file import read_yaml
from teaching.new_project.delivery import Origin, facts
from tests.makefiles import make
from tests.repository import git
from tests.teaching.new_project import small_project
from tests.world import ROOT

unit = pytest.mark.unit


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_project.new(tmp_path_factory.mktemp("projects"))


@unit
def test_settings_image_ci_and_the_project_s_own_file_name_the_flightdeck_that_made_it(project: Path):
    commit = git(ROOT, "rev-parse", "HEAD")
    made = read_yaml(project / "flightdeck.yaml")
    checkouts = [step["with"] for step in workflow(project)["steps"] if "checkout" in step.get("uses", "")]

    options = [*small_project.OPTIONS]
    assert made == {"flightdeck": commit, "name": "loans", "table": "my loans.csv", "options": options}
    assert read_yaml(project / "config" / "kubeflow.yaml")["delivery"] == {"flightdeck": commit}
    assert f"\nARG FLIGHTDECK=flightdeck:{commit[:12]}\nFROM ${{FLIGHTDECK}}\n" in (project / "Dockerfile").read_text()
    assert [given.get("ref") for given in checkouts] == [None, commit]


@unit
def test_the_image_holds_settings_and_use_case_and_nothing_else(project: Path):
    dockerfile = (project / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (\S+) (\S+)$", dockerfile, re.MULTILINE)
    ignored = (project / ".dockerignore").read_text().splitlines()

    assert copied == [("config", "config"), ("usecase", "usecase")]
    assert [line for line in ignored if not line.startswith("#")] == ["*", "!config", "!usecase", "**/__pycache__"]
    assert re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)[-1] == "10001:10001"
    # A new commit copies nothing again.
    assert not re.search(r"^(COPY|RUN)", dockerfile.partition("ARG COMMIT")[2], re.MULTILINE)


@unit
@pytest.mark.parametrize("name", ["a", "a-project-whose-name-has-all-40-characters"])
def test_staging_has_a_name_of_its_own_that_a_use_case_can_have(name: str):
    staging = facts(name, Origin())["staging"]

    assert staging != name
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,39}", staging)


def workflow(project: Path) -> dict:
    (job,) = yaml.safe_load((project / ".github" / "workflows" / "ci.yml").read_text())["jobs"].values()
    return job


@unit
def test_the_workflow_is_one_is_secure_and_runs_targets_that_there_are(project: Path):
    file = project / ".github" / "workflows" / "ci.yml"
    bin_ = Path(sys.executable).parent
    for command in (
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", file],
        ["zizmor", "--offline", "--quiet", "--config", ROOT / ".github" / "zizmor.yml", file],
    ):
        done = subprocess.run([bin_ / command[0], *command[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    scripts = [step["run"] for step in workflow(project)["steps"] if "run" in step]
    assert "curl --fail" in "".join(scripts)
    for script in scripts:
        assert "${{" not in script
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    called = [script.removeprefix("make ") for script in scripts if script.startswith("make ")]
    assert called == ["test", "image"]
    helped = make("help", project).stdout
    assert all(re.search(rf"^  {target} ", helped, re.MULTILINE) for target in called)


@unit
def test_its_settings_for_a_cluster_are_settings(project: Path, monkeypatch):
    monkeypatch.syspath_prepend(project)
    for name in ("kubeflow", "staging"):
        settings = read_settings(project / "config" / f"{name}.yaml")
        assert settings.project == project
        assert settings.kubeflow is not None


@pytest.mark.component
def test_a_clone_beside_flightdeck_passes_its_tests_without_the_table(project: Path, tmp_path: Path):
    """As CI has it."""
    git(tmp_path, "clone", "--quiet", str(project), "loans")
    (tmp_path / "flightdeck").symlink_to(ROOT)
    done = make("test", tmp_path / "loans")

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ passed, \d+ skipped", done.stdout)
    assert "there is no table source/my loans.csv" in done.stdout

"""The workflows of GitHub: what they call exists, and nothing that a stranger writes reaches a shell.

Nothing here runs them; `make lint` checks them against the schema of their format and with zizmor.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.makefiles import targets
from tests.world import ROOT

pytestmark = pytest.mark.unit
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
# What is not ours arrives as a variable: an expression would be pasted into the script before bash reads it.
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


def workflow(file: Path) -> dict[str, Any]:
    content = yaml.safe_load(file.read_text())
    assert isinstance(content, dict)
    # YAML 1.1 takes the key `on` for a truth value.
    content["on"] = content.pop(True)
    return content


def steps(file: Path) -> Iterator[dict[str, Any]]:
    for job in workflow(file)["jobs"].values():
        yield from job["steps"]


def make_targets(file: Path) -> list[str]:
    lines = "\n".join(step.get("run", "") for step in steps(file))
    calls = re.findall(r"(?:^|[\s;&|])make ([^;&|\n]*)", lines)
    return [word for call in calls for word in call.split() if "=" not in word and not word.startswith("-")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_target_that_a_workflow_calls_exists(file):
    called = make_targets(file)

    assert called
    assert set(called) <= targets()


def test_the_release_of_a_person_and_that_of_the_workflow_are_the_same_steps():
    recipe = (ROOT / "Makefile").read_text().partition("\nrelease:")[2].partition("\n\n")[0]

    assert make_targets(RELEASE) == re.findall(r"\$\(MAKE\) ([a-z-]+)", recipe)
    assert make_targets(RELEASE) == ["image", "image-push", "compile", "stage", "promote"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_scripts_are_valid_bash_and_hold_no_expression(file):
    for script in (step["run"] for step in steps(file) if "run" in step):
        assert not EXPRESSION.search(script), f"pass {EXPRESSION.search(script)} as a variable"
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_permissions_are_given_by_job_or_are_to_read(file):
    content = workflow(file)

    assert content["permissions"] in ({}, {"contents": "read"})
    for name, job in content["jobs"].items():
        writes = {what for what, how in job.get("permissions", {}).items() if how == "write"}
        allowed = {"comment": {"pull-requests"}} if file.name == "pull-request.yml" else {}
        if file.name == "release.yml":
            allowed = {job: {"id-token"} for job in content["jobs"]}
        assert writes <= allowed.get(name, set()), f"{file.name}: {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_actions_are_pinned_to_a_major_version(file):
    used = [step["uses"] for step in steps(file) if "uses" in step]
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w./-]+@v\d+", action)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_runs_do_not_pile_up_and_end_some_time(file):
    content = workflow(file)

    assert content["concurrency"]["group"]
    assert all(job["timeout-minutes"] <= 360 for job in content["jobs"].values())


def test_a_pull_request_gets_no_secret_and_its_code_no_token_that_writes():
    file = ROOT / ".github" / "workflows" / "pull-request.yml"
    content = workflow(file)

    # pull_request_target would run with the secrets of the repository.
    assert set(content["on"]) == {"pull_request"}
    assert "secrets." not in file.read_text()
    comment = content["jobs"]["comment"]
    assert not any("checkout" in step.get("uses", "") or "make" in step.get("run", "") for step in comment["steps"])


def test_production_waits_for_staging_and_for_a_person():
    jobs = workflow(RELEASE)["jobs"]

    assert (jobs["staging"]["needs"], jobs["production"]["needs"]) == ("image", "staging")
    assert jobs["production"]["environment"] == "production"
    assert jobs["staging"]["environment"] == jobs["image"]["environment"] == "staging"


def test_the_jar_that_flink_is_tested_with_is_of_our_version_of_beam(tmp_path):
    """The script runs with a `mvn` that says what it is asked for."""
    fetch, test = [step["run"] for step in steps(ROOT / ".github" / "workflows" / "flink.yml") if "run" in step]
    maven = tmp_path / "mvn"
    maven.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    maven.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    asked = subprocess.run(["bash", "-e", "-c", fetch], cwd=ROOT, env=environment, capture_output=True, text=True)

    (version,) = re.findall(r"^apache-beam==(\S+)", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE)
    name = "beam-runners-flink-1.20-job-server"
    assert f"-Dartifact=org.apache.beam:{name}:{version}" in asked.stdout.splitlines()
    assert "-Dmdep.stripVersion" in asked.stdout
    assert "-DoutputDirectory=build/flink" in asked.stdout
    assert test.endswith(f"make flink-test FLINK_JOB_SERVER_JAR=build/flink/{name}.jar")


def test_every_variable_and_secret_is_explained():
    guide = (ROOT / "docs" / "ci-cd.md").read_text()
    for file in FILES:
        for name in re.findall(r"\b(?:vars|secrets)\.([A-Z_]+)", file.read_text()):
            assert f"`{name}`" in guide, f"{file.name} uses {name}, and docs/ci-cd.md says nothing of it"


@pytest.mark.parametrize(
    "variable", ["IMAGE=registry.example/ml/late-flights", "CRON=15 4 * * 1-5", "STAGING_ENDPOINT=http://127.0.0.1:9"]
)
def test_targets_of_a_release_are_plain_commands_that_take_what_they_are_told(variable):
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "image", "image-push", "compile", "stage", "promote", variable],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert variable.partition("=")[2] in done.stdout
    commands = [line for line in done.stdout.splitlines() if line.startswith(".venv/bin/flightdeck")]
    verbs = [" ".join(re.findall(r"^\S+ (\S+ \S+)", line)) for line in commands]
    assert verbs == [
        *["image build"] * 3, *["image push"] * 3, "kubeflow compile", "kubeflow compile",
        "kubeflow upload", "kubeflow submit", "kubeflow promote",
    ]  # fmt: skip
    for command in commands:
        parsed = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True)
        assert parsed.returncode == 0, parsed.stderr

"""`flightdeck new` on two public datasets: from the table to a pushed model and an answered request.

Nothing of Flightdeck's own packages is changed for either. One is in scikit-learn, numbers without time; the other in
TFX, trips of taxis with time, categories, text, gaps, and a column that is known too late.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
# Seconds instead of a good model.
SMALL = ("model.epochs=4", "evaluation.importance_rows=0", "infra_validation.requests=4")


def tumours(folder: Path) -> Path:
    """569 tumours, 30 measurements each: Wolberg, Street and Mangasarian 1995, as scikit-learn ships it."""
    from sklearn.datasets import load_breast_cancer

    path = folder / "tumours.parquet"
    load_breast_cancer(as_frame=True).frame.to_parquet(path)
    return path


def trips(folder: Path) -> Path:
    """15,002 trips from the City of Chicago's open data, as TFX ships them."""
    # Found and not imported, which takes long.
    (tfx,) = importlib.util.find_spec("tfx").submodule_search_locations  # pyright: ignore
    shipped = Path(tfx) / "examples/chicago_taxi_pipeline/data/big_tipper_label/data.csv"
    return Path(shutil.copy(shipped, folder / "trips.csv"))


@dataclasses.dataclass(frozen=True)
class Project:
    """A project as `flightdeck new` made it, and what it said."""

    path: Path
    report: dict

    def flightdeck(self, *arguments: str, expect: int = 0) -> str:
        options = [part for setting in SMALL for part in ("--set", setting)]
        done = self.plain(*arguments, *options)
        assert done.returncode == expect, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def plain(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flightdeck", *arguments], cwd=self.path, capture_output=True, text=True, timeout=900
        )

    def git(self, *arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=self.path, capture_output=True, text=True, check=True).stdout


CASES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "tumours": (tumours, ("--label", "target")),
    "trips": (trips, ("--label", "big_tipper", "--time", "trip_start_timestamp")),
}


@pytest.fixture(scope="module")
def project_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """Makes the project of a dataset, with prepared spans and a run, once."""

    @functools.cache
    def make(name: str) -> Project:
        table, options = CASES[name]
        folder = tmp_path_factory.mktemp(name)
        person = {"NAME": "T", "EMAIL": "t@example.org"}
        known = {f"GIT_{role}_{fact}": value for role in ("AUTHOR", "COMMITTER") for fact, value in person.items()}
        made = subprocess.run(
            [sys.executable, "-m", "flightdeck", "new", name, "--from", str(table(folder)), *options, "--json"],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**os.environ, **known},
        )
        assert made.returncode == 0, made.stderr
        project = Project(folder / name, json.loads(made.stdout))
        project.flightdeck("data", "prepare", "--json")
        summary = json.loads(project.flightdeck("run", "--json"))
        return dataclasses.replace(project, report=project.report | {"summary": summary})

    return make


@pytest.fixture(params=CASES)
def project(request: pytest.FixtureRequest, project_of: Callable[[str], Project]) -> Project:
    """Both of them, one after the other."""
    return project_of(request.param)


def test_time_words_gaps_and_what_is_known_too_late_are_found(project_of: Callable[[str], Project]):
    project = project_of("trips")

    assert project.report["columns"]["time"] == ["trip_start_timestamp"]
    assert project.report["columns"]["text"] == ["company"]
    assert "payment_type" in project.report["columns"]["category"]
    assert project.report["suspects"].keys() == {"tips"}
    assert "tips" not in (project.path / "config" / "local.yaml").read_text()


def test_the_model_is_pushed_and_better_than_chance(project: Project):
    summary = project.report["summary"]

    assert summary["outcome"] == "pushed"
    auc = {"tumours": 0.95, "trips": 0.8}[project.path.name]
    assert auc < summary["metrics"]["auc"] < 1


def test_the_run_is_stamped_with_both_commits(project: Project):
    shown = json.loads(project.plain("runs", "show", "latest", "--json").stdout)
    record = shown.get("record", shown)

    assert record["use_case_commit"] == project.git("rev-parse", "HEAD").strip()
    assert record["use_case_dirty"] is False
    assert record["commit"] != record["use_case_commit"]
    assert f"Use case    {record['use_case_commit']}, nothing changed" in project.plain("runs", "show", "latest").stdout


def test_a_request_is_answered(project: Project):
    command = [sys.executable, "-m", "flightdeck", "serve", "--port", "0", "--grpc-port", "0"]
    process = subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        shown = "".join(iter(process.stdout.readline, "Ctrl+C ends it.\n"))
        line = next(line for line in shown.splitlines() if line.strip().startswith("curl"))
        _, _, body, url = shlex.split(line)
        asked = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            ((probability,),) = json.load(answer)["predictions"]
        assert 0 < probability < 1
        assert re.match(r"Version \d+ of ", shown)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def test_the_run_is_made_again_to_the_last_bit_and_not_with_other_code(project_of: Callable[[str], Project]):
    project = project_of("tumours")
    again = json.loads(project.plain("runs", "reproduce", "latest", "--json").stdout)
    assert again["identical"] is True

    prepare = project.path / "usecase" / "prepare.py"
    prepare.write_text(prepare.read_text() + "\n# changed\n")
    run = project.report["summary"]["run_id"]
    refused = project.plain("runs", "reproduce", run)
    assert refused.returncode == 2
    assert "Code: usecase/prepare.py has changed." in refused.stderr
    assert f"in {project.path}" in refused.stderr
    assert project.plain("runs", "reproduce", run, "--at", "HEAD").returncode == 2

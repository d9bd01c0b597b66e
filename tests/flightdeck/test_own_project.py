"""A project of its own on Kubeflow Pipelines: what is compiled there and sent to a server."""

import base64
import gzip
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from pipeline import project as projects
from tests import forked
from tests.ledger.seeding import Seeder, sqlite
from tests.makefiles import make
from tests.operations.delivery.kfp_server import KfpServer
from tests.repository import git
from tests.teaching.new_project import small_project
from tests.teaching.new_project.projects import own_tests_pass
from tests.world import ROOT

pytestmark = pytest.mark.component
TASKS = ["data", "release", "trainer", "transform"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_project.new(tmp_path_factory.mktemp("own"))


def says(project: Path, *arguments: str, expect: int = 0) -> str:
    """What a command prints in a project: on standard error, if an exit code other than 0 is expected."""
    done = forked.run("flightdeck", *arguments, cwd=project)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stderr if expect else done.stdout


@pytest.fixture(scope="module")
def compiled(project: Path) -> str:
    """What `make compile` writes for production."""
    done = make("compile", project)
    assert done.returncode == 0, done.stdout + done.stderr
    return (project / "build" / "production.yaml").read_text()


def require_no_place(compiled: str, project: Path) -> None:
    """What is compiled, with what is embedded in it, knows the project's files and no folder of this machine."""
    embedded = [gzip.decompress(base64.b64decode(text)) for text in re.findall(r"defaultValue: (H4sI\S+)", compiled)]
    assert len(embedded) == 2
    visible = compiled.encode() + b"".join(embedded)
    assert b"usecase/schema.pbtxt" in visible
    assert b"/workspace/loans/spans" in visible
    for place in (f"{project.parent}/", f"{ROOT}/", f"{Path.home()}/", f"{sys.prefix}/"):
        assert place.encode() not in visible


def test_what_is_compiled_is_the_same_wherever_the_project_is_and_names_no_place(project, compiled, tmp_path):
    head = git(project, "rev-parse", "--short=12", "HEAD")
    elsewhere = shutil.copytree(project, tmp_path / "another place")
    says(elsewhere, "kubeflow", "compile", "--image", f"loans:{head}", "--output", str(tmp_path / "p.yaml"))

    assert (tmp_path / "p.yaml").read_text() == compiled
    require_no_place(compiled, project)
    assert set(re.findall(r"image: (\S+)", compiled)) == {f"loans:{head}"}


def test_staging_and_production_never_share_a_name_or_a_folder_for_models(project, compiled):
    shown = [
        json.loads(says(project, "config", "show", "--json", "--config", f"config/{name}.yaml"))
        for name in ("staging", "kubeflow")
    ]
    staging = (project / "build" / "staging.yaml").read_text()

    assert shown[0]["use_case"]["name"] != shown[1]["use_case"]["name"]
    assert shown[0]["workspace"] != shown[1]["workspace"]
    assert shown[0]["data"]["spans"] == f"{shown[1]['workspace']}/spans"
    assert "name: loans-staging" in staging
    assert "name: loans-staging" not in compiled


def test_what_ran_in_staging_takes_over_in_production(project, compiled, server: KfpServer, tmp_path):
    head = git(project, "rev-parse", "HEAD")
    (tmp_path / "staging").mkdir()
    settings = {"extends": "staging.yaml", "workspace": str(tmp_path / "staging"), "metadata": {"kind": "sqlite"}}
    staging = project / "config" / "staging-here.yaml"
    staging.write_text(yaml.safe_dump(settings))
    there = ("--set", f"kubeflow.endpoint={server.endpoint}")
    server.states = [dict.fromkeys(TASKS, "SUCCEEDED")] * 2
    says(project, "kubeflow", "upload", *there, "--config", "config/staging.yaml", "--file", "build/staging.yaml")
    version = ("--config", "config/staging.yaml", "--pipeline-version", head[:12])
    run = json.loads(says(project, "kubeflow", "submit", *there, *version, "--name", "trial", "--json"))["run_id"]
    seeder = Seeder(sqlite(tmp_path / "staging" / "metadata.sqlite"))
    promote = [
        *("kubeflow", "promote", "trial", "--cron", "0 3 * * 1", "--file", "build/production.yaml", *there),
        *("--staging", str(staging), "--staging-endpoint", server.endpoint, "--json"),
    ]

    def promoted(expect: int = 0, **recorded: object) -> dict:
        facts = {"outcome": "pushed", "commit": "f" * 40, "dirty": False, "use_case_dirty": False, **recorded}
        seeder.run(run, auc=0.7, **facts)
        done = forked.run("flightdeck", *promote, cwd=project)
        assert done.returncode == expect, done.stderr
        return json.loads(done.stdout)

    assert "it ran aaaaaaaaaaaa, and" in promoted(1, use_case_commit="a" * 40)["reasons"][0]
    assert "a Flightdeck with changes" in promoted(1, use_case_commit=head, dirty=True)["reasons"][0]
    assert server.recurring == {}
    assert promoted(use_case_commit=head)["version"] == head[:12]
    assert len(server.recurring) == 1


def test_a_compiled_sweep_is_the_same_wherever_the_project_is_and_names_no_place(project, tmp_path):
    head = git(project, "rev-parse", "--short=12", "HEAD")
    places = [project, shutil.copytree(project, tmp_path / "another place")]
    for number, place in enumerate(places):
        asked = ("--image", f"loans:{head}", "--trials", "3", "--output", str(tmp_path / f"{number}.yaml"))
        says(place, "kubeflow", "sweep", *asked)
    here, there = ((tmp_path / f"{number}.yaml").read_text() for number in range(2))

    assert here == there
    require_no_place(here, project)


def test_a_sweep_is_submitted(project, server: KfpServer):
    there = ("--set", f"kubeflow.endpoint={server.endpoint}", "--image", "host/loans:0123456789ab")
    says(project, "kubeflow", "sweep", *there, "--trials", "3", "--parallel", "2", "--json")

    (sent,) = server.runs.values()
    assert sent["display_name"].startswith("loans sweep")
    assert str(project.parent) not in json.dumps(sent["pipeline_spec"])


@pytest.mark.proof
def test_new_data_become_a_span_that_the_loop_learns_by_what_the_readme_says(project, tmp_path):
    import pandas as pd

    own = shutil.copytree(project, tmp_path / "loans", ignore=shutil.ignore_patterns("build", "workspace"))
    level_2 = (*small_project.SMALL, "continuous.level=2")

    def round_of_the_loop() -> list[dict]:
        told = says(own, "watch", "--once", "--json", *(part for setting in level_2 for part in ("--set", setting)))
        return [json.loads(line) for line in told.splitlines()]

    says(own, "data", "prepare")
    first = round_of_the_loop()
    assert [event["text"] for event in first][:6] == [f"Span {span} is new." for span in range(1, 7)]

    (table,) = (own / "source").iterdir()
    old = pd.read_csv(table)
    days = pd.date_range(old["opened at"].max(), periods=101, freq="D").astype(str)[1:]
    pd.concat([old, old.tail(100).assign(**{"opened at": days})]).to_csv(table, index=False)
    prepare = own / "usecase" / "prepare.py"
    last = re.findall(r'^        "(\d{4}-.*)",$', prepare.read_text(), re.MULTILINE)[-1]
    prepare.write_text(prepare.read_text().replace(f'"{last}",\n', f'"{last}",\n        "{days[0]}",\n'))
    git(own, "commit", "-qam", "Span 7")
    says(own, "data", "prepare")
    own_tests_pass(own)
    second = round_of_the_loop()

    assert [event["text"] for event in second if event["kind"] == "trigger"] == ["Span 7 is new."]
    runs = [next(event["facts"] for event in told if "outcome" in event["facts"]) for told in (first, second)]
    assert [run["outcome"] for run in runs] == ["pushed", "pushed"]
    shown = json.loads(says(own, "runs", "show", runs[1]["run_id"], "--json"))
    assert shown["spans"] == {"train": [1, 2, 3, 4, 5, 6], "eval": [7]}
    assert shown["rows"]["eval"] == 100
    says(own, "models", "rollback")
    served = json.loads(says(own, "models", "show", "--json"))
    assert served["run_id"] == runs[0]["run_id"]


def test_with_another_flightdeck_nothing_is_compiled_and_the_way_out_is_named(project, tmp_path):
    moved = shutil.copytree(project, tmp_path / "moved")
    settings = moved / "config" / "kubeflow.yaml"
    settings.write_text(re.sub(r"flightdeck: \"[0-9a-f]{40}\"", f'flightdeck: "{"0" * 40}"', settings.read_text()))

    for command in (["compile"], ["sweep", "--output", str(tmp_path / "sweep.yaml")]):
        said = says(moved, "kubeflow", *command, expect=2)
        assert f"is for Flightdeck 000000000000 (delivery.flightdeck), and {projects.CHECKOUT} is " in said
        assert said.endswith("move the project to this one with: flightdeck upgrade\n")
        assert said.count("\n") == 1

"""From a compiled pipeline to the schedule of production, against a server that speaks the API of KFP."""

import json
from pathlib import Path

import pytest

from ledger.run_record import RunRecord
from operations.delivery.compiled_pipeline import CompiledPipeline
from operations.delivery.kubeflow import KubeflowPipelines
from operations.delivery.kubeflow_api import NotFoundError
from operations.delivery.kubeflow_run import Run
from operations.delivery.promotion import refusals
from tests.flightdeck.conftest import refused
from tests.ledger.seeding import BEGIN, Seeder, sqlite
from tests.operations.delivery import kfp_server
from tests.operations.delivery.kfp_server import API, KfpServer, Trouble
from tests.world import ROOT, USE_CASE

pytestmark = pytest.mark.unit
GOLDEN = ROOT / "tests" / "pipeline" / "golden" / "kubeflow.yaml"
COMMIT = "0123456789ab"
TASKS = ("data", "transform", "trainer", "release")


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    file = tmp_path / "pipeline.yaml"
    file.write_text(GOLDEN.read_text().replace(":latest", f":{COMMIT}"))
    return file


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """Settings of staging whose ledger is a file."""
    file = tmp_path / "staging.yaml"
    workspace = tmp_path / "staging"
    workspace.mkdir()
    changes = {
        "extends": str(ROOT / "config" / "staging.yaml"),
        "use_case": USE_CASE,
        "workspace": str(workspace),
        "metadata": {"kind": "sqlite"},
    }
    file.write_text(json.dumps(changes))  # JSON is YAML
    return file


@pytest.fixture
def ran(server: KfpServer, done, compiled: Path, staging: Path, tmp_path: Path):
    """Runs the pipeline in staging: the run's id, recorded in the ledger with some fields."""

    def run(state: str = "SUCCEEDED", **fields) -> str:
        server.states = [dict.fromkeys(TASKS, state)]
        there = ("--config", str(staging))
        done("upload", "--file", str(compiled), *there)
        submitted = done("submit", "--pipeline-version", COMMIT, *there, "--name", "trial", "--json")
        run_id = json.loads(submitted)["run_id"]
        seeder = Seeder(sqlite(tmp_path / "staging" / "metadata.sqlite"))
        seeder.run(run_id, auc=0.7, **{"commit": f"{COMMIT}{'0' * 28}", **fields})
        return run_id

    return run


@pytest.fixture
def promote(server: KfpServer, kubeflow, compiled: Path, staging: Path):
    """Promotes the run in staging: exit code, standard output, standard error."""

    def run(*more: str, staging_endpoint: str = server.endpoint) -> tuple[int, str, str]:
        where = ["--file", str(compiled), "--staging", str(staging), "--staging-endpoint", staging_endpoint]
        return kubeflow("promote", "trial", "--cron", "0 3 * * 1", *where, *more)

    return run


@pytest.fixture
def old(server: KfpServer, kubeflow) -> str:
    kubeflow("schedule", "--every", "7d", "--file", str(GOLDEN), "--name", "late-flights")
    (schedule,) = server.recurring
    return schedule


def test_the_first_upload_makes_the_pipeline_and_names_the_version_by_the_commit_of_its_images(server, done, compiled):
    report = json.loads(done("upload", "--file", str(compiled), "--json"))

    (pipeline,), (version,) = server.pipelines.values(), server.versions.values()
    assert (pipeline["name"], version["name"]) == ("late-flights", COMMIT)
    assert version["pipeline_id"] == pipeline["pipeline_id"]
    kept = CompiledPipeline.of(version["pipeline_spec"], "the server")
    assert kept == CompiledPipeline.load(compiled)
    assert kept.specification["platform_spec"]["platforms"]["kubernetes"]
    assert report["new"] is True
    assert report["version_id"] == version["pipeline_version_id"]
    assert report["link"].endswith(f"/#/pipelines/details/{pipeline['pipeline_id']}/version/{report['version_id']}")


def test_the_same_version_again_is_answered_and_not_doubled(server, done, compiled):
    first, again = (json.loads(done("upload", "--file", str(compiled), "--json")) for _ in range(2))

    assert again == {**first, "new": False}
    assert len(server.versions) == len(server.pipelines) == 1
    assert server.paths("POST").count(f"{API}/pipelines/upload_version") == 1


def test_another_content_under_the_same_version_is_refused(server, kubeflow, done, compiled):
    kubeflow("upload", "--file", str(compiled))
    text = compiled.read_text()
    assert "resourceMemoryRequest: 4Gi" in text
    compiled.write_text(text.replace("resourceMemoryRequest: 4Gi", "resourceMemoryRequest: 8Gi"))

    refused(kubeflow("upload", "--file", str(compiled)), "holds something else")
    assert len(server.versions) == 1

    done("upload", "--file", str(compiled), "--version-name", "half-the-processors")
    assert {version["name"] for version in server.versions.values()} == {COMMIT, "half-the-processors"}
    assert len(server.pipelines) == 1


def test_images_that_name_no_commit_need_a_version_name(server, kubeflow, done):
    refused(kubeflow("upload", "--file", str(GOLDEN)), "not all tagged with one commit")
    assert server.paths("POST") == []
    done("upload", "--file", str(GOLDEN), "--version-name", "first")


def test_images_of_two_commits_name_none(compiled):
    compiled.write_text(compiled.read_text().replace(f"{COMMIT}-gpu", "ba9876543210-gpu"))

    assert CompiledPipeline.load(compiled).commit is None


def test_a_version_that_somebody_else_uploads_at_the_same_moment_is_used(server, compiled):
    pipeline = CompiledPipeline.load(compiled)
    client = KubeflowPipelines(server.endpoint)
    theirs, _ = client.upload(pipeline, "late-flights", COMMIT)
    server.troubles = [Trouble("GET", f"{API}/pipelines/{theirs.pipeline_id}/versions", 200, "{}", times=1)]

    assert client.upload(pipeline, "late-flights", COMMIT) == (theirs, False)


def test_a_server_for_several_users_keeps_the_pipeline_in_the_namespace(server, compiled):
    server.multi_user = True
    client = KubeflowPipelines(server.endpoint, namespace="ann")

    client.upload(CompiledPipeline.load(compiled), "late-flights", COMMIT)

    (pipeline,) = server.pipelines.values()
    assert pipeline["namespace"] == "ann"
    assert client.version("late-flights", COMMIT).name == COMMIT
    with pytest.raises(NotFoundError, match="There is no version"):
        KubeflowPipelines(server.endpoint, namespace="bob").version("late-flights", COMMIT)


def test_a_run_of_a_version_refers_to_it_and_shows_its_tasks(server, done, compiled):
    done("upload", "--file", str(compiled))
    server.states = [{"data": "RUNNING"}]

    done("submit", "--pipeline-version", COMMIT, "--name", "june", "-p", "epochs=5", "--json")

    (run,), (version,) = server.runs.values(), server.versions.values()
    assert "pipeline_spec" not in run
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert run["runtime_config"]["parameters"]["epochs"] == 5
    tasks = {task["name"]: task["state"] for task in json.loads(done("status", "june", "--json"))["tasks"]}
    assert tasks == {"data": "RUNNING", "transform": "PENDING", "trainer": "PENDING", "release": "PENDING"}


def test_a_version_that_is_not_there_is_refused(server, kubeflow, compiled):
    refused(kubeflow("submit", "--pipeline-version", COMMIT), "upload it with")
    both = kubeflow("submit", "--pipeline-version", COMMIT, "--file", str(compiled))
    refused(both, "either --file or --pipeline-version")
    assert server.runs == {}


def test_a_good_run_in_staging_replaces_the_schedule_of_production(server, old, ran, promote):
    run_id = ran()

    code, out, err = promote("--json")

    assert code == 0, err
    (new,) = server.recurring.values()
    assert new["recurring_run_id"] != old
    assert new["display_name"] == "late-flights"
    assert new["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * 1"}}
    version = server.versions[new["pipeline_version_reference"]["pipeline_version_id"]]
    assert version["name"] == COMMIT
    assert server.pipelines[version["pipeline_id"]]["name"] == "late-flights"
    report = json.loads(out)
    assert (report["promoted"], report["run"], report["version"]) == (True, run_id, COMMIT)


def test_a_promotion_does_not_end_the_run_of_the_old_schedule(server, old, ran, promote):
    run = server.fire(old)
    ran()

    code, out, err = promote("--json")

    assert code == 0, err
    assert json.loads(out)["replaced"] == {"deleted": [], "kept": {old: [run]}}
    assert server.recurring[old]["status"] == "DISABLED"
    assert server.killed == set()


def test_staging_may_want_another_token_than_production(server, ran, promote, monkeypatch):
    ran()
    server.token = "secret-of-production"
    monkeypatch.setenv("FLIGHTDECK_KFP_TOKEN", server.token)
    with kfp_server.serving() as other:
        other.token = "secret-of-staging"
        other.experiments, other.runs, other.versions, other.pipelines = (
            server.experiments, server.runs, server.versions, server.pipelines,
        )  # fmt: skip
        other.states = [dict.fromkeys(TASKS, "SUCCEEDED")]
        assert "does not accept the token" in promote(staging_endpoint=other.endpoint)[2]
        assert server.recurring == {}

        monkeypatch.setenv("FLIGHTDECK_STAGING_KFP_TOKEN", other.token)
        code, _, err = promote(staging_endpoint=other.endpoint)

    assert code == 0, err
    assert len(server.recurring) == 1


def test_a_run_that_was_not_good_enough_changes_nothing(server, old, ran, promote):
    before = dict(server.recurring)
    ran("FAILED", outcome="failed")
    versions = dict(server.versions)

    code, out, err = promote()

    assert (code, out) == (1, "")
    assert "Not promoted: the run is FAILED" in err
    assert (server.recurring, server.versions) == (before, versions)


@pytest.mark.parametrize(
    ("state", "fields", "reasons"),
    [
        ("SUCCEEDED", {}, []),
        ("RUNNING", {"outcome": "running"}, ["its model is `running`", "the run is RUNNING"]),
        ("SUCCEEDED", {"dirty": True}, ["it ran 0123456789ab with changes"]),
        ("SUCCEEDED", {"commit": None}, ["it ran unknown code"]),
        ("SUCCEEDED", {"outcome": "blessed"}, ["its model is `blessed`, so it was not pushed"]),
        ("SUCCEEDED", {"outcome": "not blessed", "commit": "f" * 40}, ["it ran ffffffffffff", "its model is `not "]),
    ],
)
def test_every_reason_against_a_promotion_is_given(state, fields, reasons):
    run = Run("id", "trial", state, None, None, None, (), "")
    good = {"commit": f"{COMMIT}{'0' * 28}", "dirty": False, "outcome": "pushed"}
    record = RunRecord(run_id="id", started=BEGIN, **{**good, **fields})

    given = refusals(run, record, COMMIT)
    assert len(given) == len(reasons), given
    assert all(reason in text for reason, text in zip(sorted(reasons), sorted(given), strict=True)), given

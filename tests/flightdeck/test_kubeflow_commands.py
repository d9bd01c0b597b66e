"""`flightdeck kubeflow` as a person types it, against a server that speaks the API of Kubeflow Pipelines."""

import getpass
import json
import re

import pytest

from tests.flightdeck.conftest import imports_none_of, refused
from tests.operations.delivery.kfp_server import driver_pod, pod
from tests.world import LOCAL, ROOT

pytestmark = pytest.mark.unit
PIPELINE = str(ROOT / "tests" / "pipeline" / "golden" / "kubeflow.yaml")
AN_HOUR = "(1 h 00 min|59 min 59 s)"  # as the server's clock ticks
TASKS = ("data", "transform", "trainer", "release")


@pytest.fixture
def submit(done):
    """Submits the reviewed pipeline, and returns the run as JSON."""
    return lambda *arguments: json.loads(done("submit", "--file", PIPELINE, "--json", *arguments))


def test_submitting_needs_neither_tensorflow_nor_tfx_when_the_pipeline_is_compiled(server):
    endpoint = f"kubeflow.endpoint={server.endpoint}"
    done = imports_none_of({"tensorflow", "tfx"}, "kubeflow", "submit", "--file", PIPELINE, "--set", endpoint)

    assert done.stderr == ""
    (run,) = server.runs
    assert done.stdout == f"Run {run}   {server.endpoint}/#/runs/details/{run}\n"


def test_submit_sends_what_the_settings_and_options_say(server, submit):
    report = submit(
        "--name", "june", "-p", "window=1:6", "-p", "epochs=5", "-p", "push=false", "-p", "learning_rate=1e-3"
    )

    (kept,) = server.runs.values()
    (experiment,) = server.experiments.values()
    assert report["run_id"] == kept["run_id"]
    assert kept["display_name"] == "june"
    assert kept["service_account"] == "flightdeck-runner"
    assert experiment["display_name"] == "late-flights"
    assert kept["runtime_config"]["parameters"] == {
        "submitted_by": getpass.getuser(),
        "window": "1:6", "epochs": 5, "push": False, "learning_rate": 0.001,
    }  # fmt: skip


def test_a_run_is_named_after_the_use_case_and_the_time_by_default(server, submit):
    submit("--experiment", "trials")

    (kept,) = server.runs.values()
    (experiment,) = server.experiments.values()
    assert kept["display_name"].startswith("late-flights 20")
    assert experiment["display_name"] == "trials"


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        ("epoch=5", "did you mean `epochs`?"),
        ("epochs=0", "--param: `model.epochs`"),
        ("window=six:1", "data.window: "),
        ("push=perhaps", "`push.enabled`"),
        ("epochs", "not of the form name=value"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_sent(server, kubeflow, parameter, sentence):
    refused(kubeflow("submit", "--file", PIPELINE, "--param", parameter), sentence)
    assert server.paths("POST") == []


def test_waiting_shows_each_task_as_it_goes_on(server, done):
    server.states = [
        {"data": "RUNNING"},
        {"data": "SUCCEEDED", "transform": "RUNNING"},
        dict.fromkeys(TASKS, "SUCCEEDED"),
    ]

    out = done("submit", "--file", PIPELINE, "--wait", "--poll-seconds", "0.1")

    lines = [line.split()[:2] for line in out.splitlines()[1:-1]]
    assert lines == [
        ["data", "RUNNING"], ["data", "SUCCEEDED"], ["transform", "RUNNING"],
        ["transform", "SUCCEEDED"], ["trainer", "SUCCEEDED"], ["release", "SUCCEEDED"],
    ]  # fmt: skip
    assert re.fullmatch(f"Run SUCCEEDED after {AN_HOUR}", out.splitlines()[-1])


def test_waiting_for_a_run_that_fails_is_exit_code_1(server, kubeflow):
    server.states = [{"data": "SUCCEEDED", "transform": "FAILED"}]

    code, out, _ = kubeflow("submit", "--file", PIPELINE, "--wait")
    assert code == 1
    assert re.search(f"Run FAILED after {AN_HOUR}: a task has failed\n", out)

    code, out, _ = kubeflow("submit", "--file", PIPELINE, "--wait", "--json")
    assert code == 1
    assert json.loads(out)["state"] == "FAILED"


def test_status_shows_tasks_and_where_to_look_further(server, done, submit):
    server.states = [{"data": "SUCCEEDED", "transform": "FAILED"}]
    run = submit("--name", "june")

    out = done("status", "june")

    rows = {tuple(line.split()[:2]) for line in out.splitlines()}
    expected = {("data", "SUCCEEDED"), ("transform", "FAILED"), ("trainer", "NOT_STARTED"), ("release", "NOT_STARTED")}
    assert rows >= expected | {("june", "FAILED")}
    assert "the run: a task has failed" in out
    options = f"--task transform --set kubeflow.endpoint={server.endpoint}\n"
    assert f"The log of transform: flightdeck kubeflow logs {run['run_id']} {options}" in out
    assert json.loads(done("status", run["run_id"], "--json"))["tasks"][0]["seconds"] == 90.0


def test_status_and_logs_say_that_a_driver_failed(server, kubeflow, done, submit):
    server.states = [{"root-driver": "FAILED"}]
    run = submit()["run_id"]
    failed = "root-driver failed, the container with which Kubeflow prepares a run, so no task was started."

    out = done("status", run)

    assert f"{failed} Its log: flightdeck kubeflow logs {run} --set kubeflow.endpoint={server.endpoint}\n" in out
    assert {line.split()[1] for line in out.splitlines() if line.startswith(TASKS)} == {"NOT_STARTED"}
    assert json.loads(done("status", run, "--json"))["failed_drivers"][0]["name"] == "root-driver"

    code, _, err = kubeflow("logs", run)
    assert code == 1
    assert failed in err


def test_logs_of_a_task_say_that_its_driver_failed(server, kubeflow, submit):
    server.states = [{"data": "SUCCEEDED", "transform-driver": "FAILED"}]
    run = submit()["run_id"]

    code, _, err = kubeflow("logs", run, "--task", "transform")
    assert code == 1
    assert "transform-driver failed, the container with which Kubeflow prepares a task" in err
    assert f"kubectl logs --namespace kubeflow {driver_pod('transform-driver')} --container main" in err
    assert kubeflow("logs", run, "--task", "trainer")[::2] == (
        2, "The task trainer was not started: the run is FAILED.\n",
    )  # fmt: skip


@pytest.fixture
def many_users(server):
    """A server for several users, and the option that names one; for one user, KFP finds no logs."""
    server.multi_user = True
    return ["--set", "kubeflow.namespace=team-a"]


def test_logs_are_those_of_all_tasks_or_of_one(server, done, submit, many_users):
    server.states = [{"data": "SUCCEEDED", "transform": "FAILED"}]
    run = submit(*many_users)["run_id"]
    server.logs = {pod("data"): "DataGate: done\n", pod("transform", 0): "first", pod("transform", 1): "second"}

    out = done("logs", run, *many_users)
    assert out.index("DataGate: done") < out.index("first") < out.index("second")

    out = done("logs", run, "--task", "transform", *many_users)
    assert "DataGate" not in out
    assert f"== transform   {pod('transform', 1)}\nsecond\n" in out


def test_a_log_that_is_gone_does_not_hide_the_others(server, kubeflow, submit, many_users):
    server.states = [{"data": "SUCCEEDED", "transform": "RUNNING"}]
    run = submit(*many_users)["run_id"]
    server.logs = {pod("transform", 0): "still here"}

    code, out, err = kubeflow("logs", run, *many_users)

    assert code == 1
    assert "still here" in out
    assert "error_message" not in out
    assert f"kubectl logs --namespace team-a {pod('data')} --container main" in err


@pytest.mark.parametrize(
    ("states", "arguments", "sentence"),
    [
        ({}, [], "The run has not begun."),
        ({"data": "RUNNING"}, ["--task", "trainer"], "The task trainer has not begun."),
        (
            {"data": "RUNNING"},
            ["--task", "train"],
            "The run has no task `train`; it has data, transform, trainer, release",
        ),
    ],
)
def test_a_log_that_cannot_be_there_is_said_so(server, kubeflow, submit, states, arguments, sentence):
    server.states = [states]
    run = submit()["run_id"]

    refused(kubeflow("logs", run, *arguments), sentence)


def test_a_schedule_is_set_listed_replaced_and_deleted(server, kubeflow, done):
    out = done("schedule", "--cron", "0 3 * * 1", "--file", PIPELINE, "-p", "epochs=2")
    assert "Schedule late-flights: 0 0 3 * * 1" in out
    (kept,) = server.recurring.values()
    assert kept["max_concurrency"] == "1"
    assert kept["runtime_config"]["parameters"] == {"epochs": 2, "submitted_by": getpass.getuser()}

    refused(kubeflow("schedule", "--every", "6h", "--file", PIPELINE), "replace it with --replace")
    done("schedule", "--every", "6h", "--file", PIPELINE, "--replace")

    (listed,) = json.loads(done("schedule", "list", "--json"))
    assert (listed["name"], listed["when"], listed["enabled"]) == ("late-flights", "every 21600 s", True)
    assert "every 21600 s" in done("schedule", "list")

    deleted = json.loads(done("schedule", "delete", "late-flights", "--json"))
    assert deleted == {"deleted": [listed["schedule_id"]], "kept": {}}
    assert server.recurring == {}


def test_a_schedule_with_a_run_under_way_is_not_deleted_and_that_is_said(server, kubeflow):
    kubeflow("schedule", "--every", "6h", "--file", PIPELINE)
    (old,) = server.recurring
    run = server.fire(old)
    sentence = f"The schedule {old} starts no more runs. It is not deleted while its run {run} is under way"

    code, out, err = kubeflow("schedule", "delete", "late-flights")
    assert (code, out) == (1, "")
    assert sentence in err
    assert f"flightdeck kubeflow schedule delete {old}" in err

    code, out, _ = kubeflow("schedule", "--every", "7d", "--file", PIPELINE, "--replace")
    assert code == 0
    assert sentence in out
    assert [schedule["status"] for schedule in server.recurring.values()] == ["DISABLED", "ENABLED"]
    assert server.killed == set()

    assert kubeflow("schedule", "delete", old, "--force")[:2] == (0, f"Deleted the schedule {old}.\n")
    assert server.killed == {run}


@pytest.mark.parametrize("when", [[], ["--cron", "0 3 * * 1", "--every", "6h"]])
def test_a_schedule_wants_exactly_one_time(server, kubeflow, when):
    refused(kubeflow("schedule", "--file", PIPELINE, *when), "either --cron or --every")
    assert server.requests == []


def test_the_token_of_the_environment_is_sent_and_stays_out_of_sight(server, kubeflow, submit, monkeypatch):
    server.token = "s3cret-token"
    refused(kubeflow("status", "june"), "wants a token in FLIGHTDECK_KFP_TOKEN")

    monkeypatch.setenv("FLIGHTDECK_KFP_TOKEN", "wr0ng-token\n")
    code, out, err = kubeflow("status", "june")
    assert code == 2
    assert "wr0ng-token" not in out + err

    monkeypatch.setenv("FLIGHTDECK_KFP_TOKEN", "s3cret-token\n")
    assert "s3cret-token" not in json.dumps(submit())


@pytest.mark.parametrize(
    ("arguments", "endpoint", "sentence"),
    [
        (["status", "june"], None, "There is no run named `june`"),
        (["status", "june"], "http://127.0.0.1:9", "kubectl port-forward"),
        (["status", "june"], "null", "kubeflow.endpoint is missing"),
        (["status", "june", "--config", str(LOCAL)], "null", "kubeflow"),
        (["submit", "--file", str(LOCAL)], None, "is not a compiled pipeline"),
        (["compile", "-o", "/nowhere/pipeline.yaml"], "null", "/nowhere is not a folder that you may write to"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(server, kubeflow, arguments, endpoint, sentence):
    refused(kubeflow(*arguments, endpoint=endpoint or server.endpoint), sentence)

"""The client of Kubeflow Pipelines against a server that speaks its API, and against one that does not."""

import socket
import threading
import time
from pathlib import Path

import pytest

from operations.delivery import kubeflow, kubeflow_run
from operations.delivery.compiled_pipeline import CompiledPipeline
from operations.delivery.kubeflow import Job, KubeflowPipelines
from operations.delivery.kubeflow_api import KubeflowError, LogError, NotFoundError, UnreachableError
from tests.operations.delivery.kfp_server import API, KfpServer, Trouble, driver_pod, pod

pytestmark = pytest.mark.unit
PIPELINE = Path(__file__).parents[2] / "pipeline" / "golden" / "kubeflow.yaml"
ANOTHER_SERVER = "it is not the API of Kubeflow Pipelines"
NO_ADDRESSES = ("localhost:8888", "ftp://localhost", "http://", "")
HTML = "<!doctype html><title>Something else</title>"
TASKS = ("data", "release", "trainer", "transform")


@pytest.fixture
def client(server: KfpServer) -> KubeflowPipelines:
    return KubeflowPipelines(server.endpoint, connect_seconds=5, answer_seconds=5)


@pytest.fixture
def many_users(server: KfpServer) -> KubeflowPipelines:
    """The client of a server for several users; for one user, KFP finds no logs."""
    server.multi_user = True
    return KubeflowPipelines(server.endpoint, namespace="team-a")


@pytest.fixture(scope="module")
def compiled() -> CompiledPipeline:
    return CompiledPipeline.load(PIPELINE)


def submit(client: KubeflowPipelines, compiled: CompiledPipeline, name: str = "a run", **arguments):
    return client.submit(Job(compiled.specification, name, "late-flights", arguments, "flightdeck-runner"))


def test_an_experiment_is_created_once_also_if_somebody_else_does_it_at_the_same_moment(server, client):
    theirs = client.experiment("a")
    server.troubles = [Trouble("GET", f"{API}/experiments", 200, "{}", times=1)]

    assert client.experiment("a") == client.experiment("a") == theirs
    assert client.experiment("b") != theirs
    assert sorted(experiment["display_name"] for experiment in server.experiments.values()) == ["a", "b"]


def test_a_server_for_several_users_wants_a_namespace_in_every_question(server, client, compiled, many_users):
    with pytest.raises(KubeflowError, match=r"serves several users; .* with kubeflow.namespace"):
        client.check()

    many_users.check()
    run = submit(many_users, compiled)

    assert many_users.run("a run").run_id == run.run_id
    assert many_users.schedules() == []
    assert [experiment["namespace"] for experiment in server.experiments.values()] == ["team-a"]


def test_a_run_is_found_by_id_and_the_newest_by_name(server, client, compiled):
    first, second = submit(client, compiled), submit(client, compiled)
    unknown = "00000000-0000-0000-0000-000000000000"

    assert [client.run(reference).run_id for reference in (first.run_id, "a run")] == [first.run_id, second.run_id]
    with pytest.raises(NotFoundError, match=f"There is no run {unknown} at {server.endpoint}"):
        client.run(unknown)


def test_the_tasks_of_a_run_come_in_their_order_with_state_time_and_pods(server, client, compiled):
    server.states = [{"data": "SUCCEEDED", "transform": "RUNNING"}]

    run = client.run(submit(client, compiled).run_id)

    assert [(task.name, task.state) for task in run.tasks] == [
        ("data", "SUCCEEDED"), ("transform", "RUNNING"), ("trainer", "PENDING"), ("release", "PENDING"),
    ]  # fmt: skip
    assert run.state == "RUNNING"
    assert not run.finished
    done, running, waiting, _ = run.tasks
    assert (done.seconds, waiting.seconds) == (90.0, None)
    assert running.seconds is not None
    assert running.seconds > 90
    assert done.pods == (pod("data"),)
    assert waiting.pods == ()


def test_the_names_of_pods_follow_argos_rule():
    """Two pods that people showed of real clusters, in kubeflow/pipelines#10039 and #10036."""
    assert kubeflow_run.fnv1a("outer-pipeline-sq9vj.root.outer-comp-driver") == 3067012875
    shown = (2018360503, 1647980155, 902191899, 3092937256)
    assert kubeflow_run.fnv1a("tutorial-control-flows-gbjpn.root.print-op.executor") in shown


def test_following_a_run_ends_with_it_and_survives_a_connection_that_breaks(server, client, compiled):
    server.states = [
        {"data": "RUNNING"},
        {"data": "SUCCEEDED", "transform": "RUNNING"},
        dict.fromkeys(TASKS, "SUCCEEDED"),
    ]
    run = submit(client, compiled)
    followed = client.follow(run.run_id, poll_seconds=0.01)
    assert next(followed).state == "RUNNING"

    server.breaks = 4

    assert [run.state for run in followed] == ["RUNNING", "SUCCEEDED"]


def test_following_gives_up_on_a_connection_that_stays_broken(server, client, compiled):
    run = submit(client, compiled)
    server.breaks = 100

    with pytest.raises(UnreachableError, match=f"The run goes on; .* flightdeck kubeflow status {run.run_id}"):
        list(client.follow(run.run_id, poll_seconds=0.01))
    assert 2 <= 100 - server.breaks <= 10


def test_a_driver_that_failed_is_told_with_its_pod(server, client, compiled):
    server.states = [{"root-driver": "FAILED"}]

    (driver,) = client.run(submit(client, compiled).run_id).failed_drivers

    assert (driver.name, driver.state, driver.pods) == ("root-driver", "FAILED", (driver_pod("root-driver"),))


def test_logs_that_the_server_does_not_have_are_asked_of_kubernetes(server, client, compiled):
    run = submit(client, compiled)
    server.logs[pod("data")] = "for nobody"

    with pytest.raises(LogError) as refused:
        list(client.log(run.run_id, pod("data")))

    assert str(refused.value) == (
        f"{server.endpoint} has no log of {pod('data')}. It says: Failed to read logs for run {run.run_id}: "
        f"InternalServerError: Failed to read logs from archive {pod('data')}. "
        f"Ask Kubernetes: kubectl logs --namespace kubeflow {pod('data')} --container main"
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", "é" * 10, '{"error_message"', '{"error_message": "' + "x" * 2**20),
        *('{"error_message": "of a task"}\nand more', '{"error_message": "of a task", "code": 13}'),
    ],
)
def test_a_log_that_only_looks_like_the_servers_error_is_printed(server, many_users, compiled, text):
    run = submit(many_users, compiled)
    server.logs[pod("data")] = text

    assert "".join(many_users.log(run.run_id, pod("data"))) == text


def test_the_user_interface_answering_in_place_of_the_log_is_noticed(server, client, compiled):
    run = submit(client, compiled)
    server.troubles = [Trouble("GET", "/apis/v1alpha1/", 200, HTML, "text/html")]

    with pytest.raises(LogError, match="serves no logs; ask Kubernetes: kubectl logs"):
        list(client.log(run.run_id, "a-pod"))


def schedule(client: KubeflowPipelines, compiled: CompiledPipeline, cron: str = "0 3 * * 1", replace: bool = False):
    job = Job(compiled.specification, "weekly", "late-flights", {"epochs": 1}, "flightdeck-runner")
    return client.schedule(job, kubeflow.cron(cron), replace)[0]


def test_a_schedule_never_has_two_runs_at_a_time_and_does_not_catch_up(server, client, compiled):
    made = schedule(client, compiled)

    (stored,) = server.recurring.values()
    expected = {"max_concurrency": "1", "no_catchup": True, "mode": "ENABLE", "service_account": "flightdeck-runner"}
    assert stored.items() >= expected.items()
    assert stored["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * 1"}}
    assert set(stored["pipeline_spec"]) == {"pipeline_spec", "platform_spec"}
    assert client.schedules() == [made]
    assert (made.name, made.when, made.enabled, made.max_concurrency) == ("weekly", "0 0 3 * * 1", True, 1)


def test_a_replacement_that_the_server_rejects_leaves_the_old_schedule(server, client, compiled):
    first = schedule(client, compiled)
    server.troubles = [Trouble("POST", f"{API}/recurringruns", 400, '{"code": 3, "message": "cron is invalid"}')]

    with pytest.raises(KubeflowError, match="cron is invalid"):
        schedule(client, compiled, replace=True)

    server.troubles = []
    assert client.schedules() == [first]


@pytest.mark.parametrize("attribute", ["name", "schedule_id"])
def test_schedules_are_deleted_by_name_or_id(client, compiled, attribute):
    made = schedule(client, compiled)

    assert client.delete_schedule(getattr(made, attribute)).deleted == (made.schedule_id,)
    with pytest.raises(NotFoundError, match="There is no schedule named `weekly`"):
        client.delete_schedule("weekly")


def test_a_schedule_is_deleted_when_the_last_of_its_runs_has_ended(server, client, compiled):
    made = schedule(client, compiled)
    ended, under_way = server.fire(made.schedule_id), server.fire(made.schedule_id)
    server.runs[ended]["state"] = "FAILED"

    assert client.delete_schedule("weekly").kept == {made.schedule_id: (under_way,)}

    server.runs[under_way]["state"] = "SUCCEEDED"
    assert client.delete_schedule("weekly").deleted == (made.schedule_id,)
    assert server.killed == set()


def test_more_schedules_than_fit_on_a_page_are_all_listed(server, client):
    for number in range(250):
        server.recurring[str(number)] = {"recurring_run_id": str(number), "display_name": f"schedule {number}"}

    assert len(client.schedules()) == 250


@pytest.mark.parametrize(("text", "seconds"), [("30m", "1800"), ("6h", "21600"), ("7d", "604800")])
def test_an_interval_is_in_seconds_for_kfp(text, seconds):
    assert kubeflow.interval(text).to_dict()["periodic_schedule"]["interval_second"] == seconds


@pytest.mark.parametrize(
    ("trigger", "texts", "sentence"),
    [
        (kubeflow.interval, ["", "0h", "6", "6 weeks", "-1d"], "is not a time such as 30m, 6h or 7d"),
        (kubeflow.cron, ["", "every day", "0 3 * *", "0 0 3 * * 1 2024", "0 3 ; * 1"], "is not a cron expression"),
    ],
)
def test_other_times_are_refused(trigger, texts, sentence):
    for text in texts:
        with pytest.raises(KubeflowError, match=sentence):
            trigger(text)


def test_the_token_is_sent_and_never_shown(server, compiled):
    server.token = "s3cret-token"

    with pytest.raises(KubeflowError, match=r"does not accept the token in FLIGHTDECK_KFP_TOKEN") as refused:
        submit(KubeflowPipelines(server.endpoint, token="wr0ng"), compiled)
    assert "wr0ng" not in str(refused.value)
    assert submit(KubeflowPipelines(server.endpoint, token="s3cret-token"), compiled).run_id


def says(message: str) -> str:
    return f'{{"code": 3, "message": "{message}", "details": []}}'


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ((403, says("User is not authorized")), r"does not allow this to people without a token \(403\).*authorized"),
        ((409, says("Already exist error")), r"something of that name already.*\(409\). It says: Already exist error"),
        ((400, says("Invalid input error:\\n unknown template")), "rejected the request .*: unknown template"),
        ((500, says("Internal Server Error")), r"failed \(500\); .* It says: Internal Server Error"),
        ((502, HTML, "text/html"), r"failed \(502\); "),
        ((404, HTML, "text/html"), f"{ANOTHER_SERVER}; check kubeflow.endpoint"),
        ((200, HTML, "text/html"), f"{ANOTHER_SERVER}; check kubeflow.endpoint"),
        ((200, "[1, 2]"), ANOTHER_SERVER),
        ((302, "", "text/html", {"Location": "/dex/auth"}), r"wants a token in FLIGHTDECK_KFP_TOKEN \(302\)"),
    ],
)
def test_a_refusal_is_one_sentence_with_what_the_server_says(server, client, compiled, trouble, sentence):
    server.troubles = [Trouble("POST", f"{API}/runs", *trouble)]

    with pytest.raises(KubeflowError, match=sentence) as refused:
        submit(client, compiled)

    assert "\n" not in str(refused.value)
    assert server.endpoint in str(refused.value)


def test_a_pipeline_that_is_none_is_not_called_a_fault_of_the_server(client):
    with pytest.raises(KubeflowError, match=r"does not accept the pipeline \(500\)\. It says: .*invalid pipeline spec"):
        client.submit(Job({"pipeline_spec": {"spoons": 2}, "platform_spec": {}}, "a", "a"))


def test_nobody_at_the_address_is_said():
    with pytest.raises(UnreachableError, match=r"Nobody answers at http://kubeflow\.invalid"):
        KubeflowPipelines("http://kubeflow.invalid").check()


def test_a_server_that_does_not_answer_is_left_after_a_while(server):
    server.silent = True
    started = time.monotonic()

    with pytest.raises(UnreachableError, match=r"took a request but has not answered within 0\.2 s"):
        KubeflowPipelines(server.endpoint, answer_seconds=0.2).check()

    assert time.monotonic() - started < 30


def test_a_server_of_something_else_is_noticed():
    """Such as a database at a forwarded port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"5.5.5-10.11.6-MariaDB hello\n\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(KubeflowError, match=ANOTHER_SERVER):
            KubeflowPipelines(f"http://127.0.0.1:{listener.getsockname()[1]}").check()
        thread.join()


def test_a_plain_server_behind_an_https_address_is_no_safe_connection(server):
    with pytest.raises(KubeflowError, match="No safe connection to https://"):
        KubeflowPipelines(server.endpoint.replace("http://", "https://"), connect_seconds=1, answer_seconds=2).check()


@pytest.mark.parametrize(
    ("endpoint", "token", "sentence"),
    [
        *((address, None, "is not an address such as http://localhost:8888") for address in NO_ADDRESSES),
        ("http://me:s3cret@localhost", None, "must not hold credentials; put a token into FLIGHTDECK_KFP_TOKEN"),
        ("http://localhost", "one\ns3cret", "FLIGHTDECK_KFP_TOKEN is not one word"),
    ],
)
def test_an_address_or_token_that_cannot_be_one_is_refused_without_the_secret(endpoint, token, sentence):
    with pytest.raises(KubeflowError, match=sentence) as refused:
        KubeflowPipelines(endpoint, token=token)
    assert "s3cret" not in str(refused.value)


def test_nothing_but_the_arguments_decides_where_requests_go(server, client, compiled, monkeypatch, capsys):
    for name in ("KF_PIPELINES_ENDPOINT", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    submit(client, compiled)

    assert len(server.runs) == 1
    assert capsys.readouterr() == ("", "")


def test_arguments_get_the_types_that_the_pipeline_declares(compiled):
    given = compiled.arguments(["window=1:6", "epochs=5", "learning_rate=1e-3", "push=False"])

    assert given == {"window": "1:6", "epochs": 5, "learning_rate": 0.001, "push": False}
    assert [type(value) for value in given.values()] == [str, int, float, bool]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["epoch=5"], "has no parameter `epoch`; did you mean `epochs`"),
        (["spoons=5"], "it has epochs, learning_rate, push, window"),
        (["ir=H4sI"], "has no parameter `ir`"),
        (["epochs=five"], "`epochs` must be a whole number .got `five`"),
        (["epochs=1.5"], "`epochs` must be a whole number"),
        (["learning_rate=nan"], "`learning_rate` must be a number"),
        (["push=maybe"], "`push` must be true or false"),
        (["epochs"], "is not of the form name=value"),
        (["epochs=1", "epochs=2"], "`epochs` is given twice"),
    ],
)
def test_arguments_that_the_pipeline_does_not_take_are_refused(compiled, given, sentence):
    with pytest.raises(KubeflowError, match=sentence):
        compiled.arguments(given)


@pytest.mark.parametrize("text", ["", "a: [b", "- 1\n- 2", "root: {}", "pipelineInfo: {name: a}", "\x00", "just text"])
def test_a_file_that_is_no_compiled_pipeline_or_is_not_there_is_refused(tmp_path, text):
    file = tmp_path / "pipeline.yaml"
    with pytest.raises(KubeflowError, match="cannot be read: No such file"):
        CompiledPipeline.load(file)
    file.write_text(text)
    with pytest.raises(KubeflowError, match="is not a compiled pipeline; make one with: flightdeck kubeflow"):
        CompiledPipeline.load(file)

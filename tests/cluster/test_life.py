"""The life of a model on the node: the pipeline's tasks, the loop, and the service that answers, tries and goes back.

The tests tell one story and follow each other: requests come all the time, while a canary is tried and promoted, its
model is rolled back, and pods are drained and rolled out anew.
"""

import json
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import forked
from tests.cluster.compiled_tasks import NAMESPACE, CompiledPipeline
from tests.cluster.life import (
    API_KEY,
    SETTINGS,
    Client,
    Desk,
    client_pod,
    compile_pipeline,
    desk_pod,
    kfp_server,
    round_of_the_loop,
    secret,
)
from tests.services.kubernetes.cluster import Cluster, KubectlError, wait_for
from tests.small_run import SMALL

pytestmark = pytest.mark.cluster

WINDOW = "1:2"
SERVICE = "http://model-server.flightdeck:8501"
SERVERS = "app.kubernetes.io/component=model-server"
REPLICAS = 2


@pytest.fixture(scope="module")
def desk(cluster, image, applied) -> Iterator[Desk]:
    # Only the rounds that a test starts.
    suspended = json.dumps({"spec": {"suspend": True}})
    for job in ("flightdeck-watch", "flightdeck-report"):
        cluster.kubectl("patch", "cronjob", job, f"--namespace={NAMESPACE}", f"--patch={suspended}")
    cluster.kubectl("rollout", "status", "--namespace=flightdeck", "statefulset/flightdeck-metadata", "--timeout=180s")
    cluster.apply(desk_pod(image))
    wait_until_ready(cluster, "desk")
    yield Desk(cluster)
    cluster.kubectl("delete", "pod", "desk", f"--namespace={NAMESPACE}", "--now")


@pytest.fixture(scope="module")
def run(cluster, image, desk, before_the_first_push, small_spans, tmp_path_factory) -> dict:
    """What the ledger knows of a run to its end: by Kubeflow Pipelines where the cluster has it, else task by task."""
    for span in (1, 2):
        desk.run("mkdir", "-p", "/workspace/spans")
        desk.copy(small_spans / f"span-{span:03}", f"/workspace/spans/span-{span:03}")
    return run_to_its_end(cluster, image, desk, tmp_path_factory.mktemp("compiled"))


def run_to_its_end(cluster, image, desk, folder: Path, *settings: str) -> dict:
    overrides = (*SMALL, "model.accelerator=cpu", "kubeflow.resources={}", f"kubeflow.image={image}", *settings)
    compiled = compile_pipeline(folder / "pipeline.yaml", *overrides)
    if cluster.has("service", "ml-pipeline", NAMESPACE) and not cluster.has("pod", "ml-pipeline", NAMESPACE):
        run_id = by_kubeflow(cluster, compiled)
    else:
        run_id = task_by_task(cluster, compiled)
    return json.loads(desk.flightdeck("runs", "show", run_id, "--json"))


def wait_until_ready(cluster: Cluster, pod: str) -> None:
    cluster.kubectl("wait", "--for=condition=Ready", f"--namespace={NAMESPACE}", f"pod/{pod}", "--timeout=180s")


def task_by_task(cluster: Cluster, compiled) -> str:
    pipeline = CompiledPipeline(compiled, {"window": WINDOW})
    for task in pipeline.tasks():
        cluster.apply(pipeline.job(task))
        cluster.job(task, NAMESPACE, seconds=900)
        cluster.kubectl("delete", "job", task, f"--namespace={NAMESPACE}")
    return pipeline.run_id


def by_kubeflow(cluster: Cluster, compiled) -> str:
    forward = [*cluster.command, "port-forward", f"--namespace={NAMESPACE}", "service/ml-pipeline", ":8888"]
    with subprocess.Popen(forward, stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            assert forwarding.stdout is not None
            port = re.findall(r"127\.0\.0\.1:(\d+)", forwarding.stdout.readline())[0]
            done = forked.run(
                *("flightdeck", "kubeflow", "submit", "--config", "config/kubeflow.yaml"),
                *("--set", f"kubeflow.endpoint=http://127.0.0.1:{port}", "--file", str(compiled)),
                *("--param", f"window={WINDOW}", "--wait", "--json"),
                timeout=3600,
            )
        finally:
            forwarding.terminate()
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["run_id"]


def test_every_task_runs_its_nodes_against_the_database_of_the_cluster(run):
    assert run["outcome"] == "pushed"
    assert run["runner"] == "kubeflow"
    assert {node["state"] for node in run["nodes"]} == {"done"}
    assert {"SpanExampleGen", "Trainer", "Evaluator", "Pusher"} <= {node["node_id"] for node in run["nodes"]}


def test_the_run_pushed_a_version_into_the_claim(desk, run, project):
    assert "saved_model.pb" in desk.run("ls", f"/workspace/models/{project.model}/{run['version']}").split()


@pytest.fixture(scope="module")
def kfp(cluster, image, run) -> Iterator[str]:
    """Where kubectl finds the API of Kubeflow Pipelines; only after `run`, which asks whether the cluster has it."""
    ours = [] if cluster.has("service", "ml-pipeline", NAMESPACE) else kfp_server(image)
    if ours:
        cluster.apply(*ours)
        wait_until_ready(cluster, "ml-pipeline")
    yield f"/api/v1/namespaces/{NAMESPACE}/services/ml-pipeline:8888/proxy/apis/v2beta1"
    for manifest in ours:
        cluster.kubectl("delete", manifest["kind"], manifest["metadata"]["name"], f"--namespace={NAMESPACE}", "--now")


def test_the_loop_sees_a_new_span_and_submits_a_run(cluster, desk, kfp, small_spans):
    desk.copy(small_spans / "span-003", "/workspace/spans/span-003")
    time.sleep(12)  # continuous.settle_seconds: until then the span may still be being written

    events = round_of_the_loop(cluster, "round")

    assert [event["text"] for event in events if event["kind"] == "problem"] == []
    assert any(event["facts"]["key"].startswith("span:3:") for event in events if event["kind"] == "trigger"), events
    (started,) = [event for event in events if event["kind"] == "run"]
    submitted = json.loads(cluster.kubectl("get", "--raw", f"{kfp}/runs?page_size=100"))["runs"]
    assert started["facts"]["run_id"] in [run["run_id"] for run in submitted]


class Replicas:
    """The pods of the service."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def pods(self) -> list[dict]:
        return self._cluster.get("pods", "", "flightdeck", SERVERS)["items"]

    def ready(self) -> dict[str, str]:
        """The address of each pod that takes requests, by its name."""
        return {
            pod["metadata"]["name"]: f"http://{pod['status']['podIP']}:8501"
            for pod in self.pods()
            if "deletionTimestamp" not in pod["metadata"]
            and any(condition == ("Ready", "True") for condition in _conditions(pod))
        }

    def all_ready(self) -> dict[str, str]:
        """The same of all replicas, once there are as many as there should be."""
        assert wait_for(lambda: len(self.ready()) == REPLICAS, seconds=300), json.dumps(self.pods())[-6000:]
        return self.ready()


def _conditions(pod: dict) -> list[tuple[str, str]]:
    return [(condition["type"], condition["status"]) for condition in pod["status"].get("conditions", [])]


@pytest.fixture(scope="module")
def before_the_first_push(cluster, desk) -> list[dict]:
    """The pods of the service as they were when there was no model; only before `run`."""
    replicas = Replicas(cluster)
    alive = wait_for(
        lambda: (
            len(pods := replicas.pods()) == REPLICAS
            and all(status.get("started") for pod in pods for status in pod["status"].get("containerStatuses", [{}]))
        ),
        seconds=180,
    )
    assert alive, json.dumps(replicas.pods())[-6000:]
    return replicas.pods()


@pytest.fixture(scope="module")
def replicas(cluster, before_the_first_push, run) -> Replicas:
    """The service, once it answers with the first version."""
    replicas = Replicas(cluster)
    replicas.all_ready()
    return replicas


@pytest.fixture(scope="module")
def client(cluster, image, project, replicas, small_spans) -> Iterator[Client]:
    """A client that asks the Service without a pause for flights of a month whose labels are known, or soon will be."""
    requests = flights(cluster, small_spans / "span-003", 150)
    cluster.apply(*client_pod(image, project.model, SERVICE, requests))
    client = Client(cluster)
    started = ("wait", "--for=condition=Ready", f"--namespace={client.namespace}", f"pod/{client.name}")
    cluster.kubectl(*started, "--timeout=180s")
    assert wait_for(client.printed, seconds=60)
    yield client
    cluster.kubectl("delete", "namespace", client.namespace)


def flights(cluster: Cluster, span: Path, count: int) -> list[tuple[str, dict]]:
    """Rows of a span as a client asks for them, under the ids by which their labels are found."""
    import pandas as pd

    logs = ("logs", "--namespace=flightdeck", f"--selector={SERVERS}", "--tail=-1")

    def started() -> list[str]:
        return [line for line in cluster.kubectl(*logs).splitlines() if line.startswith("{")]

    # It tells a moment after it answers the first probe; its row has every column that it takes.
    example = json.loads(wait_for(started, seconds=60)[0])["row"]
    table = pd.concat(map(pd.read_parquet, sorted(span.glob("*.parquet")))).iloc[:count]
    # Whole numbers with gaps stay whole numbers.
    whole = {name: "Int64" for name, value in example.items() if isinstance(value, int)}
    rows = json.loads(table[list(example)].astype(whole).to_json(orient="records"))
    return list(zip(table["flight_id"].astype(str), rows, strict=True))


def test_before_the_first_push_the_service_is_alive_and_not_ready_and_then_answers(before_the_first_push, replicas):
    for pod in before_the_first_push:
        assert ("Ready", "False") in _conditions(pod)
    # The same pods have waited, and now answer.
    assert set(replicas.all_ready()) == {pod["metadata"]["name"] for pod in before_the_first_push}
    restarts = [status["restartCount"] for pod in replicas.pods() for status in pod["status"]["containerStatuses"]]
    assert restarts == [0] * REPLICAS


def test_the_service_has_every_ready_pod_of_the_deployment_behind_it(cluster, replicas):
    def behind() -> list[tuple[str, dict[str, int]]]:
        slices = cluster.get("endpointslices", namespace="flightdeck", labels="kubernetes.io/service-name=model-server")
        return [
            (endpoint["targetRef"]["name"], {port["name"]: port["port"] for port in part["ports"]})
            for part in slices["items"]
            for endpoint in part["endpoints"]
            if endpoint["conditions"]["ready"]
        ]

    assert wait_for(lambda: len(behind()) == REPLICAS, seconds=30)
    assert {pod for pod, _ in behind()} == set(replicas.ready())
    assert [ports for _, ports in behind()] == [{"grpc": 8500, "http": 8501}] * REPLICAS


def test_the_pushed_model_answers_through_the_service_who_has_a_key_and_nobody_else(client, run):
    answered = client.asks("once", SERVICE)
    assert answered["status"] == 200
    ((probability,),) = answered["answer"]["predictions"]
    assert 0 < probability < 1

    refused = client.asks("once", SERVICE, key="wrong" + API_KEY[5:])
    assert refused["status"] == 401
    assert "needs an API key" in refused["answer"]["error"]


def test_the_service_may_write_its_log_and_nothing_else(cluster, replicas):
    pod = next(iter(replicas.ready()))

    def succeeds(*command: str) -> bool:
        return cluster.succeeds("exec", "--namespace=flightdeck", pod, "--", *command)

    assert succeeds("touch", "/workspace/payloads/.try")
    assert succeeds("rm", "/workspace/payloads/.try")
    assert succeeds("ls", "/workspace/models")
    for path in ("/workspace/models/x", "/app/x"):
        assert not succeeds("touch", path)
    assert not succeeds("ls", "/workspace/spans")


@pytest.fixture(scope="module")
def canary(cluster, image, desk, run, client, replicas, tmp_path_factory) -> dict:
    """What the ledger knows of a run that made another model, and pushed it as a canary."""
    folder = tmp_path_factory.mktemp("canary")
    return run_to_its_end(cluster, image, desk, folder, "canary.mode=split", "model.seed=1")


def test_a_run_pushes_a_canary_of_which_all_replicas_ask_the_same(canary, client, replicas, run):
    assert canary["outcome"] == "pushed"
    urls = list(replicas.ready().values())

    def decided() -> list[list[str]]:
        answers = list(client.asks("decide", *urls).values())
        return answers if str(canary["version"]) in answers[0] and str(canary["version"]) in answers[1] else []

    first, second = wait_for(decided, seconds=60)
    assert first == second
    assert set(first) == {str(run["version"]), str(canary["version"])}


@pytest.fixture(scope="module")
def promoted(cluster, desk, canary, client, kfp, project, run, replicas) -> tuple[list[dict], dict]:
    """What happened in the round of the loop that judged the canary, and when each replica answered with its model."""
    records = f"/workspace/payloads/canary/{canary['version']}"
    seen = wait_for(lambda: sum(answered := asked_of(desk, records)) >= 80 and len(answered) == REPLICAS, seconds=120)
    assert seen, desk.run("sh", "-c", f"cat {records}/*")
    time.sleep(10)  # serving.payloads.rotate_seconds, and the five of a group of rows
    return followed(cluster, client, replicas, int(run["version"]), lambda: round_of_the_loop(cluster, "judge"))


COUNT = """
import json, pathlib, sys
print([json.loads(file.read_text())["answered"] for file in pathlib.Path(sys.argv[1]).glob("*.json")])
"""


def asked_of(desk: Desk, records: str) -> list[int]:
    """How many requests of a canary each pod has counted."""
    return json.loads(desk.run("python", "-c", COUNT, records))


def followed(cluster: Cluster, client: Client, replicas: Replicas, before: int, act) -> tuple[list[dict], dict]:
    """What an act of the loop tells, and what each pod says of when it served a newer version."""
    watching = [*cluster.command, *client.command("follow", str(before), *replicas.ready().values())]
    with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True) as process:
        events = act()
        seen, _ = process.communicate(timeout=660)
    return events, json.loads(seen)


def seconds_after(desk: Desk, project, seen: dict) -> list[float]:
    """How long after the folder of a version was there, each replica served it."""
    (version,) = {served["version"] for served in seen.values()}
    folder = f"/workspace/models/{project.model}/{version}"
    # When the folder got its name; the times of its files are those of the copied ones.
    made = float(desk.run("stat", "--format=%.Z", folder))
    return sorted(round(served["at"] - made, 1) for served in seen.values())


def test_the_loop_promotes_the_canary_and_all_replicas_follow(desk, promoted, canary, project, record_property):
    events, seen = promoted
    (verdict,) = [event for event in events if event["kind"] == "canary"]
    assert verdict["facts"]["action"] == "promote", events
    assert str(verdict["facts"]["canary"]) == str(canary["version"])
    assert len(seen) == REPLICAS
    took = seconds_after(desk, project, seen)
    print(f"Seconds from the push to each replica's answer: {took}")
    record_property("seconds_to_follow", took)
    # On an idle machine within 10; here, others may keep the processors busy.
    assert took[-1] < 60


@pytest.fixture(scope="module")
def rolled_back(cluster, desk, client, promoted, replicas) -> tuple[list[dict], dict]:
    """The same of the round in which the monitor found the new version at fault: with bounds that no model keeps."""
    _, seen = promoted
    (version,) = {served["version"] for served in seen.values()}
    # A whole window of its answers, by the clock, and until its last file is there.
    time.sleep(60 - time.time() % 60 + 60 + 15)
    faulty = (
        "monitoring.calibration=[0.0, 0.001]",
        "monitoring.fewest_labels=20",
        "monitoring.rules=[{name: injected, kinds: [quality], action: roll back}]",
    )
    return followed(cluster, client, replicas, version, lambda: round_of_the_loop(cluster, "back", *faulty))


def test_the_monitor_reads_what_both_pods_logged_and_the_loop_goes_back(desk, project, promoted, rolled_back, run):
    events, seen = rolled_back
    (bad,) = {served["version"] for served in promoted[1].values()}
    decisions = [event["facts"] for event in events if event["kind"] == "decision"]
    assert {(fact["version"], fact["action"]) for fact in decisions} >= {(str(bad), "roll back")}, events
    acts = [event["facts"] for event in events if event["kind"] == "act"]
    assert any(act["action"] == "roll back" and act["outcome"] == "done" for act in acts), events
    (back,) = {served["version"] for served in seen.values()}
    assert back > bad
    versions = {version["number"]: version for version in json.loads(desk.flightdeck("models", "list", "--json"))}
    assert versions[back]["origin"] == "rollback"
    assert versions[back]["restores"] == int(run["version"])
    took = seconds_after(desk, project, seen)
    print(f"Seconds from the roll back to each replica's answer: {took}")
    assert took[-1] < 60


def evict(cluster: Cluster, pod: str) -> None:
    """What ``kubectl drain`` asks for each pod of a node; a KubectlError if a budget forbids it."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "flightdeck"}}
    path = f"/api/v1/namespaces/flightdeck/pods/{pod}/eviction"
    cluster.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction))


@pytest.fixture(scope="module")
def names(replicas, rolled_back) -> list[str]:
    """The pods of the service until now; a test adds those that it brings."""
    return list(replicas.all_ready())


def test_a_drained_node_takes_one_pod_at_a_time(cluster, client, replicas, names):
    first, second = names
    evict(cluster, first)
    with pytest.raises(KubectlError, match="would violate the pod's disruption budget"):
        evict(cluster, second)

    def replaced() -> bool:
        ready = replicas.ready()
        return len(ready) == REPLICAS and first not in ready

    assert wait_for(replaced, seconds=300), json.dumps(replicas.pods())[-6000:]
    names += set(replicas.ready()) - {first, second}


def test_a_key_is_changed_by_two_rollouts_that_replace_every_pod(cluster, client, replicas, names):
    old, new = secrets.token_hex(24), secrets.token_hex(24)

    def statuses_after(*keys: str) -> list[int]:
        """How the old and the new key are answered by pods that have these, and that of the client."""
        cluster.apply(secret("flightdeck-serving", "flightdeck", {"api-keys": "\n".join((*keys, API_KEY))}))
        cluster.kubectl("rollout", "restart", "--namespace=flightdeck", "deployment/model-server")
        rolled_out = ("rollout", "status", "--namespace=flightdeck", "deployment/model-server", "--timeout=400s")
        cluster.kubectl(*rolled_out, seconds=420)
        assert not set(replicas.all_ready()) & set(names)
        names.extend(replicas.ready())
        # A pod that ends still answers what reaches it, by the keys that it has.
        wait_for(lambda: len(replicas.pods()) == REPLICAS, seconds=120)
        return [client.asks("once", SERVICE, key=key)["status"] for key in (old, new)]

    assert statuses_after(old, new) == [200, 200]
    assert statuses_after(new) == [401, 200]


def test_a_person_measures_what_was_asked(desk, names):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    assert json.loads(desk.flightdeck("monitor", "--json", *settings))["measured"]


def test_no_request_failed_whatever_became_of_the_pods_and_every_answer_was_logged(desk, client, names):
    time.sleep(5)
    client.stop()

    def summary() -> list[dict]:
        return [line for line in client.printed() if "asked" in line]

    (done,) = wait_for(summary, seconds=60)
    assert done["failures"] == []
    assert done["asked"] > 500
    assert len(done["versions"]) == 4  # the first, the canary, the promoted and the restored one
    # A file is closed within some seconds, and the pods that are gone have written all that they had.
    assert wait_for(lambda: sum(logged(desk).values()) >= done["asked"], seconds=60), (logged(desk), done)
    written = logged(desk)
    assert set(written) >= set(names)
    assert all(written[name] > 0 for name in names)


def test_the_exporter_tells_which_version_should_be_served(cluster, rolled_back):
    proxy = f"/api/v1/namespaces/{NAMESPACE}/services/flightdeck-exporter:metrics/proxy/metrics"
    (back,) = {served["version"] for served in rolled_back[1].values()}
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(cluster.kubectl("get", "--raw", proxy))
        for sample in family.samples
    }
    assert told["flightdeck_registry_served_version",] == back
    assert told["flightdeck_registry_changes_total", "rollback"] == 1


def test_the_report_is_written_by_its_job_and_served_as_a_site(cluster, run, rolled_back):
    cluster.kubectl("create", "job", "report", "--from=cronjob/flightdeck-report", f"--namespace={NAMESPACE}")
    printed = cluster.job("report", NAMESPACE, seconds=600)
    written = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
    cluster.kubectl("delete", "job", "report", f"--namespace={NAMESPACE}")
    assert run["run_id"] in written["runs"]
    site = "/api/v1/namespaces/flightdeck/services/report-site:http/proxy/"

    def page(name: str) -> str:
        try:
            return cluster.kubectl("get", "--raw", site + name)
        except KubectlError:
            return ""

    assert run["run_id"] in wait_for(lambda: page(""), seconds=120)
    (back,) = {served["version"] for served in rolled_back[1].values()}
    assert f'<th scope="row">{back} <span class="tag">served</span>' in page(written["further"]["Monitoring"])
    assert cluster.get("deployment", "report-site", "flightdeck")["status"].get("readyReplicas") == 1
    # It has the reports, and cannot write there; of the rest of the workspace it has nothing.
    inside = ("exec", "--namespace=flightdeck", "deployment/report-site", "--")
    assert cluster.succeeds(*inside, "ls", "/reports/latest/index.html")
    for command in (("touch", "/reports/x"), ("ls", "/workspace"), ("touch", "/app/x")):
        assert not cluster.succeeds(*inside, *command)


def served_by(cluster: Cluster, pod: str) -> float:
    """The version that a pod answers with, as its metrics tell it."""
    told = cluster.kubectl("get", "--raw", f"/api/v1/namespaces/flightdeck/pods/{pod}:8501/proxy/metrics")
    samples = [sample for family in text_string_to_metric_families(told) for sample in family.samples]
    return next(sample.value for sample in samples if sample.name == "flightdeck_serving_model_version")


def test_a_person_goes_back_by_hand_and_all_replicas_follow(cluster, desk, promoted, replicas):
    (to,) = {served["version"] for served in promoted[1].values()}
    by_hand = ("models", "rollback", "--to", str(to), "--reason", "it was sound", "--json")
    change = json.loads(desk.flightdeck(*by_hand))
    assert (change["restores"], change["reason"]) == (to, "it was sound")
    pods = replicas.all_ready()
    assert wait_for(lambda: {served_by(cluster, pod) for pod in pods} == {change["number"]}, seconds=60)


READ_LOG = """
import collections, json, pathlib
import pyarrow.parquet as pq
from operations.inference.payload_table import REFUSED, SHADOW
rows = collections.Counter()
for file in pathlib.Path("/workspace/payloads").glob("*/[!.]*.parquet"):
    table = pq.read_table(file, columns=[SHADOW, REFUSED]).to_pylist()
    pod = file.name.split("-", 1)[1].rsplit("-", 2)[0]
    rows[pod] += sum(not row[SHADOW] and not row[REFUSED] for row in table)
print(json.dumps(rows))
"""


def logged(desk: Desk) -> dict[str, int]:
    """How many answers each pod has logged."""
    return json.loads(desk.run("python", "-c", READ_LOG).splitlines()[-1])

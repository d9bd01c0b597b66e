"""The life of a model on the node: the pipeline's tasks, the loop, and an answer through the Service."""

import json
import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests import forked
from tests.cluster.compiled_tasks import NAMESPACE, CompiledPipeline, job
from tests.cluster.life import Desk, compile_pipeline, desk_pod, kfp_server
from tests.services.kubernetes.cluster import Cluster, wait_for
from tests.small_run import SMALL

pytestmark = pytest.mark.cluster

WINDOW = "1:2"


@pytest.fixture(scope="module")
def desk(cluster, image, applied) -> Iterator[Desk]:
    # Only the rounds that a test starts.
    suspended = json.dumps({"spec": {"suspend": True}})
    cluster.kubectl("patch", "cronjob", "flightdeck-watch", f"--namespace={NAMESPACE}", f"--patch={suspended}")
    cluster.kubectl("rollout", "status", "--namespace=flightdeck", "statefulset/flightdeck-metadata", "--timeout=180s")
    cluster.apply(desk_pod(image))
    wait_until_ready(cluster, "desk")
    yield Desk(cluster)
    cluster.kubectl("delete", "pod", "desk", f"--namespace={NAMESPACE}", "--now")


@pytest.fixture(scope="module")
def run(cluster, image, desk, small_spans, tmp_path_factory) -> dict:
    """What the ledger knows of a run to its end: by Kubeflow Pipelines where the cluster has it, else task by task."""
    for span in (1, 2):
        desk.run("mkdir", "-p", "/workspace/spans")
        desk.copy(small_spans / f"span-{span:03}", f"/workspace/spans/span-{span:03}")
    overrides = (*SMALL, "model.accelerator=cpu", "kubeflow.resources={}", f"kubeflow.image={image}")
    compiled = compile_pipeline(tmp_path_factory.mktemp("compiled") / "pipeline.yaml", *overrides)
    if cluster.has("service", "ml-pipeline", NAMESPACE):
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
    cluster.kubectl("create", "job", "round", "--from=cronjob/flightdeck-watch", f"--namespace={NAMESPACE}")

    printed = cluster.job("round", NAMESPACE, seconds=600)
    cluster.kubectl("delete", "job", "round", f"--namespace={NAMESPACE}")

    events = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert [event["text"] for event in events if event["kind"] == "problem"] == []
    assert any(event["facts"]["key"].startswith("span:3:") for event in events if event["kind"] == "trigger"), events
    (started,) = [event for event in events if event["kind"] == "run"]
    submitted = json.loads(cluster.kubectl("get", "--raw", f"{kfp}/runs?page_size=100"))["runs"]
    assert started["facts"]["run_id"] in [run["run_id"] for run in submitted]


@pytest.fixture(scope="module")
def row(cluster, image, project, run) -> dict:
    """A row that the service takes, as it says itself, once it serves behind the overlay's Service."""
    deployment = ("deployment/model-server", "--namespace=flightdeck")
    cluster.kubectl("patch", *deployment, f"--patch={json.dumps(flightdeck_serves(image, project.model))}")
    cluster.kubectl("rollout", "status", *deployment, "--timeout=300s", seconds=330)

    def lines() -> list[str]:
        return [line for line in cluster.kubectl("logs", *deployment).splitlines() if line.startswith("{")]

    # It tells a moment after it answers the first probe.
    (line,) = wait_for(lines, seconds=60)
    return json.loads(line)["row"]


def flightdeck_serves(image: str, model: str) -> dict:
    """Flightdeck's own service in place of TensorFlow Serving in the Deployment; everything else stays as it is."""
    container = {
        "name": "tensorflow-serving",
        "image": image,
        "command": ["flightdeck", "serve", "--json"],
        "args": [
            *("--host", "0.0.0.0", "--port", "8501", "--grpc-port", "8500"),
            # The claim is read-only here, so what the service writes goes elsewhere.
            *("--set", "workspace=/tmp/flightdeck", "--set", f"push.destination=/workspace/models/{model}"),
        ],
        "resources": {"limits": {"memory": "2Gi"}},
    }
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


ASK = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""


def test_the_pushed_model_answers_through_the_service(cluster, image, project, row):
    address = f"http://model-server.flightdeck:8501/v1/models/{project.model}:predict"
    question = ["python", "-c", ASK, address, json.dumps({"instances": [row, row]})]
    containers = [{"name": "ask", "image": image, "command": question}]
    client = job("ask", "clients", {"containers": containers}, labels={})
    # The policies of `flightdeck` let requests in from namespaces that say so.
    labelled = {"name": "clients", "labels": {"flightdeck.dev/ingress": "true"}}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": labelled}, client)
    try:
        answer = json.loads(cluster.job("ask", "clients", seconds=120))
    finally:
        cluster.kubectl("delete", "namespace", "clients")

    (first,), (second,) = answer["predictions"]
    assert 0 < first < 1
    # Two rows of one batch may differ in the last bit.
    assert first == pytest.approx(second, rel=1e-5)


def test_the_service_has_the_pod_of_the_deployment_behind_it(cluster, row):
    slices = cluster.get("endpointslices", namespace="flightdeck", labels="kubernetes.io/service-name=model-server")
    ready = [
        (endpoint["targetRef"]["name"], {port["name"]: port["port"] for port in part["ports"]})
        for part in slices["items"]
        for endpoint in part["endpoints"]
        if endpoint["conditions"]["ready"]
    ]

    ((pod, ports),) = ready
    assert pod.startswith("model-server-")
    assert ports == {"grpc": 8500, "http": 8501}

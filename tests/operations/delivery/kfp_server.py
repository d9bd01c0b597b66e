"""A small server that speaks the paths of the Kubeflow Pipelines API which the client uses, and remembers.

What it answers follows the real one (kubeflow/pipelines 2.16.1, backend/src/apiserver, and what one answered on
Kubernetes 1.34): runs are described node by node of the Argo workflow, without the nodes' own ids, and without a state
where Argo left a node out; an experiment's name is unique, a run's is not; logs are served under v1alpha1 only, found
only on a server for several users, and what is wrong with one is told with status 200; a pipeline that is none is an
error of the server's own; a schedule takes its runs along when it is deleted. It can also be told to misbehave.
"""

import dataclasses
import itertools
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from email import policy
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from operations.delivery.kubeflow_run import fnv1a

API = "/apis/v2beta1"
LONG_AGO = "0001-01-01T00:00:00Z"
WORKFLOW = "late-flights-x7k2p"


@dataclasses.dataclass
class Trouble:
    """An answer instead of the right one, to requests whose method and path start like this."""

    method: str
    path: str
    status: int
    body: str
    content_type: str = "application/json"
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    times: int = 10**6


class KfpServer(ThreadingHTTPServer):
    """The server and what it remembers.

    Attributes:
        requests: every request so far: method and path.
        token: wanted in every request but that for its health, if set.
        states: of a run's tasks, and of drivers that failed (`root-driver`, `TASK-driver`), one step further each time
            that somebody asks for the run.
        logs: pod -> what it printed; other pods are gone.
        killed: runs whose workflow is gone; the server goes on to tell their latest state.
        silent: take requests and never answer.
        breaks: so many of the next requests end with a closed connection.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str]] = []
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.recurring: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, str] = {}
        self.killed: set[str] = set()
        self.token: str | None = None
        self.multi_user = False
        self.troubles: list[Trouble] = []
        self.silent = False
        self.breaks = 0
        self.states: list[dict[str, str]] = []
        self.clock = itertools.count()
        self.over = threading.Event()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def paths(self, method: str) -> list[str]:
        """The paths of all requests of a method, in order."""
        return [path for asked, path in self.requests if asked == method]

    def now(self) -> str:
        """Later each time that somebody asks."""
        return f"2024-03-01T10:00:{next(self.clock):02d}Z"

    def fire(self, schedule_id: str) -> str:
        """Starts a run of a schedule, as its time has come, and returns the run's id."""
        schedule = self.recurring[schedule_id]
        assert schedule["status"] == "ENABLED"
        of_the_schedule = ("trigger", "mode", "status", "max_concurrency", "no_catchup")
        run_id = str(uuid.uuid4())
        self.runs[run_id] = {name: value for name, value in schedule.items() if name not in of_the_schedule} | {
            "run_id": run_id,
            "display_name": f"{schedule['display_name']}-{next(self.clock)}",
            "created_at": self.now(),
            "state": "RUNNING",
        }
        return run_id

    def specification(self, body: dict[str, Any]) -> dict[str, Any]:
        """What a run or a schedule runs: given in the request, or a version that is referred to."""
        if "pipeline_spec" in body:
            return body["pipeline_spec"]
        reference = body["pipeline_version_reference"]
        version = self.versions.get(reference["pipeline_version_id"])
        if version is None or version["pipeline_id"] != reference["pipeline_id"]:
            raise _RefusedError(404, 5, "ResourceNotFoundError: the pipeline version is not there.")
        document = version["pipeline_spec"]
        return document if "pipeline_spec" in document else {"pipeline_spec": document, "platform_spec": {}}

    def container_arguments(self, run_id: str, task: str) -> list[str]:
        """The arguments that a task's container gets; placeholders of its outputs stay as they are.

        The driver (backend/src/v2/driver/resolve.go) puts the run's own facts where a placeholder is the whole constant
        of an input; the launcher (backend/src/v2/component/launcher_v2.go) puts inputs into arguments, and knows no
        placeholder of the run.
        """
        run = self.runs[run_id]
        pipeline = _parsed(self.specification(run))
        given = run["runtime_config"].get("parameters", {})
        declared = pipeline.root.input_definitions.parameters
        parameters = {name: json_format.MessageToDict(value.default_value) for name, value in declared.items()} | given
        facts = {"{{$.pipeline_job_uuid}}": run_id, "{{$.pipeline_job_name}}": run["display_name"]}
        values: dict[str, Any] = {}
        for name, source in pipeline.root.dag.tasks[task].inputs.parameters.items():
            if source.HasField("runtime_value"):
                constant = json_format.MessageToDict(source.runtime_value.constant)
                values[name] = facts.get(constant, constant) if isinstance(constant, str) else constant
            else:
                values[name] = parameters[source.component_input_parameter]
        label = pipeline.components[pipeline.root.dag.tasks[task].component_ref.name].executor_label
        executors = json_format.MessageToDict(pipeline.deployment_spec)["executors"]
        arguments: list[str] = executors[label]["container"]["args"]
        for name, value in values.items():
            text = value if isinstance(value, str) else _as_go_writes(value)
            arguments = [argument.replace(f"{{{{$.inputs.parameters['{name}']}}}}", text) for argument in arguments]
        return arguments


@contextmanager
def serving() -> Iterator[KfpServer]:
    """A server that runs, in a thread of its own."""
    server = KfpServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _RefusedError(Exception):
    def __init__(self, status: int, code: int, message: str, **body: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = body or {"code": code, "message": message, "details": []}


def _refused_upload(status: int) -> _RefusedError:
    message = "Failed to create a pipeline version"
    details = f"{message}\ngithub.com/kubeflow/pipelines/backend"
    return _RefusedError(status, 0, message, error_message=message, error_details=details)


class _Handler(BaseHTTPRequestHandler):
    server: KfpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the kernel holds the last packet of an answer back for 40 ms

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        method = self.command
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        self.server.requests.append((method, address.path))
        if self.server.silent:
            self.server.over.wait(20)
        if self.server.breaks:
            self.server.breaks -= 1
            self.close_connection = True
            return
        for trouble in self.server.troubles:
            if trouble.method == method and address.path.startswith(trouble.path) and trouble.times > 0:
                trouble.times -= 1
                self._send(trouble.status, trouble.content_type, trouble.body, trouble.headers)
                return
        try:
            query = {key: values[0] for key, values in parse_qs(address.query).items()}
            kind = self.headers.get("Content-Type", "")
            if kind.startswith("multipart/form-data"):
                answer = self._upload_version(address.path, query, kind, body)
            else:
                answer = self._do(method, address.path, query, json.loads(body) if body else {})
        except _RefusedError as refused:
            self._send(refused.status, "application/json", json.dumps(refused.body))
            return
        text = isinstance(answer, str)
        self._send(200, *(("text/plain", answer) if text else ("application/json", json.dumps(answer))))

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 (as http.server calls them)

    def _send(self, status: int, content_type: str, body: str, headers: dict[str, str] | None = None) -> None:
        data = body.encode()
        self.send_response(status)
        for key, value in {"Content-Type": content_type, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def _authenticate(self) -> None:
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            raise _RefusedError(
                401, 16, "Failed to authenticate: request header error: there is no user identity header."
            )

    def _do(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> dict[str, Any] | str:
        if (method, path) == ("GET", f"{API}/healthz"):
            return {"multi_user": self.server.multi_user, "pipeline_store": "database"}
        self._authenticate()
        parts = [unquote(part) for part in path.removeprefix(f"{API}/").split("/")]
        if path.startswith("/apis/v1alpha1/runs/") and path.endswith("/log"):
            return self._log(path.split("/")[4], path.split("/")[6])
        if parts[0] == "pipelines" and path.startswith(f"{API}/"):
            return self._pipelines(method, parts[1:], query, body)
        kinds = {
            "experiments": (self.server.experiments, "experiment_id", "experiments"),
            "runs": (self.server.runs, "run_id", "runs"),
            "recurringruns": (self.server.recurring, "recurring_run_id", "recurringRuns"),
        }
        if parts[0] not in kinds or not path.startswith(f"{API}/"):
            raise _RefusedError(404, 5, "Not Found")
        entries, key, plural = kinds[parts[0]]
        parts[-1], _, verb = parts[-1].partition(":")
        if method == "GET" and len(parts) == 1:
            return self._list(entries, query, plural)
        if method == "POST" and len(parts) == 1:
            return self._create(parts[0], entries, key, body)
        if parts[1] not in entries:
            raise _RefusedError(404, 5, f"Failed to get {parts[0]}: ResourceNotFoundError: {parts[1]} not found.")
        if method == "DELETE":
            del entries[parts[1]]
            # The workflow belongs to the schedule; the record of the run does not.
            of_it = [run for run in self.server.runs.values() if run.get("recurring_run_id") == parts[1]]
            self.server.killed |= {run["run_id"] for run in of_it if run["state"] == "RUNNING"}
            return {}
        if parts[0] == "recurringruns" and verb in ("enable", "disable"):
            entries[parts[1]]["status"] = f"{verb.upper()}D"
            return {}
        return self._described(entries[parts[1]]) if parts[0] == "runs" else entries[parts[1]]

    def _list(self, entries: dict[str, dict[str, Any]], query: dict[str, str], plural: str) -> dict[str, Any]:
        if self.server.multi_user and not query.get("namespace"):
            raise _RefusedError(400, 3, "Invalid input error: In multi-user mode, a namespace is needed.")
        listed = list(entries.values())
        for predicate in json.loads(query.get("filter", "{}")).get("predicates", []):
            equal = {1: True, 2: False}[predicate["operation"]]
            key, value = predicate["key"], predicate["stringValue"]
            listed = [entry for entry in listed if (entry.get(key) == value) == equal]
        if query.get("sort_by", "").endswith("desc"):
            listed.sort(key=lambda entry: entry[query["sort_by"].split()[0]], reverse=True)
        start, size = int(query.get("page_token") or 0), int(query.get("page_size") or 10)
        more = {"next_page_token": str(start + size)} if start + size < len(listed) else {}
        return {plural: listed[start : start + size], "total_size": len(listed), **more}

    def _pipelines(self, method: str, parts: list[str], query: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        pipelines, versions = self.server.pipelines, self.server.versions
        if (method, parts) == ("POST", []):
            return self._create("pipelines", pipelines, "pipeline_id", body)
        if method == "GET" and parts[:1] == ["names"]:
            for pipeline in pipelines.values():
                if pipeline["name"] == parts[1] and pipeline.get("namespace", "") == query.get("namespace", ""):
                    return pipeline
            raise _RefusedError(404, 5, f"Failed to get pipeline by name: ResourceNotFoundError: {parts[1]} not found.")
        if not parts or parts[0] not in pipelines:
            raise _RefusedError(404, 5, f"ResourceNotFoundError: Pipeline {parts[:1]} not found.")
        of_it = {key: version for key, version in versions.items() if version["pipeline_id"] == parts[0]}
        if method == "GET" and parts[1:] == ["versions"]:
            # Versions belong to a pipeline, so no namespace is asked for.
            return self._list(of_it, {"namespace": "any", **query}, "pipeline_versions")
        if method == "GET" and parts[1:2] == ["versions"] and parts[2] in of_it:
            return of_it[parts[2]]
        raise _RefusedError(404, 5, "Not Found")

    def _upload_version(self, path: str, query: dict[str, str], kind: str, body: bytes) -> dict[str, Any]:
        """As UploadPipelineVersion in backend/src/apiserver/server/pipeline_upload_server.go."""
        if path != f"{API}/pipelines/upload_version":
            raise _RefusedError(404, 5, "Not Found")
        self._authenticate()
        message = BytesParser(policy=policy.HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        parts = message.iter_parts()
        files = [part for part in parts if part.get_param("name", header="content-disposition") == "uploadfile"]
        # The server tells what a file holds by its ending.
        names_yaml = len(files) == 1 and str(files[0].get_filename()).endswith((".yaml", ".yml"))
        if not names_yaml or query.get("pipelineid") not in self.server.pipelines:
            raise _refused_upload(400)
        documents = list(yaml.safe_load_all(files[0].get_content()))
        document = {"pipeline_spec": documents[0], "platform_spec": documents[1]} if documents[1:] else documents[0]
        try:
            _parsed({"pipeline_spec": documents[0], "platform_spec": [*documents, {}][1]})
        except _RefusedError:
            raise _refused_upload(500) from None
        name = query.get("name") or files[0].get_filename()
        present = [(version["pipeline_id"], version["name"]) for version in self.server.versions.values()]
        if (query["pipelineid"], name) in present:
            raise _refused_upload(409)
        version = {"pipeline_id": query["pipelineid"], "name": name, "display_name": name, "pipeline_spec": document}
        return self._keep(self.server.versions, "pipeline_version_id", version)

    def _create(self, kind: str, entries: dict[str, dict[str, Any]], key: str, body: dict[str, Any]) -> dict[str, Any]:
        if kind in ("experiments", "pipelines"):
            if any(entry["display_name"] == body["display_name"] for entry in entries.values()):
                raise _RefusedError(409, 6, "Already exist error: The name already exists. Please specify a new name.")
        else:
            if body["experiment_id"] not in self.server.experiments:
                raise _RefusedError(404, 5, "ResourceNotFoundError: the experiment is not there.")
            _check(self.server.specification(body), body)
        if kind == "runs":
            body["state"] = "PENDING"
        if kind == "recurringruns":
            body["status"] = "ENABLED" if body["mode"] == "ENABLE" else "DISABLED"
            body["max_concurrency"] = str(body["max_concurrency"])
        return self._keep(entries, key, body)

    def _keep(self, entries: dict[str, dict[str, Any]], key: str, fields: dict[str, Any]) -> dict[str, Any]:
        made = {**fields, key: str(uuid.uuid4()), "created_at": self.server.now()}
        entries[made[key]] = made
        return made

    def _described(self, run: dict[str, Any]) -> dict[str, Any]:
        """A run as the server tells it now; the next time it has gone on."""
        states = self.server.states
        now = states.pop(0) if len(states) > 1 else (states or [{}])[0]
        tasks = self.server.specification(run)["pipeline_spec"]["root"]["dag"]["tasks"]
        if run["run_id"] not in self.server.killed:
            succeeded = set(tasks) == {name for name, state in now.items() if state == "SUCCEEDED"}
            run["state"] = "FAILED" if "FAILED" in now.values() else "SUCCEEDED" if succeeded else "RUNNING"
        failure = {"state": "FAILED", "error": {"code": 13, "message": "a task\nhas failed"}}
        return {
            **run,
            "finished_at": "2024-03-01T11:00:00Z" if run["state"] in ("SUCCEEDED", "FAILED") else LONG_AGO,
            "run_details": {"task_details": list(_nodes(run, now, sorted(tasks)))},
            **({"state_history": [failure]} if run["state"] == "FAILED" else {}),
        }

    def _log(self, run_id: str, pod: str) -> str:
        """As ReadRunLogV1 in backend/src/apiserver/server/run_log_server.go, which sends the status before it reads."""
        if run_id in self.server.runs and pod in self.server.logs and self.server.multi_user:
            return self.server.logs[pod]
        message = f"Failed to read logs for run {run_id}: InternalServerError: Failed to read logs from archive {pod}"
        return json.dumps({"error_message": message, "error_details": f"{message}\ngoroutine 1"}, separators=(",", ":"))


def _as_go_writes(value: bool | int | float) -> str:
    return json.dumps(value) if isinstance(value, bool) else f"{Decimal(repr(value)).normalize():f}"


def node_id(name: str) -> str:
    """Argo's id of a node of the workflow."""
    return f"{WORKFLOW}-{fnv1a(name)}"


def pod(task: str, attempt: int = 0) -> str:
    """The name of the pod of an attempt of a task with a retry policy."""
    return f"{WORKFLOW}-retry-system-container-impl-{fnv1a(f'{WORKFLOW}.root.{task}.executor({attempt})')}"


def driver_pod(name: str) -> str:
    """The name of the pod of `root-driver` or `TASK-driver`."""
    kind, node = ("dag", name) if name == "root-driver" else ("container", f"root.{name}")
    return f"{WORKFLOW}-system-{kind}-driver-{fnv1a(f'{WORKFLOW}.{node}')}"


def _nodes(run: dict[str, Any], states: dict[str, str], tasks: list[str]) -> Iterator[dict[str, Any]]:
    """The nodes of the workflow; only the children of each are told by id."""

    def node(display_name: str, state: str | None, children: list[str]) -> dict[str, Any]:
        start, end = "2024-03-01T10:01:00Z", "2024-03-01T10:02:30Z"
        return {
            "run_id": run["run_id"],
            "task_id": str(uuid.uuid4()),
            "display_name": display_name,
            "create_time": run["created_at"],
            "start_time": start,
            "end_time": {"RUNNING": LONG_AGO, None: start}.get(state, end),
            # The API has no word for what Argo leaves out.
            **({"state": state} if state else {}),
            "child_tasks": [{"pod_name": node_id(child)} for child in children],
        }

    root = f"{WORKFLOW}.root"
    root_driver = states.get("root-driver", "SUCCEEDED")
    yield node(WORKFLOW, "RUNNING", [f"{root}-driver"])
    yield node("root-driver", root_driver, [root])
    if root_driver == "FAILED":
        yield node("root", None, [])
        return
    drivers = {name: states.get(f"{name}-driver", "SUCCEEDED" if name in states else None) for name in tasks}
    # Argo leaves out what depends on a failure; what has not begun yet has no node.
    known = [name for name in tasks if drivers[name] or "FAILED" in states.values()]
    yield node("root", "RUNNING", [f"{root}.{name}-driver" for name in known])
    for name in known:
        state = states.get(name)
        attempts = [f"{root}.{name}.executor({attempt})" for attempt in range(2 if state == "FAILED" else 1)]
        yield node(f"{name}-driver", drivers[name], [f"{root}.{name}"])
        yield node(name, state, [f"{root}.{name}.executor"] if state else [])
        if state:
            yield node("executor", state, attempts)
            for number, _ in enumerate(attempts):
                yield node(f"executor({number})", state, [])


def _check(specification: dict[str, Any], body: dict[str, Any]) -> None:
    """Refuses what the real server would."""
    pipeline = _parsed(specification)
    extra = set(body["runtime_config"].get("parameters", {})) - set(pipeline.root.input_definitions.parameters)
    if extra:
        raise _RefusedError(400, 3, f"Invalid input error: parameter(s) provided are not required by pipeline: {extra}")


def _parsed(specification: dict[str, Any]) -> pipeline_spec_pb2.PipelineSpec:
    try:
        pipeline = json_format.ParseDict(specification["pipeline_spec"], pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(specification["platform_spec"], pipeline_spec_pb2.PlatformSpec())
    except (json_format.ParseError, TypeError, AttributeError) as error:
        why = f"Failed to fetch a template with an invalid pipeline spec manifest: Invalid input error: {error}"
        raise _RefusedError(500, 13, f"Failed to create a new run: InternalServerError: {why}") from None
    return pipeline

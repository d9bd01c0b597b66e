"""A small server that speaks the paths of the Kubeflow Pipelines API which the client uses, and remembers.

What it answers follows the real one (kubeflow/pipelines 2.16, backend/src/apiserver): runs are described node by node
of the Argo workflow, without the nodes' own ids; an experiment's name is unique, a run's is not; logs are served under
v1alpha1 only. It can also be told to misbehave.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

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
        requests: every request so far: method, path, headers.
        token: wanted in every request but that for its health, if set.
        states: of a run's tasks, one step further each time that somebody asks for the run.
        logs: pod -> what it printed; other pods are gone.
        silent: take requests and never answer.
        breaks: so many of the next requests end with a closed connection.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.recurring: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, str] = {}
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
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def paths(self, method: str) -> list[str]:
        """The paths of all requests of a method, in order."""
        return [path for each, path, _ in self.requests if each == method]


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
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, "details": []}


class _Handler(BaseHTTPRequestHandler):
    server: KfpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the kernel holds the last packet of an answer back for 40 ms

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        address = urlsplit(self.path)
        self.server.requests.append((method, address.path, dict(self.headers)))
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
        if isinstance(answer, str):
            self._send(200, "text/plain", answer)
        else:
            self._send(200, "application/json", json.dumps(answer))

    def _send(self, status: int, content_type: str, body: str, headers: dict[str, str] | None = None) -> None:
        data = body.encode()
        self.send_response(status)
        for key, value in {"Content-Type": content_type, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def _do(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> dict[str, Any] | str:
        if (method, path) == ("GET", f"{API}/healthz"):
            return {"multi_user": self.server.multi_user, "pipeline_store": "database"}
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            raise _RefusedError(
                401, 16, "Failed to authenticate: request header error: there is no user identity header."
            )
        parts = [unquote(part) for part in path.removeprefix(f"{API}/").split("/")]
        if path.startswith("/apis/v1alpha1/runs/") and path.endswith("/log"):
            return self._log(path.split("/")[4], path.split("/")[6])
        if parts[0] == "pipelines" and path.startswith(f"{API}/"):
            return self._pipelines(method, parts[1:], query, body)
        kinds = {
            "experiments": (self.server.experiments, "experiment_id"),
            "runs": (self.server.runs, "run_id"),
            "recurringruns": (self.server.recurring, "recurring_run_id"),
        }
        if parts[0] not in kinds or not path.startswith(f"{API}/"):
            raise _RefusedError(404, 5, "Not Found")
        kept, key = kinds[parts[0]]
        if method == "GET" and len(parts) == 1:
            return self._list(kept, query, {"recurringruns": "recurringRuns"}.get(parts[0], parts[0]))
        if method == "POST" and len(parts) == 1:
            return self._create(parts[0], kept, key, body)
        if parts[1] not in kept:
            raise _RefusedError(404, 5, f"Failed to get {parts[0]}: ResourceNotFoundError: {parts[1]} not found.")
        if method == "DELETE":
            del kept[parts[1]]
            return {}
        return self._described(kept[parts[1]]) if parts[0] == "runs" else kept[parts[1]]

    def _list(self, kept: dict[str, dict[str, Any]], query: dict[str, str], plural: str) -> dict[str, Any]:
        if self.server.multi_user and not query.get("namespace"):
            raise _RefusedError(400, 3, "Invalid input error: In multi-user mode, a namespace is needed.")
        found = list(kept.values())
        for predicate in json.loads(query.get("filter", "{}")).get("predicates", []):
            assert predicate["operation"] == 1
            found = [each for each in found if each[predicate["key"]] == predicate["stringValue"]]
        if query.get("sort_by", "").endswith("desc"):
            found.sort(key=lambda each: each[query["sort_by"].split()[0]], reverse=True)
        start, size = int(query.get("page_token") or 0), int(query.get("page_size") or 10)
        page: dict[str, Any] = {plural: found[start : start + size], "total_size": len(found)}
        if start + size < len(found):
            page["next_page_token"] = str(start + size)
        return page

    def _pipelines(self, method: str, parts: list[str], query: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        pipelines, versions = self.server.pipelines, self.server.versions
        if (method, parts) == ("POST", []):
            return self._create("pipelines", pipelines, "pipeline_id", body)
        if method == "GET" and parts[:1] == ["names"]:
            namespace = query.get("namespace", "")
            for each in pipelines.values():
                if each["name"] == parts[1] and each.get("namespace", "") == namespace:
                    return each
            raise _RefusedError(404, 5, f"Failed to get pipeline by name: ResourceNotFoundError: {parts[1]} not found.")
        if not parts or parts[0] not in pipelines:
            raise _RefusedError(404, 5, f"ResourceNotFoundError: Pipeline {parts[:1]} not found.")
        of_it = {key: each for key, each in versions.items() if each["pipeline_id"] == parts[0]}
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
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            raise _RefusedError(401, 16, "Failed to authenticate.")
        message = BytesParser(policy=policy.HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        parts = message.iter_parts()
        files = [each for each in parts if each.get_param("name", header="content-disposition") == "uploadfile"]
        # The server tells what a file holds by its ending.
        if len(files) != 1 or not str(files[0].get_filename()).endswith((".yaml", ".yml")):
            raise _RefusedError(400, 3, "Failed to create a pipeline version")
        if query.get("pipelineid") not in self.server.pipelines:
            raise _RefusedError(400, 3, "Failed to create a pipeline version")
        content = files[0].get_payload(decode=True)
        assert isinstance(content, bytes)
        documents = list(yaml.safe_load_all(content))
        document = {"pipeline_spec": documents[0], "platform_spec": documents[1]} if documents[1:] else documents[0]
        _parsed({"pipeline_spec": documents[0], "platform_spec": [*documents, {}][1]})
        name = query.get("name") or query.get("display_name") or files[0].get_filename()
        if any(
            each["pipeline_id"] == query["pipelineid"] and each["name"] == name
            for each in self.server.versions.values()
        ):
            raise _RefusedError(409, 6, "Failed to create a pipeline version")
        made = {
            "pipeline_id": query["pipelineid"],
            "pipeline_version_id": str(uuid.uuid4()),
            "name": name,
            "display_name": query.get("display_name") or name,
            "created_at": f"2024-03-01T10:00:{next(self.server.clock):02d}Z",
            "pipeline_spec": document,
        }
        self.server.versions[made["pipeline_version_id"]] = made
        return made

    def _specification(self, body: dict[str, Any]) -> dict[str, Any]:
        """What a run or a schedule runs: given in the request, or a version that is referred to."""
        if "pipeline_spec" in body:
            return body["pipeline_spec"]
        reference = body["pipeline_version_reference"]
        version = self.server.versions.get(reference["pipeline_version_id"])
        if version is None or version["pipeline_id"] != reference["pipeline_id"]:
            raise _RefusedError(404, 5, "ResourceNotFoundError: the pipeline version is not there.")
        found = version["pipeline_spec"]
        return found if "pipeline_spec" in found else {"pipeline_spec": found, "platform_spec": {}}

    def _create(self, kind: str, kept: dict[str, dict[str, Any]], key: str, body: dict[str, Any]) -> dict[str, Any]:
        unique = ("experiments", "pipelines")
        if kind in unique and any(each["display_name"] == body["display_name"] for each in kept.values()):
            raise _RefusedError(409, 6, "Already exist error: The name already exists. Please specify a new name.")
        if kind not in unique:
            if body["experiment_id"] not in self.server.experiments:
                raise _RefusedError(404, 5, "ResourceNotFoundError: the experiment is not there.")
            _check(self._specification(body), body)
        if kind == "recurringruns":
            body["status"] = "ENABLED" if body["mode"] == "ENABLE" else "DISABLED"
            body["max_concurrency"] = str(body["max_concurrency"])
        created = f"2024-03-01T10:00:{next(self.server.clock):02d}Z"
        made = {**body, key: str(uuid.uuid4()), "created_at": created}
        kept[made[key]] = made
        return {**made, "state": "PENDING"} if kind == "runs" else made

    def _described(self, run: dict[str, Any]) -> dict[str, Any]:
        """A run as the server tells it now; the next time it has gone on."""
        states = self.server.states
        now = states.pop(0) if len(states) > 1 else (states or [{}])[0]
        ends = {"SUCCEEDED", "FAILED"}
        tasks = self._specification(run)["pipeline_spec"]["root"]["dag"]["tasks"]
        state = "RUNNING"
        if "FAILED" in now.values():
            state = "FAILED"
        elif set(tasks) == {name for name, each in now.items() if each == "SUCCEEDED"}:
            state = "SUCCEEDED"
        answer = {
            **run,
            "state": state,
            "finished_at": "2024-03-01T11:00:00Z" if state in ends else LONG_AGO,
            "run_details": {"task_details": list(_nodes(run, now))},
        }
        if state == "FAILED":
            answer["state_history"] = [{"state": "FAILED", "error": {"code": 13, "message": "a task\nhas failed"}}]
        return answer

    def _log(self, run_id: str, pod: str) -> str:
        if run_id not in self.server.runs:
            raise _RefusedError(400, 3, "Failed to read logs: run not found")
        if pod not in self.server.logs:
            raise _RefusedError(500, 13, f"Failed to read logs from pod {pod}: pods {pod!r} not found")
        return self.server.logs[pod]


def node_id(name: str) -> str:
    """Argo's id of a node of the workflow: a 32-bit FNV-1a hash of its name."""
    digest = 2166136261
    for byte in name.encode():
        digest = (digest ^ byte) * 16777619 % 2**32
    return f"{WORKFLOW}-{digest}"


def pod(task: str, attempt: int = 0) -> str:
    """The name of the pod of an attempt of a task with a retry policy."""
    number = node_id(f"{WORKFLOW}.root.{task}.executor({attempt})").rpartition("-")[2]
    return f"{WORKFLOW}-retry-system-container-impl-{number}"


def _nodes(run: dict[str, Any], states: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The nodes of the workflow; only the children of each are told by id."""

    def node(display_name: str, state: str, children: list[str]) -> dict[str, Any]:
        return {
            "run_id": run["run_id"],
            "task_id": str(uuid.uuid4()),
            "display_name": display_name,
            "create_time": run["created_at"],
            "start_time": "2024-03-01T10:01:00Z",
            "end_time": "2024-03-01T10:02:30Z" if state != "RUNNING" else LONG_AGO,
            "state": state,
            "child_tasks": [{"pod_name": node_id(child)} for child in children],
        }

    root = f"{WORKFLOW}.root"
    yield node(WORKFLOW, "RUNNING", [f"{root}-driver"])
    yield node("root-driver", "SUCCEEDED", [root])
    yield node("root", "RUNNING", [f"{root}.{name}-driver" for name in states])
    for name, state in states.items():
        attempts = [f"{root}.{name}.executor({attempt})" for attempt in range(2 if state == "FAILED" else 1)]
        yield node(f"{name}-driver", "SUCCEEDED", [f"{root}.{name}"])
        yield node(name, state, [f"{root}.{name}.executor"])
        yield node("executor", state, attempts)
        for number, _ in enumerate(attempts):
            yield node(f"executor({number})", state, [])


def _check(specification: dict[str, Any], body: dict[str, Any]) -> None:
    """Refuses what the real server would."""
    pipeline = _parsed(specification)
    unknown = set(body["runtime_config"].get("parameters", {})) - set(pipeline.root.input_definitions.parameters)
    if unknown:
        raise _RefusedError(
            400, 3, f"Invalid input error: parameter(s) provided are not required by pipeline: {unknown}"
        )


def _parsed(specification: dict[str, Any]) -> pipeline_spec_pb2.PipelineSpec:
    try:
        pipeline = json_format.ParseDict(specification["pipeline_spec"], pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(specification["platform_spec"], pipeline_spec_pb2.PlatformSpec())
    except (json_format.ParseError, TypeError, AttributeError) as error:
        raise _RefusedError(400, 3, f"Invalid input error: the pipeline spec is invalid: {error}") from None
    return pipeline

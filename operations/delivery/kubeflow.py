"""A client of Kubeflow Pipelines: submits runs, follows them, reads their logs, keeps versions and schedules.

It speaks through `kfp_server_api`, the layer underneath `kfp.Client`. That class itself prints, waits without a limit,
repeats itself for half a minute when nobody answers, and mixes a file of the home folder into its settings.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kfp_server_api
import urllib3

from errors import FlightdeckError
from operations.delivery import kubeflow_run
from operations.delivery.compiled_pipeline import CompiledPipeline
from operations.delivery.kubeflow_run import Run

TOKEN_VARIABLE = "FLIGHTDECK_KFP_TOKEN"
# A port-forward that breaks and is started again should not end the watch of a run of hours.
_PATIENCE = 5
_EQUALS, _NOT_EQUALS = 1, 2
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The log of a pod is served by no method of the generated client, and in no newer version of the API.
_LOG_PATH = "/apis/v1alpha1/runs/{run_id}/nodes/{node_id}/log"
# How the body begins that says, with status 200, why there is no log, and how long it can be (it holds a stack trace).
_NO_LOG, _NO_LOG_BYTES = b'{"error_message"', 2**20


class KubeflowError(FlightdeckError):
    """Kubeflow Pipelines cannot do what was asked; the text says why and what to do."""


class UnreachableError(KubeflowError):
    """Nobody answers, which may pass."""


class NotFoundError(KubeflowError):
    """The server does not have it."""


class NameClashError(KubeflowError):
    """The server has something of that name already."""


class LogError(KubeflowError):
    """The server does not serve a log."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A recurring run.

    Attributes:
        schedule_id: the server's id.
        name: the name that a person gave it.
        when: a cron expression of six fields, or ``every N s``.
        enabled: whether it starts runs.
        max_concurrency: how many of its runs may go on at a time.
    """

    schedule_id: str
    name: str
    when: str
    enabled: bool
    max_concurrency: int


@dataclasses.dataclass(frozen=True)
class Retired:
    """What became of schedules that were to be deleted. None of them starts a run any more.

    Attributes:
        deleted: ids of those that are gone.
        kept: those that are disabled only, because deleting them would end runs: id of the schedule -> ids of the runs.
    """

    deleted: tuple[str, ...] = ()
    kept: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Version:
    """One version of a pipeline that the server keeps.

    Attributes:
        pipeline: the pipeline's name.
        pipeline_id: the server's id of it.
        name: of the version.
        version_id: the server's id of it.
        document: the compiled pipeline, as the server holds it.
        link: its page in KFP's user interface.
    """

    pipeline: str
    pipeline_id: str
    name: str
    version_id: str
    document: dict[str, Any]
    link: str


class KubeflowPipelines:
    """The API server of Kubeflow Pipelines."""

    def __init__(
        self,
        endpoint: str,
        namespace: str | None = None,
        token: str | None = None,
        connect_seconds: float = 5,
        answer_seconds: float = 30,
    ) -> None:
        """Remembers where the server is; the first method asks it.

        Args:
            endpoint: its address, such as ``http://localhost:8888``.
            namespace: where runs belong, on a server for several users.
            token: is sent as a bearer token.
            connect_seconds: how long to wait for a connection.
            answer_seconds: how long to wait for the answer to one request.

        Raises:
            KubeflowError: the address or the token cannot be one.
        """
        address = urlsplit(endpoint)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise KubeflowError(f"kubeflow.endpoint: `{endpoint}` is not an address such as http://localhost:8888.")
        if address.username is not None or address.password is not None:
            raise KubeflowError(f"kubeflow.endpoint must not hold credentials; put a token into {TOKEN_VARIABLE}.")
        configuration = kfp_server_api.Configuration(host=endpoint.rstrip("/"))
        configuration.retries = False
        if token:
            if not re.fullmatch(r"[!-~]+", token):
                raise KubeflowError(f"The token in {TOKEN_VARIABLE} is not one word of printable characters.")
            configuration.api_key["authorization"] = token
            configuration.api_key_prefix["authorization"] = "Bearer"
        self.endpoint = configuration.host
        self.namespace = namespace
        self._api = _Api(configuration, (connect_seconds, answer_seconds))
        # Typed by hand: the generated classes declare every answer as a union with a thread's result.
        self._experiments: Any = kfp_server_api.ExperimentServiceApi(self._api)
        self._runs: Any = kfp_server_api.RunServiceApi(self._api)
        self._recurring: Any = kfp_server_api.RecurringRunServiceApi(self._api)
        self._pipelines: Any = kfp_server_api.PipelineServiceApi(self._api)
        self._uploads: Any = kfp_server_api.PipelineUploadServiceApi(self._api)
        self._documents: dict[str, Any] = {}  # of versions that runs refer to; a version never changes

    def check(self) -> None:
        """Asks whether the server is there and what it needs.

        Raises:
            KubeflowError: it is not, or it needs a namespace and has none.
        """
        health: Any = kfp_server_api.HealthzServiceApi(self._api).healthz_service_get_healthz()
        if health.multi_user and not self.namespace:
            raise KubeflowError(
                f"Kubeflow Pipelines at {self.endpoint} serves several users; say whose runs these are, "
                "with kubeflow.namespace."
            )

    def experiment(self, name: str) -> str:
        """The id of the experiment of that name, which is created if there is none.

        Raises:
            KubeflowError: the server refuses.
        """
        if (found := self._experiment(name)) is not None:
            return found
        experiment = kfp_server_api.V2beta1Experiment(display_name=name, namespace=self.namespace)
        try:
            return self._experiments.experiment_service_create_experiment(experiment).experiment_id
        except NameClashError:  # somebody else was faster
            if (found := self._experiment(name)) is None:
                raise
            return found

    def version(self, pipeline: str, name: str) -> Version:
        """A version of a pipeline.

        Raises:
            NotFoundError: there is none.
            KubeflowError: the server refuses.
        """
        pipeline_id = self._pipeline(pipeline)
        found = None if pipeline_id is None else self._version(pipeline, pipeline_id, name)
        if found is None:
            raise NotFoundError(
                f"There is no version `{name}` of the pipeline `{pipeline}` at {self.endpoint}; "
                "upload it with: flightdeck kubeflow upload"
            )
        return found

    def upload(self, compiled: CompiledPipeline, pipeline: str, name: str) -> tuple[Version, bool]:
        """Keeps a compiled pipeline on the server, as a version of a pipeline that is created if there is none.

        Args:
            compiled: the pipeline.
            pipeline: the name of the pipeline there.
            name: of the version, such as the commit that it was compiled from.

        Returns:
            The version, and whether it is new; one with this name and content may be there already.

        Raises:
            NameClashError: the server has a version of that name which holds something else.
            KubeflowError: the server refuses.
        """
        pipeline_id = self._pipeline(pipeline)
        if pipeline_id is None:
            pipeline_id = self._create_pipeline(pipeline)
        present = self._version(pipeline, pipeline_id, name)
        if present is None:
            try:
                answer = self._send_version(compiled, pipeline_id, name)
            except NameClashError:  # somebody else was faster
                present = self._version(pipeline, pipeline_id, name)
                if present is None:
                    raise
            else:
                return self._read_version(pipeline, answer), True
        if CompiledPipeline.of(present.document, f"The version {name}").specification != compiled.specification:
            raise NameClashError(
                f"The version `{name}` of the pipeline `{pipeline}` at {self.endpoint} holds something else; "
                "versions never change, so choose another --version-name."
            )
        return present, False

    def submit(
        self,
        specification: Mapping[str, Any] | Version,
        name: str,
        experiment_id: str,
        arguments: Mapping[str, Any],
        service_account: str | None,
    ) -> Run:
        """Starts a run of a compiled pipeline.

        Args:
            specification: of a `CompiledPipeline`, or a version that the server keeps.
            name: for people.
            experiment_id: from `experiment`.
            arguments: the parameters that differ from their defaults.
            service_account: whose permissions its pods have.

        Raises:
            KubeflowError: the server refuses.
        """
        run = kfp_server_api.V2beta1Run(
            experiment_id=experiment_id,
            display_name=name,
            **_source(specification),
            runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=dict(arguments)),
            service_account=service_account,
        )
        return self._read(self._runs.run_service_create_run(run))

    def run(self, reference: str) -> Run:
        """A run.

        Args:
            reference: its id, or its name: then the newest of that name.

        Raises:
            NotFoundError: there is none.
            KubeflowError: the server refuses.
        """
        if _UUID.fullmatch(reference):
            try:
                return self._read(self._runs.run_service_get_run(reference))
            except NotFoundError:
                raise NotFoundError(f"There is no run {reference} at {self.endpoint}.") from None
        listed = self._runs.run_service_list_runs(**self._named(reference), page_size=1, sort_by="created_at desc")
        if not listed.runs:
            raise NotFoundError(f"There is no run named `{reference}` at {self.endpoint}.")
        return self._read(self._runs.run_service_get_run(listed.runs[0].run_id))

    def follow(self, run_id: str, poll_seconds: float = 5.0) -> Iterator[Run]:
        """A run, again and again until it has finished.

        Args:
            run_id: the server's id.
            poll_seconds: time between two looks.

        Raises:
            KubeflowError: the server refuses, or has not answered several times in a row.
        """
        failures = 0
        while True:
            try:
                run = self.run(run_id)
            except UnreachableError as error:
                failures += 1
                if failures == _PATIENCE:
                    raise UnreachableError(
                        f"{error} The run goes on; look again with: flightdeck kubeflow status {run_id}"
                    ) from None
            else:
                failures = 0
                yield run
                if run.finished:
                    return
            time.sleep(poll_seconds)

    def log(self, run_id: str, pod: str) -> Iterator[str]:
        """What a pod of a run has printed so far, in pieces as they arrive.

        Raises:
            LogError: the server does not serve it; the text has the command that asks Kubernetes.
            UnreachableError: nobody answers.
        """
        command = f"kubectl logs --namespace {self.namespace or 'kubeflow'} {pod} --container main"
        try:
            answer: Any = self._api.call_api(
                _LOG_PATH,
                "GET",
                path_params={"run_id": run_id, "node_id": pod},
                auth_settings=["Bearer"],
                _preload_content=False,
                _return_http_data_only=True,
            )
        except UnreachableError:
            raise
        except KubeflowError as error:
            raise LogError(f"{error} Ask Kubernetes: {command}") from None
        # KFP's web page answers this address too, with itself. An empty log has no type.
        if not answer.headers.get("Content-Type", "text/plain").startswith("text/plain"):
            raise LogError(f"{self.endpoint} serves no logs; ask Kubernetes: {command}")
        pieces = answer.stream(2**16, decode_content=True)
        beginning = b""
        try:
            # Held back only as long as it may be the server's error.
            while beginning.startswith(_NO_LOG[: len(beginning)]) and len(beginning) < _NO_LOG_BYTES:
                if not (piece := next(pieces, b"")):
                    break
                beginning += piece
            if error := _no_log(beginning):
                said = _said(error).rstrip(".")
                raise LogError(f"{self.endpoint} has no log of {pod}.{said}. Ask Kubernetes: {command}")
            yield beginning.decode(errors="replace")
            for piece in pieces:
                yield piece.decode(errors="replace")
        except urllib3.exceptions.HTTPError:
            raise LogError(f"The log of {pod} broke off; ask Kubernetes: {command}") from None

    def schedules(self, name: str | None = None) -> list[Schedule]:
        """The recurring runs, all or those of a name.

        Raises:
            KubeflowError: the server refuses.
        """
        found: list[Schedule] = []
        token = ""
        while True:
            page = self._recurring.recurring_run_service_list_recurring_runs(
                **self._named(name), page_size=100, page_token=token
            )
            found += [_schedule(each) for each in page.recurring_runs or ()]
            token = page.next_page_token
            if not token:
                return found

    def schedule(
        self,
        specification: Mapping[str, Any] | Version,
        name: str,
        experiment_id: str,
        arguments: Mapping[str, Any],
        service_account: str | None,
        trigger: kfp_server_api.V2beta1Trigger,
        replace: bool = False,
    ) -> tuple[Schedule, Retired]:
        """Starts runs of a compiled pipeline again and again: one at a time, and none for the times that were missed.

        Two runs at a time would compete for the champion's place; a missed one would train on the same data.

        Args:
            specification: of a `CompiledPipeline`, or a version that the server keeps.
            name: unique among the schedules.
            experiment_id: from `experiment`.
            arguments: the parameters that differ from their defaults.
            service_account: whose permissions its pods have.
            trigger: from `cron` or `interval`.
            replace: take the place of schedules of the same name. Those that have a run under way are only disabled, as
                by `delete_schedule`; a later replacement deletes them.

        Returns:
            The schedule, and what became of those that it replaces.

        Raises:
            NameClashError: there is one of that name, and `replace` is not set.
            KubeflowError: the server refuses.
        """
        present = self.schedules(name)
        if present and not replace:
            raise NameClashError(
                f"There is a schedule named `{name}` already; replace it with --replace, or choose another --name."
            )
        recurring = kfp_server_api.V2beta1RecurringRun(
            experiment_id=experiment_id,
            display_name=name,
            **_source(specification),
            runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=dict(arguments)),
            service_account=service_account,
            trigger=trigger,
            mode=kfp_server_api.RecurringRunMode.ENABLE,
            max_concurrency="1",
            no_catchup=True,
        )
        made = _schedule(self._recurring.recurring_run_service_create_recurring_run(recurring))
        # The old ones last: if the server refuses the new one, they are still there.
        return made, self._retire(present)

    def delete_schedule(self, reference: str, force: bool = False) -> Retired:
        """Disables schedules, and deletes those of which no run is under way: with a schedule, KFP deletes its runs.

        Args:
            reference: their name, or the id of one.
            force: delete also those of which a run is under way, which ends it.

        Raises:
            NotFoundError: there is none.
            KubeflowError: the server refuses.
        """
        present = [each for each in self.schedules() if reference in (each.name, each.schedule_id)]
        if not present:
            raise NotFoundError(f"There is no schedule named `{reference}` at {self.endpoint}.")
        return self._retire(present, force)

    def _retire(self, schedules: Iterable[Schedule], force: bool = False) -> Retired:
        deleted: list[str] = []
        kept: dict[str, tuple[str, ...]] = {}
        for each in schedules:
            # First, so that no run begins after the look at them.
            if each.enabled:
                self._recurring.recurring_run_service_disable_recurring_run(each.schedule_id)
            if runs := () if force else self._under_way(each.schedule_id):
                kept[each.schedule_id] = runs
                continue
            self._recurring.recurring_run_service_delete_recurring_run(each.schedule_id)
            deleted.append(each.schedule_id)
        return Retired(tuple(deleted), kept)

    def _under_way(self, schedule_id: str) -> tuple[str, ...]:
        """The ids of the runs that a schedule has started and that have not ended."""
        predicates = [{"operation": _EQUALS, "key": "recurring_run_id", "stringValue": schedule_id}]
        predicates += [
            {"operation": _NOT_EQUALS, "key": "state", "stringValue": each} for each in sorted(kubeflow_run.FINISHED)
        ]
        listed = self._runs.run_service_list_runs(
            **{**self._named(None), "filter": json.dumps({"predicates": predicates})}, page_size=100
        )
        return tuple(each.run_id for each in listed.runs or ())

    def _experiment(self, name: str) -> str | None:
        listed = self._experiments.experiment_service_list_experiments(**self._named(name))
        return listed.experiments[0].experiment_id if listed.experiments else None

    def _pipeline(self, name: str) -> str | None:
        where = {"namespace": self.namespace} if self.namespace else {}
        try:
            return self._pipelines.pipeline_service_get_pipeline_by_name(name, **where).pipeline_id
        except NotFoundError:
            return None

    def _create_pipeline(self, name: str) -> str:
        pipeline = kfp_server_api.V2beta1Pipeline(name=name, display_name=name, namespace=self.namespace)
        try:
            return self._pipelines.pipeline_service_create_pipeline(pipeline).pipeline_id
        except NameClashError:  # somebody else was faster
            if (found := self._pipeline(name)) is None:
                raise
            return found

    def _version(self, pipeline: str, pipeline_id: str, name: str) -> Version | None:
        restricted = {"filter": self._named(name)["filter"]}
        listed = self._pipelines.pipeline_service_list_pipeline_versions(pipeline_id, **restricted)
        return self._read_version(pipeline, listed.pipeline_versions[0]) if listed.pipeline_versions else None

    def _send_version(self, compiled: CompiledPipeline, pipeline_id: str, name: str) -> Any:
        # The server goes by the name of the file, and the generated client takes nothing but a path.
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "pipeline.yaml"
            file.write_text(compiled.text(), encoding="utf-8")
            return self._uploads.upload_pipeline_version(str(file), name=name, pipelineid=pipeline_id)

    def _read_version(self, pipeline: str, answer: Any) -> Version:
        return Version(
            pipeline=pipeline,
            pipeline_id=answer.pipeline_id,
            name=answer.display_name or answer.name or "",
            version_id=answer.pipeline_version_id,
            document=answer.pipeline_spec or {},
            link=f"{self.endpoint}/#/pipelines/details/{answer.pipeline_id}/version/{answer.pipeline_version_id}",
        )

    def _named(self, name: str | None) -> dict[str, Any]:
        """What every list is restricted to: a name, and the namespace where there is one."""
        restricted: dict[str, Any] = {}
        if name is not None:
            predicate = {"operation": _EQUALS, "key": "display_name", "stringValue": name}
            restricted["filter"] = json.dumps({"predicates": [predicate]})
        if self.namespace:
            restricted["namespace"] = self.namespace
        return restricted

    def _read(self, answer: Any) -> Run:
        # The server describes a run of a version by a reference alone, which does not say what tasks it has.
        reference = answer.pipeline_version_reference
        if answer.pipeline_spec is None and reference is not None:
            if reference.pipeline_version_id not in self._documents:
                self._documents[reference.pipeline_version_id] = self._pipelines.pipeline_service_get_pipeline_version(
                    reference.pipeline_id, reference.pipeline_version_id
                ).pipeline_spec
            answer.pipeline_spec = self._documents[reference.pipeline_version_id]
        return kubeflow_run.read(answer, f"{self.endpoint}/#/runs/details/{answer.run_id}")


class _Api(kfp_server_api.ApiClient):
    """KFP's generated client, with limits on time and with errors for people."""

    def __init__(self, configuration: kfp_server_api.Configuration, seconds: tuple[float, float]) -> None:
        super().__init__(configuration)
        self._seconds = seconds

    def request(self, method: str, url: str, **given: Any) -> Any:
        """Sends one request; everything that the client does comes through here."""
        try:
            answer = super().request(method, url, **{**given, "_request_timeout": self._seconds})
        except kfp_server_api.ApiException as error:
            raise self._refusal(error, url) from None
        except urllib3.exceptions.HTTPError as error:
            raise self._silence(error) from None
        if given.get("_preload_content", True) and not isinstance(_json(answer.data), dict):
            raise self._stranger()
        return answer

    def _refusal(self, error: kfp_server_api.ApiException, url: str) -> KubeflowError:
        where, status = f"Kubeflow Pipelines at {self.configuration.host}", error.status or 0
        answer = _json(error.body)
        said = _said(answer)
        if status == 0:
            return KubeflowError(
                f"No safe connection to {self.configuration.host}: {' '.join(str(error.reason).split())}"
            )
        if 300 <= status < 400 or status == 401:
            wanted = "does not accept the token in" if self.configuration.api_key else "wants a token in"
            return KubeflowError(f"{where} {wanted} {TOKEN_VARIABLE} ({status}).{said}")
        if status == 403:
            whom = (
                f"the owner of the token in {TOKEN_VARIABLE}"
                if self.configuration.api_key
                else "people without a token"
            )
            return KubeflowError(f"{where} does not allow this to {whom} (403).{said}")
        if status == 404 and not isinstance(answer, dict):
            return self._stranger()
        if status == 404:
            return NotFoundError(f"{where} has nothing at {urlsplit(url).path}.{said}")
        if status == 409:
            return NameClashError(f"{where} has something of that name already; choose another (409).{said}")
        if status == 400:
            return KubeflowError(f"{where} rejected the request (400).{said}")
        if "invalid pipeline spec" in said:  # KFP takes that for a fault of its own
            return KubeflowError(f"{where} does not accept the pipeline ({status}).{said}")
        return KubeflowError(f"{where} failed ({status}); try again, or read the log of its API server.{said}")

    def _silence(self, error: urllib3.exceptions.HTTPError) -> KubeflowError:
        host = self.configuration.host
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            return UnreachableError(f"{host} took a request but has not answered within {self._seconds[1]:g} s.")
        if isinstance(error, urllib3.exceptions.ProtocolError) and "BadStatusLine" in str(error):
            return self._stranger()
        system = re.search(r"\[Errno [^\]]*\] ([^')]+)", str(error))
        if system:
            reason = system[1]
        elif isinstance(error, urllib3.exceptions.TimeoutError):
            reason = f"no connection within {self._seconds[0]:g} s"
        else:
            reason = "the connection broke off"
        return UnreachableError(
            f"Nobody answers at {host} ({reason}). Is kubeflow.endpoint right, and the port forwarded? "
            "kubectl port-forward --namespace kubeflow svc/ml-pipeline 8888:8888"
        )

    def _stranger(self) -> KubeflowError:
        return KubeflowError(
            f"Something answers at {self.configuration.host}, but it is not the API of Kubeflow Pipelines; "
            "check kubeflow.endpoint."
        )


def cron(expression: str) -> kfp_server_api.V2beta1Trigger:
    """A trigger by the clock.

    Args:
        expression: five fields as in crontab, or six as KFP has them: seconds first. KFP's clock is UTC.

    Raises:
        KubeflowError: it is neither.
    """
    fields = expression.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6 or not all(re.fullmatch(r"[0-9A-Za-z*?,/#-]+", field) for field in fields):
        raise KubeflowError(
            f"`{expression}` is not a cron expression: minute, hour, day, month, weekday, such as `0 3 * * 1`."
        )
    return kfp_server_api.V2beta1Trigger(cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=" ".join(fields)))


def interval(text: str) -> kfp_server_api.V2beta1Trigger:
    """A trigger that comes again after a while, such as ``30m``, ``6h`` or ``7d``.

    Raises:
        KubeflowError: the text is not of that form.
    """
    found = re.fullmatch(r"([1-9]\d*)([mhd])", text)
    if not found:
        raise KubeflowError(f"`{text}` is not a time such as 30m, 6h or 7d.")
    seconds = int(found[1]) * {"m": 60, "h": 3600, "d": 86400}[found[2]]
    return kfp_server_api.V2beta1Trigger(
        periodic_schedule=kfp_server_api.V2beta1PeriodicSchedule(interval_second=str(seconds))
    )


def _source(specification: Mapping[str, Any] | Version) -> dict[str, Any]:
    """The field that says what a run runs."""
    if not isinstance(specification, Version):
        return {"pipeline_spec": specification}
    reference = kfp_server_api.V2beta1PipelineVersionReference(
        pipeline_id=specification.pipeline_id, pipeline_version_id=specification.version_id
    )
    return {"pipeline_version_reference": reference}


def _schedule(answer: Any) -> Schedule:
    trigger = answer.trigger
    if trigger and trigger.cron_schedule:
        when = trigger.cron_schedule.cron
    else:
        when = f"every {trigger.periodic_schedule.interval_second} s" if trigger and trigger.periodic_schedule else ""
    return Schedule(
        schedule_id=answer.recurring_run_id,
        name=answer.display_name or "",
        when=when,
        enabled=str(answer.status) == "ENABLED",
        max_concurrency=int(answer.max_concurrency or 0),
    )


def _json(body: bytes | str | None) -> Any:
    try:
        return json.loads(body or b"")
    except (ValueError, UnicodeDecodeError):
        return None


def _no_log(body: bytes) -> Any:
    """The server's error, if the whole body of a log is one; None if it is a log."""
    error = _json(body) if body.startswith(_NO_LOG) else None
    return error if isinstance(error, dict) and set(error) <= {"error_message", "error_details"} else None


def _said(answer: Any) -> str:
    """The server's own sentence, on one line and not endless."""
    names = ("message", "error", "error_message")
    text = next((answer[name] for name in names if answer.get(name)), "") if isinstance(answer, dict) else ""
    line = " ".join(str(text).split())
    return f" It says: {line[:600]}" if line else ""

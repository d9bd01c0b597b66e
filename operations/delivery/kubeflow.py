"""A client of Kubeflow Pipelines: submits runs, follows them, reads their logs, keeps versions and schedules."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import kfp_server_api

from operations.delivery import kubeflow_run
from operations.delivery.compiled_pipeline import CompiledPipeline
from operations.delivery.kubeflow_api import Api, KubeflowError, NameClashError, NotFoundError, UnreachableError
from operations.delivery.kubeflow_run import Run

# A port-forward that breaks and is started again should not end the watch of a run of hours.
_ATTEMPTS = 5
_EQUALS, _NOT_EQUALS = 1, 2
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
T = TypeVar("T")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A recurring run, by a cron expression of six fields or ``every N s``."""

    schedule_id: str
    name: str
    when: str
    enabled: bool
    max_concurrency: int


@dataclasses.dataclass(frozen=True)
class Retired:
    """Ids of schedules that were deleted, and of those that were only disabled: deleting them would end these runs."""

    deleted: tuple[str, ...] = ()
    kept: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Version:
    """One version of a pipeline that the server keeps: names, ids, the compiled pipeline, and KFP's page about it."""

    pipeline: str
    pipeline_id: str
    name: str
    version_id: str
    document: dict[str, Any]
    link: str


@dataclasses.dataclass(frozen=True)
class Job:
    """What to run, once or by a schedule.

    Attributes:
        source: the specification of a `CompiledPipeline`, or a version that the server keeps.
        name: of the run, for people; of a schedule, unique among them.
        experiment: created if there is none.
        arguments: the parameters that differ from their defaults.
        service_account: whose permissions its pods have.
    """

    source: Mapping[str, Any] | Version
    name: str
    experiment: str
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    service_account: str | None = None


class KubeflowPipelines:
    """The API server of Kubeflow Pipelines. Every method raises a `KubeflowError` where the server refuses."""

    def __init__(
        self,
        endpoint: str,
        namespace: str | None = None,
        token: str | None = None,
        connect_seconds: float = 5,
        answer_seconds: float = 30,
    ) -> None:
        """Remembers where the server is, and whose runs these are if it serves several users; asks it nothing yet.

        Raises:
            KubeflowError: the address or the token cannot be one.
        """
        self._api = Api(endpoint, token, (connect_seconds, answer_seconds))
        self.endpoint = self._api.endpoint
        self.namespace = namespace
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
        """The id of the experiment of that name, which is created if there is none."""

        def find() -> str | None:
            listed = self._experiments.experiment_service_list_experiments(**self._named(name))
            return listed.experiments[0].experiment_id if listed.experiments else None

        experiment = kfp_server_api.V2beta1Experiment(display_name=name, namespace=self.namespace)
        return _found_or_created(
            find, lambda: self._experiments.experiment_service_create_experiment(experiment).experiment_id
        )

    def version(self, pipeline: str, name: str) -> Version:
        """A version of a pipeline.

        Raises:
            NotFoundError: there is none.
        """
        pipeline_id = self._pipeline(pipeline)
        version = None if pipeline_id is None else self._version(pipeline, pipeline_id, name)
        if version is None:
            raise NotFoundError(
                f"There is no version `{name}` of the pipeline `{pipeline}` at {self.endpoint}; "
                "upload it with: flightdeck kubeflow upload"
            )
        return version

    def upload(self, compiled: CompiledPipeline, pipeline: str, name: str) -> tuple[Version, bool]:
        """Keeps a compiled pipeline on the server, as a version of a pipeline that is created if there is none.

        Returns:
            The version, and whether it is new; one with this name and content may be there already.

        Raises:
            NameClashError: the server has a version of that name which holds something else.
        """
        new = kfp_server_api.V2beta1Pipeline(name=pipeline, display_name=pipeline, namespace=self.namespace)
        pipeline_id = _found_or_created(
            lambda: self._pipeline(pipeline), lambda: self._pipelines.pipeline_service_create_pipeline(new).pipeline_id
        )

        def find() -> tuple[Version, bool] | None:
            present = self._version(pipeline, pipeline_id, name)
            return None if present is None else (present, False)

        version, is_new = _found_or_created(
            find, lambda: (self._read_version(pipeline, self._send_version(compiled, pipeline_id, name)), True)
        )
        if is_new or CompiledPipeline.of(version.document, f"The version {name}") == compiled:
            return version, is_new
        raise NameClashError(
            f"The version `{name}` of the pipeline `{pipeline}` at {self.endpoint} holds something else; "
            "versions never change, so choose another --version-name."
        )

    def submit(self, job: Job) -> Run:
        """Starts a run."""
        return self._read(self._runs.run_service_create_run(kfp_server_api.V2beta1Run(**self._fields(job))))

    def run(self, reference: str) -> Run:
        """A run by its id, or the newest of a name.

        Raises:
            NotFoundError: there is none.
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

        Raises:
            UnreachableError: the server has not answered several times in a row.
        """
        failures = 0
        while True:
            try:
                run = self.run(run_id)
            except UnreachableError as error:
                failures += 1
                if failures == _ATTEMPTS:
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
        namespace = self.namespace or "kubeflow"
        return self._api.log(run_id, pod, f"kubectl logs --namespace {namespace} {pod} --container main")

    def schedules(self, name: str | None = None) -> list[Schedule]:
        """The recurring runs, all or those of a name."""
        schedules: list[Schedule] = []
        where, token = self._named(name), ""
        while token is not None:
            page = self._recurring.recurring_run_service_list_recurring_runs(**where, page_size=100, page_token=token)
            schedules += [_schedule(answer) for answer in page.recurring_runs or ()]
            token = page.next_page_token or None
        return schedules

    def schedule(
        self, job: Job, trigger: kfp_server_api.V2beta1Trigger, replace: bool = False
    ) -> tuple[Schedule, Retired]:
        """Starts runs again and again: one at a time, and none for the times that were missed.

        Two runs at a time would compete for the champion's place; a missed one would train on the same data. The
        trigger is one of `cron` or `interval`. With `replace`, schedules of that name are retired as `delete_schedule`
        does it.

        Returns:
            The schedule, and what became of those that it replaces.

        Raises:
            NameClashError: there is one of that name, and `replace` is not set.
        """
        present = self.schedules(job.name)
        if present and not replace:
            raise NameClashError(
                f"There is a schedule named `{job.name}` already; replace it with --replace, or choose another --name."
            )
        recurring = kfp_server_api.V2beta1RecurringRun(
            **self._fields(job),
            trigger=trigger,
            mode=kfp_server_api.RecurringRunMode.ENABLE,
            max_concurrency="1",
            no_catchup=True,
        )
        made = _schedule(self._recurring.recurring_run_service_create_recurring_run(recurring))
        # The old ones last: if the server refuses the new one, they are still there.
        return made, self._retire(present)

    def delete_schedule(self, reference: str, force: bool = False) -> Retired:
        """Disables the schedules of a name or an id, and deletes those of which no run is under way.

        KFP deletes the runs of a schedule with it; `force` does so also while one is under way, which ends it.

        Raises:
            NotFoundError: there is none.
        """
        present = [schedule for schedule in self.schedules() if reference in (schedule.name, schedule.schedule_id)]
        if not present:
            raise NotFoundError(f"There is no schedule named `{reference}` at {self.endpoint}.")
        return self._retire(present, force)

    def _retire(self, schedules: Iterable[Schedule], force: bool = False) -> Retired:
        deleted: list[str] = []
        kept: dict[str, tuple[str, ...]] = {}
        for schedule in schedules:
            # First, so that no run begins after the look at them.
            if schedule.enabled:
                self._recurring.recurring_run_service_disable_recurring_run(schedule.schedule_id)
            if runs := () if force else self._under_way(schedule.schedule_id):
                kept[schedule.schedule_id] = runs
                continue
            self._recurring.recurring_run_service_delete_recurring_run(schedule.schedule_id)
            deleted.append(schedule.schedule_id)
        return Retired(tuple(deleted), kept)

    def _under_way(self, schedule_id: str) -> tuple[str, ...]:
        """The ids of the runs that a schedule has started and that have not ended."""
        unfinished = [(_NOT_EQUALS, "state", state) for state in sorted(kubeflow_run.FINISHED)]
        where = self._where((_EQUALS, "recurring_run_id", schedule_id), *unfinished)
        listed = self._runs.run_service_list_runs(**where, page_size=100)
        return tuple(run.run_id for run in listed.runs or ())

    def _pipeline(self, name: str) -> str | None:
        try:
            return self._pipelines.pipeline_service_get_pipeline_by_name(name, **self._where()).pipeline_id
        except NotFoundError:
            return None

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

    def _where(self, *predicates: tuple[int, str, str]) -> dict[str, Any]:
        """What a list is restricted to: by predicates, and by the namespace where there is one."""
        restricted: dict[str, Any] = {"namespace": self.namespace} if self.namespace else {}
        if predicates:
            names = ("operation", "key", "stringValue")
            documents = [dict(zip(names, predicate, strict=True)) for predicate in predicates]
            restricted["filter"] = json.dumps({"predicates": documents})
        return restricted

    def _named(self, name: str | None) -> dict[str, Any]:
        return self._where() if name is None else self._where((_EQUALS, "display_name", name))

    def _fields(self, job: Job) -> dict[str, Any]:
        """What a run and a schedule have in common."""
        if isinstance(job.source, Version):
            reference = kfp_server_api.V2beta1PipelineVersionReference(
                pipeline_id=job.source.pipeline_id, pipeline_version_id=job.source.version_id
            )
            source = {"pipeline_version_reference": reference}
        else:
            source = {"pipeline_spec": job.source}
        return {
            **source,
            "experiment_id": self.experiment(job.experiment),
            "display_name": job.name,
            "runtime_config": kfp_server_api.V2beta1RuntimeConfig(parameters=dict(job.arguments)),
            "service_account": job.service_account,
        }

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


def cron(expression: str) -> kfp_server_api.V2beta1Trigger:
    """A trigger by the clock, in UTC: five fields as in crontab, or six as KFP has them, seconds first.

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
    parts = re.fullmatch(r"([1-9]\d*)([mhd])", text)
    if not parts:
        raise KubeflowError(f"`{text}` is not a time such as 30m, 6h or 7d.")
    seconds = str(int(parts[1]) * _SECONDS[parts[2]])
    return kfp_server_api.V2beta1Trigger(
        periodic_schedule=kfp_server_api.V2beta1PeriodicSchedule(interval_second=seconds)
    )


def _found_or_created(find: Callable[[], T | None], create: Callable[[], T]) -> T:
    """What there is, or what is created; also where somebody else creates it at the same moment."""
    if (present := find()) is not None:
        return present
    try:
        return create()
    except NameClashError:
        if (present := find()) is None:
            raise
        return present


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

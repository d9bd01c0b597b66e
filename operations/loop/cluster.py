"""Runs on Kubeflow: submitted through its API, and looked after in later rounds, perhaps by other processes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import ml_metadata

from ledger.recorder import Recorder
from operations.delivery import kubeflow_ended
from operations.delivery.compiled_pipeline import CompiledPipeline
from operations.delivery.kubeflow import Job, KubeflowPipelines
from operations.delivery.kubeflow_api import KubeflowError, NotFoundError, UnreachableError
from operations.delivery.own_project import require_its_flightdeck
from operations.loop.attempts import Attempt
from operations.loop.runs import Result, pushes, result_of
from operations.loop.seen import History
from operations.loop.settings import Settings

_WHO = "flightdeck watch"


class KubeflowRuns:
    """The one run that goes on at a server of Kubeflow Pipelines; a KubeflowError if the settings do not name it."""

    def __init__(self, settings: Settings, store: ml_metadata.MetadataStore, token: str | None) -> None:
        cluster = settings.kubeflow
        if cluster is None or not cluster.endpoint:
            raise KubeflowError(
                "continuous.runner is kubeflow, so kubeflow.endpoint must be the address of the KFP API; "
                "use --config config/kubeflow.yaml."
            )
        self._settings, self._cluster, self._store = settings, cluster, store
        self._history = History(store, settings.use_case.name)
        self._client = KubeflowPipelines(cluster.endpoint, cluster.namespace, token)

    def busy(self) -> str | None:
        """Nobody, as runs of a cluster hold no workspace; a KubeflowError if there is no server to send a run to."""
        self._client.check()
        return None

    def start(self, attempt: Attempt, settings: Settings) -> str | None:
        """Submits a run, compiled from the settings and the code of this process.

        Returns:
            The server's id, by which ML Metadata knows the run too; None if the server has not answered. Whether it
            took the run is then to be seen.

        Raises:
            KubeflowError: the server refuses.
            SettingsError: the settings do not fit a cluster.
            FlightdeckError: the use case is a project of its own, and for another commit of Flightdeck.
        """
        require_its_flightdeck(settings)
        push = settings.push.model_copy(update={"enabled": pushes(settings)})
        compiled = _compiled(settings.model_copy(update={"push": push}))
        job = Job(
            compiled.specification,
            self._name(attempt),
            self._cluster.experiment or settings.use_case.name,
            {"submitted_by": _WHO},
            self._cluster.service_account,
        )
        self._client.experiment(job.experiment)  # so that no answer below means that the run may have been taken
        try:
            run = self._client.submit(job)
        except UnreachableError:
            return None
        self._say_why(attempt, run.run_id)
        return run.run_id

    def result(self, attempt: Attempt) -> Result | None:
        """What came of the run; None while it goes on; a KubeflowError if nobody answers."""
        try:
            run = self._client.run(attempt.reference or self._name(attempt))
        except NotFoundError:
            return Result("killed", "it was never submitted, or the server has forgotten it", attempt.run_id)
        if attempt.reference is None:  # whoever submitted it was killed before it could say so
            self._say_why(attempt, run.run_id)
        if not run.finished:
            return None
        record = self._history.record(run.run_id)
        result = None if record is None else result_of(record)
        if result is not None and (result.ended or run.state != "SUCCEEDED"):
            return result
        kubeflow_ended.end(self._store, run)
        return Result("failed", run.error or f"it is {run.state}, and has no verdict on its model", run.run_id)

    def stop(self, attempt: Attempt) -> bool:
        """Leaves the run alone: it goes on without this process."""
        return False

    def _say_why(self, attempt: Attempt, run_id: str) -> None:
        """Its own tasks complete the record, and leave this as it is."""
        Recorder(self._store).write(run_id, triggers=attempt.reasons)

    def _name(self, attempt: Attempt) -> str:
        """By which a process that comes after a kill finds what was submitted."""
        return f"{self._settings.use_case.name} {attempt.run_id}"


def _compiled(settings: Settings) -> CompiledPipeline:
    from pipeline.runners import kubeflow

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        kubeflow.compile_pipeline(settings, file)
        return CompiledPipeline.load(file)

"""A worker of a sweep: asks keras-tuner's oracle for trials, runs them, and adds what came of them to the chain.

keras-tuner's own way to search with several workers is a chief that holds the oracle and must not die. Here every
worker has an oracle of its own and tells it the chain's events, so all oracles know the same.
"""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from ml_metadata.proto import metadata_store_pb2
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.dsl.io import fileio

from ledger.lease import LEASE_SECONDS, RENEW_SECONDS, Leases, Owner
from ledger.opening import open_store
from ledger.recorder import Recorder, RecordError, renewing
from operations.experiments.sweep import hparams, plan
from operations.experiments.sweep.chain import Chain, Event, EventKind, Link
from operations.experiments.sweep.plan import SweepPlan
from operations.experiments.sweep.standing import MOST_STARTS, Standing
from operations.experiments.sweep.standing import Trial as KnownTrial
from pipeline import settings_file
from pipeline.stamp import hyperparameters

_log = logging.getLogger(__name__)

# How long a worker that has nothing to do waits before it looks again.
_PAUSE_SECONDS = 1.0


class Proposer:
    """The oracle of a search, kept in step with a chain."""

    def __init__(self, oracle: keras_tuner.Oracle) -> None:
        """Takes an oracle that has proposed nothing yet."""
        oracle.verbose = 0
        # The number of trials is the worker's business, and a failed trial ends no sweep.
        oracle.max_trials = None
        oracle.max_consecutive_failed_trials = 1_000_000_000
        if isinstance(oracle, keras_tuner.oracles.HyperbandOracle):
            oracle.hyperband_iterations = float("inf")
        self._blank = oracle
        self._told: list[Link] = []
        self.oracle = copy.deepcopy(oracle)

    def tell(self, links: Sequence[Link]) -> None:
        """Tells it what has happened: events that count, in order."""
        self._told.extend(links)
        for link in links:
            self._tell(link.event)

    def propose(self, number: int) -> Trial:
        """What should be tried next, as the trial of that number.

        The same history gives the same proposal. The oracle has then seen the proposal, too: `forget` it if somebody
        else was faster, or if nothing comes of it.
        """
        self._seed(number)
        return self.oracle.create_trial(_tuner_id(number))

    def forget(self) -> None:
        """Goes back to what it was told."""
        self.oracle = copy.deepcopy(self._blank)
        for link in self._told:
            self._tell(link.event)

    def _tell(self, event: Event) -> None:
        if event.kind == "begun":
            self._begun(event)
        elif event.kind in ("finished", "failed"):
            self._ended(event)

    def _begun(self, event: Event) -> None:
        propose = self.oracle.populate_space

        def recorded(trial_id: str) -> dict[str, Any]:
            if isinstance(self.oracle, keras_tuner.oracles.HyperbandOracle):
                # It also notes in which bracket and round the trial is.
                self._seed(event.trial)
                propose(trial_id)
            return {"status": TrialStatus.RUNNING, "values": dict(event.values)}

        # What was proposed then counts, and not what this processor's arithmetic would propose.
        self.oracle.populate_space = recorded
        try:
            self.oracle.create_trial(_tuner_id(event.trial))
        finally:
            del self.oracle.populate_space

    def _ended(self, event: Event) -> None:
        trial = self.oracle.trials[plan.trial_name(event.trial)]
        if event.kind == "finished":
            self.oracle.update_trial(trial.trial_id, {self.oracle.objective.name: event.score})
            trial.status = TrialStatus.COMPLETED
        else:
            trial.status, trial.message = TrialStatus.FAILED, event.error
        self.oracle.end_trial(trial)

    def _seed(self, number: int) -> None:
        """Makes a proposal depend on its number and on what is known, and not on how many were made and forgotten."""
        # A trial draws once per hyperparameter, and up to twenty times more if it has drawn what was tried before.
        self.oracle._seed_state = self.oracle.seed + 10_000 * number
        if hasattr(self.oracle, "_random_state"):
            self.oracle._random_state = np.random.RandomState(self.oracle.seed + number)


class Worker:
    """Runs trials of a sweep until there are no more."""

    def __init__(
        self,
        sweep: SweepPlan,
        connection: metadata_store_pb2.ConnectionConfig,
        tuner: keras_tuner.Tuner,
        *,
        renew_seconds: float = RENEW_SECONDS,
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        """Prepares a worker.

        Args:
            sweep: what to do.
            connection: to the store that holds the sweep.
            tuner: runs a trial, and has an oracle that has proposed nothing yet.
            renew_seconds: how often it renews its lease.
            pause_seconds: how long to wait when others run all there is.
        """
        self._plan = sweep
        self._connection = connection
        self._tuner = tuner
        self._proposer = Proposer(cast(keras_tuner.Oracle, tuner.oracle))
        self._store = open_store(connection)
        self._recorder = Recorder(self._store)
        self._chain = Chain(self._store, sweep.sweep_id)
        self._leases = Leases(LEASE_SECONDS)
        self._renew_seconds, self._pause_seconds = renew_seconds, pause_seconds
        self._me = Owner.me()
        self._settings = settings_file.from_document(sweep.settings)
        self.standing = Standing()

    def run(self) -> Standing:
        """Runs trials until as many have ended as the plan wants, or there is nothing left to try.

        Returns:
            How the sweep stands then.
        """
        while True:
            self._look()
            if orphan := self._orphan():
                self._take(orphan)
            elif not self._begin_next():
                if not self.standing.running():
                    return self.standing
                # Another worker may die, and its trial be left over.
                time.sleep(self._pause_seconds)

    def _look(self) -> None:
        self._proposer.tell(self.standing.apply(self._chain.refresh()))

    def _orphan(self) -> KnownTrial | None:
        """A trial that nobody runs any more."""
        for trial in self.standing.running():
            token = trial.begun.event.token
            if self._leases.gone(token, trial.owner, lambda number=trial.number: self._renewed(number)):
                return trial
        return None

    def _take(self, trial: KnownTrial) -> None:
        if trial.starts >= MOST_STARTS:
            error = f"the worker that ran it died, {trial.starts} times"
            self._record(trial.number, outcome="failed", reasons=(error,))
            self._chain.append(self._event("failed", trial.number, error=error))
            return
        if self._chain.append(self._event("taken", trial.number)):
            _log.info("trial %d: taken over", trial.number)
            self._look()
            self._try(trial.number, trial.values)

    def _begin_next(self) -> bool:
        """Begins a new trial, unless there are enough, or the oracle has none now."""
        number = len(self.standing.trials)
        if number >= self._plan.trials:
            return False
        proposal = self._proposer.propose(number)
        if proposal.status != TrialStatus.RUNNING:
            self._proposer.forget()
            return False
        values = dict(proposal.hyperparameters.values)
        link = self._chain.append(self._event("begun", number, values=values))
        # Whether it is ours or not, the oracle hears of it as of any other.
        self._proposer.forget()
        self._look()
        if link is not None:
            self._try(number, values)
        return True

    def _try(self, number: int, values: Mapping[str, Any]) -> None:
        """Runs a trial to its end, well or not."""
        started = time.monotonic()
        error, metrics = None, {}
        name = self._plan.objective
        try:
            # Of the settings as they would be used, so that what does not fit together is refused here.
            used = self._used(values)
            self._begin_record(number, used)
            logs = self._plan.trial_logs(number)
            if fileio.exists(logs):
                # Of a worker that died; TensorBoard would show both as one curve.
                fileio.rmtree(logs)
            shown = {key: used.get(key, value) for key, value in values.items() if not key.startswith("tuner/")}
            shown |= {"epochs": used["epochs"]} if "tuner/epochs" in values else {}
            trial_id = self._plan.trial_id(number)
            with (
                renewing(self._connection, trial_id, self._renew_seconds),
                hparams.session(logs, trial_id, shown) as scores,
            ):
                trial = self._proposer.oracle.trials[plan.trial_name(number)]
                metrics = dict(self._tuner.run_trial(trial) or {})
                scores[name] = metrics[name]
        except Exception as raised:
            # A trial is user code, and may raise anything; the sweep goes on.
            _log.exception("trial %d failed", number)
            error = " ".join(str(raised).split()) or type(raised).__name__
        seconds = round(time.monotonic() - started, 3)
        if error is None:
            event = self._event("finished", number, score=metrics[name], metrics=metrics, seconds=seconds)
            self._record(number, outcome="done", metrics=metrics, seconds=seconds)
        else:
            event = self._event("failed", number, error=error, seconds=seconds)
            self._record(number, outcome="failed", reasons=(error,), seconds=seconds)
        while self._chain.append(event) is None:
            self._look()
            if self.standing.trials[number].state != "running":
                return

    def _event(self, kind: EventKind, number: int, **fields: Any) -> Event:
        return Event(kind=kind, trial=number, owner=self._me, **fields)

    def _used(self, values: Mapping[str, Any]) -> dict[str, Any]:
        model = self._settings.model.with_hyperparameters(values)
        used = hyperparameters(model.model_dump(mode="json"))
        epochs = values.get("tuner/epochs", values.get("epochs", getattr(model.tuning, "epochs", None)))
        return {**used, "epochs": epochs} if "epochs" in used and epochs else used

    def _begin_record(self, number: int, used: dict[str, Any]) -> None:
        sweep, now = self._recorder.read(self._plan.sweep_id), datetime.now(UTC)
        self._record(
            number,
            kind="trial",
            parent=self._plan.sweep_id,
            outcome="running",
            started=now,
            renewed=now,
            # On Kubeflow, where the sweep has none, it is for the server to say what became of a trial.
            owner=None if sweep.owner is None else self._me.model_copy(update={"lock": sweep.owner.lock}),
            hyperparameters=used,
            main_metric=self._plan.objective,
            main_better=self._plan.better,
            **{name: getattr(sweep, name) for name in _INHERITED},
            **self._plan.data,
        )

    def _record(self, number: int, **fields: Any) -> None:
        self._recorder.write(self._plan.trial_id(number), **fields)

    def _renewed(self, number: int) -> datetime | None:
        """When the lease of a trial was renewed last."""
        try:
            return self._recorder.read(self._plan.trial_id(number)).renewed
        except RecordError:  # its worker was killed before it could say anything
            return None


# What a trial's record says just as its sweep's does.
_INHERITED = (
    *("pipeline", "runner", "user", "host", "commit", "branch", "dirty", "diff", "lock", "settings"),
    *("use_case_commit", "use_case_branch", "use_case_dirty"),
)


def work(sweep: SweepPlan, connection: metadata_store_pb2.ConnectionConfig) -> Standing:
    """Runs trials as one worker until there are no more, and returns how the sweep stands then."""
    with tempfile.TemporaryDirectory(prefix="flightdeck-sweep-") as folder:
        return Worker(sweep, connection, tuner_of(sweep, folder)).run()


def tuner_of(sweep: SweepPlan, working_dir: str) -> keras_tuner.Tuner:
    """What the use case's `tuner_fn` gives the Tuner component, for trials in an empty folder of this worker's own."""
    settings = settings_file.from_document(sweep.settings)
    prepare: Callable[[FnArgs], Any] = settings_file.resolve(settings.use_case.tuner_fn)
    arguments: dict[str, Any] = {
        "working_dir": working_dir,
        "train_files": [os.path.join(sweep.examples, "Split-train", "*")],
        "transform_graph_path": sweep.transform_graph,
        "custom_config": {
            "features": settings.features.model_dump(mode="json"),
            "model": settings.model.model_dump(mode="json"),
            "target": settings.contract().target.model_dump(mode="json"),
            "logs": sweep.logs,
        },
    }
    return prepare(FnArgs(**arguments)).tuner


def _tuner_id(number: int) -> str:
    return f"trial-{number}"

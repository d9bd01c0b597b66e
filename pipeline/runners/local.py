"""Runs a pipeline on this machine, each node in a process of its own, and keeps the record of the run.

Nothing here imports TensorFlow or TFX.
"""

from __future__ import annotations

import dataclasses
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from ledger.opening import open_store
from ledger.recorder import Recorder, renewing
from ledger.run_record import Kind, NodeOutcome, RunRecord
from pipeline import killed_runs
from pipeline.interruption import InterruptedRunError
from pipeline.runners import compiled, jobs
from pipeline.runners.fork_server import FULL, LIGHT, Job, LostJobError, start
from pipeline.section import SettingsError
from pipeline.settings import Settings
from pipeline.stamp import stamp
from pipeline.store import connection as connection_of

INTERRUPTED = "interrupted; its unfinished outputs were removed"
# Most of the work of a node is on one core.
_AT_ONCE = max(2, os.cpu_count() or 2)
# Means something to a shell where it stands unquoted in a path.
_SPECIAL = re.compile(r"""[\s"'`$&;|<>()*?\[\]\\!#]""")


class Listener(Protocol):
    """Is told when a node begins, and when it has ended, well or not; several may run at a time."""

    def note(self, text: str) -> None: ...  # noqa: D102

    def started(self, node_id: str) -> None: ...  # noqa: D102

    def finished(self, outcome: NodeOutcome) -> None: ...  # noqa: D102


def run(
    factory: str,
    run_id: str,
    settings: Settings,
    *arguments: Any,
    listener: Listener | None = None,
    kind: Kind = "run",
    profiles: Path | None = None,
    **further: Any,
) -> RunRecord:
    """Runs a pipeline, starting no more nodes when one has failed; its record is up to date at any moment.

    Nodes that do not wait for each other run at the same time. Results of the nodes before a failure stay in the
    metadata store, so that the next run reuses them.

    The pipeline is what a function of `pipeline.definition`, such as ``create_pipeline``, makes of the settings, which
    say where the metadata store is, too, and of further arguments. Further fields of the record can be given, such as
    the parent. Each node that is run writes a page into the folder `profiles`, if there is one.

    Raises:
        FlightdeckError: there can be no such pipeline, or Beam could not start its workers here; nothing is recorded.
    """
    for component in (None, *settings.beam.components):
        check_workers(settings.beam.arguments(component))
    began = time.monotonic()
    connection = connection_of(settings)
    # While it loads, the key is made.
    start(LIGHT if settings.cache and compiled.any_kept(settings, factory) else FULL)
    name = compiled.key(settings, factory, arguments)
    known = compiled.kept(settings, factory, name) if settings.cache else None
    pipeline = known or _compiled(factory, settings, arguments, listener)
    if settings.cache and not known:
        compiled.keep(settings, factory, name, pipeline)
    loading_seconds = round(time.monotonic() - began, 3)
    plan = jobs.Plan(pipeline, run_id, connection, settings.beam)
    store = open_store(connection)
    recorder = Recorder(store)
    # To look for earlier results takes a second; to load all of TFX takes ten.
    reused = Job(LIGHT, jobs.reuse, plan) if known else None
    stamp(recorder, run_id, settings, kind=kind, runner="local", loading_seconds=loading_seconds, **further)
    with renewing(connection, run_id), _Nodes(plan, recorder, listener, profiles) as nodes:
        for outcome in reused.result() if reused else ():
            nodes.ended(outcome)
        nodes.run()
    if nodes.lost:
        killed_runs.remove_unfinished(store, settings, run_id)
        killed_runs.end_executions(store, run_id)
    interrupted = "it was interrupted" if len(nodes.outcomes) < len(pipeline.after) else None
    facts = {
        "failure": next((outcome.failure for outcome in nodes.outcomes if outcome.failure), interrupted),
        "seconds": round(time.monotonic() - began, 3),
        "peak_mb": round(max((outcome.peak_mb for outcome in nodes.outcomes), default=0.0), 1),
    }
    return Job(FULL if nodes.launched else LIGHT, jobs.complete, plan, settings.document(), facts).result()


def _compiled(factory: str, settings: Settings, arguments: tuple[Any, ...], listener: Listener | None) -> jobs.Compiled:
    if listener:
        listener.note("Loading TensorFlow and TFX")
    return Job(FULL, jobs.compile_pipeline, factory, settings.document(), arguments).result()


class _Nodes:
    """The nodes of a run: those that have ended, and those that run.

    As a context manager, it has SIGINT and SIGTERM stop the nodes; a second one ends this process.

    Attributes:
        outcomes: in the order in which they ended.
        launched: whether a node had to be run.
        lost: whether the process of a node was killed, or ended outside its component.
    """

    def __init__(self, plan: jobs.Plan, recorder: Recorder, listener: Listener | None, profiles: Path | None) -> None:
        self.outcomes: list[NodeOutcome] = []
        self.launched = self.lost = False
        self._plan, self._recorder, self._listener, self._profiles = plan, recorder, listener, profiles
        self._waiting = list(plan.pipeline.after)
        self._running: dict[Job, tuple[str, float]] = {}
        self._asked_to_stop = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> _Nodes:
        if threading.current_thread() is threading.main_thread():  # signals can only be handled there
            self._handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _stop(self, number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        self._asked_to_stop = True
        for job in list(self._running):
            job.stop()

    def run(self) -> None:
        """Runs those that have not ended, each as soon as all that it waits for have."""
        while self._start_ready() or self._running:
            for job in select.select(list(self._running), [], [])[0]:
                self.ended(self._outcome(job))

    def ended(self, outcome: NodeOutcome) -> None:
        """Records what became of a node."""
        if self._asked_to_stop and outcome.state == "failed":
            outcome = dataclasses.replace(outcome, error=INTERRUPTED)
        if outcome.node_id in self._waiting:
            self._waiting.remove(outcome.node_id)
        self.outcomes.append(outcome)
        self._recorder.node(self._plan.run_id, outcome)
        if self._listener:
            self._listener.finished(outcome)

    def _start_ready(self) -> bool:
        """Starts what can be started now; returns whether that is anything."""
        if self._asked_to_stop or any(outcome.state == "failed" for outcome in self.outcomes):
            return False
        ended = {outcome.node_id for outcome in self.outcomes}
        ready = [node_id for node_id in self._waiting if ended.issuperset(self._plan.pipeline.after[node_id])]
        for node_id in ready[: _AT_ONCE - len(self._running)]:
            if self._on_flink(node_id) and any(self._on_flink(running) for running, _ in self._running.values()):
                continue  # two jobs at once on a TaskManager with one worker pool wait for each other
            self._waiting.remove(node_id)
            if self._listener:
                self._listener.started(node_id)
            job = Job(FULL, jobs.launch, self._plan, node_id, self._profiles and self._profiles / f"{node_id}.html")
            self._running[job] = node_id, time.monotonic()
            self.launched = True
            if self._asked_to_stop:
                job.stop()
        return bool(ready)

    def _on_flink(self, node_id: str) -> bool:
        return self._plan.beam.engine_of(node_id) == "flink"

    def _outcome(self, job: Job) -> NodeOutcome:
        node_id, started = self._running[job]
        try:
            return job.result()
        except (LostJobError, InterruptedRunError) as error:  # the latter just before or after the component
            self.lost = True
            return NodeOutcome(node_id, "failed", time.monotonic() - started, 0.0, str(error))
        finally:
            del self._running[job]


def check_workers(beam_args: Iterable[str]) -> None:
    """Raises a SettingsError if Beam is told to have worker processes and could not start them.

    Beam (2.77) gives the path of Python to a shell without quoting it, and waits for ever for a worker that was not
    found.
    """
    special = _SPECIAL.search(sys.executable)
    if special and any("multi_processing" in argument for argument in beam_args):
        raise SettingsError(
            f"Beam cannot start worker processes with {sys.executable}, because of the {special.group()!r} in its "
            "path: leave out --direct_running_mode=multi_processing, or move the project to another folder."
        )

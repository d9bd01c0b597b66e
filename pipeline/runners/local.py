"""Runs a pipeline on this machine, its nodes in order in this process, and keeps the record of the run."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.pipeline import Pipeline

from ledger.opening import open_store
from ledger.recorder import Recorder, renewing
from ledger.run_record import Kind, NodeOutcome, RunRecord
from pipeline import node, results
from pipeline.settings import Settings, SettingsError
from pipeline.stamp import stamp

# Means something to a shell where it stands unquoted in a path.
_SPECIAL = re.compile(r"""[\s"'`$&;|<>()*?\[\]\\!#]""")


class Listener(Protocol):
    """Is told how a run goes on."""

    def started(self, node_id: str) -> None:
        """A node begins."""

    def finished(self, outcome: NodeOutcome) -> None:
        """A node has ended, well or not."""


class InterruptedRunError(Exception):
    """A person, or the system, asked the run to stop.

    An Exception and not a KeyboardInterrupt: TFX's launcher records a failed execution and removes its half-written
    outputs for exceptions only.
    """


@dataclasses.dataclass(frozen=True)
class RunOutcome:
    """What became of a run.

    Attributes:
        run_id: the run's name in the metadata store.
        nodes: the nodes that were started, in order.
        waiting: the nodes that were not, because an earlier one failed.
    """

    run_id: str
    nodes: tuple[NodeOutcome, ...]
    waiting: tuple[str, ...] = ()

    @property
    def failure(self) -> NodeOutcome | None:
        """The node that ended the run, if one did."""
        return next((outcome for outcome in self.nodes if outcome.state == "failed"), None)

    @property
    def succeeded(self) -> bool:
        """Whether every node did what it should."""
        return self.failure is None and not self.waiting


def run(
    pipeline: Pipeline,
    run_id: str,
    settings: Settings,
    connection: metadata_store_pb2.ConnectionConfig,
    listener: Listener,
    *,
    kind: Kind = "run",
    loading_seconds: float = 0.0,
    **further: Any,
) -> tuple[RunOutcome, RunRecord]:
    """Runs a pipeline, stopping at the first node that fails; its record is up to date at any moment.

    Results of the nodes before a failure stay in the metadata store, so that the next run reuses them.

    Args:
        pipeline: from `pipeline.definition`.
        run_id: unique in the metadata store.
        settings: those that the pipeline was made of.
        connection: how to reach the metadata store.
        listener: is told of each node.
        kind: what the run is for.
        loading_seconds: wall seconds of the imports before; they count as the run's.
        further: other fields of the record, such as the parent.

    Returns:
        What became of every node, and the record.

    Raises:
        SettingsError: Beam could not start its workers here; nothing is recorded.
    """
    for beam_args in (settings.beam.args, *settings.beam.components.values()):
        check_workers(beam_args)
    store = open_store(connection)
    recorder = Recorder(store)
    began = time.monotonic() - loading_seconds
    stamp(recorder, run_id, settings, kind=kind, runner="local", loading_seconds=round(loading_seconds, 3), **further)
    with renewing(connection, run_id):
        outcome = _run_nodes(pipeline, run_id, connection, recorder, listener)
    failure = None
    if not outcome.succeeded:
        failed = outcome.failure
        failure = f"{failed.node_id} failed: {failed.error}" if failed else "it was interrupted"
    record = results.complete(
        recorder,
        store,
        run_id,
        settings,
        node.compile_pipeline(pipeline),
        ended=True,
        failure=failure,
        seconds=round(time.monotonic() - began, 3),
        peak_mb=round(max((node_outcome.peak_mb for node_outcome in outcome.nodes), default=0.0), 1),
    )
    return outcome, record


def _run_nodes(
    pipeline: Pipeline,
    run_id: str,
    connection: metadata_store_pb2.ConnectionConfig,
    recorder: Recorder,
    listener: Listener,
) -> RunOutcome:
    ir = node.compile_pipeline(pipeline)
    node.bind(ir, run_id)
    waiting = node.node_ids(ir)
    outcomes: list[NodeOutcome] = []
    # A signal can also arrive between two nodes.
    with _interruptible() as asked_to_stop, contextlib.suppress(InterruptedRunError):
        while waiting:
            node_id = waiting.pop(0)
            listener.started(node_id)
            outcome = node.launch(ir, node_id, connection)
            if asked_to_stop.is_set() and outcome.state == "failed":
                outcome = dataclasses.replace(outcome, error="interrupted; its unfinished outputs were removed")
            outcomes.append(outcome)
            recorder.node(run_id, outcome)
            listener.finished(outcome)
            if outcome.state == "failed" or asked_to_stop.is_set():
                break
    return RunOutcome(run_id, tuple(outcomes), tuple(waiting))


def check_workers(beam_args: Iterable[str]) -> None:
    """Checks that Beam can start its worker processes, if it is told to have some.

    Beam (2.77) gives the path of Python to a shell without quoting it, and waits for ever for a worker that was not
    found.

    Raises:
        SettingsError: Python's path holds a character that means something to a shell.
    """
    special = _SPECIAL.search(sys.executable)
    if special and any("multi_processing" in argument for argument in beam_args):
        raise SettingsError(
            f"Beam cannot start worker processes with {sys.executable}, because of the {special.group()!r} in its "
            "path: leave out --direct_running_mode=multi_processing, or move the project to another folder."
        )


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turns SIGINT and SIGTERM into an exception that TFX cleans up after; a second one ends the process."""
    asked_to_stop = threading.Event()

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        asked_to_stop.set()
        raise InterruptedRunError(f"stopped by {signal.Signals(number).name}")

    if threading.current_thread() is not threading.main_thread():  # signals can only be handled there
        yield asked_to_stop
        return
    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked_to_stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

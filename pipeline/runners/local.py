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

from tfx.orchestration.pipeline import Pipeline

from ledger.opening import open_store
from ledger.recorder import Recorder, renewing
from ledger.run_record import Kind, NodeOutcome, RunRecord
from pipeline import node, results, store
from pipeline.settings import Settings, SettingsError
from pipeline.stamp import stamp

INTERRUPTED = "interrupted; its unfinished outputs were removed"
# Means something to a shell where it stands unquoted in a path.
_SPECIAL = re.compile(r"""[\s"'`$&;|<>()*?\[\]\\!#]""")


class Listener(Protocol):
    """Is told when a node begins, and when it has ended, well or not."""

    def started(self, node_id: str) -> None: ...  # noqa: D102

    def finished(self, outcome: NodeOutcome) -> None: ...  # noqa: D102


class InterruptedRunError(Exception):
    """A person, or the system, asked the run to stop.

    An Exception and not a KeyboardInterrupt: TFX's launcher records a failed execution and removes its half-written
    outputs for exceptions only.
    """


def run(
    pipeline: Pipeline,
    run_id: str,
    settings: Settings,
    listener: Listener | None = None,
    *,
    kind: Kind = "run",
    loading_seconds: float = 0.0,
    **further: Any,
) -> RunRecord:
    """Runs a pipeline, stopping at the first node that fails; its record is up to date at any moment.

    Results of the nodes before a failure stay in the metadata store, so that the next run reuses them.

    The pipeline is made of these settings, which say where the metadata store is, too. The wall seconds of the imports
    before count as the run's. Further fields of the record can be given, such as the parent.

    Raises:
        SettingsError: Beam could not start its workers here; nothing is recorded.
    """
    for beam_args in (settings.beam.args, *settings.beam.components.values()):
        check_workers(beam_args)
    connection = store.connection(settings)
    ledger = open_store(connection)
    recorder = Recorder(ledger)
    began = time.monotonic() - loading_seconds
    stamp(recorder, run_id, settings, kind=kind, runner="local", loading_seconds=round(loading_seconds, 3), **further)
    ir = node.compile_pipeline(pipeline)
    node.bind(ir, run_id)
    outcomes: list[NodeOutcome] = []
    # A signal can also arrive between two nodes.
    with (
        renewing(connection, run_id),
        _interruptible() as asked_to_stop,
        contextlib.suppress(InterruptedRunError),
    ):
        for node_id in node.node_ids(ir):
            if listener:
                listener.started(node_id)
            outcome = node.launch(ir, node_id, connection)
            if asked_to_stop.is_set() and outcome.state == "failed":
                outcome = dataclasses.replace(outcome, error=INTERRUPTED)
            outcomes.append(outcome)
            recorder.node(run_id, outcome)
            if listener:
                listener.finished(outcome)
            if outcome.state == "failed" or asked_to_stop.is_set():
                break
    interrupted = "it was interrupted" if len(outcomes) < len(ir.nodes) else None
    return results.complete(
        recorder,
        ledger,
        run_id,
        settings,
        ir,
        ended=True,
        failure=next((outcome.failure for outcome in outcomes if outcome.failure), interrupted),
        seconds=round(time.monotonic() - began, 3),
        peak_mb=round(max((outcome.peak_mb for outcome in outcomes), default=0.0), 1),
    )


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

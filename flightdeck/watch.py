"""``flightdeck watch``: the loop that retrains on triggers, deploys and rolls back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from errors import FlightdeckError
from flightdeck.console import json_of, noise_into, table, working
from flightdeck.options import Options, existing_store, load_settings

if TYPE_CHECKING:
    from flightdeck.settings import Settings
    from operations.loop.attempts import Attempt, Waiting
    from operations.loop.round import Event, Rounds
    from operations.loop.runs import Runner

_SHOWN = 10


def watch(
    options: Options,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Make one round, for cron; waits for new spans to settle, and for a run on this machine."
        ),
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Only show what waits, what runs and the last runs.")
    ] = False,
) -> None:
    """Retrain, deploy and roll back, as far as `continuous.level` allows, until interrupted.

    Triggers are a new or changed span, a schedule, a decision of the monitor, and changed code of the model or changed
    settings. Those that come during a run wait for the next one, together. Prints a line for each event, with --json a
    document. Exit code: 0; with --once 1 if the run failed or a step had a problem; 2 for invalid settings, and if the
    workspace is watched already.
    """
    settings = options.settings
    if status:
        _status(settings, options.as_json)
        return
    from operations.loop.loop import Loop, alone

    overrides = [part for override in options.overrides for part in ("--set", override)]
    arguments = ["--config", str(options.config.resolve()), *overrides]
    with ExitStack() as stack:
        folder = stack.enter_context(alone(settings))
        rounds, screen, tell = _rounds(stack, settings, arguments, folder / "watch.log", options.as_json)
        loop = Loop(rounds, lambda: load_settings(options.config, options.overrides), tell)
        if once:
            result = loop.once(wait=settings.continuous.runner == "local")
            again, code = False, int(bool(rounds.problems) or (result is not None and not result.ended))
        else:
            if not options.as_json:
                screen.write(f"Watching {settings.workspace} at level {settings.continuous.level}. Ctrl-C ends it.\n")
            again, code = loop.run(), 0
    if again:
        os.execv(sys.executable, [sys.executable, "-m", "flightdeck", *sys.argv[1:]])
    raise typer.Exit(code)


def _rounds(
    stack: ExitStack, settings: Settings, arguments: list[str], log: Any, as_json: bool
) -> tuple[Rounds, TextIO, Callable[[Event], None]]:
    from ledger.opening import open_store
    from operations.alerts.dispatcher import Dispatcher, open_outbox
    from operations.loop.attempts import Attempts
    from operations.loop.round import Rounds
    from pipeline.store import connection

    store = open_store(connection(settings))
    outbox, channels = open_outbox(settings)
    runner = _runner(settings, store, arguments)
    screen = stack.enter_context(noise_into(log))
    dispatcher = Dispatcher(outbox, channels)
    stack.callback(dispatcher.close)

    def tell(event: Event) -> None:
        if as_json:
            document = {**vars(event), "when": event.when.isoformat(timespec="seconds")}
            screen.write(json_of(document, indent=None) + "\n")
        else:
            screen.write(f"{event.when:%Y-%m-%d %H:%M:%S}  {event.kind:<9}  {event.text}\n")

    return Rounds(store, Attempts(settings, store), runner, dispatcher.alert, tell), screen, tell


def _runner(settings: Settings, store: Any, arguments: list[str]) -> Runner:
    if settings.continuous.runner == "kubeflow":
        from operations.delivery.kubeflow_api import TOKEN_VARIABLE
        from operations.loop.cluster import KubeflowRuns

        return KubeflowRuns(settings, store, os.environ.get(TOKEN_VARIABLE, "").strip() or None)
    from operations.loop.local import LocalRuns

    return LocalRuns(settings, store, arguments)


def _status(settings: Settings, as_json: bool) -> None:
    from operations.loop.loop import folder_of, watcher

    # Asking makes nothing.
    waits, settling, attempts, problem = _now(settings) if folder_of(settings).is_dir() else ([], [], [], None)
    watched = watcher(settings)
    running = next((attempt for attempt in attempts if attempt.ended is None), None)
    ended = [attempt for attempt in reversed(attempts) if attempt.ended is not None][:_SHOWN]
    if as_json:
        document = {
            "level": settings.continuous.level,
            "runner": settings.continuous.runner,
            "watched_by": watched,
            "running": running and _document(running),
            "waiting": [{**dict(wait.trigger), "starts": wait.starts, "due": wait.due} for wait in waits],
            "settling": settling,
            "problem": problem,
            "runs": [_document(attempt) for attempt in ended],
        }
        typer.echo(json_of(document, indent=None))
        return
    typer.echo(f"Level       {settings.continuous.level}, runs are {settings.continuous.runner}")
    typer.echo(f"Watched     {f'by {watched}' if watched else 'by nobody now; start it with: flightdeck watch'}")
    if running is not None:
        typer.echo(f"Running     {running.run_id}: {running.because}")
    for wait in waits:
        again = f", after {wait.starts} of {settings.continuous.starts} starts, from {wait.due:%H:%M:%S} UTC on"
        typer.echo(f"Waiting     {wait.trigger.reason}{again if wait.starts else ''}")
    if settling:
        spans = f"{'spans' if len(settling) > 1 else 'span'} {', '.join(map(str, settling))}"
        typer.echo(f"Settling    {spans}, changed within the last {settings.continuous.settle_seconds:g} s")
    if problem is not None:
        typer.echo(f"Problem     {problem}")
    if ended:
        table(
            ["run", "begun (UTC)", "outcome", "because"],
            [(run.run_id, f"{run.begun:%Y-%m-%d %H:%M:%S}", str(run.outcome), run.because) for run in ended],
        )


def _now(settings: Settings) -> tuple[list[Waiting], list[int], list[Attempt], str | None]:
    """What waits for a run; spans that settle; the attempts, oldest first; and why it is not known what waits."""
    from operations.loop.attempts import Attempts

    store = existing_store(settings)
    attempts, now = Attempts(settings, store), datetime.now(UTC)
    with working(quiet=True):
        from operations.loop.round import triggers_now
        from operations.loop.seen import Spans

        try:
            spans = Spans()
            waits = triggers_now(settings, store, attempts, spans.now(settings, now.timestamp()), now)[1]
            return waits, list(spans.settling), attempts.all(), None
        except FlightdeckError as error:
            return [], [], attempts.all(), str(error)


def _document(attempt: Attempt) -> dict[str, Any]:
    return attempt.model_dump(exclude={"workspace"}) | {"triggers": attempt.reasons}

"""``flightdeck watch``: the loop that trains when there is a reason to, deploys, and goes back."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Overrides, load_settings

if TYPE_CHECKING:
    from flightdeck.settings import Settings
    from operations.loop.queue import Batch
    from operations.loop.round import Event, Rounds
    from operations.loop.runs import Runner

Json = Annotated[bool, typer.Option("--json", help="Print a JSON document per line instead of text.")]
_SHOWN = 10


def watch(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    once: Annotated[
        bool, typer.Option("--once", help="One round, for cron; a run on this machine is waited for.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Only show what waits, runs and ran.")] = False,
    as_json: Json = False,
) -> None:
    """Train, deploy and go back by itself, as far as `continuous.level` allows, until it is interrupted.

    A reason to train is a new or changed span, a schedule, a decision of the monitor, or a change of the model's code
    or of the settings. Reasons that come while a run goes on wait for the next one, together. Prints a line for each
    thing that happens. Exit code: 0; with --once 1 if the run failed or something could not be done; 2 for settings
    that cannot be used, and when the workspace is watched already.
    """
    settings = load_settings(config, overrides)
    if status:
        _status(settings, as_json)
        return
    arguments = ["--config", str(config.resolve()), *(part for each in overrides or () for part in ("--set", each))]
    from operations.loop.loop import Loop, alone

    with ExitStack() as stack:
        folder = stack.enter_context(alone(settings))
        rounds, screen = _rounds(stack, settings, arguments, folder / "watch.log", as_json)
        told = _teller(screen, as_json)
        loop = Loop(rounds, lambda: load_settings(config, overrides), told)
        if once:
            result = loop.once(wait=settings.continuous.runner == "local")
            again, code = False, int(rounds.hindered or (result is not None and not result.ended))
        else:
            if not as_json:
                screen.write(f"Watching {settings.workspace} at level {settings.continuous.level}. Ctrl-C ends it.\n")
            again, code = loop.run(), 0
    if again:
        os.execv(sys.executable, [sys.executable, "-m", "flightdeck", *sys.argv[1:]])
    raise typer.Exit(code)


def _rounds(
    stack: ExitStack, settings: Settings, arguments: list[str], log: Any, as_json: bool
) -> tuple[Rounds, TextIO]:
    from flightdeck.console import noise_into
    from ledger.opening import open_store
    from operations.alerts.dispatcher import Dispatcher, open_outbox
    from operations.loop.round import Rounds, queue_of
    from pipeline import store

    opened = open_store(store.connection(settings))
    outbox, channels = open_outbox(settings)
    queue = queue_of(settings)
    runner = _runner(settings, opened, arguments)
    screen = stack.enter_context(noise_into(log))
    dispatcher = Dispatcher(outbox, channels)
    stack.callback(dispatcher.close)
    return Rounds(opened, queue, runner, dispatcher.alert, _teller(screen, as_json)), screen


def _runner(settings: Settings, store: Any, arguments: list[str]) -> Runner:
    if settings.continuous.runner == "kubeflow":
        from operations.delivery.kubeflow import TOKEN_VARIABLE
        from operations.loop.cluster import KubeflowRuns

        return KubeflowRuns(settings, store, os.environ.get(TOKEN_VARIABLE, "").strip() or None)
    from operations.loop.local import LocalRuns

    return LocalRuns(settings, store, arguments)


def _teller(screen: TextIO, as_json: bool) -> Any:
    def told(event: Event) -> None:
        if as_json:
            screen.write(json.dumps({**asdict(event), "when": event.when.isoformat(timespec="seconds")}) + "\n")
        else:
            screen.write(f"{event.when:%Y-%m-%d %H:%M:%S}  {event.kind:<9}  {event.text}\n")

    return told


def _status(settings: Settings, as_json: bool) -> None:
    from operations.loop.loop import folder_of, watcher
    from operations.loop.round import queue_of

    # Asking makes nothing.
    queue = queue_of(settings) if folder_of(settings).is_dir() else None
    watched = watcher(settings)
    open_run, waiting, runs = (queue.open_run(), queue.waiting(), queue.runs(_SHOWN)) if queue else (None, [], [])
    runs = [each for each in runs if each.ended is not None]
    if as_json:
        document = {
            "level": settings.continuous.level,
            "runner": settings.continuous.runner,
            "watched_by": watched,
            "running": None if open_run is None else _run(open_run),
            "waiting": [
                {**each.trigger.model_dump(mode="json"), "starts": each.starts, "due": each.due.isoformat()}
                for each in waiting
            ],
            "runs": [_run(each) for each in runs],
        }
        typer.echo(json.dumps(document))
        return
    typer.echo(f"Level       {settings.continuous.level}, runs are {settings.continuous.runner}")
    typer.echo(f"Watched     {f'by {watched}' if watched else 'by nobody now; start it with: flightdeck watch'}")
    if open_run is not None:
        typer.echo(f"Running     {open_run.run_id}: {open_run.because}")
    for each in waiting:
        again = f", after {each.starts} of {settings.continuous.starts} starts, from {each.due:%H:%M:%S} UTC on"
        typer.echo(f"Waiting     {each.trigger.reason}{again if each.starts else ''}")
    _table(runs)


def _table(runs: list[Batch]) -> None:
    from flightdeck.console import table

    if runs:
        table(
            ["run", "begun (UTC)", "outcome", "because"],
            [(each.run_id, f"{each.begun:%Y-%m-%d %H:%M:%S}", str(each.outcome), each.because) for each in runs],
        )


def _run(batch: Batch) -> dict[str, Any]:
    return {
        "run_id": batch.run_id,
        "reference": batch.reference,
        "begun": batch.begun.isoformat(),
        "ended": None if batch.ended is None else batch.ended.isoformat(),
        "outcome": batch.outcome,
        "detail": batch.detail,
        "triggers": batch.reasons,
    }

"""``flightdeck tensorboard``: the training curves of runs, and the hyperparameters of sweeps."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import types
from typing import Annotated

import typer

from errors import FlightdeckError
from flightdeck.console import json_of
from flightdeck.options import Options


def tensorboard(
    options: Options,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN|SWEEP]...", help="Default: the newest runs and sweeps. `latest` and `best` too."),
    ] = None,
    port: Annotated[int, typer.Option(help="0 takes any that is free.", min=0, max=65535)] = 6006,
    host: Annotated[str, typer.Option(help="The address to listen on; anyone who reaches it may look.")] = "127.0.0.1",
) -> None:
    """Show training curves and sweeps in TensorBoard, until Ctrl-C. A sweep's trials are on its page HParams."""
    from operations.experiments import training_logs

    logs = training_logs.find(options.store(), names or ())
    url = _serve(logs, host, port)
    if options.as_json:
        typer.echo(json_of({"url": url, "logs": logs}, indent=None))  # for who reads line by line while it goes on
    else:
        for run_id, uri in logs.items():
            typer.echo(f"  {run_id}   {uri}")
        typer.echo(f"TensorBoard is at {url}   (Ctrl-C ends it)")
    sys.stdout.flush()
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    done.wait()


def _serve(logs: dict[str, str], host: str, port: int) -> str:
    """Starts TensorBoard in this process, and returns its address."""
    if not any("://" in uri for uri in logs.values()):
        # Says that TensorFlow is not to be used: it only reads logs, and would take ten seconds to import. Buckets need
        # its file systems.
        sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
    from tensorboard import default, program

    for name in ("tensorboard", "werkzeug"):
        logging.getLogger(name).setLevel(logging.ERROR)
    server = program.TensorBoard(plugins=default.get_plugins())
    specification = ",".join(f"{run_id}:{uri}" for run_id, uri in logs.items())
    server.configure(
        argv=[
            "tensorboard",
            f"--logdir_spec={specification}",
            f"--host={host}",
            f"--port={port}",
            # The fast loader does not know several folders.
            "--load_fast=false",
            "--reload_interval=5",
        ]
    )
    try:
        return server.launch()
    except program.TensorBoardServerException as error:
        raise FlightdeckError(f"TensorBoard cannot listen on {host}:{port}: {error.msg}") from error

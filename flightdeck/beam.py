"""``flightdeck beam``: whether Beam's engine works, and the workers of one."""

from __future__ import annotations

import logging
import os
import signal
from typing import Annotated

import typer

from flightdeck.options import App, Options

# How long a pool takes at most to notice that it is to end.
_LOOKS_SECONDS = 0.2

app = App(no_args_is_help=True, help="The engine that Beam's components run on.")


@app.command()
def check(
    options: Options,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Timeout for each engine.", min=1)] = 180.0,
) -> None:
    """Try the engine of the settings with a pipeline of two lines, whose workers look around.

    They must have the same versions and code, import the components and see the workspace. What is wrong is one
    sentence, with exit code 2.
    """
    from pipeline.engine_check import check as tried

    logging.disable(logging.ERROR)  # what Beam says of a job that fails is part of that sentence
    beam = options.settings.beam
    engines = {beam.arguments(component): component for component in components()}
    answers, lines = [], []
    for arguments, component in engines.items():
        flink, engine = beam.flink_of(component), beam.engine_of(component)
        report = tried(arguments, options.settings.workspace, flink.parallelism if flink else 1, timeout)
        answers.append({"engine": engine, "workers": report.workers, "seconds": report.seconds})
        hosts = ", ".join(sorted({host for host, _ in report.workers}))
        lines.append(f"The engine {engine} works: {len(report.workers)} of its workers answered, on {hosts}.")
    options.answer(answers, "\n".join(lines))


@app.command()
def pool(
    options: Options,
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65_535)] = 50_000,
    host: Annotated[str, typer.Option(help="Address to listen on; who reaches it can run code here.")] = "127.0.0.1",
) -> None:
    """Start Python workers whenever a TaskManager, or another engine, asks for them; until Ctrl-C.

    They begin with TFX imported, and run the code that is here when they start, that of a project of your own too.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # an address in use is said by us
    from pipeline.stamp import sources_of
    from pipeline.worker_pool import serve

    serving = serve(host, port, lambda: sources_of(options.settings))
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # The first process of a container heeds no signal without a handler; an exception may be swallowed.
        signal.signal(number, lambda number, _frame: told.append(number))
    options.answer({"listens": f"{host}:{port}"}, f"A worker pool listens on {host}:{port}.")
    while not told:
        serving.wait_for_termination(timeout=_LOOKS_SECONDS)


def components() -> tuple[str, ...]:
    """The components that run on Beam."""
    from typing import get_args

    from pipeline.beam_settings import BeamComponent

    return get_args(BeamComponent)

"""``flightdeck beam``: whether Beam's engine works."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from flightdeck.options import App, Options

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


def components() -> tuple[str, ...]:
    """The components that run on Beam."""
    from typing import get_args

    from pipeline.settings import BeamComponent

    return get_args(BeamComponent)

"""The command line: one thin file per command group.

Commands import what they need when they are called, so that ``--help`` answers at once: TensorFlow, TFX and Beam take
15 seconds together.
"""

from __future__ import annotations

import sys

from errors import FlightdeckError
from flightdeck import (
    alerts,
    beam,
    canary,
    config,
    data,
    image,
    kubeflow,
    kubeflow_release,
    kubeflow_sweep,
    lab,
    metrics,
    models,
    monitor,
    new,
    observe,
    predict,
    replay,
    report,
    run,
    runs,
    serve,
    stream,
    tensorboard,
    upgrade,
    watch,
)
from flightdeck.console import activation
from flightdeck.options import App

app = App(
    name="flightdeck",
    help="From raw data to a validated, pushed model, and the model's life after that.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
kubeflow.app.command(name="sweep")(kubeflow_sweep.sweep)
kubeflow.app.command(name="upload")(kubeflow_release.upload)
kubeflow.app.command(name="promote")(kubeflow_release.promote)
for group in (data, config, beam, image, kubeflow, lab, alerts, runs, serve, models, canary, report):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])
for command in (
    *(
        new.new,
        run.run,
        predict.predict,
        stream.stream,
        monitor.monitor,
        metrics.metrics,
        observe.observe,
        watch.watch,
        replay.replay,
    ),
    *(tensorboard.tensorboard, upgrade.upgrade),
):
    app.command()(command)


def main() -> None:
    """Runs a command. A mistake of the user is one sentence and exit code 2, never a traceback."""
    try:
        app()
    except FlightdeckError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    finally:
        if sys.stderr.isatty() and "--json" not in sys.argv and (command := activation()) is not None:
            print(f"`flightdeck` is not on the PATH of this shell yet; to put it there: {command}", file=sys.stderr)


if __name__ == "__main__":
    main()

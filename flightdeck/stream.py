"""``flightdeck stream``: streaming prediction."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from flightdeck.console import json_of, noise_into
from flightdeck.options import Options

# Beam's DirectRunner would try to download another runner first, and FnApiRunner runs nothing endless.
_ENDLESS = ("--runner=BundleBasedDirectRunner",)


def stream(
    options: Options,
    directory: Annotated[
        Path | None, typer.Argument(help="Directory in which .jsonl, .parquet and .csv files arrive.")
    ] = None,
    subscription: Annotated[
        str | None, typer.Option(help="Of Pub/Sub: projects/PROJECT/subscriptions/NAME; each message a JSON object.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when the files that are there are done.")] = False,
    until_idle: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End when no file has come for so long.", min=0)
    ] = None,
    poll_seconds: Annotated[float, typer.Option(help="How often to look for files.", min=0.01)] = 2.0,
    dead_letters: Annotated[
        Path | None, typer.Option(help="Folder for rows that cannot be used. Default: dead_letters in the workspace.")
    ] = None,
    beam_arg: Annotated[
        list[str] | None, typer.Option(help="Argument of the Beam runner, such as --runner=DataflowRunner. Repeatable.")
    ] = None,
) -> None:
    """Answer rows as they arrive with the served version of the model, and write them to the payload log.

    Ctrl+C ends it; started again, it goes on where it was.
    """
    from operations.registry import Registry
    from pipeline.workspace import new_run_id

    settings = options.settings
    if (directory is None) == (subscription is None):
        raise typer.BadParameter("Name either a directory or a --subscription.")
    if subscription and (once or until_idle is not None):
        raise typer.BadParameter("--once and --until-idle are for a directory.")
    version = Registry(settings).served()
    log = settings.runs / f"stream-{new_run_id()}" / "run.log"
    log.parent.mkdir(parents=True)
    with noise_into(log) as screen:
        from operations.inference import streaming
        from pipeline.runners.local import check_workers

        beam_args = beam_arg or (_ENDLESS if subscription else settings.beam.arguments())
        check_workers(beam_args)
        letters = dead_letters or Path(settings.workspace) / "dead_letters"
        job = streaming.job(version, settings, letters)
        if subscription:
            if not options.as_json:
                screen.write(f"Version {version.number} answers {subscription}. Ctrl+C ends it.\n")
            with contextlib.suppress(KeyboardInterrupt):
                streaming.from_subscription(job, subscription, beam_args)
            return
        assert directory is not None
        watched = streaming.Directory(directory, job, beam_args)
        if not options.as_json:
            screen.write(f"Version {version.number} answers what arrives in {directory}. Ctrl+C ends it.\n")

        def on_files(tally: streaming.Tally) -> None:
            if not options.as_json:
                screen.write(f"  {tally.files} files: {tally.rows:,} rows answered, {tally.dead:,} dead letters\n")

        with contextlib.suppress(KeyboardInterrupt):
            watched.watch(poll_seconds, 0 if once else until_idle, on_files)
        if options.as_json:
            document = {**vars(watched.tally), "version": version.number, "log": job.log, "dead_letters": str(letters)}
            screen.write(json_of(document, indent=None) + "\n")

"""``flightdeck run``: the main job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

if TYPE_CHECKING:
    from operations.summary import RunSummary
    from pipeline.settings import Settings


def run(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    window: Annotated[
        str | None,
        typer.Option(help="Spans FIRST:LAST, such as 1:6 or newest-5:newest; short for data.window."),
    ] = None,
    cache: Annotated[bool, typer.Option(help="Reuse the results of unchanged nodes.")] = True,
    as_json: Json = False,
) -> None:
    """Run the pipeline: spans in, a validated and pushed model out.

    Nodes whose inputs, settings and code are unchanged are not run again, and a run after a failed one goes on from the
    last good node. Exit code: 0, also when the model was not good enough to be pushed; 1 for a failed run; 2 for
    settings that cannot be used.
    """
    settings = load_settings(
        config,
        [
            *(overrides or ()),
            *([f'data.window="{window}"'] if window else ()),
            *(() if cache else ("cache=false",)),
        ],
    )
    summary = execute(settings, as_json)
    raise typer.Exit(0 if summary.outcome != "failed" else 1)


def execute(settings: Settings, as_json: bool) -> RunSummary:
    """Runs the training pipeline and reports it on the screen.

    Raises:
        ValueError: of ours, if the run cannot begin.
    """
    from flightdeck.console import Progress, console, noise_into, shown
    from flightdeck.run_page import print_summary
    from pipeline import store
    from pipeline.workspace import WorkspaceError, exclusive, new_run_id

    if not Path(settings.spans).is_dir():
        raise WorkspaceError(f"There is no data in {settings.spans} yet; prepare it with: flightdeck data prepare")
    store.connection(settings)  # or a missing variable would be noticed only after the imports
    with exclusive(settings):
        run_id = new_run_id()
        folder = settings.runs / run_id
        folder.mkdir(parents=True)
        log = folder / "run.log"
        with noise_into(log) as screen:
            output = console(screen)
            output.quiet = as_json
            output.print(f"Run {run_id}   log: {shown(log)}")
            progress = Progress(output)
            progress.note("Loading TensorFlow and TFX")
            started = time.monotonic()
            try:
                from operations import summary as summaries
                from pipeline.definition import create_pipeline
                from pipeline.runners import local

                loading = time.monotonic() - started
                outcome = local.run(create_pipeline(settings), run_id, store.connection(settings), progress)
            finally:
                progress.close()
            summary = summaries.summarise(settings, outcome, loading, time.monotonic() - started)
            summaries.save(summary, folder)
            if as_json:
                screen.write(summary.model_dump_json(indent=2) + "\n")
            else:
                print_summary(summary, shown(log), output)
    return summary

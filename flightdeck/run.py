"""``flightdeck run``: the main job."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.console import json_of, plain, shown
from flightdeck.options import Options
from flightdeck.prepared import prepared_run, require_spans
from flightdeck.run_page import print_summary

if TYPE_CHECKING:
    from flightdeck.prepared import PreparedRun
    from ledger.run_record import RunRecord
    from ledger.run_view import RunView


def run(
    options: Options,
    window: Annotated[
        str | None,
        typer.Option(help="Spans FIRST:LAST, such as 1:6 or newest-5:newest; short for data.window."),
    ] = None,
    cache: Annotated[bool, typer.Option(help="Reuse the results of unchanged nodes.")] = True,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Write WORKSPACE/runs/RUN/profile/NODE.html for each node that runs: where its time went.",
        ),
    ] = False,
    run_id: Annotated[str | None, typer.Option(hidden=True)] = None,
    because: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    parent_process: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the pipeline: spans in, a validated and pushed model out.

    Nodes whose inputs, settings and code are unchanged are not run again, and a run after a failed one goes on
    from the last good node. Exit code: 0, also when the model was not good enough to be pushed; 1 for a failed run; 2
    for settings that cannot be used.
    """
    if parent_process is not None:  # `flightdeck watch`, which also says why and under which name
        from operations.loop.local import stop_with

        stop_with(parent_process)
    of_window = [f'data.window="{window}"'] if window else []
    settings = options.adding(*of_window, *([] if cache else ["cache=false"])).settings
    further = {"triggers": dict(reason.split("=", 1) for reason in because)} if because else {}

    require_spans(settings)
    with prepared_run(settings, "run", quiet=options.as_json, known=run_id, **further) as run:
        if profile:
            plain(run.output, f"Profiles, a page per node that runs: {shown(run.profiles)}")
        record = run.execute("create_pipeline", profile=profile)
        if record.outcome == "pushed" and settings.push.keep:
            from operations.registry import Registry

            Registry(settings).prune(settings.push.keep)
        in_shadow_mode = record.outcome == "pushed" and settings.canary.mode != "off"
        # Without the cache, the next run would not go on where this one ended.
        overrides = [override for override in options.overrides if not override.startswith("cache=")]
        typed = Options(options.config, overrides).typed()
        report(run, record, options.as_json, typed, f"--window {shlex.quote(window)}" if window else "")
        if in_shadow_mode:
            from flightdeck.canary import after_push

            for line in after_push(settings):
                run.output.print(line, markup=False)
    raise typer.Exit(0 if record.outcome != "failed" else 1)


def report(
    run: PreparedRun, record: RunRecord, as_json: bool, options: str | None = None, run_options: str = ""
) -> RunView:
    """Saves what a run did beside its log, and shows it; for the options, see `print_summary`."""
    import storage
    from ledger.opening import open_store
    from ledger.runs import Runs
    from pipeline import store

    view = Runs(open_store(store.connection(run.settings))).view(record)
    profiles = {page.stem: str(page) for page in sorted(run.profiles.glob("*.html"))}
    summary = json_of({**view.summary(), "profiles": profiles})
    storage.write(run.folder / "summary.json", summary)
    if as_json:
        run.screen.write(summary + "\n")
    else:
        print_summary(view, shown(run.log), run.output, options, run_options)
    return view

"""``flightdeck report``: the static site about the runs."""

from __future__ import annotations

import logging
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

import storage
from flightdeck.console import console, json_of, print_json, shown
from flightdeck.options import App, Host, Options, Port
from ledger.formats import count, size

if TYPE_CHECKING:
    from flightdeck.settings import Settings
    from operations.registry import Version

PORT = 8082
app = App(invoke_without_command=True)


@app.callback()
def report(
    options: Options,
    context: typer.Context,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write, here or in a bucket.",
            show_default="`report` in the workspace",
            metavar="FOLDER",
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=0, help="How many runs get pages of their own, the newest.")] = 50,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write a static site about all runs: data, training, evaluation, slices, lineage, and a model card of each.

    What was seen of the served versions has a page as well, and so has each replay of the workspace.
    It opens from disk and asks no network for anything. An older report in the same folder is replaced.
    """
    if context.invoked_subcommand:
        return

    from ledger.opening import open_readonly
    from operations.alerts.dispatcher import outbox_place
    from operations.report import monitoring, replays, site
    from pipeline.store import connection

    settings = options.settings
    here = storage.at(settings.workspace)
    target = here / "report" if output is None else storage.at(output).absolute()
    metadata = connection(settings)
    place = settings.metadata_file.name if settings.metadata.kind == "sqlite" else metadata.mysql.database
    contract = settings.contract()
    on = console(quiet=options.as_json)
    with on.status("Reading the metadata store") as status:
        store = open_readonly(metadata)
        # Replays are played on this machine.
        played, unreadable = ([], []) if storage.is_bucket(here) else replays.read_all(here)
        written = site.write(
            store,
            target,
            name=settings.use_case.name,
            place=place,
            newest=runs,
            model_card=settings.use_case.model_card,
            roles={contract.label: "label"} | {column.name: "sensitive" for column in contract.sensitive},
            payloads=storage.at(settings.payloads),
            history=monitoring.gather(store, settings.use_case.name, _versions(settings), outbox_place(settings)),
            played=played,
            progress=lambda done, of, run: status.update(f"{done} of {count(of, 'run')}  {run}"),
        )
    if options.as_json:
        print_json(
            {
                "index": str(written.index),
                "runs": written.runs,
                "listed": written.listed,
                "bytes": written.bytes,
                "largest_run_bytes": written.largest,
                "missing": written.missing,
                "further": written.further,
                "unreadable_replays": unreadable,
            }
        )
    else:
        pages = f"{len(written.runs)} with pages, {size(written.bytes)}: {shown(written.index)}"
        typer.echo(f"{count(written.listed, 'run')}, {pages}")
        for replay in unreadable:
            typer.echo(f"A replay is left out, because its document cannot be read: {replay}")
    if show:
        webbrowser.open(written.index.as_uri())


@app.command()
def serve(
    options: Options,
    folder: Annotated[
        str | None,
        typer.Option(
            help="Folder of the report, here or in a bucket.",
            show_default="`report` in the workspace",
            metavar="FOLDER",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = PORT,
) -> None:
    """Serve the report to browsers elsewhere, until Ctrl+C or SIGTERM.

    Nobody is asked who they are. A newer report is served as a whole, some seconds after it is complete; before the
    first one, the answer is 503.
    """
    from operations.report import hosting

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    place = storage.at(options.settings.workspace) / "report" if folder is None else storage.at(folder)
    with hosting.listen(host, port) as listening:
        url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        typer.echo(json_of({"url": url}, indent=None) if options.as_json else f"Report    {url}\nCtrl+C ends it.")
        hosting.run(hosting.Site(place), listening)


def _versions(settings: Settings) -> list[Version]:
    """The versions that were ever served; none if they are not on this machine."""
    from operations.registry import Registry, RegistryError

    try:
        return Registry(settings).versions()
    except RegistryError:
        return []

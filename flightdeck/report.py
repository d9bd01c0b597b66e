"""``flightdeck report``: the static site about the runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

if TYPE_CHECKING:
    from flightdeck.settings import Settings
    from operations.registry import Version


def report(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder to write.", show_default="`report` in the workspace", file_okay=False
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=0, help="How many runs get pages of their own, the newest.")] = 50,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Write a static site about all runs: data, training, evaluation, slices, lineage, and a model card of each.

    What was seen of the served versions has a page as well, and so has each replay of the workspace.
    It opens from disk and asks no network for anything. An older report in the same folder is replaced.
    """
    import json

    from flightdeck.console import console, shown
    from ledger.formats import count, size
    from ledger.opening import open_readonly
    from operations.alerts.dispatcher import outbox_file
    from operations.report import monitoring, replays, site
    from pipeline import store
    from pipeline.workspace import WorkspaceError

    settings = load_settings(config, overrides)
    if output is None:
        if "://" in settings.workspace:
            raise WorkspaceError(
                f"The workspace {settings.workspace} is not on this machine: give a folder with --output."
            )
        output = Path(settings.workspace) / "report"
    connection = store.connection(settings)
    place = settings.metadata_file.name if settings.metadata.kind == "sqlite" else connection.mysql.database
    contract = settings.contract()
    here = Path(settings.workspace) if "://" not in settings.workspace else None
    on = console()
    on.quiet = as_json
    with on.status("Reading the metadata store") as status:
        opened = open_readonly(connection)
        played, unreadable = replays.read_all(here) if here else ([], [])
        found = site.write(
            opened,
            output.absolute(),
            name=settings.use_case.name,
            place=place,
            newest=runs,
            model_card=settings.use_case.model_card,
            roles={contract.label: "label"},
            payloads=here and here / "payloads",
            history=monitoring.gather(
                opened, settings.use_case.name, _versions(settings), here and outbox_file(settings)
            ),
            played=played,
            progress=lambda done, of, run: status.update(f"{done} of {count(of, 'run')}  {run}"),
        )
    if as_json:
        print(
            json.dumps(
                {
                    "index": str(found.index),
                    "runs": list(found.runs),
                    "listed": found.listed,
                    "bytes": found.bytes,
                    "largest_run_bytes": found.largest,
                    "missing": found.missing,
                    "further": found.further,
                    "unreadable_replays": unreadable,
                },
                indent=2,
            )
        )
    else:
        on.print(
            f"{count(found.listed, 'run')}, {len(found.runs)} with pages, {size(found.bytes)}: {shown(found.index)}",
            soft_wrap=True,
        )
        for each in unreadable:
            on.print(f"A replay is left out, because its document cannot be read: {each}", markup=False)
    if show:
        import webbrowser

        webbrowser.open(found.index.as_uri())


def _versions(settings: Settings) -> list[Version]:
    """The versions that were ever served; none if they are not on this machine."""
    from operations.registry import Registry, RegistryError

    try:
        return Registry(settings).versions()
    except RegistryError:
        return []

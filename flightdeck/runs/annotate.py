"""``flightdeck runs note`` and ``flightdeck runs tag``: what people add to a run afterwards."""

from __future__ import annotations

from typing import Annotated

import typer

from flightdeck.console import print_json
from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings
from flightdeck.runs.named import Run
from ledger.formats import count


def note(
    run: Run,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note, in quotes.")],
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Write a note on a run: the idea, or what was learned. Notes are kept with the user and the time."""
    from ledger.annotations import add_note
    from ledger.opening import open_writable
    from pipeline import store

    record = add_note(open_writable(store.connection(load_settings(config, overrides))), run, text)
    if as_json:
        notes = [written.model_dump(mode="json") for written in record.notes]
        print_json({"run_id": record.run_id, "notes": notes})
    else:
        typer.echo(f"Noted on run {record.run_id}, which has {count(len(record.notes), 'note')} now.")


def tag(
    run: Run,
    name: Annotated[str, typer.Argument(metavar="TAG", help="Letters, digits and . _ : / + -.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag away.")] = False,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Tag a run, to find it again with `flightdeck runs list --tag TAG`."""
    from ledger.annotations import set_tag
    from ledger.opening import open_writable
    from pipeline import store

    record = set_tag(open_writable(store.connection(load_settings(config, overrides))), run, name, present=not remove)
    if as_json:
        print_json({"run_id": record.run_id, "tags": record.tags})
    else:
        typer.echo(f"Tags of run {record.run_id}: {', '.join(record.tags) or 'none'}")

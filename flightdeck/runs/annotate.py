"""``flightdeck runs note`` and ``flightdeck runs tag``: what people add to a run afterwards."""

from __future__ import annotations

from typing import Annotated

import typer

from flightdeck.options import Options
from flightdeck.runs.named import Run
from ledger.formats import count


def note(
    options: Options,
    run: Run,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note, in quotes.")],
) -> None:
    """Write a note on a run: the idea, or what was learned. Notes are kept with the user and the time."""
    from ledger.annotations import add_note

    record = add_note(options.store(writable=True), run, text)
    text = f"Noted on run {record.run_id}, which has {count(len(record.notes), 'note')} now."
    options.answer({"run_id": record.run_id, "notes": record.notes}, text)


def tag(
    options: Options,
    run: Run,
    name: Annotated[str, typer.Argument(metavar="TAG", help="Letters, digits and . _ : / + -.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag away.")] = False,
) -> None:
    """Tag a run, to find it again with `flightdeck runs list --tag TAG`."""
    from ledger.annotations import set_tag

    record = set_tag(options.store(writable=True), run, name, present=not remove)
    text = f"Tags of run {record.run_id}: {', '.join(record.tags) or 'none'}"
    options.answer({"run_id": record.run_id, "tags": record.tags}, text)

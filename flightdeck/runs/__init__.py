"""``flightdeck runs``: questions to the ledger, one file per command."""

from __future__ import annotations

from flightdeck.options import App
from flightdeck.runs import against, annotate, best, compare, lineage, listing, reproduce, show, sweep

app = App(
    help="Which runs there were, which is best, where it came from, and how to make it again.", no_args_is_help=True
)
app.command(name="list")(listing.list_runs)
app.command(name="show")(show.show)
app.command(name="best")(best.best)
app.command(name="compare")(compare.compare)
app.command(name="against")(against.against)
app.command(name="lineage")(lineage.lineage)
app.command(name="note")(annotate.note)
app.command(name="tag")(annotate.tag)
app.command(name="reproduce")(reproduce.reproduce)
app.command(name="sweep")(sweep.sweep)

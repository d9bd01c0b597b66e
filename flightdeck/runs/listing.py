"""``flightdeck runs list``: the runs that meet conditions, as a table."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.console import print_json, table
from flightdeck.options import Options
from flightdeck.runs.named import (
    Since,
    Tags,
    Until,
    Where,
    Window,
    document,
    filter_of,
    page,
)
from ledger.formats import NOTHING, count, counts, duration, fact, local_moment, number

if TYPE_CHECKING:
    from ledger.filters import Filter
    from ledger.run_record import RunRecord
    from ledger.runs import Runs

SCREENFUL = 20
# Columns of text. A narrower terminal gets no times and commits, or nothing could be read.
NARROW = 100


def list_runs(
    options: Options,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="CONDITION", help="Such as 'auc>0.69'. Repeatable.")
    ] = None,
    where: Where = None,
    window: Window = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            help="pushed, blessed, 'not blessed', failed, killed, running, done, or 'not ours'. Repeatable: any."
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="run, reproduction, sweep, trial or prediction. Repeatable: any. Default: all but trials."),
    ] = None,
    commit: Annotated[
        str | None, typer.Option(help="Beginning of the commit; in a separate project, of its own or Flightdeck's.")
    ] = None,
    since: Since = None,
    until: Until = None,
    tag: Tags = None,
    parent: Annotated[
        str | None, typer.Option(metavar="RUN", help="Trials of a sweep, reproductions of a run.")
    ] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="What a note contains.")] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD", help="A metric, hyperparameter or fact: auc, seconds, started. Default: newest first."
        ),
    ] = None,
    desc: Annotated[bool, typer.Option("--desc", help="Largest first, with --sort.")] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help="At most so many; 0: all.", show_default=f"{SCREENFUL}; all with --json"),
    ] = None,
) -> None:
    """Show the runs in the ledger, those that meet every condition given."""
    from ledger.filters import Condition
    from ledger.opening import LedgerError
    from ledger.run_facts import is_ours
    from ledger.runs import Runs

    if desc and sort is None:
        raise LedgerError("--desc needs --sort; without it, the newest run is first anyway.")
    conditions = [Condition.parse(text, metrics_only=True) for text in metric or ()]
    wanted = filter_of(where, window, outcome, kind, tag, since, until, commit=commit, note=note, conditions=conditions)
    runs = Runs(options.ledger())
    if parent:
        wanted = dataclasses.replace(wanted, parent=runs.find(parent).run_id)
    matching = runs.select(wanted)
    trials = [] if wanted.kinds or parent else [each for each in matching if is_ours(each) and each.kind == "trial"]
    left_out = {each.run_id for each in trials}
    matching = [each for each in matching if each.run_id not in left_out]
    matching = runs.sort(matching, sort, desc) if sort else matching[::-1]
    limit = (0 if options.as_json else SCREENFUL) if limit is None else limit
    printed = matching[:limit] if limit else matching
    if options.as_json:
        print_json(
            {
                "runs": [document(record) | {"recorded": is_ours(record)} for record in printed],
                "matching": len(matching),
                "trials_left_out": len(trials),
                "all": len(runs.all()),
                "unreadable": runs.unreadable,
                "evaluated_on": _evaluated_on(matching, sort),
            }
        )
        return
    _print(printed, wanted, sort)
    if len(data := _evaluated_on(matching, sort) or {}) > 1:
        typer.echo(
            f"These values of {sort} cannot really be compared, because the runs were evaluated on different data: "
            f"{counts(data)}; --window narrows."
        )
    _print_rest(len(printed), len(matching), len(trials), runs)


def _evaluated_on(records: list[RunRecord], sort: str | None) -> dict[str, int] | None:
    """How many runs were evaluated on which data, if they are in the order of a metric."""
    from ledger.run_facts import by_evaluation_data

    measured = [each for each in records if sort in each.metrics]
    return by_evaluation_data(measured) if measured else None


def _print(records: list[RunRecord], wanted: Filter, sort: str | None) -> None:
    from ledger.run_facts import is_ours, last_sign_of_life, resolved_window, shown_outcome, value_of

    if not records:
        return
    main = list(dict.fromkeys(each.main_metric for each in records if each.main_metric))[:1]
    asked = [each.name for each in wanted.conditions] + ([sort] if sort else [])
    shown_anyway = {"run_id", "started", "renewed", "outcome", "kind", "seconds", "commit"}
    columns = [each for each in dict.fromkeys([*main, *asked]) if each not in shown_anyway]
    with_kind = {each.kind for each in records if is_ours(each)} not in ({"run"}, set())
    with_tags = any(each.tags or each.notes for each in records)
    on = page()
    table_of: dict[str, list[str]] = {"run": [each.run_id for each in records]}
    if on.width >= NARROW:
        table_of["started"] = [local_moment(each.started) for each in records]
    if with_kind:
        table_of["kind"] = [each.kind if is_ours(each) else "-" for each in records]
    table_of["outcome"] = [shown_outcome(each) for each in records]
    if any(last_sign_of_life(each) for each in records):
        table_of["last sign of life"] = [local_moment(last_sign_of_life(each)) for each in records]
    table_of["window"] = [resolved_window(each) or each.window or "-" for each in records]
    for name in columns:
        table_of[_broken(name)] = [(number if name in each.metrics else fact)(value_of(each, name)) for each in records]
    table_of["time"] = [duration(each.seconds) for each in records]
    if on.width >= NARROW:
        table_of["commit"] = [each.code.short() or NOTHING for each in records]
    if with_tags:
        table_of["tags"] = [" ".join([*each.tags, *(["(note)"] if each.notes else [])]) for each in records]
    table(list(table_of), list(zip(*table_of.values(), strict=True)), on=on)


def _broken(name: str) -> str:
    """A long name on several lines, so that it is not the header that makes a column wide."""
    return name if len(name) < 13 else re.sub(r"([_.])", r"\1\n", name)


def _print_rest(printed: int, matching: int, trials: int, runs: Runs) -> None:
    """What the table leaves out."""
    everything = len(runs.all())
    if not everything:
        typer.echo("There are no runs yet; begin with: flightdeck run")
    elif not matching:
        typer.echo(
            f"None of the {everything:,} runs meets this."
            + (f" Of the trials of sweeps, {trials:,} would." if trials else "")
        )
    elif printed < matching:
        typer.echo(f"{printed:,} of {matching:,} runs; --limit 0 shows all.")
    if trials and matching:
        typer.echo(f"{count(trials, 'trial')} of sweeps left out; --kind trial shows them.")
    if runs.unreadable:
        typer.echo(
            f"{count(len(runs.unreadable), 'record')} cannot be read (another version's, or changed by hand): "
            f"{', '.join(runs.unreadable[:3])}{' ...' if len(runs.unreadable) > 3 else ''}"
        )

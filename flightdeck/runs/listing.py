"""``flightdeck runs list``: the runs that meet conditions, as a table."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.console import console, print_json, table
from flightdeck.options import Options
from flightdeck.runs.named import Since, Tags, Until, Where, Window, document, filter_of
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
    runs = Runs(options.store())
    if parent:
        wanted = dataclasses.replace(wanted, parent=runs.find(parent).run_id)
    matching = runs.select(wanted)
    everything = len(matching)
    if not (wanted.kinds or parent):
        matching = [record for record in matching if not (is_ours(record) and record.kind == "trial")]
    trials = everything - len(matching)
    matching = runs.sort(matching, sort, desc) if sort else matching[::-1]
    limit = (0 if options.as_json else SCREENFUL) if limit is None else limit
    printed = matching[:limit] if limit else matching
    if options.as_json:
        print_json(
            {
                "runs": [document(record) | {"recorded": is_ours(record)} for record in printed],
                "matching": len(matching),
                "trials_left_out": trials,
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
    _print_rest(len(printed), len(matching), trials, runs)


def _evaluated_on(records: list[RunRecord], sort: str | None) -> dict[str, int] | None:
    from ledger.run_facts import by_evaluation_data

    measured = [record for record in records if sort in record.metrics]
    return by_evaluation_data(measured) if measured else None


def _print(records: list[RunRecord], wanted: Filter, sort: str | None) -> None:
    from rich.markup import escape

    from ledger.run_facts import is_ours, last_sign_of_life, shown_outcome, shown_window, value_of
    from ledger.runs import TRAINING

    if not records:
        return
    ranked = [record.main_metric for record in records if record.main_metric]
    # Of different use cases: what each of them is ranked by.
    main = ranked[:1] + [run.main_metric for run in records if run.main_metric and run.kind in TRAINING]
    asked = [condition.name for condition in wanted.conditions] + ([sort] if sort else [])
    shown_anyway = {"run_id", "started", "renewed", "outcome", "kind", "seconds", "commit"}
    on = console()
    rows = []
    for record in records:
        row = {"run": record.run_id}
        if on.width >= NARROW:
            row["started"] = local_moment(record.started)
        row["kind"] = record.kind if is_ours(record) else NOTHING
        row["outcome"] = shown_outcome(record)
        row["last sign of life"] = local_moment(last_sign_of_life(record))
        row["window"] = shown_window(record) or NOTHING
        for name in dict.fromkeys([*main, *asked]):
            if name not in shown_anyway:
                # A long name on several lines, so that it is not the header that makes a column wide.
                heading = name if len(name) < 13 else re.sub(r"([_./])", r"\1\n", name)
                row[escape(heading)] = (number if name in record.metrics else fact)(value_of(record, name))
        row["time"] = duration(record.seconds)
        if on.width >= NARROW:
            row["commit"] = record.code.short() or NOTHING
        row["tags"] = " ".join([*record.tags, *(["(note)"] if record.notes else [])])
        rows.append(row)
    tells_nothing = {"kind": {"run", NOTHING}, "last sign of life": {NOTHING}, "tags": {""}}
    columns = [name for name in rows[0] if not {row[name] for row in rows} <= tells_nothing.get(name, set())]
    table(columns, [[row[name] for name in columns] for row in rows], on=on)


def _print_rest(printed: int, matching: int, trials: int, runs: Runs) -> None:
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

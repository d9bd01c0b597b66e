"""``flightdeck runs best``: the best run by a metric, why it is, and which others come close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

if TYPE_CHECKING:
    from ledger.run_record import RunRecord
    from ledger.runs import Best


def best(
    metric: Annotated[
        str | None, typer.Option(help="A metric of the evaluation, such as auc. Default: the one that ranks runs.")
    ] = None,
    better: Annotated[
        str | None, typer.Option(metavar="higher|lower", help="Default: what the settings of the runs say.")
    ] = None,
    window: Annotated[str | None, typer.Option(metavar="FIRST:LAST", help="Only runs on these spans.")] = None,
    outcome: Annotated[list[str] | None, typer.Option(help="Such as pushed. Repeatable: any. Not failed.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Repeatable: any. Default: run and reproduction, which train in full.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Repeatable: all of them.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="CONDITION", help="As of `runs list`: 'epochs=4'. Repeatable.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="2013-07-01, 2013-07-01T09:30, today, yesterday, 12h, 3d, 2w.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Likewise; a day is included.")] = None,
    evaluated_on: Annotated[
        str | None,
        typer.Option(
            metavar="SPANS", help="Spans of the evaluation split: 3, 4:6, or `any`. Default: as of the newest run."
        ),
    ] = None,
    others: Annotated[int, typer.Option(min=0, help="How many of the next best to show.")] = 5,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Find the best run by a metric of its evaluation.

    Values on different data cannot be compared, so only runs are ranked that were evaluated on the same spans and rows.
    """
    from ledger.filters import Condition, Filter, parse_moment
    from ledger.opening import LedgerError, open_readonly
    from ledger.run_facts import by_evaluation_data
    from ledger.runs import Runs
    from pipeline import store

    if better not in (None, "higher", "lower"):
        raise LedgerError(f"--better is higher or lower, not {better!r}.")
    wanted = Filter(
        conditions=tuple(Condition.parse(each) for each in where or ()),
        window=window,
        outcomes=tuple(outcome or ()),
        kinds=tuple(kind or ()),
        tags=tuple(tag or ()),
        since=parse_moment(since) if since else None,
        until=parse_moment(until, end_of_day=True) if until else None,
    )
    runs = Runs(open_readonly(store.connection(load_settings(config, overrides))))
    found = runs.best(metric, wanted, better, evaluated_on)
    if as_json:
        import json

        from flightdeck.runs.named import document

        typer.echo(
            json.dumps(
                {
                    "run_id": found.record.run_id,
                    "metric": found.metric,
                    "better": found.better,
                    "value": document(found.record)["metrics"][found.metric],
                    "of_runs": 1 + len(found.others),
                    "evaluated_on": found.evaluated_on,
                    "left_out": by_evaluation_data(found.left_out),
                    "others": [
                        {
                            "run_id": each.run_id,
                            "value": document(each)["metrics"][found.metric],
                            "outcome": each.outcome,
                        }
                        for each in found.others[:others]
                    ],
                    "run": document(found.record),
                },
                indent=2,
            )
        )
        return
    _print(found, others)


def _print(found: Best, shown: int) -> None:
    from rich.markup import escape

    from flightdeck.console import table
    from flightdeck.runs.named import page
    from ledger.formats import NOTHING, count, counts, local_moment, number
    from ledger.run_facts import by_evaluation_data, evaluation_data, evaluation_spans
    from ledger.runs import ANY

    record, metric = found.record, found.metric
    on = page()
    style = {"pushed": "bold green", "blessed": "bold yellow"}.get(record.outcome, "bold red")
    version = f" as version {record.version}" if record.version else ""
    on.print(f"Best run    [bold]{escape(record.run_id)}[/]   [{style}]{record.outcome}[/]{version}")
    extreme = "highest" if found.better == "higher" else "lowest"
    rank = f"the {extreme} of {1 + len(found.others):,} runs" if found.others else "the only run on this data"
    equal = sum(each.metrics[metric] == record.metrics[metric] for each in found.others)
    if equal:
        rank += f"; {equal:,} more {'is' if equal == 1 else 'are'} just as good, and began later"
    on.print(f"Why         {metric} {number(record.metrics[metric])}, {rank}", markup=False, soft_wrap=True)
    started = local_moment(record.started)
    on.print(f"            evaluated on {evaluation_data(record)}; started {started}", markup=False)
    if found.others and (differences := _differences(record, found.others[0])):
        on.print(f"            against the next best: {differences}", markup=False, soft_wrap=True)
    if len(found.evaluated_on) > 1:
        on.print(
            f"Beware      the runs were evaluated on different data, which decides too: {counts(found.evaluated_on)}",
            markup=False,
            soft_wrap=True,
        )
    if found.left_out:
        on.print(
            f"Left out    {count(len(found.left_out), 'run')} evaluated on other data: "
            f"{counts(by_evaluation_data(found.left_out))}\n"
            f"            --evaluated-on {evaluation_spans(found.left_out[0]) or ANY} ranks such; --evaluated-on {ANY} "
            "ranks all, although their values cannot really be compared",
            markup=False,
            soft_wrap=True,
        )
    if shown and found.others:
        on.print()
        mixed = len(found.evaluated_on) > 1
        table(
            ["next best", "value", "behind", "outcome", *(["evaluated on"] if mixed else ["started", "commit"])],
            [
                (
                    each.run_id,
                    number(each.metrics[metric]),
                    f"{abs(each.metrics[metric] - record.metrics[metric]):.4f}",
                    each.outcome,
                    *([evaluation_data(each)] if mixed else [local_moment(each.started), each.code.short() or NOTHING]),
                )
                for each in found.others[:shown]
            ],
            on=on,
        )
    on.print("\nNext")
    steps = [(f"flightdeck runs show {record.run_id}", "everything about it")]
    if found.others:
        steps.append(
            (
                f"flightdeck runs compare {record.run_id} {found.others[0].run_id}",
                "is it really better, or is it chance?",
            )
        )
    for command, meaning in steps:
        on.print(f"  {command:<68} {meaning}", markup=False, soft_wrap=True)


def _differences(record: RunRecord, other: RunRecord) -> str:
    """What the better of two runs was told differently."""
    from ledger.formats import NOTHING, fact
    from ledger.run_facts import resolved_window

    told = [
        f"{name} {fact(record.hyperparameters.get(name))} instead of {fact(other.hyperparameters.get(name))}"
        for name in sorted(record.hyperparameters.keys() | other.hyperparameters.keys())
        if record.hyperparameters.get(name) != other.hyperparameters.get(name)
    ]
    if resolved_window(record) != resolved_window(other):
        told.append(f"spans {resolved_window(record)} instead of {resolved_window(other)}")
    elif record.data != other.data:
        told.append("other files")
    if (record.code.commit, record.code.diff) != (other.code.commit, other.code.diff):
        told.append(f"code {record.code.short() or NOTHING} instead of {other.code.short() or NOTHING}")
    return "; ".join(told[:6])

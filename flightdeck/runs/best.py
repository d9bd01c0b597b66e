"""``flightdeck runs best``: the best run by a metric, why it is, and which others come close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.console import console, plain, print_json, table
from flightdeck.options import Options
from flightdeck.runs.named import Since, Tags, Until, Where, Window, document, filter_of
from ledger.formats import NOTHING, count, counts, fact, local_moment, number

if TYPE_CHECKING:
    from ledger.run_record import RunRecord
    from ledger.runs import Best


def best(
    options: Options,
    metric: Annotated[
        str | None, typer.Option(help="A metric of the evaluation, such as auc. Default: the one that ranks runs.")
    ] = None,
    better: Annotated[
        str | None, typer.Option(metavar="higher|lower", help="Default: what the settings of the runs say.")
    ] = None,
    window: Window = None,
    outcome: Annotated[list[str] | None, typer.Option(help="Such as pushed. Repeatable: any. Not failed.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Repeatable: any. Default: run and reproduction, which train in full.")
    ] = None,
    tag: Tags = None,
    where: Where = None,
    since: Since = None,
    until: Until = None,
    evaluated_on: Annotated[
        str | None,
        typer.Option(
            metavar="SPANS", help="Spans of the evaluation split: 3, 4:6, or `any`. Default: as of the newest run."
        ),
    ] = None,
    others: Annotated[int, typer.Option(min=0, help="How many of the next best to show.")] = 5,
) -> None:
    """Find the best run by a metric of its evaluation.

    Values on different data cannot be compared, so only runs are ranked that were evaluated on the same spans and rows.
    """
    from ledger.opening import LedgerError
    from ledger.run_facts import by_evaluation_data
    from ledger.runs import Runs

    if better not in (None, "higher", "lower"):
        raise LedgerError(f"--better is higher or lower, not {better!r}.")
    wanted = filter_of(where, window, outcome, kind, tag, since, until)
    ranking = Runs(options.store()).best(metric, wanted, better, evaluated_on)
    if not options.as_json:
        _print(ranking, others, options.typed())
        return
    print_json(
        {
            "run_id": ranking.record.run_id,
            "metric": ranking.metric,
            "better": ranking.better,
            "value": ranking.record.metrics[ranking.metric],
            "of_runs": 1 + len(ranking.others),
            "evaluated_on": ranking.evaluated_on,
            "left_out": by_evaluation_data(ranking.left_out),
            "others": [
                {"run_id": other.run_id, "value": other.metrics[ranking.metric], "outcome": other.outcome}
                for other in ranking.others[:others]
            ],
            "run": document(ranking.record),
        }
    )


def _print(ranking: Best, shown: int, options: str) -> None:
    from rich.markup import escape

    from ledger.run_facts import by_evaluation_data, evaluation_data, evaluation_spans
    from ledger.runs import ANY

    record, metric = ranking.record, ranking.metric
    on = console()
    style = {"pushed": "bold green", "blessed": "bold yellow"}.get(record.outcome, "bold red")
    version = f" as version {record.version}" if record.version else ""
    on.print(f"Best run    [bold]{escape(record.run_id)}[/]   [{style}]{record.outcome}[/]{version}")
    extreme = "highest" if ranking.better == "higher" else "lowest"
    rank = f"the {extreme} of {1 + len(ranking.others):,} runs" if ranking.others else "the only run on this data"
    equal = sum(other.metrics[metric] == record.metrics[metric] for other in ranking.others)
    if equal:
        rank += f"; {equal:,} more {'is' if equal == 1 else 'are'} just as good, and began later"
    plain(on, f"Why         {metric} {number(record.metrics[metric])}, {rank}")
    plain(on, f"            evaluated on {evaluation_data(record)}; started {local_moment(record.started)}")
    if ranking.others and (differences := _differences(record, ranking.others[0])):
        plain(on, f"            against the next best: {differences}")
    if len(ranking.evaluated_on) > 1:
        plain(
            on,
            f"Beware      the runs were evaluated on different data, which decides too: {counts(ranking.evaluated_on)}",
        )
    if ranking.left_out:
        theirs = evaluation_spans(ranking.left_out[0]) or ANY
        plain(
            on,
            f"Left out    {count(len(ranking.left_out), 'run')} evaluated on other data: "
            f"{counts(by_evaluation_data(ranking.left_out))}\n"
            f"            --evaluated-on {theirs} ranks these; --evaluated-on {ANY} "
            "ranks all, although their values cannot really be compared",
        )
    if shown and ranking.others:
        on.print()
        mixed = len(ranking.evaluated_on) > 1
        table(
            ["next best", "value", "behind", "outcome", *(["evaluated on"] if mixed else ["started", "commit"])],
            [
                (
                    other.run_id,
                    number(other.metrics[metric]),
                    f"{abs(other.metrics[metric] - record.metrics[metric]):.4f}",
                    other.outcome,
                    *(
                        [evaluation_data(other)]
                        if mixed
                        else [local_moment(other.started), other.code.short() or NOTHING]
                    ),
                )
                for other in ranking.others[:shown]
            ],
            on=on,
        )
    on.print("\nNext")
    steps = {f"flightdeck runs show {record.run_id} {options}": "everything about it"}
    if ranking.others:
        compared = f"flightdeck runs compare {record.run_id} {ranking.others[0].run_id} {options}"
        steps[compared] = "is it really better, or is it chance?"
    for command, meaning in steps.items():
        plain(on, f"  {command.rstrip():<68} {meaning}")


def _differences(record: RunRecord, other: RunRecord) -> str:
    from ledger.run_facts import resolved_window

    differences = [
        f"{name} {fact(record.hyperparameters.get(name))} instead of {fact(other.hyperparameters.get(name))}"
        for name in sorted(record.hyperparameters.keys() | other.hyperparameters.keys())
        if record.hyperparameters.get(name) != other.hyperparameters.get(name)
    ]
    if resolved_window(record) != resolved_window(other):
        differences.append(f"spans {resolved_window(record)} instead of {resolved_window(other)}")
    elif record.data != other.data:
        differences.append("other files")
    if (record.code.commit, record.code.diff) != (other.code.commit, other.code.diff):
        differences.append(f"code {record.code.short() or NOTHING} instead of {other.code.short() or NOTHING}")
    return "; ".join(differences[:6])

"""``flightdeck runs compare``: how two runs differ, and whether one is better or merely luckier."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flightdeck.console import console, plain, print_json, table
from flightdeck.options import Options
from ledger.formats import NOTHING, fact, interval, local_moment, number, signed

if TYPE_CHECKING:
    from rich.console import Console

    from ledger.comparison import Comparison, MetricChange

_STYLES = {"better": "bold green", "worse": "bold red", "higher": "bold", "lower": "bold"}
_LONGEST = 12  # of a section, before the rest is only count


def compare(
    options: Options,
    first: Annotated[str, typer.Argument(metavar="A", help="A run, as of `runs show`; the differences start here.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The run that is compared with it.")],
    all_: Annotated[bool, typer.Option("--all", help="List every difference, however many there are.")] = False,
    resamples: Annotated[int, typer.Option(min=100, max=100_000, help="Of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap: the same seed, the same answer.")] = 0,
) -> None:
    """Compare two runs: only what differs, and for metrics whether the difference is larger than sampling noise.

    The area under the ROC curve is compared by DeLong's test, other metrics by a paired bootstrap; only if both runs
    were evaluated on provably the same rows.
    """
    from ledger.comparison import compare as compared

    store = options.store()
    comparison = compared(store, first, second, seed=seed, resamples=resamples)
    if options.as_json:
        print_json(_document(comparison))
    else:
        _print(comparison, None if all_ else _LONGEST)


def _document(comparison: Comparison) -> dict[str, Any]:
    def change(metric: MetricChange) -> dict[str, Any]:
        noise = metric.noise and {**vars(metric.noise), "beyond_noise": metric.noise.beyond_noise}
        return {**vars(metric), "noise": noise}

    return {
        "first": comparison.first.run_id,
        "second": comparison.second.run_id,
        "differences": comparison.sections,
        "cannot_compare": comparison.unknown,
        "same_rows": comparison.same_rows,
        "why_not_tested": comparison.why_not,
        "metrics": [change(metric) for metric in comparison.metrics],
        "slices": [{**vars(part), "metric": change(part.metric)} for part in comparison.slices],
    }


def _print(comparison: Comparison, longest: int | None) -> None:
    from rich.markup import escape

    from ledger.run_facts import evaluation_data

    on = console()
    for letter, record in (("A", comparison.first), ("B", comparison.second)):
        facts = (
            f"{local_moment(record.started)}, {record.code.short() or NOTHING}, evaluated on {evaluation_data(record)}"
        )
        plain(on, f"{letter}  {record.run_id}   {facts}")
    for name, changes in comparison.sections.items():
        if changes:
            on.print()
            shown = changes[:longest]
            rows = [(escape(change.name), _written(change.first), _written(change.second)) for change in shown]
            table([name, "A", "B"], rows, on=on)
            if len(changes) > len(shown):
                plain(on, f"and {len(changes) - len(shown):,} more: add --all")
    if comparison.same_in:
        plain(on, f"\nThe same in both: {', '.join(comparison.same_in)}.")
    for name, reason in comparison.unknown.items():
        plain(on, f"Cannot compare the {name}: {reason}.")
    _metrics(comparison, on)
    _slices(comparison, longest, on)
    if comparison.why_not:
        plain(on, f"\n{comparison.why_not}")
    elif comparison.metrics:
        _conclusion(comparison, on)


def _written(value: Any) -> str:
    from rich.markup import escape

    text = fact([f"{key}: {fact(part)}" for key, part in value.items()] if isinstance(value, dict) else value)
    # Commits and digests, as far as a person compares them; --json has all of it.
    text = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28,}\b", r"\1", text)
    return escape(text if len(text) <= 200 else f"{text[:197]}...")


def _metrics(comparison: Comparison, on: Console) -> None:
    if not comparison.metrics:
        recorded = comparison.first.metrics or comparison.second.metrics
        on.print("\nNo metric differs." if recorded else "\nNo metrics recorded.")
        return
    from rich.markup import escape

    main = comparison.main_metric
    rows = [((escape(change.name) + " *" * (change.name == main),), change) for change in comparison.metrics]
    _changes(["metric", "A", "B", "change"], rows, on)


def _changes(headings: list[str], rows: list[tuple[tuple[str, ...], MetricChange]], on: Console) -> None:
    tested = any(change.noise for _, change in rows)
    on.print()
    table(
        [*headings, *(["95 % interval", "p", "B is"] if tested else [])],
        [
            (
                *cells,
                number(change.first),
                number(change.second),
                signed(change.delta),
                *(_test(change) if tested else ()),
            )
            for cells, change in rows
        ],
        on=on,
    )


def _slices(comparison: Comparison, longest: int | None, on: Console) -> None:
    from rich.markup import escape

    if not comparison.slices:
        return
    shown = comparison.slices[:longest]
    headings = [f"slice ({comparison.main_metric})", "rows", "A", "B", "change"]
    rows = [((escape(part.slice), _rows(part.first_rows, part.second_rows)), part.metric) for part in shown]
    _changes(headings, rows, on)
    if len(comparison.slices) > len(shown):
        plain(on, f"and {len(comparison.slices) - len(shown):,} more slices: add --all")


def _rows(first: int | None, second: int | None) -> str:
    if first == second or first is None or second is None:
        return f"{first or second or 0:,}"
    return f"{first:,} / {second:,}"


def _test(change: MetricChange) -> tuple[str, str, str]:
    if change.noise is None or change.p_value is None:
        return "-", "-", "-"
    style = _STYLES.get(change.verdict)
    said = {"within noise": "no different: within noise", "unknown": "-"}.get(change.verdict, change.verdict)
    return (
        interval(change.noise, signed),
        "<0.001" if change.p_value < 0.001 else f"{change.p_value:.3f}",
        f"[{style}]{said}[/]" if style else said,
    )


def _conclusion(comparison: Comparison, on: Console) -> None:
    if comparison.tested is None:
        return
    on.print(
        f"\nThe same {comparison.tested.rows:,} rows, so the intervals are of the change itself: "
        f"{comparison.tested_by}{', slices corrected for how many there are (Holm)' if comparison.slices else ''}.",
        markup=False,
        soft_wrap=True,
    )
    main = next(
        (change for change in comparison.metrics if change.name == comparison.main_metric and change.noise), None
    )
    if main is not None:
        verdict = {
            "within noise": "differ by no more than chance",
            "better": "differ by more than chance: B is better",
            "worse": "differ by more than chance: A is better",
        }.get(main.verdict, "differ by more than chance")
        plain(on, f"By {main.name} the runs {verdict}.")
    plain(on, "The noise of training, such as another seed, is not in it.")

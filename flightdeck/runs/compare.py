"""``flightdeck runs compare``: how two runs differ, and whether one is better or merely luckier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from ledger.comparison import Change, Comparison, MetricChange

_STYLES = {"better": "bold green", "worse": "bold red", "higher": "bold", "lower": "bold"}
_LONGEST = 12  # of a section, before the rest is only counted


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A run, as of `runs show`; the differences start here.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The run that is compared with it.")],
    all_: Annotated[bool, typer.Option("--all", help="List every difference, however many there are.")] = False,
    resamples: Annotated[int, typer.Option(min=100, max=100_000, help="Of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap: the same seed, the same answer.")] = 0,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Compare two runs: only what differs, and for metrics whether the difference is larger than sampling noise.

    The area under the ROC curve is compared by DeLong's test, other metrics by a paired bootstrap; only if both runs
    were evaluated on provably the same rows.
    """
    import json

    from ledger.comparison import compare as compared
    from ledger.opening import open_readonly
    from pipeline import store

    found = compared(
        open_readonly(store.connection(load_settings(config, overrides))), first, second, seed=seed, resamples=resamples
    )
    if as_json:
        typer.echo(json.dumps(_document(found), indent=2, allow_nan=False))
    else:
        _print(found, None if all_ else _LONGEST)


def _document(found: Comparison) -> dict[str, Any]:
    import dataclasses

    def change(each: MetricChange) -> dict[str, Any]:
        fields = dataclasses.asdict(each)
        if each.noise is not None:
            fields["noise"]["beyond_noise"] = each.noise.beyond_noise
        return fields

    return _finite(
        {
            "first": found.first.run_id,
            "second": found.second.run_id,
            "differences": {
                name: [dataclasses.asdict(each) for each in changes] for name, changes in found.sections.items()
            },
            "cannot_compare": found.unknown,
            "same_rows": found.same_rows,
            "why_not_tested": found.why_not,
            "metrics": [change(each) for each in found.metrics],
            "slices": [
                {
                    "slice": each.slice,
                    "first_rows": each.first_rows,
                    "second_rows": each.second_rows,
                    "metric": change(each.metric),
                }
                for each in found.slices
            ],
        }
    )


def _finite(value: Any) -> Any:
    """The same without numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and value - value != 0 else value


def _print(found: Comparison, longest: int | None) -> None:
    from flightdeck.console import console
    from ledger.formats import NOTHING, local_moment
    from ledger.run_facts import evaluation_data

    on = console()
    for letter, record in (("A", found.first), ("B", found.second)):
        facts = (
            f"{local_moment(record.started)}, {record.code.short() or NOTHING}, evaluated on {evaluation_data(record)}"
        )
        on.print(f"{letter}  {record.run_id}   {facts}", markup=False, soft_wrap=True)
    for name, changes in found.sections.items():
        if changes:
            _section(name, changes, longest, on)
    if found.same_in:
        on.print(f"\nThe same in both: {', '.join(found.same_in)}.", markup=False)
    for name, reason in found.unknown.items():
        on.print(f"Cannot compare the {name}: {reason}.", markup=False, soft_wrap=True)
    _metrics(found, on)
    _slices(found, longest, on)
    if found.why_not:
        on.print(f"\n{found.why_not}", markup=False, soft_wrap=True)
    elif found.metrics:
        _conclusion(found, on)


def _section(name: str, changes: list[Change], longest: int | None, on: Console) -> None:
    from rich.markup import escape

    from flightdeck.console import table

    on.print()
    shown = changes[:longest]
    table([name, "A", "B"], [(escape(each.name), _written(each.first), _written(each.second)) for each in shown], on=on)
    if len(changes) > len(shown):
        on.print(f"and {len(changes) - len(shown):,} more: add --all", markup=False)


def _written(value: Any) -> str:
    import re

    from rich.markup import escape

    from ledger.formats import fact

    text = fact([f"{key}: {fact(each)}" for key, each in value.items()] if isinstance(value, dict) else value)
    # Commits and digests, as far as a person compares them; --json has all of it.
    text = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28,}\b", r"\1", text)
    return escape(text if len(text) <= 200 else f"{text[:197]}...")


def _metrics(found: Comparison, on: Console) -> None:
    from flightdeck.console import table
    from ledger.formats import number, signed

    if not found.metrics:
        on.print("\nNo metric differs." if found.first.metrics or found.second.metrics else "\nNo metrics recorded.")
        return
    tested = any(each.noise for each in found.metrics)
    on.print()
    table(
        ["metric", "A", "B", "change", *(["95 % interval", "p", "B is"] if tested else [])],
        [
            (
                each.name + (" *" if each.name == found.main_metric else ""),
                number(each.first),
                number(each.second),
                signed(each.delta),
                *(_test(each) if tested else ()),
            )
            for each in found.metrics
        ],
        on=on,
    )


def _slices(found: Comparison, longest: int | None, on: Console) -> None:
    from rich.markup import escape

    from flightdeck.console import table
    from ledger.formats import number, signed

    if not found.slices:
        return
    shown = found.slices[:longest]
    tested = any(each.metric.noise for each in found.slices)
    on.print()
    table(
        [
            f"slice ({found.main_metric})",
            "rows",
            "A",
            "B",
            "change",
            *(["95 % interval", "p", "B is"] if tested else []),
        ],
        [
            (
                escape(each.slice),
                _rows(each.first_rows, each.second_rows),
                number(each.metric.first),
                number(each.metric.second),
                signed(each.metric.delta),
                *(_test(each.metric) if tested else ()),
            )
            for each in shown
        ],
        on=on,
    )
    if len(found.slices) > len(shown):
        on.print(f"and {len(found.slices) - len(shown):,} more slices: add --all", markup=False)


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
        f"{change.noise.low:+.4f} to {change.noise.high:+.4f}",
        "<0.001" if change.p_value < 0.001 else f"{change.p_value:.3f}",
        f"[{style}]{said}[/]" if style else said,
    )


def _conclusion(found: Comparison, on: Console) -> None:
    rows = next((each.noise.rows for each in found.metrics if each.noise), None)
    if rows is None:
        return
    on.print(
        f"\nThe same {rows:,} rows, so the intervals are of the change itself: auc by DeLong's test, others by a "
        "paired bootstrap" + (", slices corrected for how many there are (Holm)" if found.slices else "") + ".",
        markup=False,
        soft_wrap=True,
    )
    main = next((each for each in found.metrics if each.name == found.main_metric and each.noise), None)
    if main is not None:
        verdict = {
            "within noise": "differ by no more than chance",
            "better": "differ by more than chance: B is better",
            "worse": "differ by more than chance: A is better",
        }.get(main.verdict, "differ by more than chance")
        on.print(f"By {main.name} the runs {verdict}.", markup=False)
    on.print("The noise of training, such as another seed, is not in it.", markup=False)

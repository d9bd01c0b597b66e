"""Prints what a run did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flightdeck.console import plain, shown, table
from ledger.formats import NOTHING, duration, number, signed, spans

if TYPE_CHECKING:
    from rich.console import Console

    from ledger.run_view import RunView

STYLES = {
    "pushed": "bold green",
    "done": "bold green",
    "blessed": "bold yellow",
    "running": "bold cyan",
    "running or killed": "bold cyan",
}
"""Of an outcome on the screen; any other is bad."""
BAD = "bold red"


def print_summary(view: RunView, log: str, on: Console, options: str | None = None, run_options: str = "") -> None:
    """Prints the summary of a run for people.

    Args:
        view: of the run.
        log: its log file.
        on: the screen.
        options: that any command needs to mean the same settings, such as `--set workspace=FOLDER`. None if no options
            do, as for the settings of a sweep's best trial: then no commands are named.
        run_options: that `flightdeck run` takes, too, to run the same again.
    """
    record = view.record
    on.print()
    if record.spans:
        on.print(
            f"Data        trained on spans {spans(record.spans['train'])} ({record.rows.get('train', 0):,} rows), "
            f"evaluated on {spans(record.spans['eval'])} ({record.rows.get('eval', 0):,} rows)"
        )
    if view.anomalies is not None:
        on.print(f"Anomalies   {len(view.anomalies) or 'none'}")
        for anomaly in view.anomalies:
            on.print(f"            {anomaly.sentence()}", markup=False)
    if record.metrics:
        print_metrics(view, on)
        if not record.champion_metrics:
            on.print("There was no champion to compare with: absolute thresholds decide.")
        on.print()
    detail = f" as version {record.version} in {shown(record.pushed_to)}" if record.pushed_to else ""
    on.print(f"Result      [{STYLES.get(record.outcome, BAD)}]{record.outcome}[/]{detail}")
    print_reasons(view, on)
    if record.outcome == "failed":
        on.print(f"            Full log: {log}", markup=False)
    on.print(
        f"Time        {duration(record.seconds)}, of which {duration(record.loading_seconds)} loading libraries; "
        f"{view.cached} of {len(record.nodes)} nodes from the cache; "
        f"peak memory {(record.peak_mb or 0) / 1024:.1f} GiB",
        soft_wrap=True,
    )
    if options is not None:
        _print_next_steps(view, on, options, run_options)


def print_reasons(view: RunView, on: Console) -> None:
    """Prints why a run was not pushed, or failed."""
    for reason in view.record.reasons:
        for line in reason.splitlines():
            on.print(f"            {line}", markup=False, soft_wrap=True)


def print_metrics(view: RunView, on: Console) -> None:
    """Prints the metrics of a run and its worst slices, beside the champion's if there was one."""
    from rich.markup import escape

    record, main = view.record, view.record.main_metric or ""
    champion = bool(record.champion_metrics)
    on.print()
    table(
        ["metric", "challenger", *(["champion", "change"] if champion else []), "asked for"],
        [
            (
                escape(metric.name) + (" *" if metric.name == main else ""),
                number(metric.value),
                *((number(metric.champion), signed(metric.change)) if champion else ()),
                metric.asked,
            )
            for metric in view.metrics
        ],
        on=on,
    )
    on.print("* ranks runs" + (f"; {record.main_better} is better" if record.main_better != "neither" else ""))
    if view.champion_saw:
        on.print(view.champion_saw)
    if view.worst_slices:
        on.print()
        table(
            ["worst slices", "rows", main, *(["champion"] if champion else [])],
            [
                (
                    escape(part.slice),
                    f"{part.rows:,}",
                    number(part.challenger[main]),
                    *([number(part.champion.get(main))] if champion else []),
                )
                for part in view.worst_slices
            ],
            on=on,
        )
    if view.fairness:
        _print_fairness(view, on)


def _print_fairness(view: RunView, on: Console) -> None:
    from rich.markup import escape

    on.print()
    pairs = [(column, measured, measured.largest) for column in view.fairness for measured in column.measures]
    table(
        ["sensitive", "measure", "difference", "95 % interval", "between", "asked for"],
        [
            (
                escape(column.column),
                measured.title + (f" of {escape(pair.of)}" if pair and pair.of else ""),
                number(pair.difference if pair else None),
                f"{number(pair.low)} to {number(pair.high)}" if pair else NOTHING,
                escape(f"{pair.higher} and {pair.lower}") if pair else f"no two groups of {column.min_rows} rows",
                measured.asked,
            )
            for column, measured, pair in pairs
        ],
        on=on,
    )


def _print_next_steps(view: RunView, on: Console, options: str, run_options: str) -> None:
    def command(*words: str) -> str:
        return " ".join(["flightdeck", *filter(None, words)])

    again = command("run", options, run_options)
    epochs = view.record.hyperparameters.get("epochs")
    # One more than the run had: the same again would only come from the cache.
    other = f"{again} --set model.epochs={int(epochs) + 1 if epochs else 4}"
    # "it was interrupted", or "Trainer failed: interrupted; its unfinished outputs were removed"
    interrupted = any(reason.partition(";")[0].endswith("interrupted") for reason in view.record.reasons)
    steps = {
        "pushed": [
            (again, "again: nothing changed, so every node comes from the cache"),
            (other, "train a challenger to the model just pushed"),
            (command("serve", options), "answer requests with it"),
            (command("predict", options, "--window newest:newest"), "batch predictions of the newest span"),
            (command("data schema-diff", options), "what the data shows against what was agreed"),
        ],
        "blessed": [(f"{again} --set push.enabled=true", "push it")],
        "not blessed": [
            (command("config show", options), "the thresholds, under evaluation"),
            (other, "try something else"),
        ],
        "failed": [(again, f"{'' if interrupted else 'after fixing the cause: '}continues from the last good node")],
    }[view.record.outcome]
    width = max(44, *(len(step) for step, _ in steps))
    on.print("\nNext")
    for step, meaning in steps:
        plain(on, f"  {step:<{width}}  {meaning}")

"""Prints what a run did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flightdeck.console import shown, table

if TYPE_CHECKING:
    from rich.console import Console

    from operations.summary import RunSummary


def print_summary(summary: RunSummary, log: str, on: Console, options: str = "", run_options: str = "") -> None:
    """Prints the summary of a run for people.

    Args:
        summary: of the run.
        log: its log file.
        on: the screen.
        options: that any command needs to mean the same settings, such as `--set workspace=FOLDER`.
        run_options: that `flightdeck run` takes, too, to run the same again.
    """
    on.print()
    if summary.spans:
        on.print(
            f"Data        trained on spans {_spans(summary.spans['train'])} ({summary.rows.get('train', 0):,} rows), "
            f"evaluated on {_spans(summary.spans['eval'])} ({summary.rows.get('eval', 0):,} rows)"
        )
    if summary.anomalies is not None:
        on.print(f"Anomalies   {len(summary.anomalies) or 'none'}")
        for anomaly in summary.anomalies:
            on.print(f"            {anomaly}", markup=False)
    if summary.metrics:
        _print_metrics(summary, on)
    _print_verdict(summary, log, on)
    cached = sum(each.state == "cached" for each in summary.nodes)
    on.print(
        f"Time        {summary.seconds:.0f} s, of which {summary.loading_seconds:.0f} s loading libraries; "
        f"{cached} of {len(summary.nodes)} nodes from the cache; peak memory {summary.peak_mb / 1024:.1f} GiB"
    )
    _print_next_steps(summary, on, options, run_options)


def _print_metrics(summary: RunSummary, on: Console) -> None:
    champion = summary.champion_metrics
    on.print()
    table(
        ["metric", "challenger", *(["champion", "change"] if champion else [])],
        [
            (
                name,
                _number(value),
                *((_number(champion.get(name)), _change(value, champion.get(name))) if champion else ()),
            )
            for name, value in summary.metrics.items()
        ],
        on=on,
    )
    if summary.worst_slices:
        on.print()
        table(
            ["worst slices", "rows", f"{summary.main_metric}", *(["champion"] if champion else [])],
            [
                (
                    each.slice,
                    f"{each.rows:,}",
                    _number(each.challenger),
                    *([_number(each.champion)] if champion else []),
                )
                for each in summary.worst_slices
            ],
            on=on,
        )
    if summary.champion_saw:
        spans = _spans(list(summary.champion_saw))
        on.print(f"            The champion learned from span {spans}, on which it is judged here: that flatters it.")
    if not champion:
        on.print("            There was no champion to compare with: absolute thresholds decide.")
    on.print()


def _print_verdict(summary: RunSummary, log: str, on: Console) -> None:
    style = {
        "pushed": "bold green",
        "blessed": "bold yellow",
        "not blessed": "bold red",
        "failed": "bold red",
    }
    detail = f" as version {summary.version} in {shown(summary.pushed_to)}" if summary.pushed_to else ""
    on.print(f"Result      [{style[summary.outcome]}]{summary.outcome}[/]{detail}")
    for reason in summary.reasons:
        for line in reason.splitlines():
            on.print(f"            {line}", markup=False)
    if summary.outcome == "failed":
        on.print(f"            Full log: {log}", markup=False)


def _print_next_steps(summary: RunSummary, on: Console, options: str, run_options: str) -> None:
    again = f"run {options} {run_options}"
    # "it was interrupted", or "Trainer failed: interrupted; its unfinished outputs were removed"
    interrupted = any(reason.partition(";")[0].endswith("interrupted") for reason in summary.reasons)
    steps = {
        "pushed": [
            (again, "again: nothing changed, so every node comes from the cache"),
            (f"{again} --set model.epochs=4", "train a challenger to the model just pushed"),
            (f"predict {options} --window newest:newest", "batch predictions of the newest span"),
            (f"data schema-diff {options}", "what the data shows against what was agreed"),
        ],
        "blessed": [(f"{again} --set push.enabled=true", "push it")],
        "not blessed": [
            (f"config show {options}", "the thresholds, under evaluation"),
            (f"{again} --set model.epochs=4", "try something else"),
        ],
        "failed": [(again, f"{'' if interrupted else 'after fixing the cause: '}continues from the last good node")],
    }[summary.outcome]
    on.print("\nNext")
    for command, meaning in steps:
        shown_command = " ".join(f"flightdeck {command}".split())
        on.print(f"  {shown_command:<45} {meaning}", markup=False, soft_wrap=True)


def _spans(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.4f}"


def _change(value: float, champion: float | None) -> str:
    return "-" if champion is None else f"{value - champion:+.4f}"

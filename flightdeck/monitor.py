"""``flightdeck monitor``: what the requests of the past windows say about the served model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

import storage
from flightdeck.console import print_json, table, working
from flightdeck.options import Options

if TYPE_CHECKING:
    from operations.monitoring.policy import Decision
    from operations.monitoring.signals import Window
    from operations.tasks import Metric


def monitor(
    options: Options,
    now: Annotated[
        datetime | None, typer.Option(help="UTC; windows that end later are left alone. Default: the time it is.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="How many windows to show.")] = 10,
    every: Annotated[bool, typer.Option("--every", help="Show every signal of the latest window.")] = False,
) -> None:
    """Measure the windows of requests that have ended, decide on them, and alert people.

    Reads the payload log, compares it with the data that the served model learned from, and joins the labels that have
    arrived with new spans. The results are kept in ML Metadata, and written as gauges for Prometheus. Each window is
    measured once, and again when labels have arrived.
    """
    from operations.alerts.alert import alert_of
    from operations.alerts.dispatcher import open_outbox
    from operations.monitoring.gauges import write
    from operations.monitoring.records import MonitoringRecords
    from operations.monitoring.served import NoPayloadLogError, require_log
    from operations.tasks import task_of

    settings = options.settings
    outbox, channels = open_outbox(settings)
    store = options.store(writable=True)
    until = (now or datetime.now(UTC)).replace(tzinfo=UTC)
    try:
        require_log(settings, until)
    except NoPayloadLogError as error:
        outbox.put(alert_of(settings, "monitor", "no payload log", "warning", "nothing is monitored", str(error), {}))
        outbox.deliver(channels)
        raise
    with working(quiet=options.as_json) as progress:
        progress.note("Loading TensorFlow Data Validation")
        from operations.monitoring.round import monitor as measure

        result = measure(settings, store, until, outbox.put, lambda name: progress.note(f"Measuring {name}"))
        outbox.deliver(channels)
        records = MonitoringRecords(store, settings.use_case.name)
        windows = records.windows()
        gauges = storage.at(settings.workspace) / "monitoring" / "flightdeck.prom"
        write(windows, gauges)
    if options.as_json:
        print_json({"measured": result.windows, "decisions": result.decisions, "gauges": gauges})
    else:
        metrics = task_of(settings.contract().target).quality
        _print(windows[-last:], metrics, records.decisions(), every)


def _print(windows: list[Window], metrics: Sequence[Metric], decisions: list[Decision], every: bool) -> None:
    if not windows:
        typer.echo("No window has ended yet in which there were requests.")
        return
    actions: dict[tuple[str, str], list[str]] = {}
    for decision in decisions:
        actions.setdefault((decision.window_name, decision.version), []).append(decision.action)
    measured = [metric.name.replace("_", " ") for metric in metrics]
    table(
        ["window", "version", "rows", "refused", "labelled", *measured, "exceeded", "decided"],
        [
            (
                window.name,
                window.version,
                f"{window.rows:,}",
                f"{window.refused:,}",
                f"{window.labelled:,}",
                *(_quality(window, metric) for metric in metrics),
                ", ".join(sorted({signal.subject or signal.name for signal in window.signals if signal.exceeded}))
                or "none",
                ", ".join(actions.get((window.name, window.version), ["nothing"])),
            )
            for window in windows
        ],
    )
    latest = windows[-1]
    shown = [signal for signal in latest.signals if every or signal.exceeded]
    if shown:
        typer.echo(f"\n{latest.name}, version {latest.version}")
    for signal in shown:
        typer.echo(f"  {'!' if signal.exceeded else ' '} {signal.kind}: {signal.meaning}")
    for decision in decisions:
        if decision.window_name == latest.name and decision.version == latest.version:
            for reason in decision.reasons:
                typer.echo(f"  {reason.action}: {reason.text}")


def _quality(window: Window, metric: Metric) -> str:
    overall = ("quality", metric.name, "")
    value = next((found.value for found in window.signals if (found.kind, found.name, found.subject) == overall), None)
    return "-" if value is None else metric.number(value, 4)

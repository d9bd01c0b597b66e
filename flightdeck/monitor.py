"""``flightdeck monitor``: what the requests of the past windows say about the served model."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

if TYPE_CHECKING:
    from operations.monitoring.policy import Decision
    from operations.monitoring.signals import Window


def monitor(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    now: Annotated[
        datetime | None, typer.Option(help="UTC; windows that end later are left alone. Default: the time it is.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="How many windows to show.")] = 10,
    every: Annotated[bool, typer.Option("--every", help="Show every signal of the latest window.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the windows of requests that have ended, decide on them, and alert people.

    Reads the payload log, compares it with the data that the served model learned from, and joins the labels that have
    arrived with new spans. What is found is kept in ML Metadata, and written as gauges for Prometheus. Each window is
    measured once, and again when labels have arrived.
    """
    import tempfile

    from flightdeck.console import Progress, console, noise_into
    from ledger.opening import open_writable
    from operations.alerts.dispatcher import open_outbox
    from operations.monitoring.gauges import write
    from operations.monitoring.records import MonitoringRecords
    from pipeline import store

    settings = load_settings(config, overrides)
    outbox, channels = open_outbox(settings)
    ledger = open_writable(store.connection(settings))
    until = (now or datetime.now(UTC)).replace(tzinfo=UTC)
    with tempfile.TemporaryDirectory() as folder, noise_into(Path(folder) / "log") as screen:
        on = console(screen)
        on.quiet = as_json
        progress = Progress(on)
        progress.note("Loading TensorFlow Data Validation")
        try:
            from operations.monitoring.round import monitor as measure

            found = measure(settings, ledger, until, outbox.put, lambda name: progress.note(f"Measuring {name}"))
        finally:
            progress.close()
        outbox.deliver(channels)
        records = MonitoringRecords(ledger, settings.use_case.name)
        windows = records.windows()
        gauges = Path(settings.workspace) / "monitoring" / "flightdeck.prom"
        write(windows, gauges)
        if as_json:
            document = {
                "measured": [each.model_dump(mode="json") for each in found.windows],
                "decisions": [each.model_dump(mode="json") for each in found.decisions],
                "gauges": str(gauges),
            }
            screen.write(json.dumps(document, indent=2) + "\n")
            return
        _print(windows[-last:], records.decisions(), every, on)


def _print(windows: list[Window], decisions: list[Decision], every: bool, on) -> None:
    from flightdeck.console import table

    if not windows:
        on.print("No window has ended yet in which there were requests.")
        return
    made: dict[tuple[str, str], list[str]] = {}
    for each in decisions:
        made.setdefault((each.window_name, each.version), []).append(each.action)
    table(
        ["window", "version", "rows", "refused", "labelled", "auc", "log loss", "calibration", "exceeded", "decided"],
        [
            (
                each.name,
                each.version,
                f"{each.rows:,}",
                f"{each.refused:,}",
                f"{each.labelled:,}",
                *(_value(each, name) for name in ("auc", "log_loss", "calibration")),
                ", ".join(sorted({one.subject or one.name for one in each.signals if one.exceeded})) or "none",
                ", ".join(made.get((each.name, each.version), ["nothing"])),
            )
            for each in windows
        ],
        on=on,
    )
    latest = windows[-1]
    shown = [each for each in latest.signals if every or each.exceeded]
    if shown:
        on.print(f"\n{latest.name}, version {latest.version}")
    for each in shown:
        on.print(f"  {'!' if each.exceeded else ' '} {each.kind}: {each.meaning}", markup=False)
    for each in decisions:
        if each.window_name == latest.name and each.version == latest.version:
            for reason in each.reasons:
                on.print(f"  {reason.action}: {reason.text}", markup=False)


def _value(window: Window, name: str) -> str:
    found = next(
        (each for each in window.signals if each.kind == "quality" and each.name == name and not each.subject), None
    )
    return "-" if found is None or found.value is None else f"{found.value:.4f}"

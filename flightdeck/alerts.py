"""``flightdeck alerts``: the alerts that were raised, and those that still wait for delivery."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flightdeck.console import print_json, table
from flightdeck.options import App, Options

if TYPE_CHECKING:
    from operations.alerts.alert import Alert
    from operations.alerts.outbox import Kept

app = App(no_args_is_help=True, help="The alerts that were raised, and those that still wait for delivery.")


@app.command("list")
def list_alerts(
    options: Options,
    pending: Annotated[bool, typer.Option("--pending", help="Only those that a channel has not taken yet.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
) -> None:
    """Show alerts, newest first, and what became of each at every channel."""
    from operations.alerts.dispatcher import open_outbox

    outbox, _ = open_outbox(options.settings)
    alerts = outbox.kept(limit, pending)
    if options.as_json:
        print_json([_document(alert) for alert in alerts])
    elif not alerts:
        typer.echo("Every alert is delivered." if pending else "There has been no alert.")
    else:
        table(["when (UTC)", "severity", "title", "again", "delivered"], [_row(alert) for alert in alerts])


def _document(kept: Kept) -> dict[str, Any]:
    return {
        "id": kept.alert_id,
        **kept.alert.model_dump(),
        "repeated": kept.repeated,
        "deliveries": [
            {
                "channel": delivery.channel,
                "attempts": delivery.attempts,
                "delivered": delivery.delivered and datetime.fromtimestamp(delivery.delivered, UTC),
                "error": delivery.error,
            }
            for delivery in kept.deliveries
        ],
    }


def _row(kept: Kept) -> tuple[str, ...]:
    deliveries = [
        delivery.channel
        if delivery.delivered
        else f"{delivery.channel}: {delivery.error or 'waits'} ({delivery.attempts} tries)"
        for delivery in kept.deliveries
    ]
    when = f"{kept.alert.when:%Y-%m-%d %H:%M:%S}"
    return when, kept.alert.severity, kept.alert.title, str(kept.repeated), ", ".join(deliveries)


@app.command()
def deliver(options: Options) -> None:
    """Send what is due now. Services do this by themselves; exit code 1 if a channel did not take an alert."""
    _deliver(options)


@app.command("test")
def try_out(options: Options) -> None:
    """Raise an alert that says it is a test, and deliver it; exit code 1 if a channel did not take it."""
    from operations.alerts.alert import Alert

    now = datetime.now(UTC)
    alert = Alert(
        key=f"test {now.isoformat()}",
        severity="info",
        title=f"Test alert of {options.settings.use_case.name}",
        text="This is a test of the delivery of alerts. Nothing is wrong.",
        source="flightdeck alerts test",
        when=now,
    )
    _deliver(options, alert)


def _deliver(options: Options, alert: Alert | None = None) -> None:
    from operations.alerts.dispatcher import open_outbox

    outbox, channels = open_outbox(options.settings)
    if alert is not None:
        outbox.put(alert)
    taken, refused = outbox.deliver(channels)
    text = f"{taken} delivered, {refused} to be retried; see: flightdeck alerts list"
    options.answer({"delivered": taken, "refused": refused}, text)
    if refused:
        raise typer.Exit(1)

"""``flightdeck alerts``: the alerts that were raised, and those that still wait for delivery."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flightdeck.console import print_json, table
from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

if TYPE_CHECKING:
    from operations.alerts.outbox import Kept

app = typer.Typer(no_args_is_help=True, help="The alerts that were raised, and those that still wait for delivery.")


@app.command("list")
def list_alerts(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    pending: Annotated[bool, typer.Option("--pending", help="Only those that a channel has not taken yet.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """Show alerts, newest first, and what became of each at every channel."""
    from operations.alerts.dispatcher import open_outbox

    outbox, _ = open_outbox(load_settings(config, overrides))
    kept = outbox.kept(limit, pending)
    if as_json:
        print_json([_document(alert) for alert in kept])
    elif not kept:
        typer.echo("Every alert is delivered." if pending else "There has been no alert.")
    else:
        table(["when (UTC)", "severity", "title", "again", "delivered"], [_row(alert) for alert in kept])


def _document(kept: Kept) -> dict[str, Any]:
    return {
        "id": kept.alert_id,
        **kept.alert.model_dump(mode="json"),
        "repeated": kept.repeated,
        "deliveries": [
            {
                "channel": delivery.channel,
                "attempts": delivery.attempts,
                "delivered": delivery.delivered and datetime.fromtimestamp(delivery.delivered, UTC).isoformat(),
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
def deliver(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False) -> None:
    """Send what is due now. Services do this by themselves; exit code 1 if a channel did not take an alert."""
    from operations.alerts.dispatcher import open_outbox

    outbox, channels = open_outbox(load_settings(config, overrides))
    _report(*outbox.deliver(channels), as_json)


@app.command("test")
def try_out(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False) -> None:
    """Raise an alert that says it is a test, and deliver it; exit code 1 if a channel did not take it."""
    from operations.alerts.alert import Alert
    from operations.alerts.dispatcher import open_outbox

    settings = load_settings(config, overrides)
    outbox, channels = open_outbox(settings)
    now = datetime.now(UTC)
    outbox.put(
        Alert(
            key=f"test {now.isoformat()}",
            severity="info",
            title=f"Test alert of {settings.use_case.name}",
            text="This is a test of the delivery of alerts. Nothing is wrong.",
            source="flightdeck alerts test",
            when=now,
        )
    )
    _report(*outbox.deliver(channels), as_json)


def _report(taken: int, refused: int, as_json: bool) -> None:
    if as_json:
        print_json({"delivered": taken, "refused": refused})
    else:
        typer.echo(f"{taken} delivered, {refused} to be retried; see: flightdeck alerts list")
    if refused:
        raise typer.Exit(1)

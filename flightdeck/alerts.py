"""``flightdeck alerts``: what people were told, and what still waits to be delivered."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

app = typer.Typer(no_args_is_help=True, help="What people were told, and what still waits to be delivered.")


@app.command("list")
def list_alerts(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    pending: Annotated[bool, typer.Option("--pending", help="Only those that a channel has not taken yet.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """Show alerts, newest first, and what became of each at every channel."""
    from flightdeck.console import table
    from operations.alerts.dispatcher import open_outbox

    outbox, _ = open_outbox(load_settings(config, overrides))
    kept = outbox.kept(limit, pending)
    if as_json:
        document = [
            {
                "id": each.alert_id,
                **each.alert.model_dump(mode="json"),
                "repeated": each.repeated,
                "deliveries": [
                    {
                        "channel": one.channel,
                        "attempts": one.attempts,
                        "delivered": None if one.delivered is None else _time(one.delivered),
                        "error": one.error,
                    }
                    for one in each.deliveries
                ],
            }
            for each in kept
        ]
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    if not kept:
        typer.echo("No alert waits." if pending else "There has been no alert.")
        return
    table(
        ["when (UTC)", "severity", "title", "again", "delivered"],
        [
            (
                f"{each.alert.when:%Y-%m-%d %H:%M:%S}",
                each.alert.severity,
                each.alert.title,
                str(each.repeated),
                ", ".join(
                    one.channel if one.delivered else f"{one.channel}: {one.error or 'waits'} ({one.attempts} tries)"
                    for one in each.deliveries
                ),
            )
            for each in kept
        ],
    )


@app.command()
def deliver(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False) -> None:
    """Send what is due now. Services do this by themselves; exit code 1 if a channel did not take an alert."""
    from operations.alerts.dispatcher import open_outbox

    outbox, channels = open_outbox(load_settings(config, overrides))
    taken, refused = outbox.deliver(channels)
    _report(taken, refused, as_json)


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
            text="Somebody tried whether alerts arrive. Nothing is wrong.",
            source="flightdeck alerts test",
            when=now,
        )
    )
    _report(*outbox.deliver(channels), as_json)


def _report(taken: int, refused: int, as_json: bool) -> None:
    typer.echo(
        json.dumps({"delivered": taken, "refused": refused})
        if as_json
        else f"{taken} delivered, {refused} to be tried again; see: flightdeck alerts list"
    )
    if refused:
        raise typer.Exit(1)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()

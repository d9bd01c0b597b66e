"""``flightdeck canary``: the version that is tried beside the served one, and what becomes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

if TYPE_CHECKING:
    from flightdeck.settings import Settings
    from operations.loop.canary.judgement import Verdict

app = typer.Typer(no_args_is_help=True, help="The version that is tried beside the served one: show, promote, reject.")

Reason = Annotated[str, typer.Option(help="Why; it is kept with the verdict.")]
Now = Annotated[datetime | None, typer.Option(help="UTC; later requests are left out. Default: the time it is.")]


@app.command()
def show(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, now: Now = None, as_json: Json = False) -> None:
    """Show what was seen of the version on trial, what it would be judged by now, and the verdicts before."""
    from operations.loop.canary.act import finished_half, judged, verdicts
    from operations.registry import Registry

    settings, store = _open(config, overrides)
    canary = Registry(settings).canary()
    verdict = None
    if canary is not None:
        verdict = finished_half(settings, store, canary) or judged(settings, store, canary, _until(now))
    before = verdicts(settings, store)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "mode": settings.canary.mode,
                    "canary": canary.as_json() if canary is not None else None,
                    "verdict": verdict.model_dump(mode="json") if verdict is not None else None,
                    "before": [each.model_dump(mode="json") for each in before],
                },
                indent=2,
            )
        )
        return
    if canary is None or verdict is None:
        typer.echo(f"No version is on trial (canary.mode is {settings.canary.mode}).")
    else:
        typer.echo(f"On trial    version {canary.number}, model {canary.model_id}, run {canary.run_id or '-'}")
        typer.echo(f"Beside      {f'version {verdict.served}' if verdict.served else 'nothing: no version is served'}")
        _print(verdict)
    for each in reversed(before[-5:]):
        typer.echo(f"Before      version {each.canary}, {each.when:%Y-%m-%d %H:%M} UTC: {each.action}. {each.text}")


@app.command()
def promote(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    reason: Reason = "",
    now: Now = None,
    as_json: Json = False,
) -> None:
    """Serve the version on trial. Against what was seen of it, that needs a --reason."""
    _decide("promote", config, overrides, reason, now, as_json)


@app.command()
def reject(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    reason: Reason = "",
    now: Now = None,
    as_json: Json = False,
) -> None:
    """End the trial; the served version goes on. Against what was seen of it, that needs a --reason."""
    _decide("reject", config, overrides, reason, now, as_json)


def after_push(settings: Settings) -> list[str]:
    """What becomes of the version that a run has just pushed to be tried: lines for people.

    Where nothing is served yet it is promoted at once, because there is nothing to compare it with.
    """
    from ledger.opening import open_writable
    from operations.alerts.dispatcher import open_outbox
    from operations.loop.canary.act import first
    from operations.registry import Registry
    from pipeline import store

    verdict = first(settings, open_writable(store.connection(settings)), open_outbox(settings)[0].put)
    registry = Registry(settings)
    if verdict is not None and verdict.action == "promote":
        return [f"Canary      promoted at once, as version {registry.served().number}: {verdict.text}"]
    canary = registry.canary()
    if canary is None:
        return ["Canary      the trial of this version has ended before; see: flightdeck canary show"]
    return [
        f"Canary      version {canary.number} is tried beside version {registry.served().number} by "
        f"{settings.canary.mode}; see: flightdeck canary show"
    ]


def _decide(
    action: str, config: Config, overrides: Overrides, reason: str, now: datetime | None, as_json: bool
) -> None:
    from operations.loop.canary.act import by_hand

    settings, store = _open(config, overrides)
    verdict = by_hand(settings, store, action, reason, _until(now))
    if as_json:
        typer.echo(json.dumps(verdict.model_dump(mode="json"), indent=2))
        return
    if verdict.action == "promote":
        from operations.registry import Registry

        typer.echo(f"Version {Registry(settings).served().number} is served: the model of canary {verdict.canary}.")
        typer.echo(f"Servers of this folder take it over within {settings.serving.poll_seconds:g} s.")
    else:
        typer.echo(f"The trial of version {verdict.canary} has ended; version {verdict.served or 'none'} goes on.")


def _open(config: Config, overrides: Overrides) -> tuple[Settings, Any]:
    from ledger.opening import open_writable
    from pipeline import store

    settings = load_settings(config, overrides)
    return settings, open_writable(store.connection(settings))


def _until(now: datetime | None) -> datetime:
    return (now or datetime.now(UTC)).replace(tzinfo=UTC)


def _print(verdict: Verdict) -> None:
    typer.echo(f"Verdict     {verdict.action}")
    for each in verdict.reasons:
        typer.echo(f"            {each}")
    for name, value in verdict.numbers.items():
        typer.echo(f"            {name:<28} {value:,.4f}" if value % 1 else f"            {name:<28} {value:,.0f}")

"""``flightdeck canary``: the version that is compared with the served one before it may take over."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

if TYPE_CHECKING:
    from flightdeck.settings import Settings
    from operations.loop.canary.judgement import Verdict

app = typer.Typer(no_args_is_help=True, help="The new version in shadow mode or in a split: show, promote, reject.")

Reason = Annotated[str, typer.Option(help="Why; it is kept with the verdict.")]
Now = Annotated[datetime | None, typer.Option(help="UTC; later requests are left out. Default: the time it is.")]


@app.command()
def show(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, now: Now = None, as_json: Json = False) -> None:
    """Show what was seen of the canary, the verdict on it by now, and earlier verdicts."""
    from operations.loop.canary.act import judged, kept_verdict, verdicts
    from operations.registry import Registry

    settings, store = _open(config, overrides)
    canary = Registry(settings).canary()
    verdict = None
    if canary is not None:
        verdict = kept_verdict(settings, store, canary) or judged(settings, store, canary, _until(now))
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
        typer.echo(f"There is no canary (canary.mode is {settings.canary.mode}).")
    else:
        typer.echo(f"Canary      version {canary.number}, model {canary.model_id}, run {canary.run_id or '-'}")
        typer.echo(f"Served      {f'version {verdict.served}' if verdict.served else 'nothing'}")
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
    """Serve the canary. Against the verdict, that needs a --reason."""
    _decide("promote", config, overrides, reason, now, as_json)


@app.command()
def reject(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    reason: Reason = "",
    now: Now = None,
    as_json: Json = False,
) -> None:
    """Remove the canary; the served version stays. Against the verdict, that needs a --reason."""
    _decide("reject", config, overrides, reason, now, as_json)


def after_push(settings: Settings) -> list[str]:
    """What becomes of the canary that a run has just pushed: lines for people.

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
        return ["Canary      this version was decided on before; see: flightdeck canary show"]
    return [
        f"Canary      version {canary.number} is compared with version {registry.served().number} in "
        f"{'shadow mode' if settings.canary.mode == 'shadow' else 'a split'}; see: flightdeck canary show"
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
        typer.echo(f"Version {verdict.canary} is rejected; version {verdict.served or 'none'} is still served.")


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

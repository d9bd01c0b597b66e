"""``flightdeck canary``: the version that is compared with the served one before it may take over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.console import print_json
from flightdeck.options import App, Options, existing_store

if TYPE_CHECKING:
    from flightdeck.settings import Settings

app = App(no_args_is_help=True, help="The new version in shadow mode or in a split: show, promote, reject.")

Reason = Annotated[str, typer.Option(help="Why; it is kept with the verdict.")]
Now = Annotated[datetime | None, typer.Option(help="UTC; later requests are left out. Default: the time it is.")]


@app.command()
def show(options: Options, now: Now = None) -> None:
    """Show what was seen of the canary, the verdict on it by now, and earlier verdicts."""
    from operations.loop.canary.act import judged, kept_verdict, verdicts
    from operations.registry import Registry

    settings, store = options.settings, options.store(writable=True)
    canary = Registry(settings).canary()
    verdict = None
    if canary is not None:
        verdict = kept_verdict(settings, store, canary) or judged(settings, store, canary, _until(now))
    before = verdicts(settings, store)
    if options.as_json:
        print_json(
            {
                "mode": settings.canary.mode,
                "canary": canary.as_json() if canary is not None else None,
                "verdict": verdict,
                "before": before,
            }
        )
        return
    if canary is None or verdict is None:
        typer.echo(f"There is no canary (canary.mode is {settings.canary.mode}).")
    else:
        typer.echo(f"Canary      version {canary.number}, model {canary.model_id}, run {canary.run_id or '-'}")
        typer.echo(f"Served      {f'version {verdict.served}' if verdict.served else 'nothing'}")
        typer.echo(f"Verdict     {verdict.action}")
        for reason in verdict.reasons:
            typer.echo(f"            {reason}")
        for name, value in verdict.numbers.items():
            typer.echo(f"            {name:<28} {value:,.4f}" if value % 1 else f"            {name:<28} {value:,.0f}")
    for earlier in reversed(before[-5:]):
        decided = f"{earlier.when:%Y-%m-%d %H:%M} UTC: {earlier.action}. {earlier.text}"
        typer.echo(f"Before      version {earlier.canary}, {decided}")


@app.command()
def promote(options: Options, reason: Reason = "", now: Now = None) -> None:
    """Serve the canary. Against the verdict, that needs a --reason."""
    _decide("promote", options, reason, now)


@app.command()
def reject(options: Options, reason: Reason = "", now: Now = None) -> None:
    """Remove the canary; the served version stays. Against the verdict, that needs a --reason."""
    _decide("reject", options, reason, now)


def after_push(settings: Settings) -> list[str]:
    """What becomes of the canary that a run has just pushed: lines for people.

    Where nothing is served yet it is promoted at once, because there is nothing to compare it with.
    """
    from operations.alerts.dispatcher import open_outbox
    from operations.loop.canary.act import first
    from operations.registry import Registry

    verdict = first(settings, existing_store(settings, writable=True), open_outbox(settings)[0].put)
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


def _decide(action: str, options: Options, reason: str, now: datetime | None) -> None:
    from operations.loop.canary.act import by_hand
    from operations.registry import Registry

    settings = options.settings
    verdict = by_hand(settings, options.store(writable=True), action, reason, _until(now))
    text = f"Version {verdict.canary} is rejected; version {verdict.served or 'none'} is still served."
    if verdict.action == "promote":
        text = (
            f"Version {Registry(settings).served().number} is served: the model of canary {verdict.canary}.\n"
            f"Servers of this folder take it over within {settings.serving.poll_seconds:g} s."
        )
    options.answer(verdict, text)


def _until(now: datetime | None) -> datetime:
    return (now or datetime.now(UTC)).replace(tzinfo=UTC)

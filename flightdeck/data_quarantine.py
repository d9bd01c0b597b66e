"""``flightdeck data quarantine``: spans that must not be learned from."""

from __future__ import annotations

from typing import Annotated

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings


def quarantine(
    span: Annotated[int | None, typer.Argument(help="Number of the span; without, those in quarantine.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for whoever has to decide about it later.")] = "",
    release: Annotated[bool, typer.Option("--release", help="Let runs learn from it again.")] = False,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Keep a span out of all later runs, let it in again, or list those that are kept out.

    The data stays where it is. Models that have learned from it already are not touched: go back with
    `flightdeck models rollback`.
    """
    import json

    from operations.monitoring import quarantine as spans

    settings = load_settings(config, overrides)
    if span is None:
        if release or reason:
            raise typer.BadParameter("Name the span.")
        found = spans.listed(settings)
    elif release:
        found = [spans.release(settings, span)]
    else:
        found = [spans.quarantine(settings, span, reason)]
    if as_json:
        typer.echo(json.dumps([each.as_json() for each in found], indent=2))
        return
    if not found:
        typer.echo("No span is in quarantine.")
    for each in found:
        did = "was released; it was" if release else "is"
        typer.echo(f"Span {each.span} {did} in quarantine since {each.when:%Y-%m-%d %H:%M} UTC: {each.reason}")

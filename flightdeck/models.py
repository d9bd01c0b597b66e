"""``flightdeck models``: the registry of pushed versions."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.console import print_json, shown, table
from flightdeck.options import App, Options

if TYPE_CHECKING:
    from operations.registry import Change, Registry, Version

app = App(help="The pushed versions of the model: list, promote, roll back.", no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Why; it is kept in the record.")]


@app.command(name="list")
def list_versions(options: Options) -> None:
    """Show every version that was pushed, newest first."""
    registry = _registry(options)
    versions, canary = registry.versions(), registry.canary()
    if options.as_json:
        canaries = [canary.as_json() | {"canary": True}] if canary is not None else []
        print_json([*canaries, *(version.as_json() | {"canary": False} for version in versions)])
        return
    if canary is not None:
        versions = [canary, *versions]
    if not versions:
        typer.echo("No version is pushed yet: train and push one with: flightdeck run")
        return
    table(
        ["version", "pushed (UTC)", "model", "run", "state", "how"],
        [
            (
                str(version.number),
                _moment(version),
                "-" if version.model_id is None else str(version.model_id),
                version.run_id or "-",
                "canary" if version is canary else _state(version),
                f"rollback to {version.restores}" if version.origin == "rollback" else version.origin,
            )
            for version in versions
        ],
    )


@app.command()
def show(options: Options, version: Annotated[str, typer.Argument(help="A version, or: served.")] = "served") -> None:
    """Show what is known about one version."""
    from operations.registry import RegistryError

    if version != "served" and not version.isdigit():
        raise RegistryError(f"{version} is not a version: a number is needed, or the word served.")
    registry = _registry(options)
    known = registry.served() if version == "served" else registry.version(int(version))
    details = registry.details(known)
    if options.as_json:
        print_json(known.as_json() | details)
        return
    typer.echo(f"Version     {known.number} ({_state(known)})")
    typer.echo(f"Pushed      {_moment(known)} UTC by {known.who or 'the run'}: {_how(known)}")
    typer.echo(f"Folder      {shown(known.folder)}")
    if details["bytes"] is not None:
        typer.echo(f"            {details['files']} files, {details['bytes'] / 1024:,.0f} KiB")
    typer.echo(f"Model       {known.model_id or 'not known to ML Metadata'}  {details['model_uri'] or ''}".rstrip())
    typer.echo(f"Run         {known.run_id or '-'}")
    infra = {True: "yes", False: "no", None: "not tried"}[details["infra"]]
    typer.echo(f"Blessed     {'yes' if known.blessed else 'no'}; able to serve: {infra}")
    for name, value in details["metrics"].items():
        typer.echo(f"            {name:<20} {value:.4f}")


@app.command()
def rollback(
    options: Options,
    to: Annotated[
        int | None, typer.Option("--to", metavar="VERSION", help="Default: the one before with another model.")
    ] = None,
    reason: Reason = "",
) -> None:
    """Serve an earlier model again, by pushing it as a new version. Servers take it over without a break."""
    _print_change(_registry(options).rollback(to, reason), options)


@app.command()
def promote(
    options: Options,
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN|MODEL",
            help="A run, or the beginning of its name; `latest`; `best`; or the number of a model's artifact.",
        ),
    ],
    reason: Reason = "",
    force: Annotated[bool, typer.Option("--force", help="Although it was not blessed. Needs a --reason.")] = False,
) -> None:
    """Push a model that was blessed but is not served, as a new version."""
    _print_change(_registry(options).promote(model, reason, force), options)


@app.command()
def prune(
    options: Options,
    keep: Annotated[int | None, typer.Option(help="How many of the newest to keep. Default: push.keep.", min=1)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove old versions. Never the served one, the champion, or the one that a rollback would bring back."""
    from operations.registry import RegistryError

    registry = _registry(options)
    number = keep or options.settings.push.keep
    if number is None:
        raise RegistryError("How many versions to keep is not said: use --keep, or the setting push.keep.")
    removed = registry.prunable(number) if dry_run else registry.prune(number)
    numbers = [version.number for version in removed]
    verb = "Would remove" if dry_run else "Removed"
    text = f"{verb} {', '.join(map(str, numbers))}." if numbers else "Nothing to remove."
    options.answer({"dry_run": dry_run, "removed": numbers}, text)


def _registry(options: Options) -> Registry:
    from operations.registry import Registry

    return Registry(options.settings)


def _moment(version: Version) -> str:
    return f"{version.pushed_at.astimezone(UTC):%Y-%m-%d %H:%M}" if version.pushed_at else "-"


def _state(version: Version) -> str:
    words = [
        "served" if version.served else "",
        "champion" if version.champion else "",
        "rolled back" if version.rolled_back_by else "",
        "" if version.blessed else "not blessed",
        "" if version.present else "removed",
    ]
    return ", ".join(word for word in words if word) or "-"


def _how(version: Version) -> str:
    text = {
        "run": "pushed by the run",
        "rollback": f"rollback to {version.restores}",
        "promote": "promoted",
        "unknown": "no record",
    }[version.origin]
    return f"{text}: {version.reason}" if version.reason else text


def _print_change(change: Change, options: Options) -> None:
    version = change.version
    instead = f" instead of {change.replaced}" if change.replaced is not None else ""
    options.answer(
        version.as_json() | {"replaced": change.replaced, "seconds": round(change.seconds, 3)},
        f"Version {version.number} is served{instead}: {_how(version)}, model {version.model_id}.\n"
        f"Servers of this folder take it over within {options.settings.serving.poll_seconds:g} s.",
    )

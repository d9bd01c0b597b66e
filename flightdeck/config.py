"""``flightdeck config``: what a run would use, and what could be set."""

from __future__ import annotations

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

app = typer.Typer(help="Show the settings, and what can be set.", no_args_is_help=True)


@app.command()
def show(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False) -> None:
    """Print the settings in force: the file, the defaults and the overrides together."""
    import json

    import yaml

    settings = load_settings(config, overrides)
    values = settings.model_dump(mode="json")
    typer.echo(json.dumps(values, indent=2) if as_json else yaml.safe_dump(values, sort_keys=False, width=110).rstrip())


@app.command()
def schema(config: Config = DEFAULT_CONFIG) -> None:
    """Print the JSON schema of the settings file: every key, its type, default and meaning."""
    import json

    bound = type(load_settings(config, None))
    typer.echo(json.dumps(bound.model_json_schema() | {"title": "Settings"}, indent=2))

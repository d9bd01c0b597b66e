"""``flightdeck config``: what a run would use, and what could be set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from flightdeck.console import print_json
from flightdeck.options import DEFAULT_CONFIG, App, Options, config_option, load_settings

app = App(help="Show the settings, and what can be set.", no_args_is_help=True)


@app.command()
def show(options: Options) -> None:
    """Print the settings in force: the file, the defaults and the overrides together."""
    import yaml

    values = options.settings.model_dump(mode="json")
    options.answer(values, yaml.safe_dump(values, sort_keys=False, width=110).rstrip())


@app.command()
def schema(config: Annotated[Path, config_option(DEFAULT_CONFIG)] = DEFAULT_CONFIG) -> None:
    """Print the JSON schema of the settings file: every key, its type, default and meaning."""
    print_json(type(load_settings(config)).model_json_schema() | {"title": "Settings"})

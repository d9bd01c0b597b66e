"""The options that several commands share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from flightdeck.settings import Settings
    from ledger.opening import Store
    from pipeline.settings import Settings as PipelineSettings

DEFAULT_CONFIG = Path("config") / "local.yaml"


def default_config(config: Path = DEFAULT_CONFIG) -> Path:
    """Where a settings file is that nobody named: in the project one stands in, or else in this checkout."""
    here = Path.cwd()
    return (here if (here / DEFAULT_CONFIG).is_file() else Path(__file__).resolve().parent.parent) / config


def _located(context: typer.Context, parameter: typer.CallbackParam, config: Path) -> Path:
    source = context.get_parameter_source(str(parameter.name))
    # By name: Typer brings a copy of Click along, whose enumeration is private.
    return default_config(config) if source is not None and source.name == "DEFAULT" else config


def config_option(default: Path, meaning: str = "Settings file.", names: Sequence[str] = ("--config", "-c")) -> Any:
    """An option that names a settings file."""
    return typer.Option(*names, help=meaning, show_default=str(default), dir_okay=False, callback=_located)


Config = Annotated[Path, config_option(DEFAULT_CONFIG)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a setting, such as model.epochs=2. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def as_typed(config: Path, overrides: Sequence[str] | None, default: Path = DEFAULT_CONFIG) -> str:
    """The options that name these settings, as a shell takes them; empty for the default ones."""
    from flightdeck.console import shown

    words = [] if config == default_config(default) else ["--config", shown(config)]
    return shlex.join([*words, *(word for override in overrides or () for word in ("--set", override))])


def open_ledger(settings: PipelineSettings) -> Store:
    """The metadata store of the settings, to be read.

    Raises:
        LedgerError: there is none, or it cannot be read.
    """
    from ledger.opening import open_readonly
    from pipeline import store

    return open_readonly(store.connection(settings))


def load_settings(config: Path, overrides: Sequence[str] | None) -> Settings:
    """The settings that the options name. The packages of a project of one's own can be imported from then on.

    Raises:
        SettingsError: they cannot be used.
    """
    from flightdeck.settings import read_settings

    return read_settings(config, overrides or (), adopt=True)

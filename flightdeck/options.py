"""The options that several commands share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flightdeck.settings import Settings
    from ledger.opening import Store

_LOCAL = Path("config") / "local.yaml"
# Whoever stands in a project of their own means that one, and from anywhere else it is this checkout.
DEFAULT_CONFIG = (Path.cwd() if _LOCAL.is_file() else Path(__file__).resolve().parent.parent) / _LOCAL

Config = Annotated[
    Path,
    typer.Option("--config", "-c", help="Settings file.", show_default="config/local.yaml", dir_okay=False),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a setting, such as model.epochs=2. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def as_typed(config: Path, overrides: Sequence[str] | None) -> str:
    """The options that name these settings, as a shell takes them; empty for the default ones."""
    from flightdeck.console import shown

    words = [] if config == DEFAULT_CONFIG else ["--config", shown(config)]
    return shlex.join([*words, *(word for override in overrides or () for word in ("--set", override))])


def open_ledger(settings: Settings) -> Store:
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

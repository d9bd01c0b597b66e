"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flightdeck.settings import Settings

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


def load_settings(config: Path, overrides: list[str] | None) -> Settings:
    """The settings that the options name. The packages of a project of one's own can be imported from then on.

    Raises:
        SettingsError: they cannot be used.
    """
    from flightdeck.settings import read_settings

    return read_settings(config, overrides or (), adopt=True)

"""What the commands share: their options, and how one of them reads the settings and answers."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flightdeck.console import answer, shown

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


Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a setting, such as model.epochs=2. Repeatable."),
]
Host = Annotated[str, typer.Option(help="Address to listen on, such as 0.0.0.0 for all. Default: this machine only.")]
Port = Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@dataclasses.dataclass(frozen=True)
class Options:
    """What was typed as --config, --set and --json."""

    config: Path
    overrides: Sequence[str] = ()
    as_json: bool = False

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings. The packages of a project of one's own can be imported from then on.

        Raises:
            SettingsError: they cannot be used.
        """
        return load_settings(self.config, self.overrides)

    def store(self, writable: bool = False) -> Store:
        """The metadata store of the settings, see `existing_store`."""
        return existing_store(self.settings, writable)

    def adding(self, *overrides: str) -> Options:
        """The same with more overrides."""
        return dataclasses.replace(self, overrides=(*self.overrides, *overrides))

    def typed(self, default: Path = DEFAULT_CONFIG) -> str:
        """The options that name these settings, as a shell takes them; empty for the default ones."""
        words = [] if self.config == default_config(default) else ["--config", shown(self.config)]
        return shlex.join([*words, *(word for override in self.overrides for word in ("--set", override))])

    def answer(self, document: object, text: str) -> None:
        """Prints the document for a program, or the text for a person."""
        answer(document, text, self.as_json)


class App(typer.Typer):
    """A group of commands. Those with a parameter `options` have --config, --set and --json."""

    def __init__(self, config: Path = DEFAULT_CONFIG, **further: Any) -> None:
        """Makes a group as Typer does; `config` is the settings file of its commands where none is named."""
        super().__init__(**further)
        self._config = config

    def command(self, name: str | None = None, **further: Any) -> Callable[[Callable], Callable]:
        """As in Typer."""
        return self._registering(super().command(name, **further))

    def callback(self, **further: Any) -> Callable[[Callable], Callable]:
        """As in Typer."""
        return self._registering(super().callback(**further))

    def _registering(self, register: Callable[[Callable], Any]) -> Callable[[Callable], Callable]:
        def registered(function: Callable) -> Callable:
            register(_spelled_out(function, self._config))
            return function

        return registered


def _spelled_out(function: Callable, default: Path) -> Callable:
    """A command in which each of the `Options` is a parameter, as Typer wants them."""
    signature = inspect.signature(function, eval_str=True)
    parameters = {name: parameter for name, parameter in signature.parameters.items() if name != "options"}
    if len(parameters) == len(signature.parameters):
        return function

    @functools.wraps(function)
    def command(config: Path, overrides: list[str] | None, as_json: bool, **own: Any) -> None:
        function(options=Options(config, overrides or (), as_json), **own)

    shared = {
        "config": (Annotated[Path, config_option(default)], default),
        "overrides": (Overrides, None),
        "as_json": (Json, False),
    }
    for name, (annotation, value) in shared.items():
        parameters[name] = inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=value, annotation=annotation
        )
    command.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    command.__signature__ = signature.replace(parameters=list(parameters.values()))  # pyright: ignore
    return command


def existing_store(settings: PipelineSettings, writable: bool = False) -> Store:
    """The metadata store of the settings, to be read, or to add something to what it holds.

    Raises:
        LedgerError: there is none, or it cannot be used.
    """
    from ledger.opening import open_readonly, open_writable
    from pipeline.store import connection

    return (open_writable if writable else open_readonly)(connection(settings))


def load_settings(config: Path, overrides: Sequence[str] = ()) -> Settings:
    """The settings that the options name. The packages of a project of one's own can be imported from then on.

    Raises:
        SettingsError: they cannot be used.
    """
    from flightdeck.settings import read_settings

    return read_settings(config, overrides, adopt=True)

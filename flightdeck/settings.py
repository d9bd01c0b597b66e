"""The settings file: the sections of the pipeline and of everything after a run, composed and checked together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from operations.loop import settings as loop
from pipeline import settings_file


class Settings(loop.Settings):
    """Everything that a settings file may say."""


def read_settings(path: Path, overrides: Sequence[str] = (), adopt: bool = False) -> Settings:
    """Reads a settings file, see `pipeline.settings_file.load`.

    Raises:
        SettingsError: with one sentence per problem.
        ProjectError: packages of the use case cannot be imported.
    """
    return settings_file.load(path, overrides, Settings, adopt)

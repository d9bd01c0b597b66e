"""The settings that the registry needs."""

from __future__ import annotations

from pipeline import settings


class Settings(settings.Settings):
    """The pipeline's settings, and where versions are that are not served yet."""

    @property
    def canaries(self) -> str:
        """The folder of versions in shadow mode or behind a split; never the one that servers answer from."""
        return f"{self.pushed}-canary"

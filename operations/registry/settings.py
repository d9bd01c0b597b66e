"""The places that the registry needs."""

from __future__ import annotations

from pipeline import settings


class Settings(settings.Settings):
    """The settings of the pipeline, with the folder of canaries."""

    @property
    def canaries(self) -> str:
        """The folder of versions that are canaries; servers answer from another one."""
        return f"{self.pushed}-canary"

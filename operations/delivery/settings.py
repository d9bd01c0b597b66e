"""The settings of delivery."""

from __future__ import annotations

from pydantic import Field

from pipeline import settings
from pipeline.section import Section


class Delivery(Section):
    """How a project of its own gets onto a cluster."""

    flightdeck: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{40}$",
        description="Commit of Flightdeck whose image the project's image is built on. With another Flightdeck, "
        "nothing is built, compiled or submitted; `flightdeck upgrade` changes it. Default: not checked.",
    )


class Settings(settings.Settings):
    """The settings of the pipeline, with that of delivery."""

    delivery: Delivery = Delivery()

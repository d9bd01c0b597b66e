"""The settings that every way of inference needs: service, batch and stream."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline import settings
from pipeline.settings import Location, Section

Validation = Literal["refuse", "flag", "off"]


class Payloads(Section):
    """What is kept of the requests and their answers, for monitoring."""

    enabled: bool = Field(default=True, description="Whether anything is kept.")
    folder: Location | None = Field(default=None, description="Default: `payloads` in the workspace.")
    sample: float = Field(default=1.0, ge=0, le=1, description="Share of the requests that is logged.")
    exclude: tuple[str, ...] = Field(default=(), description="Columns that are left out, such as personal ones.")
    rotate_rows: int = Field(default=1_000_000, ge=1, description="Rows after which a file is closed.")
    rotate_seconds: float = Field(
        default=300.0, gt=0, description="Age at which a file is closed. A process that is killed loses this much."
    )
    buffer_rows: int = Field(
        default=100_000, ge=1, description="Rows that may wait to be written; more are dropped and counted."
    )


class Answering(Section):
    """How requests are checked, and what is kept of them."""

    validation: Validation = Field(
        default="refuse",
        description="What becomes of rows that break the contract that the version carries: a column that is never "
        "missing left out, a value outside a closed list or a range. refuse: of the request, file or message, with all "
        "faults; flag: it is answered, and answer and payload log mark the rows; off: nothing is checked.",
    )
    payloads: Payloads = Payloads()


class Batch(Section):
    """Batch prediction: `flightdeck predict`."""

    pipeline_rows: int = Field(
        default=1_000_000,
        ge=1,
        description="From so many rows on, the inference pipeline predicts, which Beam can spread; fewer are predicted "
        "in one process, which starts sooner.",
    )


class Settings(settings.Settings):
    """The pipeline's settings, and those of inference."""

    serving: Answering = Answering()
    batch: Batch = Batch()

    @property
    def payloads(self) -> str:
        """The folder of the requests that were answered, and their answers."""
        return self.serving.payloads.folder or f"{self.workspace}/payloads"

"""The settings of inference, whether by the service, in batch or on a stream."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline import settings
from pipeline.section import Location, Section

Validation = Literal["refuse", "flag", "off"]


class Payloads(Section):
    """The payload log: requests and their answers, kept for monitoring."""

    enabled: bool = Field(default=True, description="Keep a payload log.")
    folder: Location | None = Field(default=None, description="Default: `payloads` in the workspace.")
    sample: float = Field(default=1.0, ge=0, le=1, description="Share of the requests to log.")
    exclude: tuple[str, ...] = Field(default=(), description="Columns to leave out, such as personal ones.")
    rotate_rows: int = Field(default=1_000_000, ge=1, description="Max rows of a file before it is closed.")
    rotate_seconds: float = Field(
        default=300.0, gt=0, description="Max age of a file before it is closed. A killed process loses this much."
    )
    buffer_rows: int = Field(
        default=100_000, ge=1, description="Max rows waiting to be written; more are dropped and counted."
    )


class Answering(Section):
    """The part of `serving` that applies to every kind of inference."""

    validation: Validation = Field(
        default="refuse",
        description="What to do with rows that break the contract of the version: a required column is missing, a "
        "value is outside a closed list or a range. refuse: refuse the request, file or message, and name all faults; "
        "flag: answer, and mark the rows in answer and payload log; off: check nothing.",
    )
    payloads: Payloads = Payloads()


class Batch(Section):
    """Batch prediction: `flightdeck predict`."""

    pipeline_rows: int = Field(
        default=1_000_000,
        ge=1,
        description="Minimum rows before the inference pipeline predicts, which Beam can distribute; fewer are "
        "predicted in one process, which starts sooner.",
    )


class Settings(settings.Settings):
    """The settings of the pipeline, with those of inference."""

    serving: Answering = Answering()
    batch: Batch = Batch()

    @property
    def payloads(self) -> str:
        """The folder of the payload log."""
        return self.serving.payloads.folder or f"{self.workspace}/payloads"

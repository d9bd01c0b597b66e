"""The settings of the prediction service and of canaries."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from operations.inference import settings as inference
from operations.registry import settings as registry
from pipeline.section import Section
from pipeline.settings import InfraValidation


class Serving(inference.Answering):
    """The prediction service: `flightdeck serve`."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. Clients need an API key if FLIGHTDECK_SERVING_API_KEY holds some.",
    )
    port: int = Field(default=8080, ge=0, le=65535, description="Port of REST; 0 takes any free one.")
    grpc_port: int = Field(default=8081, ge=0, le=65535, description="Port of gRPC; 0 takes any free one.")
    poll_seconds: float = Field(default=1.0, gt=0, description="Interval at which to look for new versions.")
    settle_seconds: float = Field(
        default=10.0, ge=0, description="How long a version may lack its saved_model.pb before it counts as failed."
    )
    wait_for_version: bool = Field(
        default=False,
        description="Without a version that can be served, wait for one, alive and not ready, instead of ending.",
    )
    keep_versions: int = Field(
        default=2, ge=1, description="How many of the newest versions stay loaded and can be requested by number."
    )
    threads: int | None = Field(
        default=1, ge=1, description="TensorFlow's threads within an operation; null lets TensorFlow choose."
    )
    max_batch_rows: int = Field(default=512, ge=1, description="Max rows of waiting requests answered together.")
    batch_delay_ms: float = Field(
        default=0.0, ge=0, description="How long a request waits for others. 0 batches only what waits anyway."
    )
    queue_rows: int = Field(default=65_536, ge=1, description="Max rows that wait; further requests get a 503.")
    max_rows: int = Field(default=16_384, ge=1, description="Max rows of a request.")
    explain_rows: int = Field(
        default=64, ge=1, description="Max rows of a request for explanations, of which each takes milliseconds."
    )
    max_body_bytes: int = Field(default=16 * 2**20, ge=1, description="Max size of a request.")
    grace_seconds: float = Field(default=30.0, ge=0, description="How long open requests may take at shutdown.")
    drain_seconds: float = Field(
        default=0.0, ge=0, description="How long to be alive but not ready before shutdown, for load balancers to see."
    )
    prediction_buckets: tuple[float, ...] | None = Field(
        default=None,
        description="Upper bounds of the histogram of predictions. Default: 0.05, 0.1 ... 1 for probabilities; for a "
        "number, the quantiles of the labels that the version was trained on.",
    )


class Canary(Section):
    """How a new version is compared with the served one before it replaces it."""

    mode: Literal["off", "shadow", "split"] = Field(
        default="off",
        description="off: a pushed version is served at once. shadow: the canary answers every request too, and its "
        "answers are only logged. split: the canary alone answers a share of the requests.",
    )
    share: float = Field(default=0.1, gt=0, lt=1, description="Share of the requests for a canary in split mode.")
    rows: int = Field(default=2000, ge=1, description="Minimum rows answered before it may be promoted.")
    may_fail: float = Field(
        default=0.001,
        ge=0,
        lt=1,
        description="Max share of failed requests, of at least `rows`, before it is rejected.",
    )
    answer_seconds: float = Field(
        default=1.0,
        gt=0,
        description="Timeout of an answer, which then counts as failed; in split mode the served version answers.",
    )
    queue_rows: int = Field(
        default=4096, ge=1, description="Max rows waiting for a canary in shadow mode; more are skipped and counted."
    )
    labels: int = Field(default=1000, ge=1, description="Minimum labelled rows before quality is compared.")
    may_lose: float = Field(
        default=0.005,
        ge=0,
        description="By how much its log loss may exceed that of the served version; its confidence interval decides.",
    )
    rmse_may_grow: float = Field(
        default=0.02,
        ge=0,
        description="Of a regression: by how much its RMSE may exceed that of the served version, as a share of it.",
    )
    prediction_distance: float = Field(
        default=0.1,
        gt=0,
        description="Max Jensen-Shannon divergence of its predictions from those of the served version.",
    )
    wait_for_labels: bool = Field(
        default=False,
        description="Decide on quality only, however long labels take; for predictions that are costly when wrong.",
    )


class ServedValidation(InfraValidation):
    """How a candidate proves that it can serve: in the prediction service, unless the settings name another server."""

    server: str = Field(
        default="operations.serving",
        description="Python module of the server that must serve it; empty: TensorFlow alone, without a server.",
    )


class Settings(inference.Settings, registry.Settings):
    """The settings of inference and registry, with those of the service and of canaries."""

    infra_validation: ServedValidation = ServedValidation()
    serving: Serving = Serving()
    canary: Canary = Canary()

    @property
    def pushed_to(self) -> str:
        """The folder that runs push into: that of served versions, or that of canaries."""
        return self.pushed if self.canary.mode == "off" else self.canaries

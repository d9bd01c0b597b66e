"""The settings that the prediction service needs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from operations.inference import settings as inference
from operations.registry import settings as registry
from pipeline.settings import InfraValidation, Section


class Serving(inference.Answering):
    """The prediction service: `flightdeck serve`."""

    host: str = Field(default="127.0.0.1", description="The address to listen on. There is no authentication.")
    port: int = Field(default=8080, ge=0, le=65535, description="For REST; 0 takes any free one.")
    grpc_port: int = Field(default=8081, ge=0, le=65535, description="For gRPC; 0 takes any free one.")
    poll_seconds: float = Field(default=1.0, gt=0, description="How often the folder of versions is looked at.")
    settle_seconds: float = Field(
        default=10.0, ge=0, description="How long a version may lack its saved_model.pb before it counts as failed."
    )
    keep_versions: int = Field(
        default=2, ge=1, description="The newest versions that stay loaded, and can be asked for by number."
    )
    threads: int | None = Field(
        default=1, ge=1, description="TensorFlow's threads within an operation; null lets TensorFlow choose."
    )
    max_batch_rows: int = Field(default=512, ge=1, description="Requests that wait are answered together up to this.")
    batch_delay_ms: float = Field(
        default=0.0, ge=0, description="How long a request waits for company. 0 joins only what waits anyway."
    )
    queue_rows: int = Field(default=65_536, ge=1, description="Rows that may wait; a request beyond is refused (503).")
    max_rows: int = Field(default=16_384, ge=1, description="Rows of one request.")
    max_body_bytes: int = Field(default=16 * 2**20, ge=1, description="Size of one request.")
    grace_seconds: float = Field(default=30.0, ge=0, description="How long open requests are waited for at the end.")
    drain_seconds: float = Field(
        default=0.0, ge=0, description="How long it is alive but not ready before it ends, for load balancers to see."
    )
    prediction_buckets: tuple[float, ...] = Field(
        default=tuple(each / 20 for each in range(1, 21)),
        description="Upper bounds of the histogram of predictions. The default suits probabilities.",
    )


class Canary(Section):
    """A new version beside the served one, before it takes over."""

    mode: Literal["off", "shadow", "split"] = Field(
        default="off",
        description="off: what a run pushes is served. shadow: it also answers each request, and nobody but the log "
        "sees that. split: it alone answers a share of the requests.",
    )
    share: float = Field(default=0.1, gt=0, lt=1, description="Of the requests that a canary gets, in the mode split.")
    rows: int = Field(default=2000, ge=1, description="It must have answered so many before it may be promoted.")
    may_fail: float = Field(
        default=0.001,
        ge=0,
        lt=1,
        description="Share of the requests, of at least `rows`, that it may fail to answer before it is rejected.",
    )
    answer_seconds: float = Field(
        default=1.0,
        gt=0,
        description="An answer that takes longer has failed; in the mode split, the served one answers.",
    )
    queue_rows: int = Field(
        default=4096, ge=1, description="Rows that may wait for it in the mode shadow; more are left out, and counted."
    )
    labels: int = Field(
        default=1000, ge=1, description="From so many answers with a label on, its quality is compared as well."
    )
    may_lose: float = Field(
        default=0.005, ge=0, description="Log loss by which it may be worse than the served version, by its interval."
    )
    prediction_distance: float = Field(
        default=0.1, gt=0, description="Largest Jensen-Shannon divergence of its answers from the served version's."
    )
    wait_for_labels: bool = Field(
        default=False, description="Decide on quality only, however long labels take; for answers that cost much."
    )


class ServedValidation(InfraValidation):
    """How a candidate proves that it can serve: in the prediction service, unless the settings say otherwise."""

    server: str = Field(
        default="operations.serving",
        description="Python module of the server that must serve it; empty: TensorFlow alone, without a server.",
    )


class Settings(inference.Settings, registry.Settings):
    """The settings of inference and registry, and those of the service."""

    infra_validation: ServedValidation = ServedValidation()
    serving: Serving = Serving()
    canary: Canary = Canary()

    @property
    def pushed_to(self) -> str:
        """Where runs push: a version is served at once, or in shadow mode or behind a split first."""
        return self.pushed if self.canary.mode == "off" else self.canaries

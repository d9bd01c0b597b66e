"""What Prometheus is told about the service."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, exposition
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

from operations.inference.columns import Columns

if TYPE_CHECKING:
    from operations.tasks import Task

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)


class PredictionHistogram(Collector):
    """Counts predictions by size, many at a time.

    prometheus_client observes one value per call, which for 64 rows takes as long as the model does.
    """

    def __init__(self, name: str, documentation: str, buckets: Sequence[float] | None) -> None:
        """Makes an empty histogram with upper bounds, the infinite one not among them; None: those of each task."""
        self._name = name
        self._documentation = documentation
        self._buckets = buckets
        self._lock = threading.Lock()
        self._bounds: dict[int, np.ndarray] = {}
        self._counts: dict[tuple[str, int], np.ndarray] = {}
        self._sums: dict[tuple[str, int], float] = {}

    def observe(self, version: int, task: Task, outputs: Columns) -> None:
        """Counts the numbers among the outputs of a version; NaN is in the last bucket and in no sum."""
        bounds = self._bounds.get(version)
        if bounds is None:
            bounds = np.array(sorted(task.buckets if self._buckets is None else self._buckets), float)
        for name, values in task.observed(outputs).items():
            if values.dtype.kind not in "fiu":
                continue
            flat = values.reshape(-1)
            counts = np.bincount(np.searchsorted(bounds, flat), minlength=len(bounds) + 1)
            total = float(np.nansum(flat, dtype=float))
            with self._lock:
                key = name, version
                self._bounds[version] = bounds
                self._counts[key] = self._counts[key] + counts if key in self._counts else counts
                self._sums[key] = self._sums.get(key, 0.0) + total

    def forget(self, version: int) -> None:
        """Leaves out a version that is not loaded any more."""
        with self._lock:
            self._bounds.pop(version, None)
            for key in [key for key in self._counts if key[1] == version]:
                del self._counts[key], self._sums[key]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Gives the histogram to a registry."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=["output", "version"])
        with self._lock:
            items = [
                (key, [*map(str, self._bounds[key[1]].tolist()), "+Inf"], counts.cumsum().tolist(), self._sums[key])
                for key, counts in self._counts.items()
            ]
        for (output, version), names, cumulative, total in items:
            family.add_metric([output, str(version)], list(zip(names, map(float, cumulative), strict=True)), total)
        yield family


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self, prediction_buckets: Sequence[float] | None = None) -> None:
        """Makes metrics that are all zero."""
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"namespace": "flightdeck_serving", "registry": self.registry}
        self._requests = Counter(
            "requests", "Requests by protocol, route and HTTP status.", ["protocol", "route", "status"], **own
        )
        self._seconds = Histogram(
            "request_seconds",
            "Time from the first byte of a request to its answer.",
            ["protocol", "route"],
            buckets=_SECONDS,
            **own,
        )
        self.rows = Counter("rows", "Rows that were predicted.", **own)
        self.explained_rows = Counter("explained_rows", "Rows whose answer was explained.", **own)
        self.batch_rows = Histogram("batch_rows", "Rows per call of the model.", buckets=_ROWS, **own)
        self.predictions = PredictionHistogram(
            "flightdeck_serving_prediction", "What the model predicted.", prediction_buckets
        )
        self.registry.register(self.predictions)
        self.version = Gauge("model_version", "The newest version that is served.", **own)
        self.loaded = Gauge("version_loaded", "Versions that can be asked for; 1 each.", ["version"], **own)
        self.load_seconds = Gauge("version_load_seconds", "How long the last version took to load.", **own)
        self.loads = Counter("version_loads", "Versions that were loaded.", **own)
        self.load_failures = Counter("version_load_failures", "Refused versions. Alert on any increase.", **own)
        self.canary = Gauge("canary_version", "The canary; 0 for none.", **own)
        self.canary_requests = Counter(
            "canary_requests",
            "Requests that a canary answered, failed to answer, or was not given because too many waited.",
            ["version", "outcome"],
            **own,
        )
        self.canary_seconds = Histogram(
            "canary_request_seconds", "Time until a canary answered.", ["version"], buckets=_SECONDS, **own
        )
        self.contract_faults = Counter(
            "contract_faults",
            "Values that break the contract of the version, by column; the requests were refused or flagged.",
            ["column", "outcome"],
            **own,
        )
        self.waiting_rows = Gauge("waiting_rows", "Rows that wait for the model.", **own)
        self.payload_rows = Counter(
            "payload_rows",
            "Rows of the payload log: written, dropped because too many waited, or failed.",
            ["outcome"],
            **own,
        )
        for outcome in ("written", "dropped", "failed"):
            self.payload_rows.labels(outcome)
        ProcessCollector(registry=self.registry)
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, protocol: str, route: str, status: int, seconds: float) -> None:
        """Counts a request; protocols call it once for each, failed ones too.

        The protocol is ``v1``, ``v2``, ``grpc`` or ``http``, and the status one of HTTP. The route is a name such as
        ``predict``, and never text of the client.
        """
        key = protocol, route, status
        children = self._children.get(key)
        if children is None:
            children = self._requests.labels(protocol, route, str(status)), self._seconds.labels(protocol, route)
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def exposition(self) -> tuple[bytes, str]:
        """Returns the document for Prometheus, and its content type."""
        return exposition.generate_latest(self.registry), exposition.CONTENT_TYPE_LATEST

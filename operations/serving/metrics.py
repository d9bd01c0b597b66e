"""What Prometheus is told about the service."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, exposition
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

from operations import metrics
from operations.inference.columns import Columns

if TYPE_CHECKING:
    from operations.tasks import Task


class PredictionHistogram(Collector):
    """Counts predictions by size, many at a time.

    prometheus_client observes one value per call, which for 64 rows takes as long as the model does.
    """

    def __init__(self, buckets: Sequence[float] | None) -> None:
        """Makes an empty histogram with upper bounds, the infinite one not among them; None: those of each task."""
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
        declared = metrics.PREDICTION
        family = HistogramMetricFamily(declared.name, declared.help, labels=declared.labels)
        with self._lock:
            items = [
                (key, [*map(str, self._bounds[key[1]].tolist()), "+Inf"], counts.cumsum().tolist(), self._sums[key])
                for key, counts in self._counts.items()
            ]
        for (output, version), names, cumulative, total in items:
            family.add_metric([output, str(version)], list(zip(names, map(float, cumulative), strict=True)), total)
        yield family


class Metrics:
    """The metrics of one service, in a registry of their own.

    Attributes:
        in_flight: how many requests have no answer yet, which protocols count.
    """

    def __init__(self, prediction_buckets: Sequence[float] | None = None) -> None:
        """Makes metrics that are all zero."""
        self.registry = CollectorRegistry()
        self._requests = metrics.REQUESTS.counter(self.registry)
        self._seconds = metrics.REQUEST_SECONDS.histogram(self.registry)
        self.rows = metrics.ROWS.counter(self.registry)
        self.explained_rows = metrics.EXPLAINED_ROWS.counter(self.registry)
        self.batch_rows = metrics.BATCH_ROWS.histogram(self.registry)
        self.predictions = PredictionHistogram(prediction_buckets)
        self.registry.register(self.predictions)
        self.version = metrics.MODEL_VERSION.gauge(self.registry)
        self.loaded = metrics.VERSION_LOADED.gauge(self.registry)
        self.load_seconds = metrics.VERSION_LOAD_SECONDS.gauge(self.registry)
        self.loads = metrics.VERSION_LOADS.counter(self.registry)
        self.load_failures = metrics.VERSION_LOAD_FAILURES.counter(self.registry)
        self.canary = metrics.CANARY_VERSION.gauge(self.registry)
        self.canary_requests = metrics.CANARY_REQUESTS.counter(self.registry)
        self.canary_seconds = metrics.CANARY_REQUEST_SECONDS.histogram(self.registry)
        self.contract_faults = metrics.CONTRACT_FAULTS.counter(self.registry)
        self.in_flight = 0
        metrics.REQUESTS_IN_FLIGHT.gauge(self.registry).set_function(lambda: self.in_flight)
        self.waiting_rows = metrics.WAITING_ROWS.gauge(self.registry)
        self.payload_rows = metrics.PAYLOAD_ROWS.counter(self.registry)
        for outcome in metrics.PAYLOAD_OUTCOMES:
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

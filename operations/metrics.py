"""Every metric that Prometheus is told, declared once.

The service and the exporter make their metrics from these declarations, and the dashboards and alert rules of
`deploy/observability` are generated from the same list: an expression that names a metric or a label that is not here
does not get as far as a file. Nothing here imports prometheus_client until a metric is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.metrics_core import Metric as Family

Kind = Literal["counter", "gauge", "histogram"]
Source = Literal["service", "exporter", "process"]

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
}


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        source: who exports it: the service, the exporter of the ledger, or both about their own process.
        name: as prometheus_client wants it; without the suffix that a counter or a histogram has for Prometheus.
        help: one sentence.
        unit: of its values, such as ``s``, ``rows`` or ``bytes``; ``1`` for a plain number, ``time`` for Unix time.
        labels: names of its labels.
        buckets: upper bounds of a histogram, without the infinite one.
    """

    source: Source
    name: str
    kind: Kind
    help: str
    unit: str = "1"
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """What Prometheus calls its series."""
        return tuple(f"{self.name}{suffix}" for suffix in _SUFFIXES[self.kind])

    def counter(self, registry: CollectorRegistry) -> Counter:
        """Makes it in a registry."""
        from prometheus_client import Counter

        return Counter(self.name, self.help, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        """Makes it in a registry."""
        from prometheus_client import Gauge

        return Gauge(self.name, self.help, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """Makes it in a registry."""
        from prometheus_client import Histogram

        return Histogram(self.name, self.help, self.labels, registry=registry, buckets=self.buckets)


class Snapshot:
    """Values that were read elsewhere, such as from the ledger, as a collector of prometheus_client."""

    def __init__(self) -> None:
        """Makes one without a value."""
        self._values: dict[Metric, dict[tuple[str, ...], float]] = {}

    def put(self, metric: Metric, value: float, *labels: object) -> None:
        """Sets the value of a counter or gauge, with the values of its labels in their order."""
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {metric.labels}, and not {labels}")
        self._values.setdefault(metric, {})[tuple(map(str, labels))] = float(value)

    def collect(self) -> Iterator[Family]:
        """Gives the values to a registry."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        for metric, values in self._values.items():
            make: Any = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = make(metric.name, metric.help, labels=metric.labels)
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family


def _service(name: str, *rest: Any, **further: Any) -> Metric:
    return Metric("service", f"flightdeck_serving_{name}", *rest, **further)


def _exporter(name: str, *rest: Any, **further: Any) -> Metric:
    return Metric("exporter", f"flightdeck_{name}", *rest, **further)


# The service
REQUESTS = _service(
    "requests", "counter", "Requests by protocol, route and HTTP status.", labels=("protocol", "route", "status")
)
REQUEST_SECONDS = _service(
    *("request_seconds", "histogram", "Time from the first byte of a request to its answer.", "s"),
    labels=("protocol", "route"),
    buckets=_SECONDS,
)
ROWS = _service("rows", "counter", "Rows that were predicted.", "rows")
EXPLAINED_ROWS = _service("explained_rows", "counter", "Rows whose answer was explained.", "rows")
BATCH_ROWS = _service("batch_rows", "histogram", "Rows per call of the model.", "rows", buckets=_ROWS)
# Its buckets are those of the version's task.
PREDICTION = _service("prediction", "histogram", "What the model predicted.", labels=("output", "version"))
MODEL_VERSION = _service("model_version", "gauge", "The newest version that is served.")
VERSION_LOADED = _service("version_loaded", "gauge", "Versions that can be asked for; 1 each.", labels=("version",))
VERSION_LOAD_SECONDS = _service("version_load_seconds", "gauge", "How long the last version took to load.", "s")
VERSION_LOADS = _service("version_loads", "counter", "Versions that were loaded.")
VERSION_LOAD_FAILURES = _service("version_load_failures", "counter", "Refused versions. Alert on any increase.")
CANARY_VERSION = _service("canary_version", "gauge", "The canary; 0 for none.")
CANARY_REQUESTS = _service(
    "canary_requests",
    "counter",
    "Requests that a canary answered, failed to answer, or was not given because too many waited.",
    labels=("version", "outcome"),
)
CANARY_REQUEST_SECONDS = _service(
    *("canary_request_seconds", "histogram", "Time until a canary answered.", "s"),
    labels=("version",),
    buckets=_SECONDS,
)
CONTRACT_FAULTS = _service(
    "contract_faults",
    "counter",
    "Values that break the contract of the version, by column; the requests were refused or flagged.",
    labels=("column", "outcome"),
)
REQUESTS_IN_FLIGHT = _service("requests_in_flight", "gauge", "Requests of HTTP and gRPC that have no answer yet.")
WAITING_ROWS = _service("waiting_rows", "gauge", "Rows that wait for the model.", "rows")
PAYLOAD_ROWS = _service(
    "payload_rows",
    "counter",
    "Rows of the payload log: written, dropped because too many waited, or failed.",
    "rows",
    labels=("outcome",),
)
PAYLOAD_OUTCOMES = ("written", "dropped", "failed")

# The monitor: the latest window of each version that answered in it
_BY_SIGNAL = ("model_version", "kind", "signal", "subject")
SIGNAL = _exporter("monitor_signal", "gauge", "A signal of the latest window.", labels=_BY_SIGNAL)
THRESHOLD = _exporter("monitor_threshold", "gauge", "What the signal is compared with.", labels=_BY_SIGNAL)
EXCEEDED = _exporter("monitor_exceeded", "gauge", "1 if the signal is beyond its threshold.", labels=_BY_SIGNAL)
WINDOW_ROWS = _exporter("monitor_rows", "gauge", "Requests in the latest window.", "rows", ("model_version",))
WINDOW_REFUSED = _exporter(
    "monitor_refused", "gauge", "Rows that were refused in the latest window.", "rows", ("model_version",)
)
WINDOW_LABELLED = _exporter(
    "monitor_labelled", "gauge", "Of the requests, those with a label.", "rows", ("model_version",)
)
WINDOW_END = _exporter("monitor_window_end", "gauge", "End of the latest window.", "time", ("model_version",))
DECISIONS = _exporter("monitor_decisions", "counter", "Decisions of the monitor by action.", labels=("action",))

# The registry and its canaries
SERVED_VERSION = _exporter("registry_served_version", "gauge", "The version that servers should answer with; 0: none.")
SERVED_SINCE = _exporter("registry_served_since", "gauge", "When the served version was pushed.", "time")
VERSIONS = _exporter("registry_versions", "gauge", "Versions that are present.")
VERSION_CHANGES = _exporter(
    "registry_changes", "counter", "Versions that were pushed, by what made them.", labels=("origin",)
)
REGISTRY_CANARY = _exporter("registry_canary_version", "gauge", "The canary under test; 0 for none.")
CANARY_VERDICTS = _exporter(
    "registry_canary_verdicts", "counter", "Canaries that were promoted or rejected.", labels=("action",)
)

# The loop
ROUND_AT = _exporter("loop_last_round", "gauge", "When the loop made its last round.", "time")
ROUND_PROBLEMS = _exporter("loop_problems", "gauge", "Steps of the last round that could not be done.")
ATTEMPTS = _exporter("loop_attempts", "counter", "Runs that the loop began, by outcome.", labels=("outcome",))
ATTEMPT_OPEN = _exporter("loop_run_open", "gauge", "1 while a run of the loop goes on.")
SPANS_WAITING = _exporter("loop_spans_waiting", "gauge", "Spans that came after the newest one that was learned from.")
SPANS_QUARANTINED = _exporter("loop_spans_quarantined", "gauge", "Spans in quarantine.")
ALERTS_PENDING = _exporter("alerts_pending", "gauge", "Alerts that a channel has not taken yet.")

# The pipeline
RUNS = _exporter("pipeline_runs", "counter", "Runs that have ended, by outcome.", labels=("outcome",))
RUNS_OPEN = _exporter("pipeline_runs_open", "gauge", "Runs that go on.")
RUN_AT = _exporter("pipeline_last_run", "gauge", "When the last run with this outcome began.", "time", ("outcome",))
RUN_SECONDS = _exporter("pipeline_last_run_seconds", "gauge", "Wall time of the last run that ended.", "s")
RUN_PEAK = _exporter("pipeline_last_run_peak_bytes", "gauge", "Largest resident size of a process of it.", "bytes")
RUN_ROWS = _exporter("pipeline_last_run_rows", "gauge", "Rows of the last run that ended.", "rows", ("split",))
NODE_SECONDS = _exporter(
    "pipeline_last_run_node_seconds", "gauge", "Wall time of each node of it.", "s", ("node", "state")
)
RUN_METRIC = _exporter(
    "pipeline_last_run_metric", "gauge", "Metrics of the evaluation split, and the champion's.", "1", ("metric", "of")
)

EXPORTER_FAILED = _exporter(
    "exporter_failed",
    "gauge",
    "1 if a part of what is known cannot be read; the exporter's log says why.",
    "1",
    ("part",),
)

# What prometheus_client says of the process of either.
MEMORY = Metric("process", "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", "bytes")
PROCESSOR = Metric("process", "process_cpu_seconds", "counter", "Total user and system CPU time spent in seconds.", "s")
STARTED = Metric("process", "process_start_time_seconds", "gauge", "Start time of the process.", "time")

ALL: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))

"""What the ledger and the workspace know, as metrics: read when Prometheus asks, so that nothing has to push.

Counters are read from records, so they do not begin anew with the process. Outcomes that have not happened yet are
zero, so that the first one is an increase.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, get_args

from errors import FlightdeckError
from ledger.opening import open_readonly
from ledger.run_record import Outcome, RunRecord
from ledger.runs import Runs
from operations import metrics
from operations.alerts.dispatcher import outbox_place
from operations.alerts.outbox import pending
from operations.loop import heartbeat
from operations.loop.attempts import ENDED, Attempts
from operations.loop.canary.act import verdicts
from operations.loop.loop import folder_of
from operations.loop.settings import Settings
from operations.metrics import Metric, Snapshot
from operations.monitoring import gauges, quarantine
from operations.monitoring.policy import ACTIONS
from operations.monitoring.records import MonitoringRecords
from operations.registry import Registry
from operations.registry.version import Origin
from pipeline.store import connection

if TYPE_CHECKING:
    import ml_metadata
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

_log = logging.getLogger(__name__)
_MIB = 2**20


class Exporter:
    """A collector of prometheus_client that reads anew each time.

    What cannot be read is left out, logged once, and shown as `flightdeck_exporter_failed`.
    """

    def __init__(self, settings: Settings) -> None:
        """Reads nothing yet."""
        self._settings = settings
        self._said: dict[str, str] = {}

    def collect(self) -> Iterator[Family]:
        """Gives all that is known now to a registry."""
        snapshot = Snapshot()
        runs: list[RunRecord] = []
        parts: dict[str, Callable[[ml_metadata.MetadataStore], None]] = {
            "pipeline": lambda store: runs.extend(_pipeline(self._settings, store, snapshot)),
            "spans": lambda _store: _spans(self._settings, runs, snapshot),
            "monitor": lambda store: _monitor(self._settings, store, snapshot),
            "registry": lambda store: _registry(self._settings, store, snapshot),
            "loop": lambda store: _loop(self._settings, store, snapshot),
            "alerts": lambda _store: _alerts(self._settings, snapshot),
        }
        try:
            # Opened each time: a database may have been restarted, and a run may make the first store meanwhile.
            store = open_readonly(connection(self._settings))
        except FlightdeckError as error:
            for part in parts:
                self._settle(snapshot, part, str(error))
        else:
            for part, read in parts.items():
                try:
                    read(store)
                except (FlightdeckError, OSError) as error:
                    self._settle(snapshot, part, str(error))
                else:
                    self._settle(snapshot, part, "")
        yield from snapshot.collect()

    def _settle(self, snapshot: Snapshot, part: str, problem: str) -> None:
        snapshot.put(metrics.EXPORTER_FAILED, bool(problem), part)
        if problem and self._said.get(part) != problem:
            _log.warning("%s: %s", part, problem)
        self._said[part] = problem


def _counts(snapshot: Snapshot, metric: Metric, possible: Iterable[str], happened: Iterable[str]) -> None:
    """A counter with one label, in which what is possible and has not happened is zero."""
    counts = dict.fromkeys(possible, 0) | Counter(happened)
    for label, count in counts.items():
        snapshot.put(metric, count, label)


def _pipeline(settings: Settings, store: ml_metadata.MetadataStore, snapshot: Snapshot) -> list[RunRecord]:
    """The runs of the pipeline, oldest first, after they were counted."""
    runs = [run for run in Runs(store).all() if run.pipeline == settings.use_case.name and run.kind == "run"]
    ended = [run for run in runs if run.outcome != "running"]
    outcomes = (outcome for outcome in get_args(Outcome) if outcome != "running")
    _counts(snapshot, metrics.RUNS, outcomes, (run.outcome for run in ended))
    snapshot.put(metrics.RUNS_OPEN, len(runs) - len(ended))
    for run in ended:
        snapshot.put(metrics.RUN_AT, run.started.timestamp(), run.outcome)
    if (last := next((run for run in reversed(ended) if run.outcome in ENDED), None)) is not None:
        if last.seconds is not None:
            snapshot.put(metrics.RUN_SECONDS, last.seconds)
        if last.peak_mb is not None:
            snapshot.put(metrics.RUN_PEAK, last.peak_mb * _MIB)
        for split, rows in last.rows.items():
            snapshot.put(metrics.RUN_ROWS, rows, split)
        for node in last.nodes:
            snapshot.put(metrics.NODE_SECONDS, node.seconds, node.node_id, node.state)
        for of, values in (("challenger", last.metrics), ("champion", last.champion_metrics)):
            for name, value in values.items():
                snapshot.put(metrics.RUN_METRIC, value, name, of)
    return runs


def _spans(settings: Settings, runs: Iterable[RunRecord], snapshot: Snapshot) -> None:
    learned = [span for run in runs if run.outcome in ENDED for spans in run.spans.values() for span in spans]
    quarantined = {marked.span for marked in quarantine.listed(settings)}
    newer = [span for span in quarantine.folders(settings) if span > max(learned, default=0)]
    snapshot.put(metrics.SPANS_WAITING, len(set(newer) - quarantined))
    snapshot.put(metrics.SPANS_QUARANTINED, len(quarantined))


def _monitor(settings: Settings, store: ml_metadata.MetadataStore, snapshot: Snapshot) -> None:
    records = MonitoringRecords(store, settings.use_case.name)
    gauges.put(records.windows(), snapshot)
    _counts(snapshot, metrics.DECISIONS, ACTIONS, (decision.action for decision in records.decisions()))


def _registry(settings: Settings, store: ml_metadata.MetadataStore, snapshot: Snapshot) -> None:
    registry = Registry(settings)
    versions, canary = registry.versions(), registry.canary()
    served = next((version for version in versions if version.served), None)
    snapshot.put(metrics.SERVED_VERSION, served.number if served else 0)
    if served is not None and served.pushed_at is not None:
        snapshot.put(metrics.SERVED_SINCE, served.pushed_at.timestamp())
    snapshot.put(metrics.VERSIONS, sum(version.present for version in versions))
    _counts(snapshot, metrics.VERSION_CHANGES, get_args(Origin), (version.origin for version in versions))
    snapshot.put(metrics.REGISTRY_CANARY, canary.number if canary else 0)
    decided = (verdict.action for verdict in verdicts(settings, store))
    _counts(snapshot, metrics.CANARY_VERDICTS, ("promote", "reject"), decided)


def _loop(settings: Settings, store: ml_metadata.MetadataStore, snapshot: Snapshot) -> None:
    attempts = Attempts(settings, store)
    ended = [attempt.outcome or "" for attempt in attempts.all() if attempt.ended is not None]
    _counts(snapshot, metrics.ATTEMPTS, (*ENDED, "failed", "killed", "stopped"), ended)
    snapshot.put(metrics.ATTEMPT_OPEN, attempts.open() is not None)
    if (beat := heartbeat.read(folder_of(settings))) is not None:
        snapshot.put(metrics.ROUND_AT, beat.when.timestamp())
        snapshot.put(metrics.ROUND_PROBLEMS, len(beat.problems))


def _alerts(settings: Settings, snapshot: Snapshot) -> None:
    snapshot.put(metrics.ALERTS_PENDING, pending(outbox_place(settings)))


@contextlib.contextmanager
def serving(settings: Settings, host: str, port: int) -> Iterator[str]:
    """Answers Prometheus from threads until the block ends; port 0 takes a free one.

    Yields:
        The address, without a path.

    Raises:
        FlightdeckError: it cannot listen there.
    """
    from prometheus_client import ProcessCollector, start_http_server

    registry = registry_of(settings)
    ProcessCollector(registry=registry)
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise FlightdeckError(
            f"The exporter cannot listen on {host}:{port} ({error.strerror or error}); choose another with --port."
        ) from None
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def registry_of(settings: Settings) -> CollectorRegistry:
    """An exporter in a registry of prometheus_client."""
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    registry.register(Exporter(settings))
    return registry

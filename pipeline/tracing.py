"""Traces by OpenTelemetry, of requests and runs. Off, and without any import, unless the environment names a collector.

The variables are OpenTelemetry's own: `OTEL_EXPORTER_OTLP_ENDPOINT` switches tracing on and says where to send spans,
by OTLP over HTTP; its SDK reads all others, such as `OTEL_TRACES_SAMPLER`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ledger.run_record import RunRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

# Names under which collectors know what sends, unless OTEL_SERVICE_NAME gives another.
SERVING, RUN = "flightdeck-serving", "flightdeck-run"
_SWITCHES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SERVER_ERROR = 500
_OFF: AbstractContextManager[None] = contextlib.nullcontext()
# Both or none of them.
_provider: TracerProvider | None = None
_tracer: Tracer | None = None


def begin(environment: Mapping[str, str], service: str) -> None:
    """Switches tracing on in this process, if its environment says so; spans are sent from a thread.

    The environment is that of the process: OpenTelemetry's SDK reads the rest of it by itself. A process that forks
    does so before.
    """
    global _provider, _tracer
    if not any(environment.get(name) for name in _SWITCHES):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = environment.get("OTEL_SERVICE_NAME") or service
    _provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("flightdeck")


def end() -> None:
    """Sends what was not sent yet, and switches tracing off."""
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
        _provider = _tracer = None


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """What happens in the block, as a part of what goes on in this thread or task."""
    return _OFF if _tracer is None else _tracer.start_as_current_span(name, attributes=attributes)


def past(name: str, began: int, ended: int, **attributes: Any) -> None:
    """The same of what has happened elsewhere, such as in another thread; times in nanoseconds since the epoch."""
    if _tracer is not None:
        _tracer.start_span(name, start_time=began, attributes=attributes).end(ended)


def request(name: str, headers: Mapping[str, str] | None) -> AbstractContextManager[Any]:
    """A request that is answered in the block, as a part of its client's trace if a header `traceparent` says so.

    Without headers it leaves no trace.
    """
    if _tracer is None or headers is None:
        return _OFF
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract(headers)
    return _tracer.start_as_current_span(name, context=context, kind=SpanKind.SERVER)


def answered(span: Any, status: int) -> None:
    """Notes the status, one of HTTP, with which a request was answered."""
    if span is not None:
        from opentelemetry.trace import StatusCode

        span.set_attribute("http.response.status_code", status)
        if status >= _SERVER_ERROR:
            span.set_status(StatusCode.ERROR)


def run(record: RunRecord) -> None:
    """A run that has ended, and its nodes, as they were recorded."""
    if _tracer is None or record.seconds is None:
        return
    from opentelemetry.trace import StatusCode, set_span_in_context

    # It is stamped when it has loaded.
    began = record.started - timedelta(seconds=record.loading_seconds or 0.0)
    whole = _tracer.start_span(
        f"run {record.pipeline}",
        start_time=_nanoseconds(began),
        attributes={"run": record.run_id, "outcome": record.outcome},
    )
    for node in record.nodes:
        if node.ended is None:
            continue
        part = _tracer.start_span(
            node.node_id,
            context=set_span_in_context(whole),
            start_time=_nanoseconds(node.ended - timedelta(seconds=node.seconds)),
            attributes={"state": node.state, "peak_mb": node.peak_mb},
        )
        if node.error is not None:
            part.set_status(StatusCode.ERROR, node.error)
        part.end(_nanoseconds(node.ended))
    if record.outcome == "failed":
        whole.set_status(StatusCode.ERROR, "; ".join(record.reasons))
    whole.end(_nanoseconds(began + timedelta(seconds=record.seconds)))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)

"""A collector of traces: takes OTLP over HTTP, as OpenTelemetry's own does, and keeps the spans."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SERVER = 2  # of the enumeration SpanKind


class Collector:
    """The spans that have arrived, as OpenTelemetry's message Span, by the service that sent them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: dict[str, list[Any]] = {}

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            kept = self.spans.setdefault(names["service.name"], [])
            kept.extend(span for scope in resource.scope_spans for span in scope.spans)

    @property
    def variables(self) -> dict[str, str]:
        """What switches tracing to it on."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url}


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """Runs one on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield collector
        server.shutdown()
        thread.join()

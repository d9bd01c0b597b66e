"""``flightdeck metrics``: what the ledger and the workspace know, for Prometheus."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from flightdeck.console import json_of
from flightdeck.options import Host, Options, Port

PORT = 9109


def metrics(
    options: Options,
    host: Host = "127.0.0.1",
    port: Port = PORT,
    once: Annotated[bool, typer.Option("--once", help="Print the metrics and end, such as for a textfile.")] = False,
) -> None:
    """Tell Prometheus of runs, windows, versions and the loop, until Ctrl+C or SIGTERM.

    Everything is read from ML Metadata and the workspace when Prometheus asks; nothing is written. What cannot be read
    is left out, shown as `flightdeck_exporter_failed`, and said in the log.
    """
    import signal

    from operations.observability import exporter

    settings = options.settings
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    if once:
        from prometheus_client import generate_latest

        typer.echo(generate_latest(exporter.registry_of(settings)).decode(), nl=False)
        return
    ends = {signal.SIGINT, signal.SIGTERM}
    # Before the threads begin, which inherit it.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with exporter.serving(settings, host, port) as url:
        typer.echo(
            json_of({"url": url}, indent=None) if options.as_json else f"Metrics   {url}/metrics\nCtrl+C ends it."
        )
        signal.sigwait(ends)

"""``flightdeck serve``: the prediction service."""

from __future__ import annotations

import json
import logging
import os
import shlex
import threading
from typing import TYPE_CHECKING, Annotated

import typer

import storage
from flightdeck import serve_bench
from flightdeck.console import json_of, shown
from flightdeck.options import App, Options

if TYPE_CHECKING:
    from operations.serving.server import Running

app = App(help="Serve the pushed model.", invoke_without_command=True)
app.command(name="bench")(serve_bench.bench)


@app.callback()
def serve(
    options: Options,
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, such as 0.0.0.0 for all. Default: this machine only.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="For REST; 0 takes a free one.", min=0, max=65535)] = None,
    grpc_port: Annotated[int | None, typer.Option(help="For gRPC; 0 takes a free one.", min=0, max=65535)] = None,
) -> None:
    """Answer requests with the newest pushed version of the model, until Ctrl+C or SIGTERM.

    A version that is pushed meanwhile takes over without a request being dropped; one that cannot be loaded is refused,
    and people are told (`flightdeck alerts`).
    """
    if context.invoked_subcommand:
        return

    from operations.alerts.alert import Alert
    from operations.alerts.dispatcher import Dispatcher, open_outbox
    from operations.serving import api_keys, server
    from operations.serving.service import Service
    from pipeline import tracing

    settings = options.settings
    given = {"host": host, "port": port, "grpc_port": grpc_port}
    serving = settings.serving.model_copy(update={key: value for key, value in given.items() if value is not None})
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)

    def started(running: Running) -> None:
        document = json_of({"url": running.url, **vars(running)}, indent=None)
        welcome = _welcome(running, settings.payloads if serving.payloads.enabled else None)
        typer.echo(document if options.as_json else welcome)

    dispatcher = Dispatcher(*open_outbox(settings))

    def refused(version: int, reason: str) -> None:
        alert = Alert(
            key=f"{settings.use_case.name}/version {version} refused",
            severity="critical",
            title=f"{settings.use_case.name}: version {version} cannot be served",
            text=f"It does not load, and the version before it goes on: {reason}",
            source="serve",
            facts={"folder": settings.pushed},
        )
        # Not here: writing it waits for the disk, and requests would wait too.
        threading.Thread(target=dispatcher.alert, args=(alert,), name="alert").start()

    try:
        service = Service(
            settings.use_case.name,
            storage.at(settings.pushed),
            serving,
            storage.at(settings.payloads),
            refused,
            storage.at(settings.canaries),
            settings.canary,
            api_keys.from_environment(os.environ),
        )
        tracing.begin(os.environ, tracing.SERVING)
        server.run(service, started)
    finally:
        tracing.end()
        dispatcher.close()


def _welcome(running: Running, payloads: str | None) -> str:
    lines = [
        f"Version {running.version} of {running.name} is served.",
        f"  REST      {running.url}/v1/models/{running.name} (TensorFlow Serving), {running.url}/v2 (Open Inference)",
        f"  gRPC      {running.grpc_target} (Open Inference)",
        f"  Metrics   {running.url}/metrics",
        f"  API       {running.url}/openapi.json",
        f"  Payloads  {shown(payloads) if payloads else 'not logged'}",
    ]
    if running.row is None:
        lines.append("It carries no example of a request; what it takes is described by the API.")
    else:
        body = shlex.quote(json.dumps({"instances": [running.row]}))
        lines += [
            "Ask it, for instance with a row of its evaluation split:",
            f"  curl -d {body} {running.url}/v1/models/{running.name}:predict",
        ]
    lines.append("Ctrl+C ends it.")
    return "\n".join(lines)

"""``python -m operations.serving``: the prediction service without settings file, for containers and other programs.

It prints one line of JSON when requests are answered, and logs to standard error. Exit code 2: it cannot start, and one
sentence says why.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys

import storage


def main() -> int:
    """Serves; returns the exit code."""
    options = _parser().parse_args()
    # What libraries print must not be taken for the line of JSON.
    screen = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    from pydantic import ValidationError

    from operations.inference.errors import ServingError
    from operations.serving import api_keys, server
    from operations.serving.service import Service
    from operations.serving.settings import Canary, Serving
    from pipeline import tracing

    given = {"host": options.host, "port": options.port, "grpc_port": options.grpc_port}
    try:
        chosen = {**json.loads(options.settings), **{key: value for key, value in given.items() if value is not None}}
        settings = Serving.model_validate_json(json.dumps(chosen))
    except (ValidationError, ValueError, TypeError) as error:
        print(f"--settings cannot be used: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    try:
        canary = Canary.model_validate_json(options.canary)
    except ValidationError as error:
        print(f"--canary cannot be used: {' '.join(str(error).split())}", file=sys.stderr)
        return 2

    def started(running: server.Running) -> None:
        print(json.dumps({"url": running.url, **dataclasses.asdict(running)}), file=screen, flush=True)

    try:
        service = Service(
            options.name,
            options.models,
            settings,
            options.payloads,
            canaries=options.canaries,
            canary=canary,
            keys=api_keys.from_environment(os.environ),
        )
        tracing.begin(os.environ, tracing.SERVING)
        server.run(service, started, options.stop_on_eof)
    except ServingError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        tracing.end()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations.serving", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--models", type=storage.at, required=True, metavar="FOLDER", help="of the numbered versions")
    parser.add_argument("--name", required=True, help="of the model, in addresses")
    parser.add_argument("--host", help="address to listen on; default: this machine only")
    parser.add_argument("--port", type=int, help="for HTTP; 0 takes a free one")
    parser.add_argument("--grpc-port", type=int, help="for gRPC; 0 takes a free one")
    parser.add_argument(
        "--payloads", type=storage.at, metavar="FOLDER", help="of the payload log; default: none is kept"
    )
    parser.add_argument("--settings", default="{}", metavar="JSON", help="the other settings of the section `serving`")
    parser.add_argument("--canaries", type=storage.at, metavar="FOLDER", help="of the canaries")
    parser.add_argument("--canary", default="{}", metavar="JSON", help="the settings of the section `canary`")
    parser.add_argument("--stop-on-eof", action="store_true", help="end when standard input does")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Builds images, and measures what each takes and how soon a container of it answers a first request.

    python -m benchmarks.images --write

The container serves the newest version of this checkout's registry, as a node that holds the image already would start
it: from `docker run` to the first answer. With `--write` the figures go into ``docs/images.json``, and from there into
the rows of deploy/docker/README.md. Without an engine that answers, one is started as the tests do (root only).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from benchmarks import pipeline
from flightdeck.settings import read_settings
from operations.inference import example_row
from tests.ports import free_port
from tests.services import image
from tests.services.docker_engine import docker
from tests.services.up import up

FIGURES = pipeline.ROOT / "docs" / "images.json"
PAGE = pipeline.ROOT / "deploy" / "docker" / "README.md"
TARGETS = {
    "cpu": ("exactly those of `requirements/runtime.txt`", "every node, and all that a laptop does"),
    "gpu": ("exactly those of `requirements/gpu.txt`: also the CUDA libraries", "a Trainer or Tuner with a GPU"),
    "serve": (
        "those of `requirements/serve.txt`, without headers, symbols and tests: no TFX",
        "the service; the registry and the ledger are read with it, too",
    ),
}
_SECONDS = 120.0


def main() -> int:
    """Measures; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=("cpu", "serve"))
    parser.add_argument("--repeat", type=int, default=3, help="how often a container is started (default 3)")
    parser.add_argument("--write", action="store_true", help="write docs/images.json and the rows that quote it")
    options = parser.parse_args()
    settings = read_settings(pipeline.ROOT / "config" / "local.yaml", [])
    versions = Path(settings.pushed)
    if not any(versions.glob("[0-9]*")):
        print(f"There is no version in {versions} to serve; push one with: flightdeck run", file=sys.stderr)
        return 2
    address = up(["docker"])["docker_host"]
    image.ensure_base(address)
    measured = {target: _measure(address, target, versions, options.repeat) for target in options.targets}
    document = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {"targets": {}}
    document["targets"] |= measured
    document["machine"] = pipeline.machine()
    for target in measured:
        print(row(document, target))
        if options.write:
            pipeline.quote(PAGE, f"| `{target}` |", row(document, target))
    if options.write:
        FIGURES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(address: str, target: str, versions: Path, repeat: int) -> dict[str, Any]:
    name = image.build(address, target)
    size = int(docker(address, "image", "inspect", "--format", "{{.Size}}", name).stdout)
    return {"bytes": size, "first_answer_seconds": [_first_answer(address, name, versions) for _ in range(repeat)]}


def _first_answer(address: str, name: str, versions: Path) -> float:
    """Seconds from `docker run` to the answer to a request."""
    port, container = free_port(), f"flightdeck-{uuid.uuid4().hex[:8]}"
    newest = max(versions.glob("[0-9]*"), key=lambda version: int(version.name))
    row = json.loads((newest / example_row.FILE).read_text(encoding="utf-8"))
    command = ["python", "-m", "operations.serving", "--models", "/models", "--name", "model", "--grpc-port", "0"]
    mounted = ["--network=host", "--volume", f"{versions.resolve()}:/models:ro"]
    began = time.monotonic()
    docker(address, "run", "--detach", "--name", container, *mounted, name, *command, "--port", str(port))
    try:
        while True:
            try:
                asked = httpx.post(
                    f"http://127.0.0.1:{port}/v1/models/model:predict", json={"instances": [row]}, timeout=_SECONDS
                )
                asked.raise_for_status()
                return time.monotonic() - began
            except (httpx.TransportError, httpx.HTTPStatusError):  # it answers 503 until the version is loaded
                if time.monotonic() - began > _SECONDS:
                    print(docker(address, "logs", container, check=False).stderr, file=sys.stderr)
                    raise
                time.sleep(0.05)
    finally:
        docker(address, "rm", "--force", container)


def row(document: Mapping[str, Any], target: str) -> str:
    """What an image holds, takes and is for, as a row of the table of the page."""
    packages, purpose = TARGETS[target]
    measured = document["targets"][target]
    seconds = statistics.median(measured["first_answer_seconds"])
    return f"| `{target}` | {packages} | {measured['bytes'] / 1e9:.1f} GB | {seconds:.0f} s | {purpose} |"


if __name__ == "__main__":
    sys.exit(main())

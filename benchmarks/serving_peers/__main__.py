"""Measures the service beside KServe's and MLServer's Python servers, all with the same SavedModel, on one core.

Each peer runs in an environment of its own (`peers/*.txt`, made in the workspace), with a model class as its
users write it (`peers/*_model.py`), quiet and without worker processes, which is its fastest on one core;
MLServer also with its batching. Our service runs as it does in production: it checks the contract of the version and
writes the payload log; and once more without that log, which the peers do not have. All run on one core, h2load asks
over loopback from another one, and they take turns. Before anything is timed, all must give the same answers to the
same rows, to 1e-6.

    requirements/system-packages.sh load
    python -m benchmarks.serving_peers --write

With `--write` the figures go into ``docs/serving-peers.json``, the page beside it and the rows of other pages that
quote them. The exit status is 1 if a peer answers more requests per second than the service, or has a shorter p99.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks import pipeline
from benchmarks.serving_peers.measuring import compare
from benchmarks.serving_peers.page import FIGURES, PAGE, QUOTED, behind, page, parts_table, row, table
from errors import FlightdeckError
from flightdeck.settings import read_settings
from operations.serving import bench


def main() -> int:
    """Measures; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=pipeline.ROOT / "config" / "local.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--turn", type=float, default=1.5, help="seconds of a turn of a server (default 1.5)")
    parser.add_argument("--turns", type=int, default=4, help="how often it is each one's turn (default 4)")
    parser.add_argument("--write", action="store_true", help=f"write docs/{FIGURES.name} and its page")
    options = parser.parse_args()
    settings = read_settings(options.config, options.overrides)
    environments = Path(settings.workspace) / "serving-peers"
    try:
        rows = bench.real_rows(settings, 5000)
        document = compare(settings, rows, environments, turn=options.turn, turns=options.turns, note=_note)
    except FlightdeckError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(document), parts_table(document), *behind(document), sep="\n\n")
    if options.write:
        FIGURES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(document), encoding="utf-8")
        for name in pipeline.QUOTING:
            pipeline.quote(pipeline.ROOT / name, QUOTED, row(document, pipeline.ROOT / name))
    return int(bool(behind(document)))


def _note(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Measures the components that run on Beam, in their own process and on Beam's job service with several workers.

The job service and its worker pool are processes of their own, as on the way to Flink. Every run is of the whole
pipeline, in a fresh workspace with nothing cached, on months drawn as by `benchmarks.growth`; runs on the same flights
must give the same metrics. The network is small, and trained for one epoch, because training is not on Beam. With
`--write` the figures go into ``docs/engines.json``, with the machine, and from there into the page and the plot.

    python -m benchmarks.engines --sizes 1 4 16 --workers 1 2 4 --write
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks import engines_page, growth, pipeline
from benchmarks.processes import measure
from tests.services import engine

SMALL = ["model.hidden_units=[16]", "model.epochs=1"]


def main() -> int:
    """Measures; returns the exit code."""
    parser = growth.arguments(__doc__, SMALL)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4], help="numbers of workers (1 2 4)")
    options = parser.parse_args()
    document = growth.measured(options, lambda folder, title: _engines(options, folder, title))
    if options.write:
        engines_page.write(document, pipeline.ROOT / "docs")
    print(engines_page.page(document))
    return 0


def _engines(options: argparse.Namespace, folder: Path, title: str) -> dict[str, Any]:
    """Runs of the same flights: `local`, and each number of workers -> what it took."""
    runs = {}
    for workers in ["local", *map(str, options.workers)]:
        growth.say(f"{title}: {workers}")
        with _engine(workers, folder) as (settings, processes):
            runs[workers] = _run([*options.overrides, *settings], options, folder / workers, folder, processes)
        growth.say(json.dumps(runs[workers]))
    work = {json.dumps([run["rows"], run["metrics"]], sort_keys=True) for run in runs.values()}
    if len(work) > 1:
        raise SystemExit(f"The engines did different work: {' '.join(work)}")
    return runs


@contextlib.contextmanager
def _engine(workers: str, folder: Path) -> Iterator[tuple[Sequence[str], Sequence[psutil.Process]]]:
    """An engine that has been tried: the settings that run Beam there, and the processes that it consists of."""
    if workers == "local":
        yield (), ()
        return
    with engine.engine() as settings:
        chosen = [*settings, f"beam.flink.parallelism={workers}"]
        words = [word for setting in chosen for word in ("--set", setting)]
        # Before that, the pool may still be importing.
        command = [sys.executable, "-m", "flightdeck", "beam", "check", *words, "--set", f"workspace={folder}"]
        subprocess.run(command, cwd=pipeline.ROOT, check=True, stdout=subprocess.DEVNULL)
        yield chosen, psutil.Process().children()


def _run(
    overrides: Sequence[str],
    options: argparse.Namespace,
    workspace: Path,
    folder: Path,
    processes: Sequence[psutil.Process],
) -> dict[str, Any]:
    """Runs the pipeline; returns what it took, and its nodes took, with what the processes of the engine took."""
    chosen = argparse.Namespace(config=options.config, overrides=overrides)
    workspace.mkdir()
    before = cpu_seconds(processes)
    command = pipeline.flightdeck_command(chosen, workspace, folder / "spans")
    taken = measure(command, pipeline.ROOT, workspace)
    summary = json.loads((workspace / "stdout").read_text())
    nodes = {
        node["node_id"]: {name: node[name] for name in ("seconds", "cpu_seconds", "peak_mb")}
        for node in summary["nodes"]
        if node["engine"] or node["node_id"] == "Trainer"
    }
    return {
        **taken,
        "engine_cpu_seconds": cpu_seconds(processes) - before,
        "rows": summary["rows"],
        # To what predictions may differ by.
        "metrics": {name: round(value, 6) for name, value in summary["metrics"].items()},
        "nodes": nodes,
    }


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """What processes and all below them have taken so far."""
    total = 0.0
    for process in (below for above in processes for below in (above, *above.children(recursive=True))):
        with contextlib.suppress(psutil.NoSuchProcess):  # then its parent has its times
            total += sum(process.cpu_times()[:4])  # its own, and those of children that have ended
    return total


if __name__ == "__main__":
    sys.exit(main())

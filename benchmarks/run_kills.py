"""Kills `flightdeck run` with SIGKILL at random moments, and compares the run after them with an undisturbed one.

    python -m benchmarks.run_kills [--kills 20] [--seed 0]

Real flights, few of them. Exit code 1 if the metrics differ, or if anything of the killed runs is left.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2

from ledger.opening import open_readonly
from tests.killing import killed_after
from tests.world import World

# Of the processors; until then the command reads its settings and has not named its run.
_EARLIEST_SECONDS = 4.0


def main() -> int:
    """Runs, kills, compares, and prints what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flightdeck-kills-") as name:
        folder = Path(name)
        spans = _spans(folder)
        # A process of its own that imports everything, as the killed ones do: its CPU time is what is measured.
        whole = World(folder / "undisturbed", spans).run(imports_anew=True)
        used = _processor_seconds()
        print(f"undisturbed: {whole['seconds']:.0f} s, {used:.0f} s of the processors", flush=True)

        world, moments = World(folder / "killed", spans), random.Random(given.seed)
        command = [sys.executable, "-m", "flightdeck", "run", "--no-cache", *world.options()]
        began, killed = time.monotonic(), 0
        while killed < given.kills:
            killed += killed_after(command, moments.uniform(_EARLIEST_SECONDS, used)) is None
            print(f"  killed {killed}: {time.monotonic() - began:.0f} s", flush=True)
        print(world.flightdeck("runs", "list", "--limit", "0").stdout)
        print(world.flightdeck("run").stdout)
        print(world.flightdeck("runs", "list", "--limit", "0").stdout)
        return _judged(world, whole)


def _spans(folder: Path) -> Path:
    from data.prepare import prepare, slice_spans

    prepare(folder / "all")
    slice_spans(folder / "all", folder / "spans", rows_per_span=1500, spans=(1, 2, 3))
    return folder / "spans"


def _processor_seconds() -> float:
    """Of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _judged(world: World, whole: dict[str, Any]) -> int:
    """1 if something is left of the killed runs, or the last run is not as the undisturbed one."""
    last = json.loads(world.flightdeck("runs", "show", "latest", "--json").stdout)
    equal = last["metrics"] == whole["metrics"]
    executions = open_readonly(world.connection()).get_executions()
    states = Counter(metadata_store_pb2.Execution.State.Name(execution.last_known_state) for execution in executions)
    ended = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)
    unfinished = [execution.id for execution in executions if execution.last_known_state not in ended]
    artifacts = world.workspace / "artifacts"
    left = [path for number in unfinished for path in artifacts.rglob(str(number))]
    left += [path for name in (".temp_path", ".temp", "beam-temp*") for path in artifacts.rglob(name)]
    left += list(artifacts.glob("*/.system/stateful_working_dir/*"))
    print(f"metrics {'equal' if equal else 'NOT EQUAL'}: {last['metrics']}")
    print(f"executions: {dict(states)}; left of those that did not end: {[str(path) for path in left] or 'nothing'}")
    return int(not equal or bool(left) or states["RUNNING"] > 0)


if __name__ == "__main__":
    sys.exit(main())

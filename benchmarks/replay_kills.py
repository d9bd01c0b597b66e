"""Kills a replay with SIGKILL at twenty random moments, and compares its ledger with that of an undisturbed one.

    python -m benchmarks.replay_kills [--kills 20] [--seed 0]

Real flights, few of them, with a fault; levels 1 and 2. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from ledger.opening import open_readonly
from operations.loop.replay import canonical, plan
from pipeline.store import connection
from tests.operations.loop.replay import small_replay

_OPTIONS = ("--level", "1,2", "--months", "3:6", "--fault", "renamed@4", "--name", "tried")
# Of the processors, until a kill; some twenty of them are imports, so a replay gets on by little each time.
_SECONDS = (14.0, 26.0)


def main() -> int:
    """Plays, kills, compares, and prints what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flightdeck-kills-") as name:
        folder = Path(name)
        spans = _spans(folder)
        began = time.monotonic()
        small_replay.play(folder / "undisturbed", spans, *_OPTIONS)
        print(f"undisturbed: {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        killed = small_replay.play_killed(folder / "killed", spans, given.kills, _SECONDS, given.seed, *_OPTIONS)
        print(f"killed {killed} times: {time.monotonic() - began:.0f} s")
        return max(_compare(folder, spans, level) for level in (1, 2))


def _spans(folder: Path) -> Path:
    from data.prepare import prepare, slice_spans

    prepare(folder / "all")
    slice_spans(folder / "all", folder / "spans", rows_per_span=small_replay.ROWS, spans=range(1, 7))
    return folder / "spans"


def _compare(folder: Path, spans: Path, level: int) -> int:
    records, wrong = [], []
    for which in ("undisturbed", "killed"):
        shared = small_replay.settings(folder / which, spans)
        settings = plan.level_settings(shared, plan.root_of(shared, "tried"), level)
        store = open_readonly(connection(settings))
        records.append(canonical.record(settings, store))
        wrong += [f"{which}: {problem}" for problem in canonical.problems(settings, store)]
    once, again = records
    different = [key for key in once if once[key] != again[key]]
    for key in different:
        print(f"level {level}: {key} differ:\n  {json.dumps(once[key])[:2000]}\n  {json.dumps(again[key])[:2000]}")
    for problem in wrong:
        print(f"level {level}: {problem}")
    counts = ", ".join(f"{len(value)} {key}" for key, value in once.items())
    print(f"level {level}: {'equal' if not different and not wrong else 'NOT EQUAL'} ({counts})")
    return int(bool(different or wrong))


if __name__ == "__main__":
    sys.exit(main())

"""Plays the year under each level of maturity, and writes what each is worth into the pages that tell it.

    python -m benchmarks.replay --write

Without a fault all levels are played; with each fault level 2 alone, which is the one that reacts. What has been played
is not played again (`flightdeck replay` resumes). With `--write` the figures go into ``docs/replay.json``, and from
there into the rows of the README and of docs/replay.md that quote them.
"""

from __future__ import annotations

import argparse
import calendar
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import pipeline

FAULTS = ("celsius@7", "renamed@7", "poisoned@7")
FIGURES = pipeline.ROOT / "docs" / "replay.json"
README, PAGE = "README.md", "docs/replay.md"


def main() -> int:
    """Plays; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--faults", nargs="*", default=FAULTS, metavar="NAME@SPAN", help=f"default: {' '.join(FAULTS)}")
    parser.add_argument("--write", action="store_true", help="write docs/replay.json and the pages that quote it")
    options = parser.parse_args()
    chosen = [f"--set={override}" for override in options.overrides]
    clean = _play(*chosen)
    faults = {fault: _play("--level=2", f"--fault={fault}", *chosen) for fault in options.faults}
    document = figures(clean, faults) | {"machine": pipeline.machine()}
    for name in (README, PAGE):
        for beginning, row in rows(document, name):
            print(row)
            if options.write:
                pipeline.quote(pipeline.ROOT / name, beginning, row)
    if options.write:
        FIGURES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def _play(*options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "flightdeck", "replay", "--json", *options]
    print(f"flightdeck {' '.join(command[3:])}", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=pipeline.ROOT, stdout=subprocess.PIPE, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def figures(clean: Mapping[str, Any], faults: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the pages quote of the documents of the replays: without what happened when, which is long."""
    return {
        "clean": {"levels": [_without_events(level) for level in clean["levels"]], "comparisons": clean["comparisons"]},
        "faults": {fault: _without_events(played["levels"][0]) for fault, played in faults.items()},
    }


def _without_events(level: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in level.items() if name != "events"}


def rows(document: Mapping[str, Any], page: str) -> Iterator[tuple[str, str]]:
    """The rows of a page that quote figures, each with how it begins."""
    levels = document["clean"]["levels"]
    counted = [f"{level['trainings']}, {level['deployments']}, {level['rollbacks']}" for level in levels]
    if page == README:
        yield _row("log loss of what was answered", (f"{level['log_loss']:.3f}" for level in levels))
        yield _row("AUC", (f"{level['auc']:.3f}" for level in levels))
        yield _row("trainings, deployments, rollbacks", counted)
        yield "Level 2 is better than level 1 by", _better(document)
        return
    for position, month in enumerate(levels[0]["months"]):
        yield _row(_name(month), (f"{level['months'][position]['log_loss']['value']:.4f}" for level in levels))
    yield _row("all", (f"{level['log_loss']:.4f}" for level in levels))
    yield _row("AUC of all", (f"{level['auc']:.4f}" for level in levels))
    yield _row("trainings, deployments, rollbacks", counted)
    yield "Level 2 is better than level 1 by", _better(document)
    yield "Signals exceeded at level 2:", _alarms(levels[-1])
    for fault, level in document["faults"].items():
        yield _row(f"`{fault}`", _outcome(level, levels[-1]))


def _row(name: str, cells: Any) -> tuple[str, str]:
    return f"| {name} |", f"| {name} | {' | '.join(cells)} |"


def _name(month: Mapping[str, Any]) -> str:
    return calendar.month_name[int(month["month"].partition("-")[2])]


def _better(document: Mapping[str, Any]) -> str:
    """By how much the log loss of level 2 is lower; 95 %, paired bootstrap over all requests."""
    lower = {
        other["against"]: f"{-other['difference']:.4f} ({-other['high']:.4f} to {-other['low']:.4f})"
        for other in document["clean"]["comparisons"]
        if other["level"] == 2 and other["metric"] == "log_loss"
    }
    return f"Level 2 is better than level 1 by {lower[1]}, and than level 0 by {lower[0]}."


def _alarms(level: Mapping[str, Any]) -> str:
    kinds = (f"{alarm['kind']} {alarm['exceeded']} of {alarm['judged']}" for alarm in level["false_alarms"])
    return f"Signals exceeded at level 2: {', '.join(kinds)}."


def _outcome(level: Mapping[str, Any], clean: Mapping[str, Any]) -> Iterator[str]:
    """What became of a fault: when it was found, what was done, and the log loss then and after, with and without."""
    fault, months = level["fault"], [month["month"] for month in level["months"]]
    found, position = fault["detected_after_days"], months.index(fault["month"])
    named = f"{'names' if fault['named'] else 'does not name'} `{fault['column']}`"
    yield "never" if found is None else f"after {found:.0f} days, {named}"
    yield fault["action"] or "nothing"
    for month in (position, position + 1):
        for played in (level, clean):
            yield f"{played['months'][month]['log_loss']['value']:.4f}"


if __name__ == "__main__":
    sys.exit(main())

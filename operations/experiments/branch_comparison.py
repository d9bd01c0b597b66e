"""Trains at the commit that a branch left the main one, so that the two can be compared, and writes what came out.

The older commit is checked out into a worktree of its own and runs its own code, with its own settings, on the same
spans and into the same metadata store. What does not differ between the two is taken from the cache there.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from errors import FlightdeckError
from ledger.comparison import Comparison, MetricChange
from ledger.directions import of_metric
from ledger.formats import interval, number, signed
from ledger.run_facts import evaluation_data
from ledger.run_record import RunRecord
from operations.experiments.reproduction.worktree import add, environment_of, git, remove
from pipeline import stamp

_SETTINGS_FOLDER = "config"
_WORDS = {
    "better": "**better**",
    "worse": "**worse**",
    "higher": "**higher**",
    "lower": "**lower**",
    "within noise": "no different: within noise",
    "unknown": "not tested",
}


def merge_base(project: Path, main: str) -> str:
    """The commit at which the checked-out branch left another one, 40 hexadecimal digits.

    Raises:
        FlightdeckError: there is no such branch here, or no common commit, as in a shallow clone.
    """
    if main.startswith("-"):
        raise FlightdeckError(f"`{main}` is not the name of a branch.")
    done = git(project, "merge-base", "HEAD", main)
    if done.returncode:
        said = " ".join(done.stderr.split())[:200]
        raise FlightdeckError(
            f"There is no common commit of this branch and `{main}`{f' ({said})' if said else ''}; "
            "fetch it, with its history: git fetch --unshallow origin, or fetch-depth: 0 in a workflow."
        )
    return done.stdout.strip()


@contextlib.contextmanager
def worktree(project: Path, commit: str) -> Iterator[Path]:
    """A commit in a temporary folder of its own.

    Raises:
        ReproductionError: git refuses.
    """
    with tempfile.TemporaryDirectory(prefix="flightdeck-main-") as parent:
        folder = Path(parent) / "checkout"
        try:
            add(project, commit, folder)
            yield folder
        finally:
            remove(project, folder)


def train_there(checkout: Path, config: Path, overrides: list[str], workspace: str, spans: str) -> str:
    """Runs the pipeline of another checkout on the same spans and in `workspace`, and returns the run's name.

    The settings file of this checkout is laid beside those there, which it extends: what is asked of both is the same,
    and all else is each one's own.

    Raises:
        FlightdeckError: the run failed, or that commit does not understand the settings.
    """
    file = checkout / _SETTINGS_FOLDER / config.name
    file.write_bytes(config.read_bytes())
    places = [f"workspace={json.dumps(workspace)}", f"data.spans={json.dumps(spans)}"]
    options = [part for override in (*overrides, *places) for part in ("--set", override)]
    done = subprocess.run(
        [sys.executable, "-m", "flightdeck", "run", "--config", str(file), "--json", *options],
        cwd=checkout, env=environment_of(checkout), capture_output=True, text=True,
    )  # fmt: skip
    try:
        summary = json.loads(done.stdout)
        outcome, run_id, reasons = summary["outcome"], summary["run_id"], summary["reasons"]
    except (ValueError, KeyError):
        said = " ".join(done.stderr.split()[-60:]) or f"it ended with exit code {done.returncode}"
        raise FlightdeckError(f"The older code could not be run: {said}") from None
    if outcome == "failed":
        raise FlightdeckError(f"The run of the older code failed: {'; '.join(reasons)}")
    return run_id


def same_packages(project: Path, checkout: Path) -> bool:
    """Whether two checkouts pin the same packages; if not, the older code was run with those of the newer."""
    one, other = project / stamp.LOCK, checkout / stamp.LOCK
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def markdown(comparison: Comparison, directions: Mapping[str, str], packages_differ: bool) -> str:
    """The comparison as a comment on a pull request.

    The first run is main's, the second one the branch's; `directions` says of metrics whether ``higher`` or ``lower``
    is better. Nothing that the runs recorded is taken for markup.
    """
    lines = [
        "### Metrics of this branch against main",
        "",
        f"Trained on a small window, evaluated on {_plain(evaluation_data(comparison.second))}. "
        f"Main: {_commit(comparison.first)}, {_plain(comparison.first.outcome)}. "
        f"This branch: {_commit(comparison.second)}, {_plain(comparison.second.outcome)}.",
        "",
        "| metric | better is | main | this branch | change | 95 % interval | this branch is |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    changes = {change.name: change for change in comparison.metrics}
    names = {*comparison.first.metrics, *comparison.second.metrics}
    for name in sorted(names, key=lambda name: (name != comparison.main_metric, name)):
        value = number(comparison.second.metrics.get(name))
        cells = _change(changes[name]) if name in changes else (value, value, "0", "-", "the same")
        lines.append(f"| {' | '.join((_plain(name), of_metric(directions, name) or '-', *cells))} |")
    lines.append("")
    if not comparison.metrics:
        lines += ["No metric differs.", ""]
    if comparison.why_not:
        lines += [f"No change was tested: {_plain(comparison.why_not)}", ""]
    elif comparison.tested:
        lines += [
            f"The same {comparison.tested.rows:,} rows in both, so the intervals are of the change itself "
            f"({comparison.tested_by}). Intervals hold the noise of sampling, not that of training.",
            "",
        ]
    if worse := [part for part in comparison.slices if part.metric.verdict == "worse"]:
        lines += [
            f"Slices that are worse beyond noise, corrected for how many there are ({len(comparison.slices)}):",
            "",
        ]
        lines += [f"- {_code(part.slice)}: {signed(part.metric.delta)}" for part in worse[:10]]
        lines += [f"- and {len(worse) - 10} more"] * (len(worse) > 10) + [""]
    if differing := [name for name, changed in comparison.sections.items() if changed and name != "outcome"]:
        lines += [f"What differs between the runs: {_plain(', '.join(differing))}.", ""]
    if packages_differ:
        lines += ["The lock files differ; main's code was run with the packages of this branch.", ""]
    return "\n".join(lines)


def unavailable(reason: str) -> str:
    """The comment when there is nothing to compare with."""
    return f"### Metrics of this branch against main\n\nThere is no comparison: {_plain(reason)}\n"


def _change(change: MetricChange) -> tuple[str, ...]:
    within = interval(change.noise, signed) if change.noise and change.p_value is not None else "-"
    verdict = _WORDS.get(change.verdict, change.verdict)
    return number(change.first), number(change.second), signed(change.delta), within, verdict


def _commit(record: RunRecord) -> str:
    return _code(record.code.short(12) or "unknown")


def _plain(text: str) -> str:
    """Text that Markdown leaves alone: it comes from a branch that anybody may have written."""
    text = " ".join(text.split())[:500].replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{char}" if char in "\\`*[]|~#!" else "&#64;" if char == "@" else char for char in text)


def _code(text: str) -> str:
    return f"`{' '.join(text.split()).replace('`', chr(39)).replace('|', '/')[:100]}`"

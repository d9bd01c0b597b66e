"""Shows what came of a reproduction, or why there can be none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flightdeck.console import shown, table

if TYPE_CHECKING:
    from rich.console import Console

    from ledger.run_record import RunRecord
    from operations.experiments.reproduction.circumstances import Circumstances, Difference, Original
    from operations.experiments.reproduction.models import Comparison

# Of one kind; --json has all.
_MOST = 12
_TITLES = {"code": "Code", "packages": "Packages", "data": "Data", "settings": "Settings"}


def ways_out(original: Original, found: Circumstances, checkout: Path, project: Path) -> list[str]:
    """What a person can do when a run cannot be made again as things are, one sentence each.

    Args:
        original: the run.
        found: what is not as it was.
        checkout: that this code runs from.
        project: where the use case lives, which may be the checkout.
    """
    from operations.experiments.reproduction import worktree
    from operations.experiments.reproduction.circumstances import LOCK_FILE

    record = original.record
    aspects = {each.aspect for each in found.differences}
    relocked = any(each.name == LOCK_FILE for each in found.differences)
    ways = []
    if "code" in aspects or relocked:
        if record.commit is None:
            ways.append("The run's code was in no git commit, so it cannot be checked out.")
        elif project != checkout:
            ways.append(
                f"With the code of the run: check out commit {record.commit[:12]} in {checkout}, and "
                f"{(record.use_case_commit or 'none')[:12]} in {project}"
            )
        elif worktree.has_commit(checkout, record.commit):
            with_changes = ", with the changes it had on top" if record.dirty else ""
            ways.append(
                f"With the code of the run{with_changes}, in a worktree of its own: "
                f"flightdeck runs reproduce {record.run_id} --at {record.commit[:12]}"
            )
        else:
            ways.append(f"Commit {record.commit[:12]}, which has the code of the run, is not at hand: git fetch --all")
    elif "packages" in aspects:
        ways.append("For the packages of the lock file: requirements/install.sh runtime")
    if "data" in aspects:
        ways.append("For the data: put the files back as they were, or name another copy: --set data.spans=FOLDER")
    if found.differences:
        ways.append("To go on nevertheless, and see what it changes: --allow-different")
    return ways


def refusal(original: Original, found: Circumstances, problem: str | None, ways: Sequence[str]) -> str:
    """The text for a run that cannot be made again as things are."""
    what = " and ".join(_TITLES[each].lower() for each in _TITLES if _of(found, each))
    run = original.record.run_id
    lines = [f"Run {run} cannot be reproduced like this: its {what} {_is(what)} not what is here." if what else ""]
    for aspect, title in _TITLES.items():
        different = _of(found, aspect)
        lines += [f"{title}: {each.sentence()}." for each in different[:_MOST]]
        if len(different) > _MOST:
            lines.append(f"{title}: and {len(different) - _MOST} more; --json has all.")
    lines += [problem or "", *found.notes, *ways]
    return "\n".join(line for line in lines if line)


def refusal_json(original: Original, found: Circumstances, problem: str | None, ways: Sequence[str]) -> str:
    """The same for programs."""
    return json.dumps(
        {
            "original": original.record.run_id,
            "run_id": None,
            "reproducible": False,
            "identical": None,
            "differences": [each.document() for each in found.differences],
            "problem": problem,
            "notes": list(found.notes),
            "ways_out": list(ways),
        },
        indent=2,
    )


def result_json(original: Original, found: Circumstances, record: RunRecord, comparison: Comparison | None) -> str:
    """What came of a reproduction, for programs."""
    return json.dumps(
        {
            "original": original.record.run_id,
            "run_id": record.run_id,
            "reproducible": True,
            "identical": None if comparison is None else comparison.identical,
            "outcome": record.outcome,
            "reasons": list(record.reasons),
            "differences": [each.document() for each in found.differences],
            "notes": list(found.notes),
            "comparison": None if comparison is None else comparison.document(),
            "commit": record.code.commit,
            "seconds": record.seconds,
        },
        indent=2,
    )


def print_circumstances(found: Circumstances, on: Console) -> None:
    """Says, before the run, how things compare with those of the original."""
    same = [title.lower() for aspect, title in _TITLES.items() if aspect != "settings" and not _of(found, aspect)]
    if same:
        on.print(f"The same     {', '.join(same)}", markup=False)
    for each in found.differences[:_MOST]:
        on.print(f"Different    {each.sentence()}", markup=False)
    if len(found.differences) > _MOST:
        on.print(f"             and {len(found.differences) - _MOST} more")
    for note in found.notes:
        on.print(f"Note         {note}", markup=False)


def print_result(
    original: Original, found: Circumstances, record: RunRecord, comparison: Comparison | None, log: Path, on: Console
) -> None:
    """Prints what came of a reproduction."""
    on.print()
    if comparison is None:
        on.print("Result       [bold red]failed[/]")
        for reason in record.reasons:
            on.print(f"             {reason}", markup=False)
        on.print(f"             Full log: {shown(log)}", markup=False)
        return
    if comparison.identical:
        on.print(
            f"Result       [bold green]identical[/]: {comparison.variables} variables with {comparison.values:,} "
            f"numbers, bit by bit, and {comparison.metrics} metrics over all rows and {comparison.slices} slices"
        )
    else:
        on.print("Result       [bold red]not identical[/]")
        for reason in record.reasons:
            on.print(f"             {reason}", markup=False)
        _print_different(comparison, on)
        if not found.differences:
            on.print(
                f"Code, packages and data are the same, so it is the machine: the run was made on "
                f"{original.record.host or 'an unknown one'}, and this is {record.host}. A GPU, another processor or "
                "another Beam runner may round otherwise."
            )
    on.print(
        f"Recorded     as run {record.run_id}, a reproduction of {original.record.run_id}; {record.seconds or 0:.0f} s"
    )


def _print_different(comparison: Comparison, on: Console) -> None:
    variables, metrics = comparison.different_variables, comparison.different_metrics
    if variables:
        on.print()
        table(
            ["variable", "original", "reproduction", "largest difference"],
            [
                (each.name, each.original or "-", each.reproduction or "-", _written(each.largest))
                for each in variables[:_MOST]
            ],
            on=on,
        )
        _print_more(len(variables), on)
    if metrics:
        on.print()
        table(
            ["metric", "on", "original", "reproduction", "change"],
            [
                (
                    each.metric,
                    each.slice or "all rows",
                    _written(each.original),
                    _written(each.reproduction),
                    "-"
                    if each.original is None or each.reproduction is None
                    else f"{each.reproduction - each.original:+.3g}",
                )
                for each in metrics[:_MOST]
            ],
            on=on,
        )
        _print_more(len(metrics), on)


def _print_more(number: int, on: Console) -> None:
    if number > _MOST:
        on.print(f"and {number - _MOST} more; flightdeck runs show RUN --document verdict has all")


def _is(what: str) -> str:
    return "are" if " and " in what or what.endswith("s") else "is"


def _of(found: Circumstances, aspect: str) -> list[Difference]:
    return [each for each in found.differences if each.aspect == aspect]


def _written(value: Any) -> str:
    return "-" if value is None else f"{value:.10g}"

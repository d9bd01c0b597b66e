"""Shows what came of a reproduction, or why there can be none."""

from __future__ import annotations

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


def ways_out(original: Original, circumstances: Circumstances, checkout: Path, project: Path) -> list[str]:
    """What a person can do when a run cannot be made again as things are, one sentence each.

    Args:
        original: the run.
        circumstances: what is not as it was.
        checkout: that this code runs from.
        project: where the use case lives, which may be the checkout.
    """
    from operations.experiments.reproduction import worktree
    from operations.experiments.reproduction.circumstances import LOCK_FILE

    record = original.record
    aspects = {difference.aspect for difference in circumstances.differences}
    relocked = any(difference.name == LOCK_FILE for difference in circumstances.differences)
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
    if circumstances.differences:
        ways.append("To go on nevertheless, and see what it changes: --allow-different")
    return ways


def refusal(original: Original, circumstances: Circumstances, problem: str | None, ways: Sequence[str]) -> str:
    """The text for a run that cannot be made again as things are."""
    what = " and ".join(title.lower() for aspect, title in _TITLES.items() if _of(circumstances, aspect))
    run = original.record.run_id
    lines = [f"Run {run} cannot be reproduced like this: its {what} {_is(what)} not what is here." if what else ""]
    for aspect, title in _TITLES.items():
        different = _of(circumstances, aspect)
        lines += [f"{title}: {difference.sentence()}." for difference in different[:_MOST]]
        if len(different) > _MOST:
            lines.append(f"{title}: and {len(different) - _MOST} more; --json has all.")
    lines += [problem or "", *circumstances.notes, *ways]
    return "\n".join(line for line in lines if line)


def refusal_document(
    original: Original, circumstances: Circumstances, problem: str | None, ways: Sequence[str]
) -> dict[str, Any]:
    """The same for programs."""
    further = {"run_id": None, "reproducible": False, "identical": None, "problem": problem, "ways_out": ways}
    return _circumstances(original, circumstances) | further


def result_document(
    original: Original, circumstances: Circumstances, record: RunRecord, comparison: Comparison | None
) -> dict[str, Any]:
    """What came of a reproduction, for programs."""
    return _circumstances(original, circumstances) | {
        "run_id": record.run_id,
        "reproducible": True,
        "identical": comparison and comparison.identical,
        "outcome": record.outcome,
        "reasons": record.reasons,
        "comparison": comparison and comparison.document(),
        "commit": record.code.commit,
        "seconds": record.seconds,
    }


def _circumstances(original: Original, circumstances: Circumstances) -> dict[str, Any]:
    differences = [difference.document() for difference in circumstances.differences]
    return {"original": original.record.run_id, "differences": differences, "notes": circumstances.notes}


def print_circumstances(circumstances: Circumstances, on: Console) -> None:
    """Says, before the run, how things compare with those of the original."""
    same = [
        title.lower() for aspect, title in _TITLES.items() if aspect != "settings" and not _of(circumstances, aspect)
    ]
    if same:
        on.print(f"The same     {', '.join(same)}", markup=False)
    for difference in circumstances.differences[:_MOST]:
        on.print(f"Different    {difference.sentence()}", markup=False)
    if len(circumstances.differences) > _MOST:
        on.print(f"             and {len(circumstances.differences) - _MOST} more")
    for note in circumstances.notes:
        on.print(f"Note         {note}", markup=False)


def print_result(
    original: Original,
    circumstances: Circumstances,
    record: RunRecord,
    comparison: Comparison | None,
    log: Path,
    on: Console,
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
        if not circumstances.differences:
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
    rows = [
        (variable.name, variable.original or "-", variable.reproduction or "-", _written(variable.largest))
        for variable in variables
    ]
    _print_rows(["variable", "original", "reproduction", "largest difference"], rows, on)
    rows = []
    for metric in metrics:
        old, new = metric.original, metric.reproduction
        change = "-" if old is None or new is None else f"{new - old:+.3g}"
        rows.append((metric.metric, metric.slice or "all rows", _written(old), _written(new), change))
    _print_rows(["metric", "on", "original", "reproduction", "change"], rows, on)


def _print_rows(columns: Sequence[str], rows: Sequence[tuple[str, ...]], on: Console) -> None:
    if rows:
        on.print()
        table(columns, rows[:_MOST], on=on)
    if len(rows) > _MOST:
        on.print(f"and {len(rows) - _MOST} more; flightdeck runs show RUN --document verdict has all")


def _is(what: str) -> str:
    return "are" if " and " in what or what.endswith("s") else "is"


def _of(circumstances: Circumstances, aspect: str) -> list[Difference]:
    return [difference for difference in circumstances.differences if difference.aspect == aspect]


def _written(value: Any) -> str:
    return "-" if value is None else f"{value:.10g}"

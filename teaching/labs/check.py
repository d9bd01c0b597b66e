"""Grades a student's notebook: their answers, the lab's own cells and hidden tests, one clean kernel."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from teaching.labs import execution
from teaching.labs.catalogue import Lab, LabError
from teaching.labs.execution import DELETED, UNTOUCHED, Stop, Verdict, judge
from teaching.labs.source import TESTS, grade_id, read, student_version, tests_of

if TYPE_CHECKING:
    from nbformat import NotebookNode


def check(
    lab: Lab,
    notebook: Path,
    progress: Callable[[str], None] = lambda text: None,
    cell_seconds: int = execution.CELL_SECONDS,
) -> tuple[Verdict, ...]:
    """Grades every exercise of a student's notebook, in the lab's order; the notebook itself is not touched.

    The cells run in the student's order, with those that the student added; the lab's own and the tests are taken from
    the source, so that an edited one grades nothing. Nothing runs after the last exercise that was tried.

    Raises:
        LabError: the notebook cannot be read, or is of another lab.
    """
    source = read(lab)
    submitted = _opened(notebook)
    answers = _answers(submitted)
    if not answers.keys() & {grade_id(cell) for cell in source.cells if cell.metadata.nbgrader.solution}:
        raise LabError(f"{notebook} is not a notebook of the lab {lab.name}.")
    stubs = _answers(student_version(source))
    tried = [name for name in lab.exercises if name in answers and answers[name].strip() != stubs[name].strip()]
    ran = _executed(lab, _merged(source, submitted), tried[-1], progress, cell_seconds) if tried else {}

    def verdict(name: str) -> Verdict:
        if name not in answers:
            return Verdict(name, passed=False, reason=DELETED)
        if name not in tried:
            return Verdict(name, passed=False, reason=UNTOUCHED)
        return judge(name, ran[name].stop, ran[tests_of(name)].stop, ran[name].before)

    return tuple(verdict(name) for name in lab.exercises)


class _Ran(NamedTuple):
    """How a cell stopped, if it did, and the first one before it that broke the notebook."""

    stop: Stop | None
    before: Stop | None


def _executed(
    lab: Lab, notebook: NotebookNode, last: str, progress: Callable[[str], None], cell_seconds: int
) -> dict[str, _Ran]:
    progress("Starting a kernel")
    ran: dict[str, _Ran] = {}
    broken: Stop | None = None
    with execution.kernel(lab, cell_seconds) as kernel:
        for number, cell in enumerate(notebook.cells, start=1):
            name = grade_id(cell)
            if cell.cell_type == "code":
                progress(f"Cell {number} of {len(notebook.cells)}" + (f": {name}" if name in lab.exercises else ""))
            stop = kernel.run(cell)
            if name is not None:
                ran[name] = _Ran(stop, broken)
            if stop is not None and broken is None and (kernel.dead or not (name or "").endswith(TESTS)):
                broken = stop
            if name == tests_of(last):
                break
    return ran


def _merged(source: NotebookNode, submitted: NotebookNode) -> NotebookNode:
    """The source, with the student's answers and, where they stand, the cells that the student added."""
    answers = _answers(submitted)
    known = {grade_id(cell) for cell in source.cells}
    added: dict[str | None, list[NotebookNode]] = {}
    after: str | None = None
    for cell in submitted.cells:
        name = grade_id(cell)
        if name in known:
            after = name
        elif cell.cell_type == "code":
            fresh = copy.deepcopy(cell)
            fresh.metadata.pop("nbgrader", None)
            added.setdefault(after, []).append(fresh)
    merged = copy.deepcopy(source)
    cells = added.get(None, [])
    for cell in merged.cells:
        name = grade_id(cell)
        if name is not None and cell.metadata.nbgrader.solution:
            cell.source = answers.get(name, "raise NotImplementedError()")
        cells += [cell, *added.get(name, [])]
    merged.cells = cells
    return merged


def _answers(notebook: NotebookNode) -> dict[str, str]:
    return {
        name: cell.source
        for cell in notebook.cells
        if (name := grade_id(cell)) is not None and cell.metadata.nbgrader.get("solution")
    }


def _opened(path: Path) -> NotebookNode:
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.setdefault("source", "")
    except OSError as error:
        raise LabError(f"The notebook {path} cannot be read: {error.strerror}.") from error
    # nbformat stumbles over what is JSON and no notebook, such as a list.
    except (ValueError, LookupError, TypeError, AttributeError, nbformat.ValidationError) as error:
        raise LabError(f"{path} is not a whole notebook: {str(error).splitlines()[0]}") from error
    return notebook

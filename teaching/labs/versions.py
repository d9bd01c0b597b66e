"""The versions of a lab that people get, made by nbgrader's own preprocessors from the source notebook."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

_MARKER = re.compile(r"^\s*### (BEGIN|END) (SOLUTION|HIDDEN TESTS)\s*$\n?", re.MULTILINE)


def student(source: NotebookNode) -> NotebookNode:
    """What a student starts from: no solutions, no hidden tests, the lab's own cells locked.

    The same steps as ``nbgrader generate_assignment``, without its database.
    """
    from nbgrader import preprocessors

    steps = (
        preprocessors.LockCells,
        preprocessors.ClearSolutions,
        preprocessors.ClearOutput,
        preprocessors.CheckCellMetadata,
        preprocessors.ClearHiddenTests,
        preprocessors.ComputeChecksums,
        preprocessors.CheckCellMetadata,
    )
    return _processed(source, steps)


def solution(source: NotebookNode) -> NotebookNode:
    """What a teacher shows afterwards: solutions and hidden tests in place, without the lines that mark them."""
    from nbgrader import preprocessors

    notebook = _processed(source, (preprocessors.LockCells, preprocessors.ClearOutput, preprocessors.CheckCellMetadata))
    for cell in notebook.cells:
        cell.source = _MARKER.sub("", cell.source).rstrip("\n")
    return notebook


def grade_id(cell: NotebookNode) -> str | None:
    """How nbgrader calls a cell, or None for one that a student has added."""
    marked = cell.metadata.get("nbgrader")
    return marked.get("grade_id") if isinstance(marked, dict) else None


def _processed(source: NotebookNode, steps: tuple) -> NotebookNode:
    import copy

    notebook, resources = copy.deepcopy(source), {}
    for step in steps:
        notebook, resources = step().preprocess(notebook, resources)
    return notebook

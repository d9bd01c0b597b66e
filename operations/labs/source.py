"""From a lab's source, a reviewable Python file, to the source notebook that nbgrader works on.

A cell says in its header what it is, and nbgrader's metadata follow from it::

    # %% exercise="NAME"          the student's: from BEGIN SOLUTION to END SOLUTION is what they have to find
    # %% tests="NAME" points=2    grades it: from BEGIN HIDDEN TESTS to END HIDDEN TESTS is not in their copy
    # %%                          any other cell belongs to the lab and cannot be edited
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from operations.labs.catalogue import Lab, LabError

if TYPE_CHECKING:
    from nbformat import NotebookNode

TESTS = "-tests"


def tests_of(exercise: str) -> str:
    """The `grade_id` of the cell that grades an exercise; that of its own cell is the exercise's name."""
    return exercise + TESTS


def read(lab: Lab) -> NotebookNode:
    """The source notebook: every cell with nbgrader's metadata (schema 3), solutions and hidden tests in it.

    Raises:
        LabError: an exercise without tests right after it, a name that is used twice, a test that cannot say in words
            what is wrong, or the packages of the labs are not installed.
    """
    try:
        import jupytext
        from nbformat import NotebookNode
    except ImportError as error:
        raise LabError("The labs need packages of their own; install them with: make labs") from error

    notebook = jupytext.read(lab.source, fmt="py:percent")
    notebook.metadata.pop("jupytext", None)
    seen: set[str] = set()
    previous = ""
    for number, cell in enumerate(notebook.cells, start=1):
        marked = _marked(cell, number)
        grade_id = marked["grade_id"]
        if grade_id in seen:
            raise LabError(f"{lab.source} has two cells called {grade_id}.")
        if marked["grade"] and grade_id.removesuffix(TESTS) != previous:
            raise LabError(f"{lab.source}: the tests of {grade_id.removesuffix(TESTS)} must follow its cell at once.")
        if marked["grade"]:
            _require_sentences(cell.source, lab, grade_id)
        seen.add(grade_id)
        previous = grade_id
        cell.metadata = NotebookNode(nbgrader=NotebookNode(marked))
        cell.id = grade_id  # the same at every reading, which a drawn one would not be
    untested = [name for name in lab.exercises if tests_of(name) not in seen]
    if untested:
        raise LabError(f"{lab.source} has no tests of the exercise {untested[0]}.")
    return notebook


def _marked(cell: NotebookNode, number: int) -> dict:
    exercise, tests = cell.metadata.get("exercise"), cell.metadata.get("tests")
    marked = {"schema_version": 3, "task": False, "grade": False, "solution": False, "locked": True}
    if exercise:
        return {**marked, "grade_id": exercise, "solution": True, "locked": False}
    if tests:
        return {**marked, "grade_id": tests_of(tests), "grade": True, "points": cell.metadata.get("points", 1)}
    return {**marked, "grade_id": f"cell-{number:02d}"}


def _require_sentences(code: str, lab: Lab, cell: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Assert) and node.msg is None:
            raise LabError(f"{lab.source}: an assert of {cell} has no message, so a student would learn nothing.")

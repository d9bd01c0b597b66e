"""From a lab's source, a reviewable Python file, to the notebooks that nbgrader, students and teachers work on.

A cell says in its header what it is, and nbgrader's metadata follow from it::

    # %% exercise="NAME"          the student's: from BEGIN SOLUTION to END SOLUTION is what they have to find
    # %% tests="NAME" points=2    grades it: from BEGIN HIDDEN TESTS to END HIDDEN TESTS is not in their copy
    # %%                          any other cell belongs to the lab and cannot be edited
"""

from __future__ import annotations

import ast
import copy
import re
from typing import TYPE_CHECKING

from teaching.labs.catalogue import Lab, LabError

if TYPE_CHECKING:
    from nbformat import NotebookNode

TESTS = "-tests"
HIDDEN = re.compile(r"^ *### BEGIN HIDDEN TESTS$.*?^ *### END HIDDEN TESTS$", re.MULTILINE | re.DOTALL)

_MARKER = re.compile(r"^\s*### (BEGIN|END) (SOLUTION|HIDDEN TESTS)\s*$\n?", re.MULTILINE)
_MAGIC = re.compile(r"^[!%].*$", re.MULTILINE)  # what a notebook gives to the shell or to IPython is no Python


def tests_of(exercise: str) -> str:
    """The `grade_id` of the cell that grades an exercise; that of its own cell is the exercise's name."""
    return exercise + TESTS


def read(lab: Lab) -> NotebookNode:
    """The source notebook: every cell with nbgrader's metadata (schema 3), solutions and hidden tests in it.

    Raises:
        LabError: an exercise without tests right after it, a name that is used twice, a test that cannot say in words
            what is wrong, a cell that rests on a hidden test, or the packages of the labs are not installed.
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
    _require_visible_names(notebook, lab)
    return notebook


def _marked(cell: NotebookNode, number: int) -> dict:
    exercise, tests = cell.metadata.get("exercise"), cell.metadata.get("tests")
    marked = {"schema_version": 3, "task": False, "grade": False, "solution": False, "locked": True}
    if exercise:
        return {**marked, "grade_id": exercise, "solution": True, "locked": False}
    if tests:
        return {**marked, "grade_id": tests_of(tests), "grade": True, "points": cell.metadata.get("points", 1)}
    return {**marked, "grade_id": f"cell-{number:02d}"}


def _require_visible_names(notebook: NotebookNode, lab: Lab) -> None:
    # A student's copy has no hidden tests, so what they import or define is not there for the cells after them.
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    hidden = "\n".join(part for cell in code for part in HIDDEN.findall(cell))
    visible = [HIDDEN.sub("", cell) for cell in code]
    made = _names("\n".join(visible), ast.Store)
    missing = (_names(hidden, ast.Store) - made) & _names("\n".join(visible), ast.Load)
    if missing:
        raise LabError(
            f"{lab.source}: {min(missing)} is used by all, but made in a hidden test that students do not have."
        )


def _names(code: str, use: type[ast.expr_context]) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(_MAGIC.sub("pass", code))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, use):
            names.add(node.id)
        elif use is ast.Store and isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif use is ast.Store and isinstance(node, ast.arg):
            names.add(node.arg)
        elif use is ast.Store and isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names


def _require_sentences(code: str, lab: Lab, cell: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Assert) and node.msg is None:
            raise LabError(f"{lab.source}: an assert of {cell} has no message, so a student would learn nothing.")


def student_version(source: NotebookNode) -> NotebookNode:
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


def solution_version(source: NotebookNode) -> NotebookNode:
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
    notebook, resources = copy.deepcopy(source), {}
    for step in steps:
        notebook, resources = step().preprocess(notebook, resources)
    return notebook

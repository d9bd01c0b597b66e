"""Grading a student's notebook in a real kernel, and proving a lab."""

import json

import nbformat
import pytest

from teaching.labs.catalogue import LabError
from teaching.labs.check import check
from teaching.labs.execution import DELETED, UNTOUCHED, Verdict
from teaching.labs.proof import prove, wrong_answers
from teaching.labs.source import grade_id
from teaching.labs.student_folder import StudentFolder
from tests.teaching.labs.conftest import SOURCE, WRONG

pytestmark = pytest.mark.component

DOUBLE, ABOVE = "def double(number): return 2 * number", "def above(number): return number > twenty"


@pytest.fixture
def student(lab, tmp_path):
    """The student's notebook, with answers put in and cells changed by name; None deletes one."""
    path = StudentFolder(tmp_path / "student").start(lab)

    def write(**cells):
        notebook = nbformat.read(path, as_version=4)
        for name, code in cells.items():
            name = name.replace("_", "-")
            if code is None:
                notebook.cells = [cell for cell in notebook.cells if grade_id(cell) != name]
            for cell in notebook.cells:
                if grade_id(cell) == name:
                    cell.source = code
        nbformat.write(notebook, path)
        return path

    return write


def test_right_answers_pass_and_the_notebook_is_not_touched(lab, student):
    path = student(double=DOUBLE, above=ABOVE)
    before = path.read_bytes()

    assert check(lab, path) == (Verdict("double", True), Verdict("above", True))
    assert path.read_bytes() == before


def test_an_untouched_notebook_needs_no_kernel(lab, student):
    started = []

    assert check(lab, student(), started.append) == (
        Verdict("double", False, UNTOUCHED),
        Verdict("above", False, UNTOUCHED),
    )
    assert started == []


@pytest.mark.parametrize(
    ("cells", "double", "above"),
    [
        ({"double": "def double(number): return 4"}, "negative numbers are not doubled.", UNTOUCHED),
        # A visible test that was weakened, and a cell of the lab that was changed, count for nothing.
        ({"double": "def double(number): return 4", "double_tests": "pass"}, "negative numbers", UNTOUCHED),
        ({"double": DOUBLE, "above": "def above(number): return number > 15"}, "", "20 is not above 20."),
        ({"double": DOUBLE, "above": ABOVE, "cell_02": "BASE = 0"}, "", ""),
        ({"double": DOUBLE, "above": None}, "", DELETED),
        ({"double": DOUBLE, "double_tests": None}, "", UNTOUCHED),
        ({"double": "def double(number: return", "above": ABOVE}, "your cell stopped with SyntaxError", "could not be"),
    ],
)
def test_verdicts(lab, student, cells, double, above):
    told = {verdict.exercise: verdict for verdict in check(lab, student(**cells))}

    for exercise, reason in (("double", double), ("above", above)):
        assert told[exercise].passed == (reason == "")
        assert told[exercise].reason.startswith(reason)


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "def double(number):\n    while True: pass",
        "while True:\n    try:\n        while True: pass\n    except KeyboardInterrupt: pass",
        "import os\ndef double(number): os._exit(1)",
    ],
)
def test_what_follows_an_answer_that_never_ends_is_not_asked_and_not_blamed(lab, student, code, capfd):
    told = check(lab, student(double=code, above="def above(number): return number > 20"), cell_seconds=2)

    assert ("DeadKernelError" if "_exit" in code else "TimeoutError: it did not end within 2 s") in told[0].reason
    assert told[1].reason.startswith("could not be checked, because a cell before it stopped with")
    assert "Get that one right first" in told[1].reason
    assert "Traceback" not in capfd.readouterr().err


def test_cells_that_the_student_added_run_where_they_stand(lab, student):
    path = student(double="def double(number): return factor * number", above=ABOVE)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(2, nbformat.v4.new_code_cell("factor = 2"))
    nbformat.write(notebook, path)

    assert all(verdict.passed for verdict in check(lab, path))


def test_what_is_no_notebook_of_this_lab_is_refused(lab, tmp_path):
    path = tmp_path / "other.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), path)
    with pytest.raises(LabError, match="is not a notebook of the lab 07-numbers"):
        check(lab, path)
    for damaged in ("{", "[]", "null", '{"nbformat": 4, "metadata": {}, "cells": 5}'):
        path.write_text(damaged)
        with pytest.raises(LabError, match="is not a whole notebook") as caught:
            check(lab, path)
        assert "\n" not in str(caught.value)


def test_a_cell_that_an_editor_has_damaged_counts_as_gone(lab, student):
    path = student(double=DOUBLE, above=ABOVE)
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "above":
            cell["metadata"]["nbgrader"] = None
    notebook["cells"].append({"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None})
    path.write_text(json.dumps(notebook))

    assert check(lab, path) == (Verdict("double", True), Verdict("above", False, DELETED))


def test_a_lab_that_is_right_is_proven(lab):
    assert [tried.as_expected for tried in prove(lab)] == [True] * 10  # three wrong ones, stub, solution; twice


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("return 2 * number", "return 3 * number", "solution"),
        ('assert not above(20), "20 is not above 20."', "", "not strict"),
        ('"negative numbers are not doubled."', '"no."', "a constant"),
        # A stub that passes: the answer was left outside the markers.
        (
            "    ### BEGIN SOLUTION\n    return 2 * number",
            "    return 2 * number\n    ### BEGIN SOLUTION",
            "left as it is",
        ),
        ("BASE = 10", "BASE = 10 / 0", "cell cell-02 of the lab itself"),
    ],
)
def test_a_lab_that_is_wrong_is_found_out(write_lab, old, new, answer):
    lab = write_lab(SOURCE.replace(old, new))

    assert answer in {tried.answer for tried in prove(lab) if not tried.as_expected}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("double: []\nabove: []", "fewer than 3 wrong answers"),
        (WRONG + "\nhalf: []", "half, which is no exercise"),
        ("double: 3", "cannot be read"),
        (": {", "cannot be read"),
    ],
)
def test_wrong_answers_that_prove_nothing(write_lab, wrong, sentence):
    with pytest.raises(LabError, match=sentence):
        wrong_answers(write_lab(wrong=wrong))

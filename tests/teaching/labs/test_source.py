"""The source notebook and the versions made from it, and what is refused before a student sees it."""

import nbformat
import pytest

from teaching.labs.catalogue import LabError
from teaching.labs.source import grade_id, read, solution_version, student_version
from tests.teaching.labs.conftest import SOURCE

pytestmark = pytest.mark.unit


def sources(notebook):
    return {grade_id(cell): cell.source for cell in notebook.cells}


def test_every_cell_is_marked_for_nbgrader(lab):
    from nbgrader.nbgraderformat import MetadataValidator

    notebook = read(lab)

    MetadataValidator().validate_nb(notebook)
    nbformat.validate(notebook)
    marks = {grade_id(cell): cell.metadata.nbgrader for cell in notebook.cells}
    assert {name for name, mark in marks.items() if mark.solution} == {"double", "above"}
    assert {name: mark.points for name, mark in marks.items() if mark.grade} == {"double-tests": 2, "above-tests": 1}
    assert all(mark.locked for mark in marks.values() if not mark.solution)


def test_the_student_has_neither_solutions_nor_hidden_tests(lab):
    cells = sources(student_version(read(lab)))

    assert cells["double"] == (
        'def double(number):\n    """Twice the number."""\n    # YOUR CODE HERE\n    raise NotImplementedError()'
    )
    assert cells["double-tests"] == 'assert double(2) == 4, "double(2) should be 4."'


def test_the_solution_shows_everything_but_the_markers(lab):
    cells = sources(solution_version(read(lab)))

    assert "return 2 * number" in cells["double"]
    assert "negative numbers" in cells["double-tests"]
    assert "###" not in "".join(cells.values())


def test_two_readings_are_the_same_and_the_versions_leave_the_source_as_it_was(lab):
    source = read(lab)
    student_version(source)
    solution_version(source)

    assert nbformat.writes(source) == nbformat.writes(read(lab))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('# %% tests="above"', "# %%", "no tests of the exercise above"),
        ('# %% exercise="above"', '# %% exercise="double"', "two cells called double"),
        ('# %% tests="above"', '# %%\n1\n\n# %% tests="above"', "the tests of above must follow its cell at once"),
        ('== 4, "double(2) should be 4."', "== 4", "an assert of double-tests has no message"),
        ("assert double(-3)", "limit = 1\nassert double(-3)", None),
        ("assert double(-3)", "import math\nassert double(-3)", None),
    ],
)
def test_a_source_that_would_fail_students(write_lab, old, new, sentence):
    lab = write_lab(SOURCE.replace(old, new))
    if sentence is None:
        read(lab)
        return
    with pytest.raises(LabError, match=r"lab\.py") as error:
        read(lab)

    assert sentence in str(error.value)


@pytest.mark.parametrize("statement", ["import math", "math = 1", "def math(): pass"])
def test_no_visible_cell_rests_on_a_hidden_test(write_lab, statement):
    text = SOURCE.replace("assert double(-3)", f"{statement}\nassert double(-3)")
    lab = write_lab(text.replace("twenty = double(BASE)", "twenty = double(BASE)\nprint(math)"))
    with pytest.raises(LabError, match="math is used by all, but made in a hidden test"):
        read(lab)

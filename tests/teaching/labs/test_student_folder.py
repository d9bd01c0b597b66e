"""A student's folder: nothing of theirs is lost or half written."""

import threading

import nbformat
import pytest

from teaching.labs.catalogue import LabError
from teaching.labs.execution import Verdict
from teaching.labs.student_folder import PROGRESS, StudentFolder

pytestmark = pytest.mark.unit


@pytest.fixture
def student(tmp_path):
    return StudentFolder(tmp_path / "student")


def test_start_writes_the_notebook_and_the_files_and_removes_the_remains_of_one_that_was_killed(lab, student):
    (student.folder / ".starting-abc" / lab.name).mkdir(parents=True)
    lab.files.mkdir()
    (lab.files / "pipeline.py").write_text("x = 1\n")
    notebook = student.start(lab)

    assert notebook == student.folder / "07-numbers" / "07-numbers.ipynb"
    nbformat.validate(nbformat.read(notebook, as_version=4))
    assert (notebook.parent / "pipeline.py").read_text() == "x = 1\n"
    assert sorted(path.name for path in student.folder.iterdir()) == ["07-numbers"]


def test_whoever_has_looked_at_the_solution_first_can_still_start(lab, student):
    (lab.files / "debt").mkdir(parents=True)
    for name in ("a.py", "b.py"):
        (lab.files / "debt" / name).write_text("theirs\n")
    solution = student.show_solution(lab)
    solution.write_text("with my notes")
    (solution.parent / "debt").mkdir()
    (solution.parent / "debt" / "a.py").write_text("mine\n")
    notebook = student.start(lab)

    assert "raise NotImplementedError" in notebook.read_text()
    assert solution.read_text() == "with my notes"
    assert [(notebook.parent / "debt" / name).read_text() for name in ("a.py", "b.py")] == ["mine\n", "theirs\n"]
    assert sorted(path.name for path in student.folder.iterdir()) == ["07-numbers"]


def test_neither_work_nor_solution_is_overwritten(lab, student):
    notebook = student.start(lab)
    notebook.write_text("my work")
    solution = student.show_solution(lab)
    solution.write_text("with my notes")
    with pytest.raises(LabError, match="already exists and was left unchanged"):
        student.start(lab)

    assert student.show_solution(lab) == solution
    assert solution.read_text() == "with my notes"
    assert notebook.read_text() == "my work"


def test_progress_is_kept_for_each_exercise(lab, student):
    assert student.progress() == {}
    student.record(lab, [Verdict("double", True), Verdict("above", False, "20 is not above 20.")])
    student.record(lab, [Verdict("double", True), Verdict("above", True)])
    record = student.progress()["07-numbers"]

    assert record["above"].items() >= {"passed": True, "attempts": 2, "reason": ""}.items()


def test_two_checks_at_once_lose_no_record(lab, student):
    threads = [threading.Thread(target=student.record, args=(lab, [Verdict("double", True)])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert student.progress()["07-numbers"]["double"]["attempts"] == 8


@pytest.mark.parametrize("damage", ["{", "[1]", '{"07-numbers": 3}', '{"07-numbers": {"double": 3}}', "\x00"])
def test_a_damaged_record_is_said_and_left_alone(lab, student, damage):
    student.start(lab)
    (student.folder / PROGRESS).write_text(damage)
    with pytest.raises(LabError, match=r"progress\.json cannot be read; repair it or move it away"):
        student.record(lab, [Verdict("double", True)])

    assert (student.folder / PROGRESS).read_text() == damage


def test_a_folder_that_cannot_be_used(lab, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be used"):
        StudentFolder(tmp_path / "file").start(lab)

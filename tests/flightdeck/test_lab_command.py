"""``flightdeck lab``, as a student and a teacher use it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.flightdeck.conftest import refused
from tests.world import ROOT


def lab(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flightdeck", "lab", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=600,
    )


@pytest.mark.unit
def test_list_names_every_lab(tmp_path):
    entries = json.loads(lab("list", "--json", cwd=tmp_path).stdout)
    shown = lab("list", cwd=tmp_path).stdout

    folders = sorted(path.parent.name for path in (ROOT / "notebooks").glob("*/lab.py"))
    assert [entry["lab"] for entry in entries] == folders
    assert not any(entry["started"] for entry in entries)
    assert all(entry["lab"] in shown for entry in entries)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.unit
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["start", "77"], "No lab is called 77"),
        (["check", "00"], "was not started in labs; begin with: flightdeck lab start 00-map"),
        (["check", "00", "my labs"], "begin with: flightdeck lab start 00-map 'my labs'"),
        (["start", ""], "Give the name or number of a lab; there are 00-map"),
        (["course", "."], "already exists"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path, arguments, sentence):
    done = lab(*arguments, cwd=tmp_path)

    refused((done.returncode, done.stdout, done.stderr), sentence)


@pytest.mark.unit
def test_start_says_how_to_check_in_the_same_folder(tmp_path):
    assert "flightdeck lab check 00 mine" in lab("start", "0", "mine", cwd=tmp_path).stdout


@pytest.mark.component
def test_from_start_to_solved(tmp_path):
    assert lab("start", "0", cwd=tmp_path).returncode == 0
    notebook = tmp_path / "labs" / "00-map" / "00-map.ipynb"
    again = lab("start", "0", cwd=tmp_path)
    untouched = lab("check", "0", cwd=tmp_path)

    assert again.returncode == 2
    assert untouched.returncode == 1
    assert untouched.stdout.count("not solved yet") == 2

    solution = json.loads(lab("solution", "0", "--json", cwd=tmp_path).stdout)["solution"]
    answers = {cell.id: cell.source for cell in nbformat.read(tmp_path / solution, as_version=4).cells}
    mine = nbformat.read(notebook, as_version=4)
    for cell in mine.cells:
        if cell.id in ("late-rate", "imports"):
            cell.source = answers[cell.id]
    nbformat.write(mine, notebook)
    solved = lab("check", "0", "--json", cwd=tmp_path)

    assert solved.returncode == 0, solved.stdout + solved.stderr
    assert json.loads(solved.stdout)["passed"] is True
    entries = json.loads(lab("list", "--json", cwd=tmp_path).stdout)
    assert (entries[0]["started"], entries[0]["solved"]) == (True, 2)


@pytest.mark.labs
def test_a_teacher_releases_and_grades_with_nbgrader(tmp_path):
    course = tmp_path / "course"
    assert lab("course", course, cwd=tmp_path).returncode == 0

    def nbgrader(*arguments: str) -> str:
        programs = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
        program = [str(programs / "nbgrader"), *arguments]
        done = subprocess.run(program, capture_output=True, text=True, cwd=course, env=environment, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    nbgrader("generate_assignment", "00-map")
    released = course / "release" / "00-map" / "00-map.ipynb"
    text = released.read_text()
    assert "NotImplementedError" in text
    assert "HIDDEN" not in text

    solutions = {cell.id: cell.source for cell in nbformat.read(course / "source/00-map/00-map.ipynb", 4).cells}
    for student, exercises in (("ada", ("late-rate", "imports")), ("bob", ("late-rate",))):
        notebook = nbformat.read(released, as_version=4)
        for cell in notebook.cells:
            if cell.id in exercises:
                cell.source = solutions[cell.id]
        handed_in = course / "submitted" / student / "00-map"
        handed_in.mkdir(parents=True)
        nbformat.write(notebook, handed_in / "00-map.ipynb")
    nbgrader("autograde", "00-map")
    nbgrader("export", "--to", "grades.csv")

    with (course / "grades.csv").open() as file:
        scores = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert scores == {"ada": 3.0, "bob": 1.0}

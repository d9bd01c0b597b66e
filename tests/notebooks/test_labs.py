"""Every lab, as it is given to students: its solution passes, and every other answer fails for the right reason."""

import re
from pathlib import Path

import pytest

from teaching.labs.catalogue import Lab, labs
from teaching.labs.proof import prove, wrong_answers
from teaching.labs.source import read

ROOT = Path(__file__).resolve().parents[2] / "notebooks"
LABS = labs(ROOT)
each_lab = pytest.mark.parametrize("lab", LABS, ids=[lab.name for lab in LABS])


@pytest.mark.unit
@each_lab
def test_a_lab_is_whole(lab: Lab):
    notebook = read(lab)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")

    assert 1 <= len(lab.exercises) <= 4
    assert len(wrong_answers(lab)) == len(lab.exercises)
    for part in ("**Goals.**", "**Time.**", "## Check", "## Take-away", "## What is still missing"):
        assert part in text
    for exercise in lab.exercises:
        assert re.search(rf"^### Exercise .*`{exercise}`$", text, re.MULTILINE), exercise
    assert f"flightdeck lab check {lab.name[:2]}" in text
    assert f"{lab.minutes} minutes" in text


@pytest.mark.unit
@each_lab
def test_a_checkout_with_a_blank_in_its_name_can_be_named_in_commands(lab: Lab):
    code = [cell.source for cell in read(lab).cells if cell.cell_type == "code"]
    unquoted = [call for source in code for call in re.findall(r"f\".*(?:--config | workspace=)\{.*", source)]

    assert unquoted == []


@pytest.mark.unit
def test_the_labs_are_numbered_without_a_gap():
    assert [lab.name[:2] for lab in LABS] == [f"{number:02d}" for number in range(len(LABS))]


@pytest.mark.labs
@each_lab
def test_the_solution_passes_and_every_other_answer_fails_for_the_right_reason(lab: Lab):
    answers = prove(lab)

    assert len(answers) >= 5 * len(lab.exercises)
    assert [answer for answer in answers if not answer.as_expected] == []

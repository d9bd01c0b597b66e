"""Proves a lab before a student sees it: the solution passes, the stub and every wrong answer fail for their reason.

All of it happens in one kernel, in one walk through the source: at each exercise first the wrong answers, then the
stub, then the solution, each followed by the tests. A lab costs what running it once costs, however many answers are
tried.
Answers must therefore define and return, and change nothing that another answer would miss.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teaching.labs import execution
from teaching.labs.catalogue import Lab, LabError
from teaching.labs.execution import UNTOUCHED, Verdict, judge
from teaching.labs.source import grade_id, read, student_version, tests_of

if TYPE_CHECKING:
    from nbformat import NotebookNode

STUB, SOLUTION = "left as it is", "solution"
LEAST = 3


@dataclass(frozen=True)
class Wrong:
    """A wrong answer: what is wrong with it, a text that the student must be told, and the whole cell."""

    why: str
    says: str
    code: str


@dataclass(frozen=True)
class TriedAnswer:
    """What became of one answer.

    Attributes:
        exercise: The exercise; empty for a cell of the lab itself.
        answer: `STUB`, `SOLUTION`, or why it is wrong.
        as_expected: Whether it passed or failed as it should.
        told: What a student is told.
    """

    exercise: str
    answer: str
    as_expected: bool
    told: str


def wrong_answers(lab: Lab) -> dict[str, tuple[Wrong, ...]]:
    """The wrong answers of every exercise.

    Raises:
        LabError: the file is damaged, or an exercise has fewer than `LEAST`.
    """
    import yaml

    try:
        content = yaml.safe_load(lab.wrong.read_text(encoding="utf-8")) or {}
        wrong = {name: tuple(Wrong(**answer) for answer in answers) for name, answers in content.items()}
    except (OSError, yaml.YAMLError, TypeError, AttributeError) as error:
        raise LabError(f"{lab.wrong} cannot be read as wrong answers with why, says and code: {error}") from error
    for name in {*lab.exercises, *wrong}:
        if name not in lab.exercises:
            raise LabError(f"{lab.wrong} has answers to {name}, which is no exercise of the lab {lab.name}.")
        if len(wrong.get(name, ())) < LEAST:
            raise LabError(f"{lab.wrong} has fewer than {LEAST} wrong answers to {name}.")
    return wrong


def prove(lab: Lab, progress: Callable[[str], None] = lambda text: None) -> tuple[TriedAnswer, ...]:
    """Tries all answers.

    Returns:
        One per answer, in their order; also one for each cell of the lab itself that stopped, which is never
        as expected.

    Raises:
        LabError: the source or the wrong answers are not whole.
    """
    source = read(lab)
    wrong = wrong_answers(lab)
    stubs = {grade_id(cell): cell for cell in student_version(source).cells}
    cells = {grade_id(cell): cell for cell in source.cells}
    tried: list[TriedAnswer] = []
    with execution.kernel(lab) as kernel:
        for cell in source.cells:
            name = grade_id(cell)
            if name in lab.exercises:
                # What the stub and the wrong answers are graded by has to be everything; the student sees less of it.
                tests = cells[tests_of(name)]
                for answer in wrong[name]:
                    progress(f"{name}: {answer.why}")
                    verdict = _judged(kernel, cell, answer.code, tests)
                    met = not verdict.passed and answer.says in verdict.reason
                    tried.append(TriedAnswer(name, answer.why, met, verdict.reason))
                verdict = _judged(kernel, cell, stubs[name].source, tests)
                tried.append(TriedAnswer(name, STUB, verdict.reason == UNTOUCHED, verdict.reason))
                progress(f"{name}: {SOLUTION}")
                verdict = _judged(kernel, cell, cell.source, tests)
                tried.append(TriedAnswer(name, SOLUTION, verdict.passed, verdict.reason))
            elif not cell.metadata.nbgrader.grade:
                progress(f"cell {name}")
                stop = kernel.run(cell)
                if stop is not None:
                    tried.append(TriedAnswer("", f"cell {name} of the lab itself", as_expected=False, told=str(stop)))
    return tuple(tried)


def _judged(kernel: execution.Kernel, cell: NotebookNode, code: str, tests: NotebookNode) -> Verdict:
    answer = copy.deepcopy(cell)
    answer.source = code
    return judge(str(grade_id(cell)), kernel.run(answer), kernel.run(copy.deepcopy(tests)), before=None)

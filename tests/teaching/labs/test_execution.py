"""What a student is told, by what the cells did."""

import pytest

from teaching.labs.execution import UNTOUCHED, Stop, judge

pytestmark = pytest.mark.unit

STUB = Stop("NotImplementedError", "")
WRONG = Stop("AssertionError", "20 is not above 20.")
NAME = Stop("NameError", "name 'twenty' is not defined")
ZERO = Stop("ZeroDivisionError", "division by zero\nmore")


@pytest.mark.parametrize(
    ("own", "tests", "before", "reason"),
    [
        (None, None, None, ""),
        (None, None, ZERO, ""),  # right is right, whatever else stopped
        (STUB, None, None, UNTOUCHED),
        (None, STUB, None, UNTOUCHED),  # a function's stub stops when it is called
        (STUB, NAME, None, UNTOUCHED),
        (None, WRONG, None, "20 is not above 20."),
        (None, WRONG, ZERO, "20 is not above 20."),
        (None, Stop("AssertionError", ""), None, "a test does not hold."),
        (WRONG, NAME, None, "your cell stopped with AssertionError: 20 is not above 20."),
        (ZERO, NAME, None, "your cell stopped with ZeroDivisionError: division by zero"),
        (None, ZERO, None, "a test of your answer stopped with ZeroDivisionError: division by zero"),
        (None, NAME, None, "a test of your answer stopped with NameError: name 'twenty' is not defined"),
        (
            None,
            NAME,
            ZERO,
            "could not be checked, because a cell before it stopped with ZeroDivisionError: division by",
        ),
        (NAME, NAME, STUB, "could not be checked, because a cell before it stopped with NotImplementedError."),
        (Stop("DeadKernelError", "gone"), None, Stop("DeadKernelError", "gone"), "could not be checked"),
    ],
)
def test_judgement(own, tests, before, reason):
    verdict = judge("above", own, tests, before)

    assert verdict.passed == (reason == "")
    assert verdict.reason.startswith(reason)

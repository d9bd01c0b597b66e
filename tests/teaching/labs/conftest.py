"""A lab of two exercises, small enough to read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from teaching.labs.catalogue import Lab, find

SOURCE = '''# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
#   lab: {title: "Numbers: a lab", minutes: 5}
# ---

# %% [markdown]
# # Numbers

# %%
BASE = 10

# %% exercise="double"
def double(number):
    """Twice the number."""
    ### BEGIN SOLUTION
    return 2 * number
    ### END SOLUTION

# %% tests="double" points=2
assert double(2) == 4, "double(2) should be 4."
### BEGIN HIDDEN TESTS
assert double(-3) == -6, "negative numbers are not doubled."
### END HIDDEN TESTS

# %%
twenty = double(BASE)

# %% exercise="above"
def above(number):
    ### BEGIN SOLUTION
    return number > twenty
    ### END SOLUTION

# %% tests="above"
assert above(21), "21 is above 20."
### BEGIN HIDDEN TESTS
assert not above(20), "20 is not above 20."
### END HIDDEN TESTS
'''

WRONG = """
double:
  - {why: a constant, says: negative numbers, code: "def double(number): return 4"}
  - {why: a square, says: negative numbers, code: "def double(number): return number * number"}
  - {why: nothing, says: double(2) should be 4, code: "def double(number): pass"}
above:
  - {why: always, says: 20 is not above 20, code: "def above(number): return True"}
  - {why: not strict, says: 20 is not above 20, code: "def above(number): return number >= twenty"}
  - {why: stops, says: ZeroDivisionError, code: "def above(number): return number / 0"}
"""


@pytest.fixture
def write_lab(tmp_path: Path) -> Callable[..., Lab]:
    """Writes a lab ``07-numbers`` whose source and wrong answers may be others."""

    def write(source: str = SOURCE, wrong: str = WRONG) -> Lab:
        folder = tmp_path / "notebooks" / "07-numbers"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lab.py").write_text(source)
        (folder / "wrong.yaml").write_text(wrong)
        return find(tmp_path / "notebooks", "07")

    return write


@pytest.fixture
def lab(write_lab: Callable[..., Lab]) -> Lab:
    return write_lab()

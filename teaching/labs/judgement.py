"""What a student is told about an exercise, from what its two cells did. Pure: no kernel, no files."""

from __future__ import annotations

from dataclasses import dataclass

UNTOUCHED = "not solved yet: replace the line `raise NotImplementedError()` by your answer."
DELETED = "its cell is no longer in the notebook; start the lab again in another folder and copy your answers over."


@dataclass(frozen=True)
class Stop:
    """How a cell ended that did not end well."""

    error: str
    message: str

    def __str__(self) -> str:
        """The error, and the first line of what it said."""
        first = self.message.strip().splitlines()
        return f"{self.error}: {first[0]}" if first else self.error


@dataclass(frozen=True)
class Verdict:
    """What is said about one exercise.

    Attributes:
        exercise: Its name.
        passed: Whether all of its tests passed, the hidden ones included.
        reason: Why not, in a sentence; empty when it passed.
    """

    exercise: str
    passed: bool
    reason: str = ""


def judge(exercise: str, own: Stop | None, tests: Stop | None, before: Stop | None) -> Verdict:
    """Judges one exercise by how its cell, its tests and the first of the lab's cells before it stopped, if they did.

    What follows a cell that stopped lacks what that was to make, which is no mistake of this exercise.
    """
    if own is None and tests is None:
        return Verdict(exercise, passed=True)
    first = own or tests
    assert first is not None
    if first.error == "NotImplementedError":
        return Verdict(exercise, passed=False, reason=UNTOUCHED)
    if first.error == "AssertionError" and own is None:
        return Verdict(exercise, passed=False, reason=first.message.strip() or "a test does not hold.")
    if before is not None and first.error in ("NameError", before.error):
        reason = f"could not be checked, because a cell before it stopped with {before}. Get that one right first."
        return Verdict(exercise, passed=False, reason=reason)
    whose = "your cell" if own is not None else "a test of your answer"
    return Verdict(exercise, passed=False, reason=f"{whose} stopped with {first}")

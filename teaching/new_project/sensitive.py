"""Which columns seem to be about what people must not be judged by, by their names, and how they are grouped."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# What laws protect, such as the EU's Charter of Fundamental Rights (Article 21) and the US Equal Credit Opportunity
# Act, in the words that tables have for it; a postcode often stands for race and income.
_ABOUT_PEOPLE = {
    *("age", "birth", "birthplace", "dob", "senior"),
    *("sex", "sexual", "gender", "marital", "pregnant", "pregnancy", "pregnancies"),
    *("race", "racial", "ethnic", "ethnicity", "nationality", "citizenship", "religion", "religious"),
    *("disability", "disabled"),
    *("zip", "zipcode", "postcode", "postal"),
}
# What may stand beside such a word. Any other one, as in house_age, says that the column is about something else.
_BESIDE = {
    *("applicant", "borrower", "citizen", "client", "customer", "driver", "employee", "passenger", "patient", "person"),
    *("respondent", "student", "user", "worker"),
    *("at", "in", "is", "of", "country", "current", "date", "year", "years", "yrs"),
    *("band", "class", "code", "family", "group", "identity", "orientation", "origin", "state", "status"),
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# With as few values, each is a group of its own.
_FEW = 10


def suggests(name: str) -> bool:
    """Whether the words of a column's name are about such a thing, and about nothing else."""
    words = {word.lower() for word in _WORD.findall(name)} - _BESIDE
    return bool(words) and words <= _ABOUT_PEOPLE


def bounds(values: pd.Series, whole: bool) -> tuple[float, ...]:
    """The bounds between groups of numbers: their quartiles, rounded; those between a few values.

    None if they are a few whole numbers, by which rows can be sliced as they are.
    """
    known = sorted(values.dropna().astype("float64").unique().tolist())
    if whole and len(known) <= _FEW:
        return ()
    between = [(low + high) / 2 for low, high in pairwise(known)] or known
    if len(known) <= _FEW:
        return tuple(between)
    quartiles = values.astype("float64").quantile([0.25, 0.5, 0.75])
    rounded = {float(round(bound)) if whole else float(f"{bound:.3g}") for bound in quartiles}
    # At the smallest value nobody is below.
    return tuple(sorted(bound for bound in rounded if known[0] < bound <= known[-1])) or (between[0],)

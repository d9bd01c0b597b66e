"""What columns seem to be: a case per judgement, and the reasons that a person is told."""

import numpy as np
import pandas as pd
import pytest

from operations.new_project.columns import infer

pytestmark = pytest.mark.unit

ROWS = 400
RANDOM = np.random.default_rng(0)
LABEL = pd.Series(RANDOM.integers(0, 2, ROWS)).astype("Int64")
WORDS = ["red", "green", "blue", "late", "early", "small", "large", "old", "new", "round"]


def column(name: str, values, **options):
    """The one column's judgement, as the values of a CSV or of a Parquet file."""
    series = pd.Series(values if isinstance(values, pd.Categorical) else list(values), name=name)
    if series.map(lambda value: value is None or isinstance(value, str)).all() and series.dtype == object:
        series = series.astype("string")
    found, dropped = infer(pd.DataFrame({name: series}), LABEL, "the label", options.pop("time", None), **options)
    return (found[0] if found else None), dropped.get(name)


def texts(few: int, words: int):
    return [" ".join(RANDOM.choice(WORDS, words)) + f" {number % few}" for number in range(ROWS)]


CASES = {
    "decimals": ("size", [str(each) for each in RANDOM.normal(5, 1, ROWS)], "float32", "number"),
    "whole numbers": ("rooms", [str(each % 7) for each in range(ROWS)], "int64", "number"),
    "whole numbers with a fraction of zero": ("rooms", [float(each % 7) for each in range(ROWS)], "int64", "number"),
    "truth": ("garden", [each % 3 == 0 for each in range(ROWS)], "int64", "number"),
    "words for truth": ("garden", ["True", "False"] * (ROWS // 2), "int64", "number"),
    "codes by their name": ("zip_code", [str(10_000 + each % 30) for each in range(ROWS)], "int64", "category"),
    "a word that ends like a code": ("humid", [str(each % 60) for each in range(ROWS)], "int64", "number"),
    "numbers too long to be counted": ("tweet", [str(10**17 + 37 * each) for each in range(ROWS)], "string", "key"),
    "categories of Parquet": ("kind", pd.Categorical([WORDS[each % 4] for each in range(ROWS)]), "string", "category"),
    "digits with leading zeros": ("district", [f"{each % 40:03d}" for each in range(ROWS)], "string", "category"),
    "few words": ("colour", [WORDS[each % 5] for each in range(ROWS)], "string", "category"),
    "many different words": ("shop", [f"shop{each % 90}" for each in range(ROWS)], "string", "category"),
    "unique words": ("ticket", [f"T{each}" for each in range(ROWS)], "string", "key"),
    "unique whole numbers called an id": ("CustomerId", [str(7 * each) for each in range(ROWS)], "string", "key"),
    "unique whole numbers called otherwise": ("revenue", [str(7 * each) for each in range(ROWS)], "int64", "number"),
    "sentences": ("remark", texts(ROWS, 6), "string", "text"),
    "few sentences": ("answer", [f"I do not {WORDS[each % 4]} it" for each in range(ROWS)], "string", "category"),
    "dates": ("signed", [f"2024-0{1 + each % 9}-11" for each in range(ROWS)], "timestamp", "key"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_column_is_what_its_values_and_its_name_say(case: str):
    name, values, kind, use = CASES[case]
    found, dropped = column(name, values)

    assert dropped is None
    assert (found.type, found.use, found.nullable) == (kind, use, False)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("constant", ["same"] * ROWS, "it has the same value in every row"),
        ("empty", [None] * ROWS, "it has no value"),
        ("blank", [" ", None] * (ROWS // 2), "it has no value"),
        ("infinite", ["inf", None] * (ROWS // 2), "it has no finite number"),
        ("list", [[1, 2]] * ROWS, "its values are neither numbers, texts nor moments"),
        ("duration", pd.to_timedelta(range(ROWS), unit="s"), "its values are neither numbers, texts nor moments"),
        ("bytes", [b"\xff", b"a"] * (ROWS // 2), "its values are neither numbers, texts nor moments"),
        ("Unnamed: 0", [str(each) for each in range(ROWS)], "it numbers the rows of the file"),
    ],
)
def test_a_column_that_says_nothing_is_left_out_with_the_reason(name: str, values, reason: str):
    assert column(name, values) == (None, reason)


def test_a_value_that_is_constant_where_it_is_known_stays_because_its_absence_speaks():
    found, _ = column("flag", ["yes", None] * (ROWS // 2))

    assert (found.use, found.nullable, found.values) == ("category", True, ("yes",))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 10], (0, 20)), ([-5, 5], (-15, 15)), ([900, 1000], (0, 1500)), ([0, 1], (0, 1)), ([1.5, 2.25], (0, 3.4))],
)
def test_a_range_has_room_on_either_side_but_not_below_zero(values, expected):
    found, _ = column("size", [values[each % 2] for each in range(ROWS)])

    assert found.range == expected


def test_a_category_is_closed_only_if_it_is_small_and_no_value_is_rare():
    many, few = [WORDS[each % 3] for each in range(ROWS)], ["rare"] + [WORDS[each % 3] for each in range(ROWS - 1)]

    assert not column("colour", many)[0].open
    assert column("colour", few)[0].open


def test_a_few_huge_values_are_told_apart_from_many_middling_ones():
    assert column("price", np.exp(RANDOM.normal(0, 2, ROWS)))[0].heavy_tailed
    assert not column("price", RANDOM.normal(0, 2, ROWS))[0].heavy_tailed


def leaking(share: float) -> list[str]:
    """The label's words, wrong in so many rows."""
    wrong = RANDOM.random(ROWS) < share
    return ["paid" if bool(label) != flip else "open" for label, flip in zip(LABEL, wrong, strict=True)]


@pytest.mark.parametrize(
    ("values", "aside"),
    [
        (leaking(0.0), True),
        (leaking(0.02), True),
        (leaking(0.2), False),
        (LABEL * 3.0 + RANDOM.normal(0, 0.1, ROWS), True),
        (5 - LABEL * 3.0 + RANDOM.normal(0, 0.1, ROWS), True),
        (RANDOM.normal(0, 1, ROWS), False),
        ([None if each else 1.5 * n for n, each in enumerate(LABEL)], True),
        ([f"x{n}" if each else None for n, each in enumerate(LABEL // 1)], True),
    ],
)
def test_a_column_that_gives_the_label_away_is_set_aside_however_it_does_so(values, aside: bool):
    found, _ = column("state", values)

    assert found.suspect == aside
    assert (found.use == "outcome") == aside
    assert ("Is it known at prediction time?" in found.note) == aside


def test_a_category_of_one_row_each_does_not_seem_to_tell_the_label():
    found, _ = column("house", [f"street {each}" for each in range(ROWS)])

    assert not found.suspect


def test_whoever_knows_when_a_column_is_known_has_the_last_word():
    assert column("state", leaking(0.0), known=["state"])[0].use == "category"
    assert column("size", RANDOM.normal(0, 1, ROWS), after=["size"])[0].use == "outcome"


@pytest.mark.parametrize(
    ("values", "kind", "unit"),
    [
        ([f"2024-01-{1 + each % 28:02d}" for each in range(ROWS)], "timestamp", None),
        ([str(1_700_000_000 + 60 * each) for each in range(ROWS)], "timestamp", "s"),
        ([1_700_000_000_000 + 60 * each for each in range(ROWS)], "timestamp", "ms"),
        ([str(1900 + each) for each in range(ROWS)], "int64", None),
        ([1900.5 + each for each in range(ROWS)], "float32", None),
    ],
)
def test_time_is_moments_seconds_or_whatever_grows(values, kind: str, unit):
    found, _ = column("when", values, time="when")

    assert (found.type, found.use, found.unit) == (kind, "time", unit)


def test_a_time_that_is_missing_or_none_is_refused():
    with pytest.raises(ValueError, match="The time 'when' is missing in 1 rows"):
        column("when", [None] + ["2024-01-01"] * (ROWS - 1), time="when")
    with pytest.raises(ValueError, match="must be moments in ISO 8601 or numbers"):
        column("when", ["soon"] * ROWS, time="when")

"""How rows are split into spans: the finest rule by which every span can train or evaluate a model."""

import re

import numpy as np
import pandas as pd
import pytest

from data.table_spans import Hashed, Parts, Periods
from teaching.new_project import split
from teaching.new_project.columns import Inferred
from teaching.new_project.split import SplitError
from teaching.new_project.tasks import BinaryLabel, Label, MulticlassLabel, RegressionLabel

pytestmark = pytest.mark.unit

RANDOM = np.random.default_rng(0)
MOMENT = Inferred("t", "timestamp", "time")
YEAR = Inferred("t", "int64", "time")


TOLD = BinaryLabel("y", "1", "0", 1 / 3)


def choose(frame, labels, time, identity, single=None, label: Label = TOLD) -> split.Split:
    return split.choose(frame, labels, label, time, identity, single)


def label(rows: int) -> pd.Series:
    return pd.Series(np.arange(rows) % 3 == 0).astype("Int64")


def days(first: str, count: int, rows: int) -> pd.DataFrame:
    start = pd.Timestamp(first, tz="UTC")
    return pd.DataFrame({"t": [start + pd.Timedelta(days=number * count / rows) for number in range(rows)]})


@pytest.mark.parametrize(
    ("frame", "rule", "spans"),
    [
        (days("2023-11-03", 300, 3000), Periods("t", "month", "2023-11"), 10),
        (days("2023-11-03", 300, 400), Periods("t", "quarter", "2023-10"), 4),
        (days("2013-01-01", 365 * 5, 3000), Periods("t", "quarter", "2013-01"), 20),
        (days("2003-01-01", 365 * 12, 2400), Periods("t", "year", "2003-01"), 12),
    ],
)
def test_time_gives_the_finest_period_of_the_calendar_that_has_enough_rows(frame, rule, spans: int):
    chosen = choose(frame, label(len(frame)), MOMENT, [])

    assert chosen.rule == rule
    assert chosen.spans == list(range(1, spans + 1))
    assert chosen.smallest >= 100 or len(frame) < 1000


def test_a_few_days_are_shared_out_into_stretches_in_the_order_of_time():
    frame = days("2024-01-01", 10, 600)
    chosen = choose(frame, label(600), MOMENT, [])

    assert isinstance(chosen.rule, Parts)
    assert chosen.numbers.value_counts().to_dict() == dict.fromkeys(range(1, 7), 100)
    assert chosen.numbers.is_monotonic_increasing


def test_rows_of_one_moment_are_never_torn_apart():
    frame = pd.DataFrame({"t": np.repeat([1990, 1991, 1992, 1993], [300, 200, 300, 200])})
    chosen = choose(frame, label(1000), YEAR, [])

    assert chosen.numbers.groupby(frame["t"]).nunique().max() == 1
    assert len(chosen.spans) >= 3


def test_of_numbers_nobody_says_that_the_calendar_was_asked():
    chosen = choose(pd.DataFrame({"t": np.arange(600)}), label(600), YEAR, [])

    assert chosen.why == (
        "6 stretches of 't' with about equally many rows: it is a number, and only moments have a calendar."
    )


def test_without_time_chance_shares_them_out_and_says_what_that_cannot_tell():
    frame = pd.DataFrame({"id": [str(number) for number in range(700)]})
    chosen = choose(frame, label(700), None, ["id"])

    assert chosen.rule == Hashed(("id",), 5)
    assert "nothing can tell how the model does later" in chosen.why


def repeated(kinds: int, rows: int) -> pd.DataFrame:
    """Rows of so few kinds, the first of which are frequent, and a name of each."""
    content = pd.Series([f"kind {min(number % 97, 5 + number % kinds) % kinds}" for number in range(rows)])
    return pd.DataFrame({"content": content, "row_id": content + "-" + content.groupby(content).cumcount().astype(str)})


def test_rows_of_few_kinds_are_shared_out_one_by_one_so_that_the_parts_are_about_equal():
    frame = repeated(12, 2200)
    chosen = choose(frame, label(2200), None, ["content"], "row_id")

    assert chosen.rule == Hashed(("row_id",), 5)
    assert chosen.smallest > 2200 / 5 * 0.8
    assert "only 12 of the 2,200 rows are different" in chosen.why
    assert "Equal rows are in several parts" in chosen.why


def test_rows_of_enough_kinds_stay_together_with_those_that_equal_them():
    frame = repeated(97, 2200)
    frame["content"] = [f"kind {number % 900}" for number in range(2200)]
    chosen = choose(frame, label(2200), None, ["content"], "row_id")

    assert chosen.rule == Hashed(("content",), 5)
    assert chosen.numbers.groupby(frame["content"]).nunique().max() == 1


@pytest.mark.parametrize(
    ("frame", "labels", "time", "sentence"),
    [
        (pd.DataFrame({"t": ["2024-01-01"] * 500}), label(500), MOMENT, r"^'t' has 1 value: .*; leave out --time"),
        (pd.DataFrame({"t": [2023, 2024] * 250}), label(500), YEAR, r"^'t' has 2 values: .*; leave out --time"),
        (
            days("2024-01-01", 10, 500),
            pd.Series(np.arange(500) >= 480).astype("Int64"),
            MOMENT,
            "because some have rows of one label only; leave out --time, and they are split at random$",
        ),
        (
            pd.DataFrame({"t": [1990] * 960 + list(range(1991, 2031))}),
            label(1000),
            YEAR,
            "because most have the same value; leave out --time, and they are split at random$",
        ),
        (
            pd.DataFrame({"t": [1] * 50 + [2] * 400 + [3] * 550}),
            label(1000),
            YEAR,
            "because one has only 50; leave out --time, and they are split at random$",
        ),
        (pd.DataFrame({"id": ["the same"] * 500}), label(500), None, "at random .*; provide more rows"),
    ],
)
def test_rows_that_no_rule_shares_out_well_are_refused_with_what_helps(frame, labels, time, sentence: str):
    with pytest.raises(SplitError, match="cannot be split") as caught:
        choose(frame, labels, time, ["id"])
    assert re.search(sentence, str(caught.value).rstrip("."))
    assert ("more rows" in str(caught.value)) == (time is None)


KINDS = MulticlassLabel("y", {"a": 400, "b": 100, "c": 100}, numeric=False)
SIZE = RegressionLabel("y", whole=True, lowest=0, highest=5, mean=2.5, std=1.7, range=(0, 10))


def test_every_span_has_rows_of_every_class_or_the_next_rule_is_tried():
    """Two classes stop in the fifth month, and is in each of three stretches."""
    frame = days("2024-01-01", 180, 1800)
    kinds = pd.Series(np.arange(1800) % 3).where(frame["t"].dt.month < 5, 0)
    chosen = choose(frame, kinds, MOMENT, [], label=KINDS)

    assert isinstance(chosen.rule, Parts)
    assert len(chosen.spans) == 3
    assert kinds.groupby(chosen.numbers).nunique().tolist() == [3, 3, 3]
    assert chosen.why.endswith("its months, quarters and years are too few, too many or too small, or lack a class.")


def test_a_class_that_ended_is_said_and_that_all_labels_are_one_number():
    frame = days("2024-01-01", 180, 1800)
    with pytest.raises(SplitError, match="of every class, because some have no row of a class; leave out --time"):
        choose(frame, pd.Series(np.arange(1800) // 600), MOMENT, [], label=KINDS)
    with pytest.raises(SplitError, match="with different labels, because some have one label only; leave out --time"):
        choose(frame, pd.Series(np.arange(1800) // 1700), MOMENT, [], label=SIZE)
    assert choose(frame, pd.Series(np.arange(1800) % 6), MOMENT, [], label=SIZE).smallest > 200

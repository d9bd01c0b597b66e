"""How rows are shared out: the finest rule by which every span can train or evaluate a model."""

import numpy as np
import pandas as pd
import pytest

from data.table_spans import Hashed, Parts, Periods
from operations.new_project.columns import Inferred
from operations.new_project.split import SplitError, choose

pytestmark = pytest.mark.unit

RANDOM = np.random.default_rng(0)
MOMENT = Inferred("t", "timestamp", "time")


def label(rows: int) -> pd.Series:
    return pd.Series(np.arange(rows) % 3 == 0).astype("Int64")


def days(first: str, count: int, rows: int) -> pd.DataFrame:
    """Rows spread evenly over so many days."""
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
    found = choose(frame, label(len(frame)), MOMENT, [])

    assert found.rule == rule
    assert found.spans == list(range(1, spans + 1))
    assert found.smallest >= 100 or len(frame) < 1000


def test_a_few_days_are_shared_out_into_stretches_in_the_order_of_time():
    frame = days("2024-01-01", 10, 600)
    found = choose(frame, label(600), MOMENT, [])

    assert isinstance(found.rule, Parts)
    assert found.numbers.value_counts().to_dict() == dict.fromkeys(range(1, 7), 100)
    assert found.numbers.is_monotonic_increasing


def test_rows_of_one_moment_are_never_torn_apart():
    frame = pd.DataFrame({"t": np.repeat([1990, 1991, 1992, 1993], [300, 200, 300, 200])})
    found = choose(frame, label(1000), Inferred("t", "int64", "time"), [])

    assert found.numbers.groupby(frame["t"]).nunique().max() == 1
    assert len(found.spans) >= 3


def test_without_time_chance_shares_them_out_and_says_what_that_cannot_tell():
    frame = pd.DataFrame({"id": [str(number) for number in range(700)]})
    found = choose(frame, label(700), None, ["id"])

    assert found.rule == Hashed(("id",), 5)
    assert "nothing can tell how the model does later" in found.why


@pytest.mark.parametrize(
    ("frame", "labels", "time"),
    [
        (pd.DataFrame({"t": ["2024-01-01"] * 500}), label(500), MOMENT),
        (days("2024-01-01", 10, 500), pd.Series(np.arange(500) >= 480).astype("Int64"), MOMENT),
        (pd.DataFrame({"id": ["the same"] * 500}), label(500), None),
    ],
)
def test_rows_that_no_rule_shares_out_well_are_refused(frame, labels, time):
    with pytest.raises(SplitError, match="cannot be shared out"):
        choose(frame, labels, time, ["id"])

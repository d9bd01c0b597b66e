"""Differences between groups: the intervals against published and independent ones, and who is compared with whom."""

import numpy as np
import pytest
from scipy import stats

from components import tasks
from components.evaluation import disparities
from components.tasks import Outcome

pytestmark = pytest.mark.unit

SOLD = tasks.of('{"task": "binary", "label": "sold", "classes": []}')
GRADE = tasks.of('{"task": "multiclass", "label": "grade", "classes": ["low", "middle", "high"]}')
PRICE = tasks.of('{"task": "regression", "label": "price", "classes": []}')


def shares(*of_groups: tuple[int, int]) -> np.ndarray:
    """The sums of groups of which so many rows, of so many, are 1."""
    return np.array([[rows, ones, ones] for ones, rows in of_groups], float)


def report(task: tasks.Task, labels, answers, group, min_rows: int = 1, threshold: float = 0.5) -> dict[str, dict]:
    """The report about rows, by measure."""
    group = np.asarray(group)
    outcomes = task.outcomes(np.asarray(labels, float), np.asarray(answers, float), threshold)
    names, numbers = np.unique(group, return_inverse=True)
    groups = dict(zip(names.tolist(), disparities.sums(outcomes, numbers, len(names)), strict=True))
    rows = {name: int((group == name).sum()) for name in groups}
    return {measured["name"]: measured for measured in disparities.report(groups, rows, outcomes, min_rows)}


@pytest.mark.parametrize(
    ("one", "other", "interval"),
    [  # Table II of Newcombe (1998), method 10
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((6, 7), (2, 7), (0.0582, 0.8062)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0000)),
    ],
)
def test_the_interval_of_a_difference_of_shares_is_the_published_one(one, other, interval):
    found = disparities.newcombe(shares(one, other))

    assert found.of[0, 1] == pytest.approx(one[0] / one[1] - other[0] / other[1])
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx(interval, abs=6e-5)
    assert (found.low[1, 0], found.high[1, 0]) == pytest.approx((-interval[1], -interval[0]), abs=6e-5)


def test_the_interval_of_a_difference_of_means_is_that_of_welchs_test():
    draw = np.random.default_rng(1)
    one, other = draw.normal(3, 5, 40), draw.normal(0, 1, 200)
    outcome = [Outcome("mean_error", "mean", np.concatenate([one, other]), np.ones(240, bool))]

    totals = disparities.sums(outcome, np.repeat([0, 1], [40, 200]), 2)[:, 0]
    found = disparities.welch(totals)
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)

    assert found.of[0, 1] == pytest.approx(one.mean() - other.mean())
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((expected.low, expected.high))


def test_a_group_that_is_always_equally_wrong_has_no_doubt_about_its_error():
    found = disparities.welch(np.array([[20, 40.0, 80.0], [30, 30.0, 30.0]]))

    assert (found.of[0, 1], found.low[0, 1], found.high[0, 1]) == (1.0, 1.0, 1.0)


def test_rates_of_two_classes_are_those_at_the_threshold():
    labels = [1, 1, 0, 0] * 10 + [1, 1, 1, 0] * 10
    answers = [[0.9], [0.6], [0.6], [0.1]] * 10 + [[0.59], [0.6], [0.1], [0.1]] * 10
    measured = report(SOLD, labels, answers, ["f"] * 40 + ["m"] * 40, threshold=0.6)

    assert list(measured) == list(SOLD.disparities) == ["selection_rate", "true_positive_rate"]
    selection, found = measured.values()
    assert selection["values"] == {"f": 0.75, "m": 0.25}
    assert selection["counted"] == {"f": 40, "m": 40}
    assert found["values"] == {"f": 1.0, "m": pytest.approx(1 / 3)}
    assert found["counted"] == {"f": 20, "m": 30}
    assert selection["largest"] == selection["surest"]
    assert {name: selection["largest"][name] for name in ("of", "higher", "lower", "difference")} == {
        "of": "",
        "higher": "f",
        "lower": "m",
        "difference": 0.5,
    }
    expected = disparities.newcombe(shares((30, 40), (10, 40)))
    assert selection["largest"]["low"] == expected.low[0, 1]
    assert selection["largest"]["high"] == expected.high[0, 1]


def test_of_several_classes_the_one_that_differs_most_is_reported():
    sure = np.eye(3)
    labels = [0, 1, 2] * 20
    answers = [sure[0], sure[1], sure[2]] * 10 + [sure[0], sure[0], sure[2]] * 10
    measured = report(GRADE, labels, answers, ["f"] * 30 + ["m"] * 30)

    assert measured["selection_rate"]["largest"]["of"] in ("low", "middle")
    assert measured["selection_rate"]["largest"]["difference"] == pytest.approx(1 / 3)
    found = measured["true_positive_rate"]
    assert found["largest"]["of"] == "middle"
    assert found["values"] == {"f": 1.0, "m": 0.0}
    assert found["counted"] == {"f": 10, "m": 10}


def test_of_numbers_the_mean_errors_are_compared_and_keep_their_sign():
    labels = np.arange(40.0)
    answers = (labels + np.where(labels < 20, -3, 2) + np.tile([-0.5, 0.5], 20))[:, np.newaxis]
    measured = report(PRICE, labels, answers, np.where(labels < 20, "f", "m"))

    assert list(measured) == list(PRICE.disparities)
    found = measured["mean_error"]
    assert found["values"] == {"f": pytest.approx(-3), "m": pytest.approx(2)}
    assert (found["largest"]["higher"], found["largest"]["lower"]) == ("m", "f")
    assert found["largest"]["difference"] == pytest.approx(5)


def test_small_groups_are_measured_and_not_compared():
    labels, answers = [1] * 65, [[0.9]] * 30 + [[0.1]] * 30 + [[0.9]] * 5
    group = ["f"] * 30 + ["m"] * 30 + ["x"] * 5

    measured = report(SOLD, labels, answers, group, min_rows=20)["selection_rate"]
    assert measured["values"] == {"f": 1.0, "m": 0.0, "x": 1.0}
    assert {measured["largest"]["higher"], measured["largest"]["lower"]} == {"f", "m"}
    assert report(SOLD, labels, answers, group, min_rows=31)["selection_rate"]["largest"] is None


def test_rates_of_too_few_positive_rows_are_not_compared():
    labels = [1] * 9 + [0] * 31 + [1] * 40
    measured = report(SOLD, labels, [[0.9]] * 40 + [[0.1]] * 40, ["f"] * 40 + ["m"] * 40)

    assert measured["selection_rate"]["largest"]["difference"] == 1.0
    assert measured["true_positive_rate"]["largest"] is None
    assert measured["true_positive_rate"]["values"] == {"f": 1.0, "m": 0.0}


def test_a_small_group_with_a_large_difference_does_not_hide_a_sure_one():
    answers = [[0.9]] * 10 + [[0.1]] * 10 + [[0.9]] * 400 + [[0.1]] * 600 + [[0.9]] * 250 + [[0.1]] * 750
    group = ["few"] * 20 + ["many"] * 1000 + ["more"] * 1000
    measured = report(SOLD, np.zeros(2020), answers, group)["selection_rate"]

    assert (measured["largest"]["higher"], measured["largest"]["lower"]) == ("few", "more")
    assert (measured["surest"]["higher"], measured["surest"]["lower"]) == ("many", "more")
    assert measured["largest"]["low"] < measured["surest"]["low"]

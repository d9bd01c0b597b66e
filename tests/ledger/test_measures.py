"""Measures of every task against scikit-learn, and tests of differences that are known by construction."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from ledger import measures, significance

pytestmark = pytest.mark.unit
CLASSES = ("on time", "late", "very late")
TARGETS = {
    "binary": {"label": "late", "task": "binary", "classes": [], "unit": None},
    "multiclass": {"label": "how_late", "task": "multiclass", "classes": list(CLASSES), "unit": None},
    "regression": {"label": "delay", "task": "regression", "classes": [], "unit": "minutes"},
}


def classified(rows: int, seed: int, *skills: float) -> tuple[np.ndarray, ...]:
    """Labels of three classes, and the probabilities of models, each of which sees so much of the truth."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, rows, p=(0.6, 0.3, 0.1)).astype(float)
    truth, seen = np.eye(3)[labels.astype(int)], random.normal(size=(rows, 3))
    logits = (seen + 0.5 * random.normal(size=(rows, 3)) + skill * truth for skill in skills)
    return labels, *(np.exp(of_model) / np.exp(of_model).sum(axis=1, keepdims=True) for of_model in logits)


def estimated(rows: int, seed: int, *errors: float) -> tuple[np.ndarray, ...]:
    """Labels that are numbers, and the values of models with normal errors of these deviations."""
    random = np.random.default_rng(seed)
    labels = random.gamma(2.0, 10.0, rows)
    shared = random.normal(size=rows)
    return labels, *(labels + error * (shared + random.normal(size=rows)) / math.sqrt(2) for error in errors)


def of_classes(labels: np.ndarray, probabilities: np.ndarray) -> Mapping[str, float]:
    called = probabilities.argmax(axis=1)
    scores = {
        name: function(labels, called, labels=range(3), average=None, zero_division=np.nan)
        for name, function in (("precision", sklearn_metrics.precision_score), ("recall", sklearn_metrics.recall_score))
    }
    return {
        "accuracy": sklearn_metrics.accuracy_score(labels, called),
        "log_loss": sklearn_metrics.log_loss(labels, np.clip(probabilities, 1e-7, 1), labels=range(3)),
        "macro_f1": sklearn_metrics.f1_score(labels, called, average="macro"),
        **{f"{name}/{of}": values[number] for name, values in scores.items() for number, of in enumerate(CLASSES)},
    }


def of_numbers(labels: np.ndarray, values: np.ndarray) -> Mapping[str, float]:
    return {
        "mae": sklearn_metrics.mean_absolute_error(labels, values),
        "rmse": sklearn_metrics.root_mean_squared_error(labels, values),
        "r2": sklearn_metrics.r2_score(labels, values),
        "mean_squared_error": sklearn_metrics.mean_squared_error(labels, values),
        "mean_prediction": values.mean(),
    }


@pytest.mark.parametrize(
    ("task", "data", "expected"),
    [("multiclass", classified(600, 3, 1.0), of_classes), ("regression", estimated(600, 3, 4.0), of_numbers)],
    ids=["multiclass", "regression"],
)
def test_every_measure_is_that_of_scikit_learn_on_the_rows_and_on_a_resample(task, data, expected):
    labels, predictions = data
    resampled = measures.of(TARGETS[task]).resampled
    drawn = np.random.default_rng(0).integers(0, 600, 600)
    for rows in (np.arange(600), drawn):
        weights = np.bincount(rows, minlength=600).astype(float)
        for name, value in expected(labels[rows], predictions[rows]).items():
            assert resampled[name](labels, predictions)(weights) == pytest.approx(value, abs=1e-9), name


def test_the_error_of_a_decile_is_that_of_a_tenth_of_the_rows():
    labels, values = estimated(1000, 5, 6.0)
    resampled = measures.of(TARGETS["regression"]).resampled
    tenths = np.array_split(np.argsort(labels), 10)

    for number, rows in enumerate(tenths, start=1):
        error = resampled[f"mae/decile_{number}"](labels, values)(np.ones(1000))
        assert error == pytest.approx(np.abs(values - labels)[rows].mean()), number
    assert np.bincount(measures.deciles(labels))[1:].tolist() == [100] * 10


def test_equal_labels_share_a_decile_and_a_decile_without_rows_has_no_error():
    labels = np.r_[np.zeros(500), np.arange(1.0, 501.0)]

    assert set(measures.deciles(labels)) == {1, 6, 7, 8, 9, 10}
    of = measures.of(TARGETS["regression"]).resampled
    assert math.isnan(of["mae/decile_3"](labels, labels + 1)(np.ones(1000)))
    (first,) = significance.compare(
        labels, labels + 1, labels + 2, ["mae/decile_1", "mae/decile_3"], measures=measures.of(TARGETS["regression"])
    )
    assert (first.metric, first.first, first.second) == ("mae/decile_1", 1.0, 2.0)


def test_a_class_with_few_rows_or_that_is_never_answered_is_not_judged():
    labels = np.r_[np.zeros(50), np.ones(50), np.full(5, 2.0)]
    random = np.random.default_rng(0)
    one, other = (random.dirichlet((1, 1, 1), 105) * (1, 1, 1e-9) for _ in range(2))
    names = [f"{metric}/{name}" for metric in ("precision", "recall") for name in CLASSES]

    tests = significance.compare(labels, one, other, names, resamples=50, measures=measures.of(TARGETS["multiclass"]))

    assert {test.metric.partition("/")[2] for test in tests} == {"on time", "late"}


def test_labels_that_are_all_the_same_have_no_r2():
    values = np.random.default_rng(0).normal(size=100)

    assert math.isnan(measures.of(TARGETS["regression"]).resampled["r2"](np.full(100, 0.1), values)(np.ones(100)))


@pytest.mark.parametrize(
    ("task", "labels", "predictions", "said"),
    [
        ("multiclass", np.full(50, 3.0), np.ones((50, 3)) / 3, "not all numbers of the 3 classes"),
        ("multiclass", np.r_[np.zeros(45), np.ones(5)], np.ones((50, 3)) / 3, "1 of the 3 classes have at least 10"),
        ("multiclass", np.arange(60.0) % 3, np.ones((60, 4)) / 4, "not all of their predictions are probabilities"),
        ("multiclass", np.arange(60.0) % 3, np.full((60, 3), np.nan), "not all of the scores are numbers"),
        ("regression", np.arange(19.0), np.arange(19.0), "there are 19 of them, and at least 20 are needed"),
        ("regression", np.full(50, np.inf), np.arange(50.0), "not all of the labels are numbers"),
        ("regression", np.arange(50.0), np.full(50, np.nan), "not all of the scores are numbers"),
    ],
)
def test_rows_that_cannot_tell_anything_say_why(task, labels, predictions, said):
    assert said in (measures.of(TARGETS[task]).why_not(labels, predictions) or "")


def test_rows_that_can_tell_something_say_nothing():
    assert measures.of(TARGETS["multiclass"]).why_not(*classified(100, 1, 1.0)) is None
    assert measures.of(TARGETS["regression"]).why_not(*estimated(100, 1, 3.0)) is None


def test_runs_of_before_are_binary():
    assert measures.of({}) == measures.of(TARGETS["binary"]) == measures.BINARY


def test_intervals_of_known_differences_hold_them_nineteen_times_in_twenty():
    # The second model errs by a normal error of 5 in place of 4: by sqrt(2 / pi) more, in the mean. Of 300 intervals
    # 285 hold that, with a standard deviation of 3.8; percentiles of few resamples are somewhat too narrow.
    of, true = measures.of(TARGETS["regression"]), math.sqrt(2 / math.pi)
    held = 0
    for seed in range(300):
        (mae,) = significance.bootstrap(*estimated(200, seed, 4.0, 5.0), ["mae"], seed, 200, of)
        held += mae.low <= true <= mae.high
    assert 268 <= held <= 296


@pytest.mark.parametrize(
    ("task", "data", "names"),
    [("multiclass", classified, ("accuracy", "macro_f1")), ("regression", estimated, ("rmse", "r2"))],
)
def test_without_a_difference_one_in_twenty_is_called_one(task, data, names):
    # 200 evaluations of two models that are equally good: 10 expected, with a standard deviation of 3.1.
    of, called, by_deviation = measures.of(TARGETS[task]), dict.fromkeys(names, 0), 0
    for seed in range(200):
        labels, first, second = data(200, seed, 2.0, 2.0)
        for test in significance.compare(labels, first, second, names, seed, 200, of):
            called[test.metric] += test.beyond_noise
        test = significance.compare_one_of_many(labels, first, second, names[0], of, seed)
        by_deviation += test is not None and test.beyond_noise
    assert all(1 <= often <= 22 for often in (*called.values(), by_deviation)), (called, by_deviation)


@pytest.mark.parametrize(
    ("task", "data", "names"),
    [
        ("multiclass", classified(3000, 1, 1.0, 1.6), ("accuracy", "macro_f1", "recall/very late")),
        ("regression", estimated(3000, 1, 9.0, 6.0), ("r2",)),
    ],
    ids=["multiclass", "regression"],
)
def test_a_real_difference_is_found_also_as_one_of_a_hundred(task, data, names):
    of = measures.of(TARGETS[task])
    for test in significance.compare(*data, ["example_count", *names], measures=of):
        assert test.beyond_noise, test.metric
        assert test.low > 0
        one = significance.compare_one_of_many(*data, test.metric, of)
        assert one is not None
        assert (one.first, one.second) == (test.first, test.second)
        assert one.p_value < 0.05 / 100
        assert one.low == pytest.approx(test.low, abs=0.3 * (test.high - test.low))
    assert significance.compare_one_of_many(*data, "example_count", of) is None


def test_a_model_does_not_differ_from_itself():
    for task, (labels, predictions) in {
        "multiclass": classified(300, 1, 1.0),
        "regression": estimated(300, 1, 3.0),
    }.items():
        of = measures.of(TARGETS[task])
        for test in significance.compare(labels, predictions, predictions, list(of.resampled), measures=of):
            assert (test.difference, test.p_value, test.beyond_noise) == (0.0, 1.0, False), test.metric

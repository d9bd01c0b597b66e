"""What the pages show of models of classes and of numbers, against scikit-learn and by hand."""

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pytest
import vl_convert
from sklearn import metrics

from ledger.measures import MulticlassMeasures, RegressionMeasures
from ledger.scores import ScoredRows
from operations.report.evaluation import assessors, multiclass, regression
from tests.operations.report.scored import CLASSES, MULTICLASS, REGRESSION, ROWS, classified, estimated

pytestmark = pytest.mark.unit


def test_figures_of_classes_are_those_of_scikit_learn():
    labels, probabilities = classified()
    called = probabilities.argmax(axis=1)

    assessed = multiclass.assess(CLASSES, labels, probabilities)

    assert assessed.confusion == metrics.confusion_matrix(labels, called).tolist()
    assert assessed.accuracy == pytest.approx(metrics.accuracy_score(labels, called))
    expected = metrics.precision_recall_fscore_support(labels, called)
    found = zip(*[(of.precision, of.recall, of.f1, of.rows) for of in assessed.classes], strict=True)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs)
    for number, of_class in enumerate(assessed.classes):
        against = labels == number, probabilities[:, number]
        assert of_class.auc == pytest.approx(metrics.roc_auc_score(*against))
        assert of_class.average_precision == pytest.approx(metrics.average_precision_score(*against))
        assert of_class.probability == pytest.approx(probabilities[:, number].mean())
    assert sum(group.rows for group in assessed.groups) == ROWS
    assert assessed.calibration_error < 0.05
    assert sum(right + wrong for _, _, right, wrong in assessed.histogram) == ROWS
    assert assessed.share(1, 1) == assessed.classes[1].recall


def test_a_class_that_is_never_answered_and_one_without_rows_have_figures_where_there_are_some():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.5, 0.4, 0.1]])

    assessed = multiclass.assess(CLASSES, labels, probabilities)

    late, very_late = assessed.classes[1:]
    assert (late.precision, late.recall, late.f1, late.auc) == (None, 0.0, 0.0, 1.0)
    assert (very_late.precision, very_late.recall, very_late.f1, very_late.auc) == (None, None, None, None)
    assert assessed.share(2, 0) is None
    scored = ScoredRows(labels, probabilities, pa.table({}), MulticlassMeasures(CLASSES))
    limits = assessors.of(MULTICLASS).assess(scored, {}).limits
    assert limits[0] == "It never answers late, which 2 rows of 4 are."
    assert limits[1].startswith("Its probabilities are too high: the most probable class has 62.5")


def test_figures_of_numbers_are_those_of_scikit_learn():
    labels, values = estimated()

    assessed = regression.assess(labels, values)

    assert assessed.mae == pytest.approx(metrics.mean_absolute_error(labels, values))
    assert assessed.rmse == pytest.approx(metrics.root_mean_squared_error(labels, values))
    assert assessed.r2 == pytest.approx(metrics.r2_score(labels, values))
    assert assessed.residual == pytest.approx((values - labels).mean())
    assert sum(rows for *_, rows in assessed.cells) == pytest.approx(ROWS * (1 - assessed.outside))
    assert 0 < assessed.outside < 0.03
    assert sum(rows for *_, rows in assessed.residuals) == pytest.approx(ROWS * (1 - assessed.beyond))
    measured = RegressionMeasures().resampled
    for decile in assessed.deciles:
        expected = measured[f"mae/decile_{decile.decile}"](labels, values)(np.ones(ROWS))
        assert decile.mae == pytest.approx(expected)
    assert sum(decile.rows for decile in assessed.deciles) == ROWS


@pytest.mark.parametrize("spread", [1, 100, 1e6])
def test_whole_numbers_are_not_cut_apart(spread):
    labels = np.random.default_rng(0).integers(0, 7 * spread, 1000).astype(float)

    cells = regression.assess(labels, labels + 0.3).cells

    assert len({low for low, *_ in cells}) <= 41
    assert all((2 * low) % 2 == (2 * high) % 2 == 1 for low, high, *_ in cells if abs(high) < 1e5)


@pytest.mark.parametrize(
    ("labels", "values"),
    [(np.full(50, 3.0), np.full(50, 3.0)), (np.full(50, -0.1), np.linspace(0, 1, 50)), (np.zeros(1), np.ones(1))],
)
def test_numbers_that_are_all_the_same_can_be_drawn(labels, values):
    scored = ScoredRows(labels, values, pa.table({}), RegressionMeasures())

    assessment = assessors.of(REGRESSION).assess(scored, {})

    assert assessment.quality.r2 is None
    for plot in filter(None, assessment.plots.values()):
        assert vl_convert.vegalite_to_svg(plot.spec)


def test_rows_without_a_label_are_left_out_and_none_at_all_are_refused():
    labels, probabilities = classified()
    without = labels.astype(float)
    without[:10] = np.nan
    assert multiclass.assess(CLASSES, without, probabilities).rows == ROWS - 10
    assert regression.assess(without, without).rows == ROWS - 10
    with pytest.raises(ValueError, match="no row"):
        multiclass.assess(CLASSES, labels[:0], probabilities[:0])
    with pytest.raises(ValueError, match="no row"):
        regression.assess(labels[:0], labels[:0])
    with pytest.raises(ValueError, match="no probabilities of 2 classes"):
        multiclass.assess(CLASSES[:2], labels, probabilities)


def test_a_model_that_says_too_little_is_warned_of_in_its_unit():
    labels, values = estimated()
    scored = ScoredRows(labels, values, pa.table({}), RegressionMeasures())
    assessor = assessors.of(REGRESSION)

    assert assessor.assess(scored, {}).limits == ()
    (limit,) = assessor.assess(dataclasses.replace(scored, predictions=values - 20), {}).limits
    assert limit.startswith("Its predictions are too low: -")
    assert " minutes on average, where the mean of the labels was " in limit


def test_of_many_classes_the_curves_of_those_with_the_most_rows_are_drawn():
    names = tuple(f"kind {number}" for number in range(9))
    random = np.random.default_rng(0)
    labels, probabilities = random.choice(9, 900, p=np.arange(1, 10) / 45), random.dirichlet(np.ones(9), 900)
    target = MULTICLASS | {"classes": names}
    scored = ScoredRows(labels, probabilities, pa.table({}), MulticlassMeasures(names))

    roc = assessors.of(target).assess(scored, {}).plots["roc"]

    assert roc is not None
    assert "Of 9 classes the 7 with the most rows are drawn." in roc.words
    assert re.search(r"0\.\d{4} for kind 0,", roc.words)
    drawn = vl_convert.vegalite_to_svg(roc.spec)
    assert [name in drawn for name in names] == [False, False, *[True] * 7]

"""Curves, calibration and confusion, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from operations.report import quality

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module", params=["many values", "ties"])
def rows(request):
    random = np.random.default_rng(3)
    scores = random.beta(2, 5, 20_000)
    if request.param == "ties":
        scores = scores.round(1)
    return (random.random(len(scores)) < scores).astype(np.int8), scores


def test_areas_are_those_of_scikit_learn(rows):
    labels, scores = rows
    assessed = quality.assess(labels, scores, 0.5)
    assert assessed.auc == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    assert assessed.average_precision == pytest.approx(metrics.average_precision_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_confusion_is_that_of_scikit_learn(rows, threshold):
    labels, scores = rows
    assessed = quality.assess(labels, scores, threshold).chosen
    counts = [assessed.true_negatives, assessed.false_positives, assessed.false_negatives, assessed.true_positives]
    assert counts == metrics.confusion_matrix(labels, scores >= threshold, labels=[0, 1]).ravel().tolist()


def test_thinned_curves_keep_their_area_and_ends(rows):
    labels, scores = rows
    assessed = quality.assess(labels, scores, 0.5)
    assert len(assessed.roc) <= 201
    assert assessed.roc[0] == (0.0, 0.0)
    assert assessed.roc[-1] == (1.0, 1.0)
    x, y = np.array(assessed.roc).T
    assert np.trapezoid(y, x) == pytest.approx(assessed.auc, abs=2e-3)
    assert assessed.precision_recall[-1][0] == 1.0
    assert assessed.precision_recall[-1][1] == pytest.approx(labels.mean(), abs=1e-5)


def test_calibration_groups_hold_all_rows_and_find_what_is_wrong():
    random = np.random.default_rng(1)
    truth = random.uniform(0.05, 0.95, 50_000)
    labels = random.random(len(truth)) < truth
    honest, shy = quality.assess(labels, truth, 0.5), quality.assess(labels, truth / 2, 0.5)
    assert sum(group.rows for group in honest.groups) == len(truth)
    assert honest.calibration_error < 0.01
    assert shy.calibration_error == pytest.approx(truth.mean() / 2, abs=0.01)
    assert all(group.low <= group.observed <= group.high for group in honest.groups)


def test_rows_without_a_label_are_left_out_and_equal_labels_have_no_curves():
    labelled = quality.assess(np.array([1.0, 0.0, np.nan]), np.array([0.9, 0.1, 0.5]), 0.5)
    assert (labelled.rows, labelled.auc) == (2, 1.0)
    equal = quality.assess(np.zeros(10), np.linspace(0, 1, 10), 0.5)
    assert (equal.auc, equal.average_precision, equal.roc, equal.chosen.recall) == (None, None, [], None)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no row"):
        quality.assess(np.array([]), np.array([]), 0.5)

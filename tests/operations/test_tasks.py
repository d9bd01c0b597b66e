"""What an answer is called and how it is described, counted and compared, for each task."""

from typing import get_args

import numpy as np
import pytest

from data.contract import Target, Task
from operations.tasks import column_of, task_of
from tests.operations.serving.small_model import CLASSES, TARGETS

pytestmark = pytest.mark.unit

MULTICLASS, REGRESSION = task_of(TARGETS["multiclass"]), task_of(TARGETS["regression"], [-5.0, 0.0, 12.5])


def test_the_most_probable_class_is_named_and_the_first_of_several():
    probabilities = np.array([[0.2, 0.3, 0.5], [0.4, 0.4, 0.2], [0.0, 1.0, 0.0]], np.float32)
    named = MULTICLASS.named({"probabilities": probabilities, "leaf": np.zeros(3)})
    assert list(named) == ["probabilities", "leaf", "class"]
    assert named["class"].tolist() == [CLASSES[2], CLASSES[0], CLASSES[1]]
    assert named["probabilities"] is probabilities
    assert MULTICLASS.added == {"class": "string"}


def test_an_answer_that_is_no_number_is_of_no_class():
    probabilities = np.array([[0.2, 0.3, 0.5], [np.nan, np.nan, np.nan], [0.6, np.nan, 0.2]], np.float32)
    outputs = {"probabilities": probabilities}
    assert MULTICLASS.named(outputs)["class"].tolist() == [CLASSES[2], "", ""]
    assert {name: values.tolist() for name, values in MULTICLASS.observed(outputs).items()} == {
        f"probabilities/{CLASSES[2]}": [0.5]
    }


@pytest.mark.parametrize(("target", "output"), [(None, "probability"), (TARGETS["regression"], "value")])
def test_other_answers_are_told_as_the_graph_gives_them(target, output):
    answers = {output: np.array([[0.2], [0.3]], np.float32)}
    assert task_of(target).named(answers) == task_of(target).observed(answers) == answers
    assert (task_of(target).output, task_of(target).width, task_of(target).added) == (output, 1, {})


def test_the_classes_that_were_answered_are_counted_by_how_certain_they_were():
    probabilities = np.array([[0.2, 0.3, 0.5], [0.1, 0.0, 0.9], [0.6, 0.2, 0.2]], np.float32)
    observed = MULTICLASS.observed({"probabilities": probabilities})
    assert {name: values.tolist() for name, values in observed.items()} == {
        f"probabilities/{CLASSES[0]}": [pytest.approx(0.6)],
        f"probabilities/{CLASSES[2]}": [0.5, pytest.approx(0.9)],
    }


def test_the_bounds_of_a_number_are_the_quantiles_of_the_labels_where_they_are_known():
    assert REGRESSION.buckets == (-5.0, 0.0, 12.5)
    unknown = list(task_of(TARGETS["regression"]).buckets)
    assert unknown == sorted(unknown)
    assert [bound for bound in unknown if -2 <= bound <= 2] == [-2, -1, -0.5, -0.2, -0.1, 0, 0.1, 0.2, 0.5, 1, 2]


def test_answers_are_alike_if_they_mean_the_same():
    def multiclass(*classes: str, label: str = "a"):
        return task_of(Target(label=label, task="multiclass", classes=classes))

    assert multiclass("x", "y", "z").like(multiclass("x", "y", "z", label="b"))
    assert not multiclass("x", "y", "z").like(multiclass("y", "x", "z"))
    assert not REGRESSION.like(task_of(Target(label="delay", task="regression", unit="hours")))
    assert task_of(None).like(task_of(TARGETS["binary"]))


def test_an_output_gives_way_to_a_column_of_its_name():
    assert column_of("value", ["size", "value"]) == "predicted_value"
    assert column_of("value", {"size": 1}) == "value"


@pytest.mark.component
def test_outputs_are_called_as_the_model_calls_them():
    from models.tasks import head

    assert set(TARGETS) == set(get_args(Task))
    for target in TARGETS.values():
        assert task_of(target).output == head(target).output

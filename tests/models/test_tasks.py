"""What is predicted: one network learns classes and numbers as it learns two classes, and answers in their terms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from data.contract import Target
from models import inputs, network, runtime, tasks, training
from models.preprocessing import NUMERIC
from models.settings import ModelSettings

pytestmark = pytest.mark.component

ROWS = 4000
SHAPE = network.TransformedFeatures(numbers=2, categories=0, rows=0, scaled=2)
CLASSES = Target(label="kind", task="multiclass", classes=("low", "middle", "high"))
NUMBER = Target(label="price", task="regression", unit="euro")


@pytest.fixture(scope="module")
def numbers() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(ROWS, 2)).astype(np.float32)


def learned(target: Target, numbers: np.ndarray, labels: np.ndarray, **model) -> tuple[np.ndarray, dict]:
    """Answers to the rows that a network for inference gives after training on them, and the history."""
    settings = ModelSettings.model_validate(
        {"hidden_units": [32], "batch_size": 100, "epochs": 5, "learning_rate": 0.01, "dropout": 0.0} | model
    )
    rows = inputs.Rows({NUMERIC: tf.constant(numbers)}, tf.constant(labels.astype(np.float32)[:, np.newaxis]))
    head = tasks.head(target).fitted(rows.labels)
    with runtime.configured(settings, ["CPU:0"]) as where:
        model, history = training.fit(settings, SHAPE, head, where, rows, rows)
    answers = training.inference(model, settings, SHAPE, head)({NUMERIC: numbers})
    return np.asarray(answers), history


def test_classes_are_learned_as_probabilities_in_the_order_of_the_contract(numbers):
    labels = np.digitize(numbers[:, 0], [-0.5, 0.5])
    answers, history = learned(CLASSES, numbers, labels)

    assert answers.shape == (ROWS, 3)
    np.testing.assert_allclose(answers.sum(axis=1), 1.0, atol=1e-5)
    assert (answers.argmax(axis=1) == labels).mean() > 0.95
    assert history["val_accuracy"][-1] == pytest.approx((answers.argmax(axis=1) == labels).mean(), abs=1e-3)


def test_numbers_are_learned_in_their_own_unit_however_large_they_are(numbers):
    labels = 250_000 + 40_000 * numbers[:, 0] - 20_000 * numbers[:, 1]
    answers, history = learned(NUMBER, numbers, labels)

    error = np.sqrt(np.mean((answers[:, 0] - labels) ** 2))
    assert error < 0.1 * labels.std()
    assert history["val_rmse"][-1] == pytest.approx(error, rel=0.01)


def test_a_number_that_is_always_the_same_is_learned_too(numbers):
    answers, _ = learned(NUMBER, numbers, np.full(ROWS, 7.0), epochs=1)

    assert np.abs(answers - 7.0).mean() < 1.0


def test_frequencies_tell_what_turns_often_within_a_small_range(numbers):
    labels = (np.sin(9 * numbers[:, 0]) > 0).astype(int)
    areas = [
        learned(Target(label="lit"), numbers, labels, number_frequencies=frequencies, number_scale=1.0)[1]["val_auc"]
        for frequencies in (0, 16)
    ]

    assert areas[0][-1] < 0.8 < 0.95 < areas[1][-1]


@pytest.mark.parametrize("target", [Target(label="lit"), CLASSES, NUMBER])
def test_the_last_layer_has_the_name_of_the_answer(target):
    head = tasks.head(target)
    model = network.build(ModelSettings(), SHAPE, head)

    (layer,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Dense) and layer.name == head.output)
    assert layer.units == max(1, len(target.classes))
    assert model.output_shape == (None, layer.units)

"""Small real models, written once, and the toy model of TensorFlow Serving's documentation."""

from pathlib import Path

import pytest

from tests.operations.serving import small_model

BIASES = (-1.0, 0.0, 1.0)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """Three SavedModels by their bias, which decides what `small_model.probability` says they answer."""
    folder = tmp_path_factory.mktemp("small-models")
    return {bias: small_model.write(folder / str(index), bias) for index, bias in enumerate(BIASES)}


@pytest.fixture(scope="session")
def of_tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A SavedModel of each other task, with the bias 0."""
    folder = tmp_path_factory.mktemp("models-of-tasks")
    return {task: small_model.write(folder / task, task=task) for task in ("multiclass", "regression")}


@pytest.fixture(scope="session")
def half_plus_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with one input: y = x / 2 + 3."""
    import tensorflow as tf

    module, folder = tf.Module(), tmp_path_factory.mktemp("half_plus_three")
    module.a, module.b = tf.Variable(0.5), tf.Variable(3.0)
    predict = tf.function(lambda x: {"y": module.a * x + module.b})
    signature = predict.get_concrete_function(x=tf.TensorSpec([None], tf.float32, name="x"))
    tf.saved_model.save(module, str(folder), signatures={"predict_raw": signature})
    return folder

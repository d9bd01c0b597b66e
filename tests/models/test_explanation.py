"""Why an answer: Shapley values in the graph, against all coalitions counted out, for the answers of each task."""

import dataclasses
import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from data.contract import Contract, Target
from models import explanation, network, tasks
from models.explanation import Explainer
from models.features import FeatureSettings
from models.preprocessing import CATEGORICAL, NUMERIC, TEXT, origins
from models.settings import ModelSettings
from tests.models.conftest import signature

pytestmark = pytest.mark.component

# `a` has three places among the numbers, and `note` is text; the network is kept from reading `idle`.
SETTINGS = FeatureSettings(
    numeric=("a", "b", "idle"),
    missing_indicators=("a",),
    cyclic={"c": 24.0},
    harmonics=1,
    categorical=("kind",),
    text=("note",),
    text_buckets=8,
)
SHAPE = network.TransformedFeatures(numbers=6, categories=1, rows=6, text=(1, 8), scaled=3)
IDLE = 2
TARGETS = {
    "binary": Target(label="y"),
    "multiclass": Target(label="y", task="multiclass", classes=("x", "y", "z")),
    "regression": Target(label="y", task="regression"),
}


def rows(count: int, seed: int) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(seed)
    return {
        NUMERIC: tf.constant(random.normal(size=(count, 6)), tf.float32),
        CATEGORICAL: tf.constant(random.integers(0, 6, (count, 1)), tf.int64),
        TEXT: tf.constant(random.random((count, 1, 8)), tf.float32),
    }


def explainer(task: str, seed: int = 1) -> Explainer:
    """Of a network that was never trained, and has weights that make its columns interact."""
    keras.utils.set_random_seed(seed)
    head = tasks.head(TARGETS[task])
    if task == "regression":
        head = dataclasses.replace(head, scale=(500.0, 200.0))
    settings = ModelSettings(hidden_units=(16,), cross_layers=1, number_frequencies=0, dropout=0.0)
    model = network.build(settings, SHAPE, head)
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(scale=0.5, size=weight.shape) for weight in model.get_weights()])
    # What the network reads of `idle` has no weight: in the cross layer, which multiplies by it, and in the others.
    for name in ("cross_0", "deep_0", head.output):
        kernel, bias = model.get_layer(name).get_weights()
        kernel[IDLE] = 0.0
        if name == "cross_0":
            kernel[:, IDLE], bias[IDLE] = 0.0, 0.0
        model.get_layer(name).set_weights([kernel, bias])
    return Explainer.of(model, origins(SETTINGS), rows(300, seed=2))


def exact(of: Explainer, features: dict[str, tf.Tensor]) -> np.ndarray:
    """The Shapley values of rows by their definition: the mean over the whole background of every coalition."""
    names, places = of.columns, of.origins
    values = {}
    for coalition in itertools.product((False, True), repeat=len(names)):
        known = dict(zip(names, coalition, strict=True))
        asked = {}
        for name, rows in features.items():
            mask = np.array([known[column] for column in places[name]]).reshape(-1, *[1] * (len(rows.shape) - 2))
            mixed = np.where(mask, np.asarray(rows)[:, None], np.asarray(of.background[name]))
            asked[name] = tf.constant(mixed.reshape(-1, *rows.shape[1:]))
        answers = np.asarray(of.answer(asked), np.float64)
        values[coalition] = answers.reshape(-1, explanation.ORDERS, of.width).mean(axis=1)
    count = len(names)
    shapley = np.zeros((len(answers) // explanation.ORDERS, count, of.width))
    for place in range(count):
        for coalition, value in values.items():
            if not coalition[place]:
                told = sum(coalition)
                weight = math.factorial(told) * math.factorial(count - told - 1) / math.factorial(count)
                shapley[:, place] += weight * (values[(*coalition[:place], True, *coalition[place + 1 :])] - value)
    return shapley


@pytest.mark.parametrize("task", TARGETS)
def test_values_add_up_and_are_those_of_all_coalitions_within_what_sampling_leaves(task):
    of, asked = explainer(task), rows(20, seed=3)
    values, base_value, answer = (part.numpy() for part in tf.function(of.explain)(asked))
    assert values.shape == (20, 6, of.width)
    assert values.dtype == base_value.dtype == answer.dtype == np.float32
    scale = 200.0 if task == "regression" else 1.0
    direct = of.answer(asked).numpy()
    np.testing.assert_allclose(answer, direct, atol=1e-5 * scale)
    np.testing.assert_allclose(values.sum(axis=1), direct - base_value, atol=1e-5 * scale)
    mean = of.answer(of.background).numpy().mean(axis=0)
    np.testing.assert_allclose(base_value, np.broadcast_to(mean, base_value.shape), rtol=1e-5)
    expected = exact(of, asked)
    assert np.abs(expected).mean() > 0.02 * scale  # there is something to explain
    assert np.abs(values - expected).mean() < 0.25 * np.abs(expected).mean()
    assert np.corrcoef(values.ravel(), expected.ravel())[0, 1] > 0.95
    # The mean over rows has less of the error of sampling, and none of a bias.
    assert np.abs((values - expected).mean(axis=0)).max() < 0.1 * np.abs(expected).mean() + 0.02 * scale


def test_a_column_that_the_network_does_not_read_moves_nothing():
    of = explainer("binary")
    values, _, _ = of.explain(rows(20, seed=3))
    np.testing.assert_allclose(values.numpy()[:, of.columns.index("idle")], 0.0, atol=1e-6)


def test_the_same_rows_are_explained_alike_alone_and_among_others_and_none_is_no_error():
    of, asked = explainer("multiclass"), rows(5, seed=4)
    explain = tf.function(of.explain)
    every, _, _ = explain(asked)
    again, _, _ = explain(asked)
    np.testing.assert_array_equal(every, again)
    alone, _, _ = of.explain({name: part[3:4] for name, part in asked.items()})
    np.testing.assert_allclose(alone, every[3:4], atol=1e-6)
    none, _, _ = explain({name: part[:0] for name, part in asked.items()})
    assert none.shape == (0, 6, 3)


def test_many_columns_are_asked_about_in_parts_with_the_same_result(monkeypatch):
    of, asked = explainer("binary"), rows(4, seed=5)
    at_once, base_value, _ = of.explain(asked)
    monkeypatch.setattr(explanation, "_ASKED", 60)
    in_parts, base_value_of_parts, _ = of.explain(asked)
    np.testing.assert_allclose(in_parts, at_once, atol=1e-6)
    np.testing.assert_allclose(base_value_of_parts, base_value, atol=1e-6)


def test_the_background_answers_like_all_training_rows():
    of, training = explainer("regression"), rows(5000, seed=6)
    chosen = explanation.background(training, of.answer)
    answers = of.answer(training).numpy()
    assert abs(of.answer(chosen).numpy().mean() - answers.mean()) < 0.05 * answers.std()
    few = explanation.background(rows(3, seed=7), of.answer)
    assert {part.shape[0] for part in few.values()} == {explanation.ORDERS}


def test_each_place_depends_on_the_column_that_is_said_to_be_its_origin(trained):
    """In the real transform graph: another value of one raw column moves its places and no other."""
    from models.flights import FlightFeatures

    columns, types = FlightFeatures().inputs, Contract.load("data/contract.yaml").ingested(labelled=False)
    apply = signature(trained.folder, "transform_features")
    real = trained.examples()[:50]
    before = apply(examples=tf.constant(real))
    places = origins(FlightFeatures())
    assert {name: len(of) for name, of in places.items()} == {name: of.shape[1] for name, of in before.items()}
    moved = set()
    for column in columns:
        changed = []
        for serialised in real:
            example = tf.train.Example.FromString(serialised)
            feature = example.features.feature[column]
            if types[column] == "string":
                feature.bytes_list.value[:] = [b"never seen"]
            elif types[column] == "int64":
                feature.int64_list.value[:] = [*(value + 7 for value in feature.int64_list.value), 7][:1]
            else:
                feature.float_list.value[:] = [*(value * 0.5 - 1 for value in feature.float_list.value), 1.0][:1]
            changed.append(example.SerializeToString())
        after = apply(examples=tf.constant(changed))
        for name, values in before.items():
            for place in np.flatnonzero((values != after[name]).numpy().any(axis=0)):
                assert places[name][place] == column, (column, name, place)
                moved.add((name, int(place)))
    # Indicators of columns that are there anyway cannot move, nor can a number that is clipped.
    assert len(moved) > 0.8 * sum(map(len, places.values()))


def test_the_exported_signature_explains_real_flights(trained):
    """As TensorFlow alone loads it: named columns in, and out the answer of the other signatures, taken apart."""
    from models.flights import FlightFeatures
    from operations.inference import model
    from operations.inference.columns import from_rows

    loaded = model.load(trained.folder / "serving", 1)
    flights = trained.evaluation.select(FlightFeatures().inputs).slice(0, 40).to_pylist()
    columns = from_rows(flights, loaded.inputs)
    why = loaded.predict(columns, model.EXPLAIN)
    assert set(why) == {"probability", "base_value", *(f"why_{name}" for name in FlightFeatures().inputs)}
    assert {values.shape for values in why.values()} == {(40, 1)}
    np.testing.assert_allclose(why["probability"], loaded.predict(columns)["probability"], atol=1e-6)
    values = np.stack([why[f"why_{name}"] for name in FlightFeatures().inputs])
    np.testing.assert_allclose(values.sum(axis=0), why["probability"] - why["base_value"], atol=1e-5)
    assert len(set(why["base_value"].ravel().tolist())) == 1
    learned = loaded.predict(from_rows(trained.train.select(FlightFeatures().inputs).to_pylist(), loaded.inputs))
    assert abs(why["base_value"][0, 0] - learned["probability"].mean()) < 0.01
    np.testing.assert_array_equal(loaded.predict(columns, model.EXPLAIN)["why_carrier"], why["why_carrier"])
    loaded.close()

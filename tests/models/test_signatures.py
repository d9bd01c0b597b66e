"""The exported model in a fresh process with nothing but TensorFlow: several doors, one answer."""

import json
import pickle

import numpy as np
import pytest
import tensorflow as tf

from data.contract import Contract
from models.flights import FlightFeatures
from operations.inference import model
from operations.inference.columns import from_rows, objects
from tests.examples import example
from tests.models.conftest import fresh_python, probabilities, signature, weights

pytestmark = pytest.mark.component

MISSING = {"int64": -(2**63), "float32": float("nan"), "string": ""}

SERVE = """
import json, pickle, sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
requests = pickle.load(open(sys.argv[2], "rb"))
answers = {}
for name, columns in requests.items():
    signature, _, _ = name.partition("/")
    outputs = model.signatures[signature](**{key: tf.constant(value) for key, value in columns.items()})
    answers[name] = {key: value.numpy() for key, value in outputs.items()}
pickle.dump(answers, open(sys.argv[3], "wb"))
print(json.dumps(sorted(module for module in ("tfx", "tensorflow_transform", "keras_tuner", "models")
                        if module in sys.modules)))
"""


def _example(row: dict) -> bytes:
    return example({name: value for name, value in row.items() if value is not None}).SerializeToString()


@pytest.fixture(scope="module")
def columns() -> dict[str, str]:
    types = Contract.load("data/contract.yaml").ingested(labelled=False)
    return {name: types[name] for name in FlightFeatures().inputs}


@pytest.fixture(scope="module")
def rows(trained, columns) -> list[dict]:
    """Real flights of the newest span; then all that may be missing is missing, or nothing was ever seen."""
    real = trained.evaluation.select(list(columns)).slice(0, 200).to_pylist()
    contract = Contract.load("data/contract.yaml")
    sparse = {name: None if contract.column(name).nullable else value for name, value in real[0].items()}
    unseen = real[0] | {"carrier": "XX", "origin": "XXX", "dest": "", "plane_engine": "Warp", "day_of_week": 9}
    assert any(None in row.values() for row in real)
    return [*real, sparse, unseen]


@pytest.fixture(scope="module")
def answers(trained, columns, rows, tmp_path_factory) -> dict[str, dict[str, np.ndarray]]:
    dtypes = {"int64": np.int64, "float32": np.float32, "string": object}
    raw = {
        name: np.array([[MISSING[kind] if row[name] is None else row[name]] for row in rows], dtypes[kind])
        for name, kind in columns.items()
    }
    examples = np.array([_example(row) for row in rows], object)
    requests = {
        "serving_default": {"examples": examples},
        "transform_features": {"examples": examples},
        "predict_raw": raw,
        "predict_raw/one": {name: values[:1] for name, values in raw.items()},
        "serving_default/none": {"examples": np.array([], object)},
    }
    folder = tmp_path_factory.mktemp("serve")
    (folder / "requests").write_bytes(pickle.dumps(requests))
    # Run elsewhere, so that the project's own packages are not at hand.
    imported = fresh_python(folder, SERVE, trained.folder / "serving", folder / "requests", folder / "answers")
    assert json.loads(imported) == []
    return pickle.loads((folder / "answers").read_bytes())


def test_serialised_examples_and_named_columns_get_the_same_probability(answers, rows) -> None:
    served, raw = (answers[name]["probability"] for name in ("serving_default", "predict_raw"))
    assert served.shape == raw.shape == (len(rows), 1)
    assert served.dtype == raw.dtype == np.float32
    assert ((served > 0) & (served < 1)).all()
    assert served.std() > 0.01
    np.testing.assert_allclose(raw, served, atol=1e-6)


def test_one_row_scores_as_it_does_among_others_and_no_row_is_no_error(answers) -> None:
    one = answers["predict_raw/one"]["probability"]
    np.testing.assert_allclose(one, answers["predict_raw"]["probability"][:1], atol=1e-6)
    assert answers["serving_default/none"]["probability"].shape == (0, 1)


def test_serving_agrees_with_training_on_the_same_rows(trained, answers, rows) -> None:
    read = trained.rows("eval")
    for name, values in answers["transform_features"].items():
        np.testing.assert_allclose(values[:200], read.features[name][:200], atol=1e-6)
    stored = probabilities(trained.folder, trained)[:200]
    np.testing.assert_allclose(stored, answers["predict_raw"]["probability"][:200], atol=1e-6)


def test_named_columns_are_the_inputs_of_the_model_and_transformed_ones_have_other_names(
    trained, answers, columns
) -> None:
    assert set(answers["transform_features"]) == {"numeric_xf", "categorical_xf"}
    assert not set(answers["transform_features"]) & set(columns)
    specs = signature(trained.folder, "predict_raw").structured_input_signature[1]
    assert {name: spec.dtype.name for name, spec in specs.items()} == columns
    assert {tuple(spec.shape) for spec in specs.values()} == {(None, 1)}


def test_a_required_column_left_out_of_an_example_is_refused_by_name(trained, rows) -> None:
    incomplete = _example({name: value for name, value in rows[0].items() if name != "distance"})
    with pytest.raises(tf.errors.InvalidArgumentError, match="distance"):
        signature(trained.folder)(examples=tf.constant([incomplete]))


def test_only_what_inference_needs_is_exported(trained) -> None:
    assert len(weights(trained.folder)) == 9  # embedding; kernel and bias of cross, two deep and output layers


def test_loaders_that_restore_by_the_graph_alone_give_the_same_answers(trained, answers) -> None:
    """TensorFlow Serving and Beam's RunInference do; Python's loader also reads the object graph and forgives more."""
    examples = trained.examples()[:200]
    with tf.compat.v1.Session(graph=tf.compat.v1.Graph()) as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(trained.folder / "serving"))
        serving = loaded.signature_def["serving_default"]
        stored = session.run(serving.outputs["probability"].name, {serving.inputs["examples"].name: examples})
    np.testing.assert_allclose(stored, answers["predict_raw"]["probability"][:200], atol=1e-6)


def test_the_prediction_service_gives_the_same_answers_for_plain_rows_and_for_examples(trained, answers, rows) -> None:
    served = model.load(trained.folder / "serving", 1)
    served.warm_up()
    plain = served.predict(from_rows(rows, served.inputs))["probability"]
    np.testing.assert_allclose(plain, answers["predict_raw"]["probability"], atol=1e-6)
    by_example = served.predict({"examples": objects([_example(row) for row in rows])}, model.EXAMPLES)["probability"]
    np.testing.assert_allclose(by_example, answers["serving_default"]["probability"], atol=1e-6)

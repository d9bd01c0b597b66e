"""Training: what is written, that it repeats bit for bit, and how it fails."""

import json
import pickle
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorflow.python.framework import config

from models import network, preprocessing, runtime, signatures, tasks, training
from models.explanation import Explainer
from models.flights import FlightFeatures
from models.runtime import AcceleratorError
from models.settings import ModelSettings
from models.training import DivergenceError, run_fn
from models.tuning import tuner_fn
from operations.inference import contract
from operations.inference.batch_files import to_arrays
from tests.models.conftest import LATE, fresh_python, probabilities, record, weights

pytestmark = pytest.mark.component

TRAIN_ELSEWHERE = """
import pickle, sys
from models.training import run_fn
run_fn(pickle.load(open(sys.argv[1], "rb")))
"""

TRAIN_MIRRORED = """
import json, pickle, sys
import numpy as np, tensorflow as tf, tensorflow_transform as tft
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from data.contract import Target
from models import explanation, inputs, network, preprocessing, runtime, signatures, tasks, training
from models.flights import FlightFeatures
from models.settings import ModelSettings
arguments = pickle.load(open(sys.argv[1], "rb"))
settings = ModelSettings.model_validate(arguments.custom_config["model"])
transform = tft.TFTransformOutput(arguments.transform_graph_path)
graph = inputs.TransformGraph(transform, FlightFeatures().inputs)
train, evaluation = (
    inputs.read(files, graph, "arrived_late") for files in (arguments.train_files, arguments.eval_files)
)
shape, head = network.TransformedFeatures.of(transform, FlightFeatures()), tasks.head(Target(label="arrived_late"))
with runtime.configured(settings, ["CPU:0", "CPU:1"]) as where:
    model, history = training.fit(settings, shape, head, where, train, evaluation)
copies = model.get_layer("probability").kernel.value.values
exported = training.inference(model, settings, shape, head)
explainer = explanation.Explainer.of(exported, preprocessing.origins(FlightFeatures()), train.features)
signatures.export(exported, head, graph, explainer, arguments.serving_model_dir)
print(json.dumps({
    "replicas": where.strategy.num_replicas_in_sync,
    "copies": len(copies),
    "agree": bool(np.array_equal(copies[0], copies[1])),
    "history": history,
}))
"""


def _elsewhere(arguments, folder: Path, script: str = TRAIN_ELSEWHERE) -> str:
    file = folder / "arguments.pickle"
    file.write_bytes(pickle.dumps(arguments))
    return fresh_python(folder, script, file, path=Path.cwd())


def test_training_learns_and_records_what_it_did(trained) -> None:
    written = record(trained.folder)
    assert written["rows"] == {"train": trained.train.num_rows, "eval": trained.evaluation.num_rows}
    assert written["settings"]["epochs"] == len(written["history"]["loss"]) == 4
    assert written["history"]["loss"][-1] < written["history"]["loss"][0]
    assert written["history"]["val_auc"][-1] > 0.62
    assert written["devices"]
    assert all(seconds > 0 for seconds in written["seconds"].values())


def test_the_model_carries_a_row_that_it_was_evaluated_on(trained) -> None:
    example = json.loads((trained.folder / "serving" / "assets.extra" / "example.json").read_text(encoding="utf-8"))
    rows = trained.evaluation.select(sorted(example)).slice(0, 1000).to_pylist()
    # An example of TensorFlow holds numbers in 32 bits.
    same = [
        row for row in rows if all(row[name] == value or _float32(row[name], value) for name, value in example.items())
    ]
    assert len(same) == 1
    assert len(example) > 20


def test_the_model_carries_a_contract_that_its_evaluation_rows_keep(trained) -> None:
    inputs = FlightFeatures().inputs
    rows = trained.evaluation.select(inputs).combine_chunks().to_batches()[0]
    kinds = {"int64": "int64", "float": "float32", "string": "string"}
    carried = contract.read(trained.folder / "serving", {field.name: kinds[str(field.type)] for field in rows.schema})
    assert carried is not None
    assert set(carried.rules) == set(inputs)
    assert carried.check(to_arrays(rows)) is None
    rules = carried.rules
    assert rules["carrier"].required
    assert "UA" in rules["carrier"].values
    assert (rules["temp"].required, rules["temp"].low, rules["temp"].high) == (False, -40.0, 130.0)
    # Airlines add destinations: a share of the rows may have one that is not listed, so any row may.
    assert rules["dest"].values is None


def _float32(one: object, other: object) -> bool:
    return isinstance(one, float) and np.float32(one) == np.float32(other)


def test_tensorboard_can_show_training_and_evaluation(trained) -> None:
    for part in ("train", "validation"):
        events = EventAccumulator(str(trained.folder / "run" / part), size_guidance={"tensors": 0})
        events.Reload()
        assert len(events.Tensors("epoch_auc")) == 4


def test_two_runs_in_one_process_and_one_in_another_give_identical_weights(ingested, tmp_path) -> None:
    for name, seed in (("first", 0), ("second", 0), ("seeded", 1)):
        run_fn(ingested.arguments(tmp_path / name, seed=seed))
        # A training leaves the process as it found it, and whatever else that draws must not change the next one.
        assert not config.is_op_determinism_enabled()
        assert keras.config.dtype_policy().name == "float32"
        assert tf.distribute.get_strategy().num_replicas_in_sync == 1
        assert not tf.distribute.has_strategy()
        tf.random.normal([7])
        np.random.default_rng().normal(size=7)
    _elsewhere(ingested.arguments(tmp_path / "elsewhere"), tmp_path)
    first, seeded = weights(tmp_path / "first"), weights(tmp_path / "seeded")
    assert len(first) > 5
    for name in ("second", "elsewhere"):
        np.testing.assert_equal(weights(tmp_path / name), first)
        assert record(tmp_path / name)["history"] == record(tmp_path / "first")["history"]
    assert any(not np.array_equal(first[name], seeded[name]) for name in first)


def test_weights_do_not_depend_on_the_number_of_cores(ingested, tmp_path, monkeypatch) -> None:
    for cores in ("1", "8"):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", cores)  # what TensorFlow itself sets by the cores
        _elsewhere(ingested.arguments(tmp_path / cores, batch_size=1024, epochs=1), tmp_path)
    np.testing.assert_equal(weights(tmp_path / "8"), weights(tmp_path / "1"))


def test_several_networks_answer_with_the_mean_of_theirs(ingested, tmp_path) -> None:
    run_fn(ingested.arguments(tmp_path / "both", members=2, seed=3, epochs=1))
    for seed in (6, 7):
        run_fn(ingested.arguments(tmp_path / str(seed), seed=seed, epochs=1))
    both, first, second = (probabilities(tmp_path / name, ingested) for name in ("both", "6", "7"))
    histories = [record(tmp_path / name)["history"]["loss"] for name in ("both", "6", "7")]

    np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-6)
    assert not np.allclose(first, second, atol=1e-3)
    assert histories[0] == pytest.approx(np.mean(histories[1:], axis=0))
    assert (tmp_path / "both" / "run" / "member_1" / "train").is_dir()


def test_tuned_hyperparameters_take_precedence(ingested, tmp_path) -> None:
    space = keras_tuner.HyperParameters()
    space.Choice("hidden_units", ["24-12"])
    arguments = ingested.arguments(tmp_path, epochs=1)
    arguments.hyperparameters = space.get_config()
    run_fn(arguments)
    assert record(tmp_path)["settings"]["hidden_units"] == [24, 12]
    assert any(layer.shape[-1:] == (24,) for layer in weights(tmp_path).values())


@pytest.mark.parametrize("learn", [run_fn, tuner_fn])
def test_without_the_gpu_it_requires_training_fails_before_reading_any_data(ingested, tmp_path, learn) -> None:
    arguments = ingested.arguments(tmp_path, accelerator="required")
    arguments.train_files = arguments.eval_files = [str(tmp_path / "nothing")]
    arguments.transform_graph_path = str(tmp_path / "nothing")
    with pytest.raises(AcceleratorError, match="'required', but TensorFlow sees no GPU"):
        learn(arguments)
    assert not (tmp_path / "serving").exists()


def test_a_diverging_training_fails_and_exports_nothing(ingested, tmp_path) -> None:
    with pytest.raises(DivergenceError, match=r"lower model\.learning_rate"):
        run_fn(ingested.arguments(tmp_path, learning_rate=1e30))
    assert not (tmp_path / "serving").exists()


def test_two_devices_train_one_model(ingested, tmp_path) -> None:
    outcome = json.loads(_elsewhere(ingested.arguments(tmp_path, epochs=2), tmp_path, TRAIN_MIRRORED))
    assert outcome["replicas"] == outcome["copies"] == 2
    assert outcome["agree"]
    assert outcome["history"]["val_auc"][-1] > 0.6
    assert probabilities(tmp_path, ingested).shape == (ingested.evaluation.num_rows, 1)


@pytest.mark.parametrize("faster", [{"mixed_precision": True}, {"xla": True, "deterministic": False}])
def test_faster_arithmetic_is_applied_and_still_exports_a_float32_model(ingested, tmp_path, faster: dict) -> None:
    transform, rows = ingested.transform, ingested.rows("eval")
    settings = ModelSettings(batch_size=500, epochs=1, **faster)
    shape, head = network.TransformedFeatures.of(transform, FlightFeatures()), tasks.head(LATE)
    with runtime.configured(settings, ["CPU:0"]) as where:
        model, history = training.fit(settings, shape, head, where, rows, rows)
    assert np.isfinite(history["loss"]).all()
    assert model.jit_compile == ("xla" in faster)
    assert model.get_layer("deep_0").compute_dtype == ("float16" if "mixed_precision" in faster else "float32")
    exported = training.inference(model, settings, shape, head)
    assert {layer.compute_dtype for layer in exported.layers} == {"float32"}
    explainer = Explainer.of(exported, preprocessing.origins(FlightFeatures()), rows.features)
    signatures.export(exported, head, ingested.graph, explainer, str(tmp_path / "serving"))
    served = probabilities(tmp_path, ingested)
    assert served.dtype == np.float32
    np.testing.assert_allclose(served, model.predict(rows.batches(1000), verbose=0), atol=5e-3)

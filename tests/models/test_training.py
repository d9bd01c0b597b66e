"""Training: what is written, that it repeats bit for bit, and how it fails."""

import json
from pathlib import Path

import numpy as np
import pytest

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
from models import inputs, network, runtime, signatures, training
from models.flights import FlightFeatures
from models.settings import ModelSettings
arguments = pickle.load(open(sys.argv[1], "rb"))
settings = ModelSettings.model_validate(arguments.custom_config["model"])
transform = tft.TFTransformOutput(arguments.transform_graph_path)
names = FlightFeatures().inputs
train, evaluation = (
    inputs.read(files, transform, names, "arrived_late") for files in (arguments.train_files, arguments.eval_files)
)
shape = network.TransformedFeatures.of(transform)
with runtime.configured(settings, ["CPU:0", "CPU:1"]) as where:
    model, history = training.fit(settings, shape, where, train, evaluation)
copies = model.get_layer("probability").kernel.value.values
signatures.export(training.inference(model, settings, shape), transform, names, arguments.serving_model_dir)
print(json.dumps({
    "replicas": where.strategy.num_replicas_in_sync,
    "copies": len(copies),
    "agree": bool(np.array_equal(copies[0], copies[1])),
    "history": history,
}))
"""


def _weights(folder: Path) -> list[np.ndarray]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(folder / "serving" / "variables" / "variables"))
    names = sorted(name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name)
    return [reader.get_tensor(name) for name in names]


def _record(folder: Path) -> dict:
    return json.loads((folder / "run" / "training.json").read_text(encoding="utf-8"))


def _elsewhere(arguments, tmp_path: Path, fresh_python, script: str = TRAIN_ELSEWHERE):
    import pickle

    file = tmp_path / "arguments.pickle"
    file.write_bytes(pickle.dumps(arguments))
    return fresh_python(script, file, path=Path.cwd())


def test_training_learns_and_records_what_it_did(trained) -> None:
    record = _record(trained.folder)
    assert record["rows"] == {"train": trained.train.num_rows, "eval": trained.evaluation.num_rows}
    assert record["settings"]["epochs"] == len(record["history"]["loss"]) == 4
    assert record["history"]["loss"][-1] < record["history"]["loss"][0]
    assert record["history"]["val_auc"][-1] > 0.62
    assert record["devices"]
    assert all(seconds > 0 for seconds in record["seconds"].values())


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
    from models.flights import FlightFeatures
    from operations.inference import contract
    from operations.inference.batch_files import to_arrays

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
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for part in ("train", "validation"):
        events = EventAccumulator(str(trained.folder / "run" / part), size_guidance={"tensors": 0})
        events.Reload()
        assert len(events.Tensors("epoch_auc")) == 4


def test_two_runs_in_one_process_and_one_in_another_give_identical_weights(ingested, tmp_path, fresh_python) -> None:
    import tensorflow as tf

    from models.training import run_fn

    for name in ("first", "second"):
        run_fn(ingested.arguments(tmp_path / name))
        # Whatever else the process draws must not change the next training.
        tf.random.normal([7])
        np.random.default_rng().normal(size=7)
    done = _elsewhere(ingested.arguments(tmp_path / "elsewhere"), tmp_path, fresh_python)
    assert done.returncode == 0, done.stderr
    first = _weights(tmp_path / "first")
    assert len(first) > 5
    for name in ("second", "elsewhere"):
        for one, other in zip(first, _weights(tmp_path / name), strict=True):
            np.testing.assert_array_equal(one, other)
        assert _record(tmp_path / name)["history"] == _record(tmp_path / "first")["history"]


def test_another_seed_gives_other_weights(ingested, tmp_path) -> None:
    from models.training import run_fn

    for seed in (0, 1):
        run_fn(ingested.arguments(tmp_path / str(seed), seed=seed, epochs=1))
    assert any(
        not np.array_equal(one, other)
        for one, other in zip(_weights(tmp_path / "0"), _weights(tmp_path / "1"), strict=True)
    )


def test_a_training_leaves_the_process_as_it_found_it(ingested, tmp_path) -> None:
    import keras
    import tensorflow as tf
    from tensorflow.python.framework import config

    from models.training import run_fn

    run_fn(ingested.arguments(tmp_path, epochs=1))
    assert not config.is_op_determinism_enabled()
    assert keras.config.dtype_policy().name == "float32"
    assert tf.distribute.get_strategy().num_replicas_in_sync == 1
    assert not tf.distribute.has_strategy()


def test_tuned_hyperparameters_take_precedence(ingested, tmp_path) -> None:
    import keras_tuner

    from models.training import run_fn

    space = keras_tuner.HyperParameters()
    space.Choice("hidden_units", ["24-12"])
    arguments = ingested.arguments(tmp_path, epochs=1)
    arguments.hyperparameters = space.get_config()
    run_fn(arguments)
    assert _record(tmp_path)["settings"]["hidden_units"] == [24, 12]
    assert any(weights.shape[-1:] == (24,) for weights in _weights(tmp_path))


def test_without_the_gpu_it_requires_training_fails_before_reading_any_data(ingested, tmp_path) -> None:
    from models.runtime import AcceleratorError
    from models.training import run_fn

    arguments = ingested.arguments(tmp_path, accelerator="required")
    arguments.train_files = arguments.eval_files = [str(tmp_path / "nothing")]
    arguments.transform_graph_path = str(tmp_path / "nothing")
    with pytest.raises(AcceleratorError, match="'required', but TensorFlow sees no GPU"):
        run_fn(arguments)
    assert not (tmp_path / "serving").exists()


def test_a_diverging_training_fails_and_exports_nothing(ingested, tmp_path) -> None:
    from models.training import DivergenceError, run_fn

    with pytest.raises(DivergenceError, match=r"lower model\.learning_rate"):
        run_fn(ingested.arguments(tmp_path, learning_rate=1e30))
    assert not (tmp_path / "serving").exists()


def test_two_devices_train_one_model(ingested, tmp_path, fresh_python) -> None:
    done = _elsewhere(ingested.arguments(tmp_path, epochs=2), tmp_path, fresh_python, TRAIN_MIRRORED)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["replicas"] == outcome["copies"] == 2
    assert outcome["agree"]
    assert outcome["history"]["val_auc"][-1] > 0.6
    probabilities = _serve(tmp_path, ingested)
    assert probabilities.shape == (ingested.evaluation.num_rows, 1)


@pytest.mark.parametrize("faster", [{"mixed_precision": True}, {"xla": True, "deterministic": False}])
def test_faster_arithmetic_is_applied_and_still_exports_a_float32_model(ingested, tmp_path, faster: dict) -> None:
    import tensorflow_transform as tft

    from models import inputs, network, runtime, signatures, training
    from models.flights import FlightFeatures
    from models.settings import ModelSettings

    transform = tft.TFTransformOutput(str(ingested.folder / "transform"))
    names = FlightFeatures().inputs
    pattern = str(ingested.folder / "Split-eval" / "*")
    rows = inputs.read([pattern], transform, names, "arrived_late")
    settings = ModelSettings(batch_size=500, epochs=1, **faster)
    shape = network.TransformedFeatures.of(transform)
    with runtime.configured(settings, ["CPU:0"]) as where:
        model, history = training.fit(settings, shape, where, rows, rows)
    assert np.isfinite(history["loss"]).all()
    assert model.jit_compile == ("xla" in faster)
    assert model.get_layer("deep_0").compute_dtype == ("float16" if "mixed_precision" in faster else "float32")
    exported = training.inference(model, settings, shape)
    assert {layer.compute_dtype for layer in exported.layers} == {"float32"}
    signatures.export(exported, transform, names, str(tmp_path / "serving"))
    probabilities = _serve(tmp_path, ingested)
    assert probabilities.dtype == np.float32
    fitted = model.predict(rows.batches(1000), verbose=0)
    np.testing.assert_allclose(probabilities, fitted, atol=5e-3)


def _serve(folder: Path, job) -> np.ndarray:
    import tensorflow as tf

    score = tf.saved_model.load(str(folder / "serving")).signatures["serving_default"]
    return score(examples=tf.constant(job.examples()))["probability"].numpy()

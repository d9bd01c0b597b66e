"""InfraValidator with real SavedModels: a good one, and one for each way to fail."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tfx.components.pusher import executor as pusher
from tfx.proto import pusher_pb2
from tfx.types import Channel, standard_artifacts
from tfx.utils import proto_utils

from components.infra_validator.component import InfraValidator
from components.infra_validator.executor import InfraValidatorExecutor
from tests.world import ROOT

pytestmark = pytest.mark.component

PROBE = "components.infra_validator.probe"
SERVER = "operations.serving"

MISSING_INT = np.iinfo(np.int64).min
RAW = [
    tf.TensorSpec([None, 1], tf.string, name="shop"),
    tf.TensorSpec([None, 1], tf.int64, name="floor"),
    tf.TensorSpec([None, 1], tf.float32, name="size"),
]
MISSING = {"shop": (tf.string, ""), "floor": (tf.int64, int(MISSING_INT)), "size": (tf.float32, float("nan"))}


def parse(examples: tf.Tensor) -> list[tf.Tensor]:
    """Parses the three features to [rows, 1]; FixedLenFeature would refuse an empty list."""
    parsed = tf.io.parse_example(examples, {name: tf.io.VarLenFeature(kind) for name, (kind, _) in MISSING.items()})
    return [
        tf.ensure_shape(
            tf.sparse.to_dense(tf.sparse.reset_shape(parsed[name], [tf.size(examples), 1]), missing),
            [None, 1],
        )
        for name, (_, missing) in MISSING.items()
    ]


class GoodScorer(tf.Module):
    """Tells missing values from others, so that a wrong encoding shows as a disagreement."""

    def __init__(self):
        super().__init__()
        keras.utils.set_random_seed(1)
        network = keras.Sequential(
            [
                keras.Input([3]),
                keras.layers.Dense(8, activation="tanh"),
                keras.layers.Dense(1, activation="sigmoid"),
            ]
        )
        # As the project exports its own: the variables are tracked, and the Keras model around them is not.
        self.weights = [variable.value for variable in network.weights]
        self.network = lambda features: network(features)

    def score(self, shop, floor, size):
        return self.network(
            tf.concat(
                [
                    tf.where(shop == "", -1.0, tf.cast(tf.strings.length(shop), tf.float32)),
                    tf.where(floor == MISSING_INT, 5.0, tf.cast(tf.maximum(floor, -9), tf.float32)),
                    tf.where(tf.math.is_nan(size), -3.0, size),
                ],
                axis=1,
            )
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        return {"probability": self.score(*parse(examples))}

    @tf.function(input_signature=RAW)
    def raw(self, shop, floor, size):
        return {"probability": self.score(shop, floor, size)}

    def signatures(self):
        return {"serving_default": self.serve, "predict_raw": self.raw}


class KerasTracked(GoodScorer):
    """Holds a Keras 3 model, of whose variables a loader that restores by the graph alone finds only one half."""

    def __init__(self):
        super().__init__()
        del self.weights
        self.network = keras.Sequential([keras.Input([3]), keras.layers.Dense(1, activation="sigmoid")])


class NotANumber(GoodScorer):
    """Spoilt by one missing value, as a model that forgot about missing values."""

    def score(self, shop, floor, size):
        return super().score(shop, floor, size) + 0.0 * size


class OutOfRange(GoodScorer):
    """Answers with more than 1."""

    def score(self, shop, floor, size):
        return super().score(shop, floor, size) + 1.0


class WrongShape(GoodScorer):
    """Answers with [rows] instead of [rows, 1]."""

    def score(self, shop, floor, size):
        return tf.squeeze(super().score(shop, floor, size), 1)


class WrongType(GoodScorer):
    """Answers in double precision."""

    def score(self, shop, floor, size):
        return tf.cast(super().score(shop, floor, size), tf.float64)


class Disagreeing(GoodScorer):
    """Its signatures differ."""

    @tf.function(input_signature=RAW)
    def raw(self, shop, floor, size):
        return {"probability": self.score(shop, floor, size) * 0.9}


class NeedsLabel(GoodScorer):
    """Cannot serve without what it is to predict."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        sold = tf.io.parse_example(examples, {"sold": tf.io.FixedLenFeature([1], tf.int64)})["sold"]
        return {"probability": self.score(*parse(examples)) + 0.0 * tf.cast(sold, tf.float32)}


class NoRawSignature(GoodScorer):
    """Takes serialised examples only."""

    def signatures(self):
        return {"serving_default": self.serve}


class TwoOutputs(GoodScorer):
    """Leaves open which output is the answer."""

    @tf.function(input_signature=RAW)
    def raw(self, shop, floor, size):
        score = self.score(shop, floor, size)
        return {"probability": score, "odds": score / (1.0 - score)}


class Hanging(GoodScorer):
    """Never answers."""

    def score(self, shop, floor, size):
        # Never negative, which the graph optimiser cannot know.
        forever = tf.while_loop(lambda n: n > -1.0, lambda n: (n + 1.0) % 7.0, [tf.abs(size[0, 0]) * 0.0 + 1.0])
        return super().score(shop, floor, size) + forever[0]


class OutOfMemory(GoodScorer):
    """Asks for four terabytes per row."""

    def score(self, shop, floor, size):
        rows = tf.shape(size)[0]
        return super().score(shop, floor, size) + tf.reduce_sum(tf.random.uniform([rows * 1_000_000, 1_000_000]))


def model_artifact(folder: Path, scorer: GoodScorer | None) -> standard_artifacts.Model:
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder / "model")
    serving = folder / "model" / "Format-Serving"
    serving.mkdir(parents=True)
    if scorer is not None:
        tf.saved_model.save(scorer, str(serving), signatures=scorer.signatures())
    artifact.id = 1
    return artifact


def examples_artifact(folder: Path, rows: int = 40) -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder / "examples")
    artifact.split_names = '["eval"]'
    split = folder / "examples" / "Split-eval"
    split.mkdir(parents=True)
    for shard in range(2):
        with tf.io.TFRecordWriter(str(split / f"data-{shard}.gz"), "GZIP") as writer:
            for row in range(shard, rows, 2):
                writer.write(example(row).SerializeToString())
    return artifact


def example(row: int) -> tf.train.Example:
    """Every third value of each feature is missing: absent, or present without a value."""
    result = tf.train.Example()
    features = result.features.feature
    features["sold"].int64_list.value.append(row % 2)
    features["colour"].bytes_list.value.append(b"not an input of the model")
    if row % 3:
        features["shop"].bytes_list.value.append(b"A" * (row % 5 + 1))
        features["floor"].int64_list.value.append(row % 4 - 1)
    else:
        features["floor"].int64_list.SetInParent()
    if row % 3 != 1:
        features["size"].float_list.value.append(row / 10)
    return result


PROPERTIES = {
    "split": "eval",
    "requests": 8,
    "raw_signature": "predict_raw",
    "server": "",
    "load_seconds": 60.0,
    "answer_seconds": 30.0,
    "startup_seconds": 120.0,
}


def validate(folder: Path, scorer: GoodScorer | None, **properties):
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(folder / "blessing")
    Path(blessing.uri).mkdir(parents=True)
    model = model_artifact(folder, scorer)
    InfraValidatorExecutor().Do(
        {"model": [model], "examples": [examples_artifact(folder)]},
        {"blessing": [blessing]},
        {**PROPERTIES, **properties},
    )
    return model, blessing


def refusal(folder: Path, scorer: GoodScorer | None, **properties) -> str:
    """Validates a bad model and returns the reason."""
    _, blessing = validate(folder, scorer, **properties)
    assert blessing.get_int_custom_property("blessed") == 0
    assert sorted(path.name for path in Path(blessing.uri).iterdir()) == [
        "INFRA_NOT_BLESSED",
        "validation.json",
    ]
    validation = json.loads(Path(blessing.uri, "validation.json").read_text())
    assert validation["blessed"] is False
    assert validation["reason"] == blessing.get_string_custom_property("reason")
    assert "\n" not in validation["reason"]
    return validation["reason"]


def push(folder: Path, model, blessing) -> bool:
    """Pushes with TFX's own Pusher and tells whether it did."""
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(folder / "pushed")
    destination = pusher_pb2.PushDestination(filesystem={"base_directory": str(folder / "served")})
    pusher.Executor().Do(
        {"model": [model], "infra_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    assert pushed.get_int_custom_property("pushed") == (folder / "served").exists()
    return (folder / "served").exists()


def test_good_model_is_blessed_measured_and_pushed_by_the_stock_pusher(tmp_path):
    model, blessing = validate(tmp_path, GoodScorer())
    validation = json.loads(Path(blessing.uri, "validation.json").read_text())
    assert validation["reason"] == ""
    assert blessing.get_int_custom_property("blessed") == 1
    assert Path(blessing.uri, "INFRA_BLESSED").exists()
    assert validation["answers"] == 2 * (1 + 8)
    assert validation["attempts"] == 1
    assert validation["tfx_imported"] is False
    for latency in validation["latencies"].values():
        assert 0 < latency["single_median_ms"] <= latency["single_p95_ms"] <= latency["single_max_ms"]
        assert latency["first_ms"] > 0
    assert set(validation["latencies"]) == {"serving_default", "predict_raw"}
    assert push(tmp_path, model, blessing)


def test_probability_that_is_not_a_number_is_refused_and_not_pushed(tmp_path):
    model, blessing = validate(tmp_path, NotANumber())
    reason = blessing.get_string_custom_property("reason")
    assert reason == "The answer of serving_default for 8 examples at once is not finite: nan for example 1."
    assert not push(tmp_path, model, blessing)


@pytest.mark.parametrize(
    ("scorer", "reason"),
    [
        (OutOfRange, r"is not a probability: 1\.\d+ for example 0 is outside \[0, 1\]"),
        (WrongShape, r"serving_default for 8 examples at once has the shape \[8\] instead of \[8, 1\]"),
        (WrongType, "is float64 instead of float32"),
        (Disagreeing, "The signatures disagree on example .*: serving_default says .*, predict_raw says"),
        (NeedsLabel, r"could not serve: InvalidArgumentError: .*sold.*is required but could not be found"),
        (NoRawSignature, "The model has no signature predict_raw; it has serving_default"),
        (TwoOutputs, r"The signature predict_raw has 2 outputs \(odds, probability\); exactly one is needed"),
    ],
)
def test_wrong_answers_and_signatures_are_refused_with_the_reason(scorer, reason, tmp_path):
    found = refusal(tmp_path, scorer())
    assert re.search(reason, found), found


def test_model_that_does_not_load_is_refused(tmp_path):
    assert "could not serve: OSError: SavedModel file does not exist" in refusal(tmp_path, None)


def test_damaged_variables_are_refused(tmp_path):
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(tmp_path)
    model = model_artifact(tmp_path, GoodScorer())
    (variables,) = (tmp_path / "model/Format-Serving/variables").glob("variables.data-*")
    variables.write_bytes(variables.read_bytes()[:8])
    InfraValidatorExecutor().Do(
        {"model": [model], "examples": [examples_artifact(tmp_path)]}, {"blessing": [blessing]}, PROPERTIES
    )
    assert blessing.get_int_custom_property("blessed") == 0
    assert "The model could not serve: " in blessing.get_string_custom_property("reason")


def test_hanging_model_is_refused_in_time_and_its_process_ends(tmp_path):
    started = time.monotonic()
    reason = refusal(tmp_path, Hanging(), answer_seconds=4.0)
    assert reason == "The serving process did not answer request 1 within 4 s."
    assert time.monotonic() - started < 60
    assert children_of(os.getpid(), PROBE) == []


def test_model_that_needs_more_memory_than_there_is_is_refused(tmp_path):
    reason = refusal(tmp_path, OutOfMemory())
    assert "ResourceExhausted" in reason or "killed by SIGKILL, perhaps out of memory" in reason, reason


def test_process_that_dies_is_tried_twice_at_the_start_only(tmp_path, monkeypatch):
    counter = tmp_path / "starts"
    broken = tmp_path / "broken" / "tensorflow"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(
        textwrap.dedent(f"""
            import os, signal
            with open({str(counter)!r}, "a") as starts:
                starts.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        """)
    )
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    reason = refusal(tmp_path, GoodScorer())
    assert reason == "The serving process was killed by SIGKILL, perhaps out of memory, before it could start."
    assert counter.read_text() == "xx"


def test_slow_start_is_refused_in_time(tmp_path):
    assert refusal(tmp_path, GoodScorer(), startup_seconds=0.05).endswith("did not start within 0.05 s.")


def test_missing_split_and_empty_split_stop_the_run(tmp_path):
    with pytest.raises(ValueError, match=r"Split does not exist .*holdout"):
        validate(tmp_path, None, split="holdout")
    empty = examples_artifact(tmp_path / "empty", rows=0)
    with pytest.raises(ValueError, match="no examples in the split 'eval'"):
        InfraValidatorExecutor().Do(
            {"model": [standard_artifacts.Model()], "examples": [empty]},
            {"blessing": [standard_artifacts.InfraBlessing()]},
            PROPERTIES,
        )


@pytest.fixture
def others() -> list[int]:
    """Servers that this process has started for other tests."""
    return children_of(os.getpid(), SERVER)


def test_good_model_is_blessed_by_the_server_of_production(tmp_path, others):
    model, blessing = validate(tmp_path, GoodScorer(), server=SERVER)
    validation = json.loads(Path(blessing.uri, "validation.json").read_text())
    assert validation["reason"] == ""
    assert validation["server"] == SERVER
    assert validation["answers"] == 2 * (1 + 8)
    assert set(validation["latencies"]) == {"serving_default", "predict_raw"}
    assert push(tmp_path, model, blessing)
    assert children_of(os.getpid(), SERVER) == others


@pytest.mark.parametrize(
    ("scorer", "reason"),
    [
        (NotANumber, "serving_default for 8 examples at once is not finite: nan for example 1"),
        (NeedsLabel, "could not serve: The model refuses the request: .*sold.*is required but could not be found"),
        (NoRawSignature, "could not serve: .* has no signature predict_raw; it has serving_default"),
        (TwoOutputs, r"The signature predict_raw has 2 outputs \(odds, probability\); exactly one is needed"),
        (KerasTracked, "could not serve: .*Could not find variable"),
        (None, "could not serve: .* holds no saved_model.pb"),
    ],
)
def test_wrong_answers_are_refused_through_the_server_too(scorer, reason, tmp_path):
    found = refusal(tmp_path, scorer and scorer(), server=SERVER)
    assert re.search(reason, found), found


def test_server_that_hangs_or_does_not_start_is_refused_and_ended(tmp_path, others):
    reason = refusal(tmp_path / "hanging", Hanging(), server=SERVER, startup_seconds=8.0, load_seconds=4.0)
    assert reason == "The serving process did not start and load the model within 12 s."
    assert children_of(os.getpid(), SERVER) == others
    reason = refusal(tmp_path / "absent", GoodScorer(), server="no_such_server")
    assert reason.startswith("The serving process ended with exit code 1 before it could start and load the model")
    assert "No module named no_such_server" in reason


@pytest.mark.parametrize(
    ("ending", "server"),
    [(signal.SIGINT, ""), (signal.SIGTERM, ""), (signal.SIGKILL, ""), (signal.SIGKILL, SERVER)],
)
def test_child_ends_when_the_parent_is_ended(ending, server, tmp_path):
    model_artifact(tmp_path, Hanging())
    (tmp_path / "example").write_bytes(example(2).SerializeToString())
    # A parent without TFX, elsewhere than in the project: it must find the package by itself.
    script = """
        import pathlib, signal
        # Ignored in processes that a shell started in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from components.infra_validator import serving_process as s
        request = pathlib.Path("example").read_bytes()
        asked = "model/Format-Serving", [request], "predict_raw", s.TimeLimits(90, 90, 90)
    """
    script += (
        """
        from components.infra_validator import prediction_server
        prediction_server.serve("operations.serving", *asked)
    """
        if server
        else """
        s.serve(*asked)
    """
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + textwrap.dedent(script)],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    try:
        child = wait_for(lambda: children_of(parent.pid, server or PROBE))[0]
        wait_for(lambda: "libtensorflow" in Path(f"/proc/{child}/maps").read_text())
        parent.send_signal(ending)
        assert parent.wait(timeout=20) != 0
        wait_for(lambda: not Path(f"/proc/{child}").exists())
    finally:
        parent.kill()


def children_of(parent: int, module: str) -> list[int]:
    """The processes that run a module and are children of a process."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            command = status.with_name("cmdline").read_bytes()
        except OSError:
            continue  # It ended while we looked.
        if int(fields[1]) == parent and module.encode() in command.split(b"\0"):
            found.append(int(status.parent.name))
    return found


def wait_for(condition, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def test_component_refuses_useless_settings():
    model, examples = Channel(type=standard_artifacts.Model), Channel(type=standard_artifacts.Examples)
    assert InfraValidator(model, examples).outputs["blessing"].type is standard_artifacts.InfraBlessing
    with pytest.raises(ValueError, match="at least 1 request"):
        InfraValidator(model, examples, requests=0)
    with pytest.raises(ValueError, match="positive load_seconds"):
        InfraValidator(model, examples, load_seconds=0)

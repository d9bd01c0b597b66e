"""InfraValidator with real SavedModels: a good one, and one for each way to fail."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from tfx.components.pusher import executor as pusher
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.infra_validator import serving_process
from components.infra_validator.component import InfraValidator
from tests.components.scorers import (
    EXAMPLES,
    GRADE,
    PRICE,
    RAW,
    SOLD,
    ExamplesOnly,
    Grader,
    Pricer,
    Scorer,
    artifact,
    examples_artifact,
    in_columns,
    model_artifact,
    parse,
)
from tests.examples import example
from tests.operations.serving.live_server import wait_for
from tests.world import ROOT

pytestmark = pytest.mark.component

PROBE = "components.infra_validator.probe"
SERVER = "operations.serving"


class GoodScorer(Scorer):
    """Reads all columns, so that a wrong encoding of any shows as a disagreement."""

    def __init__(self):
        super().__init__(shop=0.5)


class KerasTracked(GoodScorer):
    """Holds a Keras 3 model, of whose variables a loader that restores by the graph alone finds only one half."""

    def __init__(self):
        super().__init__()
        self.network = keras.Sequential([keras.Input([3]), keras.layers.Dense(1, activation="sigmoid")])

    def score(self, shop, floor, size):
        return self.network(self.columns(shop, floor, size))


class Spoilt(GoodScorer):
    """Answers with a function of what is right and of the size, which may be missing."""

    def __init__(self, spoil: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]):
        super().__init__()
        self.spoil = spoil

    def score(self, shop, floor, size):
        return self.spoil(super().score(shop, floor, size), size)


# As a model that forgot about missing values.
NotANumber = functools.partial(Spoilt, lambda score, size: score + 0.0 * size)
OutOfRange = functools.partial(Spoilt, lambda score, size: score + 1.0)
WrongShape = functools.partial(Spoilt, lambda score, size: tf.squeeze(score, 1))
WrongType = functools.partial(Spoilt, lambda score, size: tf.cast(score, tf.float64))
# Asks for four terabytes per row.
OutOfMemory = functools.partial(
    Spoilt,
    lambda score, size: score + tf.reduce_sum(tf.random.uniform([tf.shape(size)[0] * 1_000_000, 1_000_000])),
)
# Never answers: what is counted up is never negative, which the graph optimiser cannot know.
Hanging = functools.partial(
    Spoilt,
    lambda score, size: (
        score + tf.while_loop(lambda n: n > -1.0, lambda n: (n + 1.0) % 7.0, [tf.abs(size[0, 0]) * 0.0 + 1.0])[0]
    ),
)


class SumOfTwo(Grader):
    """Answers with probabilities of classes that could all be true."""

    def score(self, shop, floor, size):
        return super().score(shop, floor, size) * tf.where(tf.math.is_nan(size), 2.0, 1.0) / 2.0


class Overconfident(Grader):
    """Answers with numbers that add up to 1."""

    def score(self, shop, floor, size):
        return super().score(shop, floor, size) + tf.constant([[0.0, 2.0, -2.0]])


class Unsure(Grader):
    """Forgets about a missing size in one class."""

    def score(self, shop, floor, size):
        return super().score(shop, floor, size) + 0.0 * tf.pad(size, [[0, 0], [1, 1]])


class FarOff(Pricer):
    """Answers with large numbers, negative ones too, that are known to six digits."""

    def score(self, shop, floor, size):
        return -1e6 * super().score(shop, floor, size)

    @tf.function(input_signature=RAW)
    def raw(self, shop, floor, size):
        return {self.output: self.score(shop, floor, size) * (1.0 + 1e-6)}


class Cheaper(Pricer):
    """Its signatures differ by a thousandth."""

    @tf.function(input_signature=RAW)
    def raw(self, shop, floor, size):
        return {self.output: self.score(shop, floor, size) * 0.999}


class Disagreeing(GoodScorer):
    """Its signatures differ."""

    @tf.function(input_signature=RAW)
    def raw(self, shop, floor, size):
        return {"probability": self.score(shop, floor, size) * 0.9}


class NeedsLabel(GoodScorer):
    """Cannot serve without what it is to predict."""

    @tf.function(input_signature=EXAMPLES)
    def serve(self, examples):
        sold = tf.io.parse_example(examples, {"sold": tf.io.FixedLenFeature([1], tf.int64)})["sold"]
        return {"probability": self.score(*parse(examples)) + 0.0 * tf.cast(sold, tf.float32)}


class TwoOutputs(GoodScorer):
    """Leaves open which output is the answer."""

    @tf.function(input_signature=RAW)
    def raw(self, shop, floor, size):
        score = self.score(shop, floor, size)
        return {"probability": score, "odds": score / (1.0 - score)}


def message(row: int) -> tf.train.Example:
    """Every third value of each feature is missing: absent, or present without a value."""
    known = {"shop": b"A" * (row % 5 + 1), "floor": row % 4 - 1} if row % 3 else {}
    size = {"size": row / 10} if row % 3 != 1 else {}
    made = example({"sold": row % 2, "colour": b"not an input of the model", **known, **size})
    if not known:
        made.features.feature["floor"].int64_list.SetInParent()
    return made


PROPERTIES = {"target": SOLD, "requests": 8, "load_seconds": 60.0}


def validate(folder: Path, model: standard_artifacts.Model | GoodScorer | None, columnar: bool = False, **properties):
    if not isinstance(model, standard_artifacts.Model):
        model = model_artifact(folder / "model", model)
    blessing = artifact(standard_artifacts.InfraBlessing, folder / "blessing")
    examples = examples_artifact(folder / "examples", [message(row) for row in range(40)])
    if columnar:
        in_columns(examples)
    InfraValidator.test_call(model=model, examples=examples, blessing=blessing, **{**PROPERTIES, **properties})
    return model, blessing


def verdict(blessing: standard_artifacts.InfraBlessing) -> dict:
    return json.loads(Path(blessing.uri, "validation.json").read_text())


def refusal(folder: Path, model: standard_artifacts.Model | GoodScorer | None, **properties) -> str:
    _, blessing = validate(folder, model, **properties)
    assert blessing.get_int_custom_property("blessed") == 0
    assert sorted(path.name for path in Path(blessing.uri).iterdir()) == ["INFRA_NOT_BLESSED", "validation.json"]
    validation = verdict(blessing)
    assert validation["blessed"] is False
    assert validation["reason"] == blessing.get_string_custom_property("reason")
    assert "\n" not in validation["reason"]
    return validation["reason"]


def push(folder: Path, model, blessing) -> bool:
    pushed = artifact(standard_artifacts.PushedModel, folder / "pushed")
    destination = pusher_pb2.PushDestination(filesystem={"base_directory": str(folder / "served")})
    pusher.Executor().Do(
        {"model": [model], "infra_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    assert pushed.get_int_custom_property("pushed") == (folder / "served").exists()
    return (folder / "served").exists()


@pytest.fixture
def others() -> list[int]:
    """Servers that this process has started for other tests."""
    return children_of(os.getpid(), SERVER)


@pytest.mark.parametrize(("server", "columnar"), [("", False), ("", True), (SERVER, False)])
def test_good_model_is_blessed_measured_and_pushed_by_the_stock_pusher(tmp_path, others, monkeypatch, server, columnar):
    # Which whoever serves on this machine may have set: the candidate's server must not ask its validator for it.
    monkeypatch.setenv("FLIGHTDECK_SERVING_API_KEY", "a-key")
    model, blessing = validate(tmp_path, GoodScorer(), columnar, server=server)
    validation = verdict(blessing)
    assert validation["reason"] == ""
    assert blessing.get_int_custom_property("blessed") == 1
    assert Path(blessing.uri, "INFRA_BLESSED").exists()
    assert validation["answers"] == 2 * (1 + 8)
    assert validation["attempts"] == 1
    assert validation.items() >= ({"server": server} if server else {"tfx_imported": False}).items()
    for latency in validation["latencies"].values():
        assert 0 < latency["single_median_ms"] <= latency["single_p95_ms"] <= latency["single_max_ms"]
        assert latency["first_ms"] > 0
    assert set(validation["latencies"]) == {"serving_default", "predict_raw"}
    assert push(tmp_path, model, blessing)
    assert children_of(os.getpid(), SERVER) == others


def test_probability_that_is_not_a_number_is_refused_and_not_pushed(tmp_path):
    model, blessing = validate(tmp_path, NotANumber())
    reason = blessing.get_string_custom_property("reason")
    assert reason == "The answer of serving_default for 8 examples at once is not finite: nan for example 2."
    assert not push(tmp_path, model, blessing)


@pytest.mark.parametrize(
    ("server", "scorer", "reason"),
    [
        ("", OutOfRange, r"is not a probability: 1\.\d+ for example 0 is outside \[0, 1\]"),
        ("", WrongShape, r"serving_default for 8 examples at once has the shape \[8\] instead of \[8, 1\]"),
        ("", WrongType, "is float64 instead of float32"),
        ("", Disagreeing, "The signatures disagree on example .*: serving_default says .*, predict_raw says"),
        ("", NeedsLabel, r"could not serve: InvalidArgumentError: .*sold.*is required but could not be found"),
        ("", ExamplesOnly, "The model has no signature predict_raw; it has serving_default"),
        ("", TwoOutputs, r"The signature predict_raw has 2 outputs \(odds, probability\); exactly one is needed"),
        (SERVER, NotANumber, "serving_default for 8 examples at once is not finite: nan for example 2"),
        (SERVER, NeedsLabel, "could not serve: The model refuses the request: .*sold.*is required but could not be"),
        (SERVER, ExamplesOnly, "could not serve: .* has no signature predict_raw; it has serving_default"),
        (SERVER, TwoOutputs, r"The signature predict_raw has 2 outputs \(odds, probability\); exactly one is needed"),
        (SERVER, KerasTracked, "could not serve: .*Could not find variable"),
        (SERVER, None, "could not serve: .* holds no saved_model.pb"),
    ],
)
def test_wrong_answers_and_signatures_are_refused_with_the_reason(server, scorer, reason, tmp_path):
    assert re.search(reason, refusal(tmp_path, scorer and scorer(), server=server))


@pytest.mark.parametrize(("target", "scorer"), [(GRADE, Grader), (PRICE, Pricer), (PRICE, FarOff)])
def test_a_good_model_of_another_task_is_blessed(tmp_path, target, scorer):
    _, blessing = validate(tmp_path, scorer(), target=target)

    assert verdict(blessing)["reason"] == ""
    assert blessing.get_int_custom_property("blessed") == 1


@pytest.mark.parametrize(
    ("target", "scorer", "reason"),
    [
        (GRADE, SumOfTwo, r"for 8 examples at once does not add up to 1 over the classes, but to 0\.5 for example 0\."),
        (GRADE, Overconfident, r"is not a probability: 2\.\d+ for example 0 is outside \[0, 1\]"),
        (GRADE, Unsure, "for 8 examples at once is not finite: nan for example 2"),
        (GRADE, GoodScorer, r"has the shape \[8, 1\] instead of \[8, 3\]"),
        (PRICE, Grader, r"has the shape \[8, 3\] instead of \[8, 1\]"),
        (PRICE, Cheaper, r"The signatures disagree on example \d: serving_default says .*, predict_raw says"),
    ],
)
def test_answers_of_another_task_are_judged_by_it(tmp_path, target, scorer, reason):
    assert re.search(reason, refusal(tmp_path, scorer(), target=target))


def test_a_missing_model_and_damaged_variables_are_refused(tmp_path):
    assert "could not serve: OSError: SavedModel file does not exist" in refusal(tmp_path / "missing", None)
    model = model_artifact(tmp_path / "model", GoodScorer())
    (variables,) = (tmp_path / "model/Format-Serving/variables").glob("variables.data-*")
    variables.write_bytes(variables.read_bytes()[:8])
    assert "The model could not serve: " in refusal(tmp_path, model)


def test_hanging_model_and_slow_start_are_refused_in_time_and_the_process_ends(tmp_path):
    started = time.monotonic()
    reason = refusal(tmp_path, Hanging(), answer_seconds=4.0)
    assert reason == "The serving process did not answer request 1 within 4 s."
    assert time.monotonic() - started < 60
    reason = refusal(tmp_path / "slow", GoodScorer(), startup_seconds=0.05)
    assert reason == "The serving process did not start within 0.05 s."
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


def test_missing_split_and_empty_split_stop_the_run(tmp_path):
    with pytest.raises(ValueError, match=r"Split does not exist .*holdout"):
        validate(tmp_path, None, split="holdout")
    empty = examples_artifact(tmp_path / "empty", [])
    with pytest.raises(ValueError, match="no examples in the split 'eval'"):
        InfraValidator.test_call(
            model=standard_artifacts.Model(),
            examples=empty,
            blessing=standard_artifacts.InfraBlessing(),
            target=SOLD,
        )


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
    model_artifact(tmp_path / "model", Hanging())
    (tmp_path / "example").write_bytes(message(2).SerializeToString())
    # A parent without TFX, elsewhere than in the project: it must find the package by itself.
    module, arguments = ("prediction_server", ["operations.serving"]) if server else ("serving_process", [])
    script = f"""
        import pathlib, signal
        # Ignored in processes that a shell started in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from components.infra_validator import {module}
        from components.infra_validator.serving_process import Served, TimeLimits
        request = pathlib.Path("example").read_bytes()
        {module}.serve(
            Served(1), *{arguments}, "model/Format-Serving", [request], "predict_raw", TimeLimits(90, 90, 90)
        )
    """
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


def test_how_the_parent_is_stopped_is_its_own_matter():
    before = signal.getsignal(signal.SIGTERM)
    with serving_process.child_process("-c", "input()"):
        assert signal.getsignal(signal.SIGTERM) == before


def children_of(parent: int, module: str) -> list[int]:
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            command = status.with_name("cmdline").read_bytes()
        except OSError:
            continue  # It ended while we looked.
        if int(fields[1]) == parent and module.encode() in command.split(b"\0"):
            children.append(int(status.parent.name))
    return children


@pytest.mark.parametrize(
    ("properties", "sentence"),
    [({"requests": 0}, "at least 1 request, not 0"), ({"load_seconds": 0.0}, "positive load_seconds, not 0.0")],
)
def test_useless_settings_are_refused(properties, sentence):
    nothing = {"model": standard_artifacts.Model(), "examples": standard_artifacts.Examples()}
    with pytest.raises(ValueError, match=sentence):
        InfraValidator.test_call(**nothing, blessing=standard_artifacts.InfraBlessing(), target=SOLD, **properties)

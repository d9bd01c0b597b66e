"""A SavedModel in memory answers as plain TensorFlow does, and what is no model is refused in a sentence."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from operations.inference import columns, example_row, model
from operations.inference.errors import LoadError, NotReadyError, UnknownModelError, UnprocessableError
from tests.operations.serving import small_model

pytestmark = pytest.mark.component

ROWS = [
    {"amount": 12.5, "count": 30, "colour": "red"},
    {"amount": -40.0, "count": 1, "colour": "green"},
    {"amount": None, "count": None, "colour": None},
    {"amount": 3.0, "count": 2, "colour": "mauve — ünseen"},
]


@pytest.fixture(scope="module")
def loaded(models: dict[float, Path]) -> model.LoadedModel:
    served = model.load(models[1.0], 7, threads=1)
    served.warm_up()
    return served


def test_the_signature_says_what_is_taken_and_given(loaded: model.LoadedModel) -> None:
    assert loaded.version == 7
    assert loaded.inputs.types == small_model.COLUMNS
    assert {column.shape for column in loaded.inputs.columns.values()} == {(None, 1)}
    assert {name: column.dtype for name, column in loaded.outputs.items()} == {"probability": "float32"}
    with pytest.raises(
        UnknownModelError, match=r"no signature `classify`; it has explain, predict_raw, serving_default\."
    ):
        loaded.signature("classify")


@pytest.mark.parametrize(
    ("written", "warned"),
    [(None, False), ("", True), ("[1]", True), ('{"amount": "much"}', True), ('{"weight": 1.0}', True)],
)
def test_a_version_is_shown_with_its_own_row_or_with_none(loaded, tmp_path, caplog, written, warned) -> None:
    assert loaded.example == small_model.EXAMPLE
    if written is not None:
        (tmp_path / "assets.extra").mkdir()
        (tmp_path / "assets.extra" / "example.json").write_text(written)

    assert example_row.read(tmp_path, loaded.inputs) is None
    assert ("is not shown" in caplog.text) is warned


def test_rows_are_answered_as_the_formula_and_plain_tensorflow_answer_them(loaded, models) -> None:
    import tensorflow as tf

    arrays = columns.from_rows(ROWS, loaded.inputs)
    served = loaded.predict(arrays)["probability"]
    assert (served.shape, served.dtype) == ((4, 1), np.float32)
    np.testing.assert_allclose(served.ravel(), [small_model.probability(1.0, row) for row in ROWS], rtol=1e-5)
    bare = tf.saved_model.load(str(models[1.0])).signatures["predict_raw"]
    expected = bare(**{name: tf.constant(values) for name, values in arrays.items()})["probability"].numpy()
    np.testing.assert_array_equal(served, expected)


def test_examples_that_the_graph_refuses_are_a_mistake_of_the_request(loaded: model.LoadedModel) -> None:
    for example in (b"no example", small_model.example({"count": 3})):
        with pytest.raises(UnprocessableError, match=r"The model refuses the request: \w+") as refused:
            loaded.predict({"examples": columns.objects([example])}, model.EXAMPLES)
        assert "\n" not in str(refused.value)


def test_threads_that_ask_at_once_get_their_own_answers(loaded: model.LoadedModel) -> None:
    def ask(amount: float) -> None:
        arrays = columns.from_rows([{"amount": amount}] * 3, loaded.inputs)
        for _ in range(50):
            answer = loaded.predict(arrays)["probability"].ravel().tolist()
            assert answer == pytest.approx([small_model.probability(1.0, {"amount": amount})] * 3, abs=1e-5)

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(ask, (0.0, 10.0, 20.0, 30.0)))


def test_a_closed_model_says_so(models: dict[float, Path]) -> None:
    served = model.load(models[0.0], 1)
    arrays = columns.from_rows(ROWS, served.inputs)
    served.predict(arrays)
    served.close()
    served.close()
    with pytest.raises(NotReadyError, match="unloaded"):
        served.predict(arrays)


def flip_a_bit(folder: Path) -> None:
    (data,) = (folder / "variables").glob("variables.data-*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0xFF
    data.write_bytes(content)


DAMAGES = {
    "variables cut short": small_model.cut_short,
    "no variables": lambda folder: shutil.rmtree(folder / "variables"),
    "no graph": lambda folder: (folder / "saved_model.pb").unlink(),
    "empty graph": lambda folder: (folder / "saved_model.pb").write_bytes(b""),
    "no graph but text": lambda folder: (folder / "saved_model.pb").write_text("<html>not found</html>"),
    "one bit wrong": flip_a_bit,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_refused_in_one_line(models: dict[float, Path], tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(models[0.0], tmp_path / "1")
    DAMAGES[damage](folder)
    with pytest.raises(LoadError, match=str(folder)) as refused:
        model.load(folder, 1)
    assert "\n" not in str(refused.value)


def test_a_model_without_named_columns_is_refused_by_naming_what_it_has(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    double = tf.function(lambda x: {"y": x * 2}).get_concrete_function(tf.TensorSpec([None], tf.float32, "x"))
    tf.saved_model.save(module, str(tmp_path), signatures={"doubled": double})
    with pytest.raises(LoadError, match=r"no signature predict_raw; it has doubled\."):
        model.load(tmp_path, 1)


def test_a_model_that_does_not_answer_per_row_is_refused_when_it_is_warmed_up(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    total = tf.function(lambda x: {"y": tf.reduce_sum(x, keepdims=True)}).get_concrete_function(
        x=tf.TensorSpec([None, 1], tf.float32, "x")
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"predict_raw": total})
    served = model.load(tmp_path, 1)
    with pytest.raises(LoadError, match=r"`y` has the shape \[1, 1\] for 64 rows"):
        served.warm_up()

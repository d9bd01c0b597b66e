"""Two models compared: bit by bit, with their vocabularies, and by what was measured."""

import dataclasses
import math
from pathlib import Path

import pytest

from operations.experiments.reproduction import models

pytestmark = pytest.mark.component


@pytest.fixture
def export(tmp_path):
    """Exports a small model with a vocabulary as a SavedModel."""
    import tensorflow as tf

    def write(name: str, weights: list[float], words: str = "a\nb\n", further: bool = False) -> str:
        vocabulary = tmp_path / f"{name}.txt"
        vocabulary.write_text(words)
        module = tf.Module()
        module.weights = tf.Variable(weights, dtype=tf.float32)
        module.count = tf.Variable(3, dtype=tf.int64)
        module.words = tf.saved_model.Asset(str(vocabulary))
        if further:
            module.further = tf.Variable([1.0])
        tf.saved_model.save(module, str(tmp_path / name))
        asset = tmp_path / name / "assets"
        (asset / f"{name}.txt").rename(asset / "words.txt")
        return str(tmp_path / name)

    return write


def test_the_same_bits_are_the_same_not_a_number_included(export):
    weights = [1.0, math.nan, -0.0]

    assert models.compare_variables(export("one", weights), export("two", weights)) == (2, 4, ())


@pytest.mark.parametrize(
    ("before", "after", "largest"), [([1.0, 2.0], [1.0, 2.0 + 2**-22], 2**-22), ([1.0, 0.0], [1.0, -0.0], 0.0)]
)
def test_the_smallest_change_of_one_number_or_of_its_sign_is_found_and_measured(export, before, after, largest):
    count, values, different = models.compare_variables(export("one", before), export("two", after))

    assert (count, values) == (2, 3)
    assert [dataclasses.astuple(change) for change in different] == [("weights", "float32[2]", "float32[2]", largest)]


def test_another_shape_and_a_variable_that_only_one_has_are_named(export):
    count, _, different = models.compare_variables(export("one", [1.0]), export("two", [1.0, 2.0], further=True))

    assert count == 3
    assert [dataclasses.astuple(change) for change in different] == [
        ("further", None, "float32[1]", None),
        ("weights", "float32[1]", "float32[2]", None),
    ]


def test_another_vocabulary_is_found_although_the_variables_are_the_same(export):
    one, same, other = export("one", [1.0]), export("same", [1.0]), export("other", [1.0], words="b\na\n")

    assert models.compare_assets(one, same) == ()
    assert models.compare_assets(one, other) == ("words.txt",)
    comparison = models.compare((one, other), ({"auc": 0.5}, {"auc": 0.5}), ([], []))
    assert not comparison.identical
    assert comparison.reasons() == ("words.txt, exported with the model, differ",)


def test_metrics_are_compared_exactly_on_every_slice(export):
    one, two = export("one", [1.0]), export("two", [1.0])
    overall = {"auc": 0.1 + 0.2, "loss": math.nan}
    before = [{"slice": "kind=a", "challenger": {"auc": 0.5}}, {"slice": "kind=gone", "challenger": {"auc": 0.6}}]
    after = [{"slice": "kind=a", "challenger": {"auc": 0.25}}]

    assert models.compare((one, two), (overall, overall), (before, before)).identical
    comparison = models.compare((one, two), (overall, {**overall, "auc": 0.3}), (before, after))

    assert (comparison.metrics, comparison.slices) == (4, 2)
    assert [(metric.slice, metric.original, metric.reproduction) for metric in comparison.different_metrics] == [
        ("", 0.1 + 0.2, 0.3),
        ("kind=a", 0.5, 0.25),
        ("kind=gone", 0.6, None),
    ]
    assert comparison.reasons() == ("3 of 4 metrics differ",)
    assert comparison.document()["different_metrics"][1]["metric"] == "auc"


def test_a_model_of_a_mounted_workspace_is_found_in_this_ones(export, tmp_path):
    exported = Path(export("one", [1.0]))
    here = tmp_path / "here" / "artifacts" / "Trainer" / "model" / "7" / "Format-Serving"
    here.parent.mkdir(parents=True)
    exported.rename(here)
    uri = "/workspace/artifacts/Trainer/model/7"

    assert models.reachable(uri, "/workspace", str(tmp_path / "here")) == str(here.parent)
    assert models.reachable(str(here.parent), "/workspace", "/nowhere") == str(here.parent)
    assert models.reachable(uri, "/workspace", str(tmp_path / "elsewhere")) is None
    assert models.reachable("/works/model/7", "/work", str(tmp_path / "here")) is None

"""Warm start: what a new network takes from a base model, and that it then answers as the base model does."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from models import warm_start
from models.network import Rescaling
from models.training import run_fn
from models.warm_start import DESCRIPTION, composed, fitted
from tests.models.conftest import TRAIN_SPANS, ingest, probabilities, record, weights

OLD = ("carrier=AA", "carrier=UA", "origin=JFK")
LAYERS = {
    "cross_0": ("numbers", "embedding"),
    "deep_0": ("numbers", "embedding"),
    "deep_1": ("deep_0",),
    "probability": ("cross_0", "deep_1"),
}
SHAPES = {"cross_0": (6, 6), "deep_0": (6, 4), "deep_1": (4, 3), "probability": (9, 1)}


def layout(vocabulary=OLD, categories=("carrier", "origin"), numbers=("temp", "humid"), layers=LAYERS, **further):
    return warm_start.Layout(numbers, 5.0, categories, vocabulary, layers, **further)


def full(of, value: float, shapes=SHAPES, dimension: int = 2) -> dict[str, np.ndarray]:
    """Each layer full of one value; the embedding of row r is value + r."""
    table = np.arange(len(of.rows()), dtype=np.float32)[:, None] + np.full((1, dimension), value, np.float32)
    kernels = {f"{name}/kernel": np.full(shape, value, np.float32) for name, shape in shapes.items()}
    biases = {f"{name}/bias": np.full(shape[-1:], value, np.float32) for name, shape in shapes.items()}
    return {"embedding/embeddings": table, **kernels, **biases}


def started(new, old, shapes=SHAPES, dimension: int = 2):
    """Starts a network full of -1000 from one full of 100: its weights, and what was taken."""
    base = warm_start.Base("", old, full(old, 100))
    return warm_start.start(full(new, -1000, shapes, dimension), new, base)


@pytest.mark.unit
def test_an_embedding_follows_its_category_wherever_its_row_has_moved():
    new = layout(("origin=JFK", "carrier=B6", "carrier=UA"))
    begun, taken = started(new, layout())
    table, rows, old = begun["embedding/embeddings"][:, 0] - 100, new.rows(), layout().rows()

    for term in ("origin=JFK", "carrier=UA", "carrier is missing", "origin is unseen"):
        assert table[rows[term]] == old[term]
    assert table[rows["carrier=B6"]] == old["carrier is unseen"]
    assert (taken.terms, taken.unseen, taken.gone) == (2, ("carrier=B6",), 1)
    assert taken.anew == ()


# What is different in the new network, and the layers that can then be taken.
CASES = {
    "nothing": ({}, {}, 2, ("cross_0", "deep_0", "deep_1", "probability")),
    "a wider last layer": ({}, {"deep_1": (4, 5), "probability": (11, 1)}, 2, ("cross_0", "deep_0")),
    "a wider first layer": ({}, {"deep_0": (6, 7), "deep_1": (7, 3)}, 2, ("cross_0",)),
    "longer embeddings": ({}, {name: (9, *shape[1:]) for name, shape in SHAPES.items()}, 3, ()),
    "the same width, other numbers": ({"numbers": ("temp", "dewp")}, {}, 2, ()),
    "the same numbers in another order": ({"numbers": ("humid", "temp")}, {}, 2, ()),
    "the same columns in another order": ({"categories": ("origin", "carrier")}, {}, 2, ()),
    "a layer between, of the same width": (
        {"layers": {**LAYERS, "deep_2": ("deep_1",), "probability": ("cross_0", "deep_2")}},
        {"deep_2": (3, 3)},
        2,
        ("cross_0", "deep_0", "deep_1"),
    ),
}


@pytest.mark.unit
@pytest.mark.parametrize("case", CASES)
def test_a_layer_is_taken_if_its_shape_and_all_that_it_reads_are_the_same(case):
    changes, shapes, dimension, expected = CASES[case]
    new = layout(**changes)
    begun, taken = started(new, layout(), {**SHAPES, **shapes}, dimension)

    assert sorted(taken.layers) == sorted(expected)
    assert sorted((*taken.layers, *taken.anew)) == sorted(new.layers)
    for layer in new.layers:
        assert np.all(begun[f"{layer}/kernel"] == (100 if layer in expected else -1000)), layer


@pytest.mark.unit
def test_embeddings_are_taken_by_category_even_if_no_layer_can_be():
    _, taken = started(layout(categories=("origin", "carrier")), layout())

    assert (taken.layers, taken.terms) == ((), 3)


@pytest.mark.unit
def test_the_last_layer_is_not_taken_for_other_classes():
    layers = {**LAYERS, "probabilities": ("cross_0", "deep_1", "classes")}
    del layers["probability"]
    shapes = {"cross_0": (6, 6), "deep_0": (6, 4), "deep_1": (4, 3), "probabilities": (9, 3)}
    base = layout(layers=layers, classes=("a", "b", "c"))
    old = warm_start.Base("", base, full(base, 100, shapes))

    for classes, expected in ((("a", "b", "c"), ()), (("b", "a", "c"), ("probabilities",))):
        new = layout(layers=layers, classes=classes)
        _, taken = warm_start.start(full(new, -1000, shapes), new, old)
        assert taken.anew == expected


@pytest.mark.unit
def test_scales_are_found_from_rows_that_are_neither_clipped_nor_missing():
    raw = np.array([[10.0, 25.0], [20.0, 25.0], [35.0, 25.0], [1000.0, 25.0], [np.nan, 25.0]])
    old, new = (
        np.nan_to_num(np.clip((raw - mean) / deviation, -5, 5), nan=0.0) for mean, deviation in ((20, 10), (30, 5))
    )
    scaled = fitted(old.astype(np.float32), new.astype(np.float32), 5.0)

    assert scaled.scale[0] == pytest.approx(0.5, abs=1e-6)  # a deviation of 5 in units of 10
    assert scaled.offset[0] == pytest.approx(1.0, abs=1e-6)  # (30 - 20) / 10
    # One value only: nobody can tell the scale, but how it moves.
    assert (scaled.scale[1], scaled.offset[1]) == (1, 1.5)  # from (25 - 30) / 5 to (25 - 20) / 10


@pytest.mark.unit
def test_a_number_that_is_another_function_of_the_column_stays_as_it_is():
    x = np.linspace(0.1, 2, 20, dtype=np.float32)[:, None]

    assert fitted(np.sqrt(x), x, 5.0).scale == [1.0]


@pytest.mark.unit
def test_rescalings_of_generations_become_one():
    assert composed(Rescaling([2.0], [1.0]), Rescaling([3.0], [0.5])) == Rescaling([6.0], [3.5])
    assert composed(Rescaling([1.0], [0.0]), None) is None
    assert composed(Rescaling([0.5], [1.0]), Rescaling([2.0], [-2.0])) is None


@pytest.fixture(scope="module")
def newer(trained, tmp_path_factory):
    """Examples of the later spans of the small job, with a Transform of their own: other scales and categories."""
    folder = tmp_path_factory.mktemp("newer-job")
    # Fewer categories are frequent enough in fewer rows.
    ingest(trained.folder / "spans", TRAIN_SPANS[2:], folder)
    return dataclasses.replace(trained, folder=folder)


def warm(newer, trained, destination: Path, **model):
    """Trains on the newer job, beginning with the model of the small one: the record."""
    arguments = newer.arguments(destination, **model)
    arguments.base_model = str(trained.folder / "serving")
    run_fn(arguments)
    return record(destination)["warm_start"]


@pytest.mark.component
def test_before_it_learns_anything_the_new_network_answers_as_its_base_model(trained, newer, tmp_path):
    taken = warm(newer, trained, tmp_path, epochs=1, learning_rate=1e-12)
    base, new = probabilities(trained.folder, newer), probabilities(tmp_path, newer)

    assert taken["anew"] == []
    assert taken["rescaled"] == 15  # every scaled number, and neither an indicator nor a wave
    assert taken["terms"] > 20
    # The others have a number that is clipped now, or was, or a category that has become rare.
    assert np.mean(np.abs(base - new) < 1e-4) > 0.8


@pytest.mark.component
def test_it_learns_sooner_than_a_network_that_begins_anew(trained, newer, tmp_path):
    warm(newer, trained, tmp_path / "warm", epochs=1)
    run_fn(newer.arguments(tmp_path / "anew", epochs=1))
    warm_loss, anew_loss = (record(tmp_path / name)["history"]["loss"][0] for name in ("warm", "anew"))

    assert warm_loss < anew_loss


@pytest.mark.component
def test_a_model_of_the_third_generation_still_starts_where_the_second_ended(trained, newer, tmp_path):
    warm(newer, trained, tmp_path / "second", epochs=1)
    second = dataclasses.replace(newer, folder=tmp_path / "second")
    taken = warm(trained, second, tmp_path / "third", epochs=1, learning_rate=1e-12)

    assert taken["anew"] == []
    difference = probabilities(second.folder, newer) - probabilities(tmp_path / "third", newer)
    assert np.mean(np.abs(difference) < 1e-4) > 0.8


@pytest.mark.component
def test_of_several_networks_the_first_is_begun_with(trained, newer, tmp_path):
    run_fn(trained.arguments(tmp_path / "both", epochs=1, members=2))
    run_fn(trained.arguments(tmp_path / "first", epochs=1))
    for base in ("both", "first"):
        warm(newer, dataclasses.replace(trained, folder=tmp_path / base), tmp_path / f"after-{base}", epochs=1)

    np.testing.assert_equal(weights(tmp_path / "after-both"), weights(tmp_path / "after-first"))


@pytest.mark.component
def test_the_same_base_model_gives_the_same_weights(trained, newer, tmp_path):
    for name in ("first", "second"):
        warm(newer, trained, tmp_path / name, epochs=1)
    np.testing.assert_equal(*(weights(tmp_path / name) for name in ("first", "second")))


@pytest.mark.component
def test_a_base_model_without_a_description_is_passed_over_and_the_record_says_so(trained, newer, tmp_path):
    bare = dataclasses.replace(trained, folder=tmp_path / "bare")
    shutil.copytree(trained.folder / "serving", bare.folder / "serving")
    (bare.folder / "serving" / DESCRIPTION).unlink()

    assert "an older version exported it" in warm(newer, bare, tmp_path / "new", epochs=1)["passed_over"]

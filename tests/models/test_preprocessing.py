"""Every transformed number of known rows, worked out by hand from the definition."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from benchmarks import quality
from models.features import FeatureSettings
from models.flights import FlightFeatures
from models.preprocessing import TEXT, _words, preprocessing_fn
from tests.components.local_runs import IN_MEMORY
from tests.examples import example

pytestmark = pytest.mark.component

SETTINGS = FlightFeatures(
    numeric=("speed", "gust", "seats"),
    heavy_tailed=("gust",),
    missing_indicators=("gust", "seats"),
    clip=1.2,
    cyclic={"minute": 1440.0, "speed": 8.0},
    harmonics=2,
    categorical=("airline", "engine", "weekday"),
    vocabulary_min_count=2,
)
MISSING_INT = int(np.iinfo(np.int64).min)

# gust is missing in half of the rows; seats is never known; the airline "ZZ" and weekday 5 are too rare to be known.
ROWS = [
    {"speed": 1.0, "gust": 16.0, "minute": 0, "airline": "AA", "engine": "jet", "weekday": 1},
    {"speed": 3.0, "gust": -4.0, "minute": 360, "airline": "AA", "engine": "jet", "weekday": 1},
    {"speed": 1.0, "minute": 720, "airline": "AA", "weekday": 1},
    {"speed": 3.0, "minute": 1080, "airline": "jet", "weekday": 0},
    {"speed": 1.0, "gust": 16.0, "minute": 0, "airline": "jet", "weekday": 0},
    {"speed": 3.0, "gust": -4.0, "minute": 0, "airline": "ZZ", "weekday": 5},
    {"speed": 1.0, "minute": 0, "airline": "AA", "weekday": 0},
    {"speed": 3.0, "minute": 0, "airline": "AA", "weekday": 1},
]
# By frequency, then by name backwards: AA 5, weekday 1 4, weekday 0 3, engine jet 2 and airline jet 2.
VOCABULARY = ["airline=AA", "weekday=1", "weekday=0", "engine=jet", "airline=jet"]
FIRST_KNOWN = 2 * len(SETTINGS.categorical)


@pytest.fixture(scope="module")
def transform(tmp_path_factory: pytest.TempPathFactory) -> Any:
    columns = {
        "speed": tf.io.FixedLenFeature([1], tf.float32),
        "gust": tf.io.VarLenFeature(tf.float32),
        "seats": tf.io.VarLenFeature(tf.int64),
        "minute": tf.io.FixedLenFeature([1], tf.int64),
        "airline": tf.io.FixedLenFeature([1], tf.string),
        "engine": tf.io.VarLenFeature(tf.string),
        "weekday": tf.io.FixedLenFeature([1], tf.int64),
    }
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(columns))
    function = functools.partial(preprocessing_fn, custom_config={"features": SETTINGS.model_dump(mode="json")})
    rows = [{name: [value] for name, value in row.items()} | _absent(row) for row in ROWS]
    folder: Path = tmp_path_factory.mktemp("transform")
    with beam.Pipeline(argv=IN_MEMORY) as pipeline, tft_beam.Context(temp_dir=str(folder / "temporary")):
        graph = (pipeline | beam.Create(rows), metadata) | tft_beam.AnalyzeDataset(function)
        _ = graph | tft_beam.WriteTransformFn(str(folder / "graph"))
        metadata_folder = str(folder / "graph" / tft.TFTransformOutput.RAW_METADATA_DIR)
        _ = metadata | tft_beam.WriteMetadata(metadata_folder, pipeline)
    return tft.TFTransformOutput(str(folder / "graph"))


def _absent(row: dict) -> dict[str, list]:
    return {name: [] for name in ("gust", "seats", "engine") if name not in row}


def _apply(transform: Any, row: dict) -> tuple[np.ndarray, np.ndarray]:
    raw = tf.io.parse_example([example(row).SerializeToString()], transform.raw_feature_spec())
    outputs = transform.transform_features_layer()(raw)
    return outputs["numeric_xf"].numpy()[0], outputs["categorical_xf"].numpy()[0]


def _waves(speed: float, minute: int) -> list[float]:
    angles = [(2 * math.pi * minute / 1440), (2 * math.pi * speed / 8)]
    return [wave(order * angle) for angle in angles for wave in (math.sin, math.cos) for order in (1, 2)]


NUMBERS = {
    # speed: mean 2, deviation 1. gust: roots 4 and -2, so mean 1, deviation 3, and (4 - 1) / 3 = 1.
    "a known row": (ROWS[0], [-1, 1, 0, 0, 1, *_waves(1.0, 0)]),
    "missing numbers become the mean of the known ones and are told": (ROWS[2], [-1, 0, 0, 1, 1, *_waves(1.0, 720)]),
    **{
        f"{value} counts as missing": (
            ROWS[0] | {"gust": value, "speed": value, "minute": MISSING_INT},
            [0, 0, 0, 1, 1, *([0] * 8)],
        )
        for value in (math.nan, math.inf)
    },
    "extreme numbers are clipped": (ROWS[0] | {"speed": 1e9, "gust": -1e9}, [1.2, -1.2]),
    "a column never known in training stays neutral when it arrives": (ROWS[0] | {"seats": 150}, [-1, 1, 0, 0, 0]),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers(transform: Any, case: str) -> None:
    row, expected = NUMBERS[case]
    numbers, _ = _apply(transform, row)
    np.testing.assert_allclose(numbers[: len(expected)], expected, atol=1e-6)


def test_the_vocabulary_holds_what_was_seen_often_enough_and_nothing_missing(transform: Any) -> None:
    assert [token.decode() for token in transform.vocabulary_by_name("categories")] == VOCABULARY


def _known(*names: str) -> list[int]:
    return [FIRST_KNOWN + VOCABULARY.index(name) for name in names]


CATEGORIES = {
    "a known row": (ROWS[0], _known("airline=AA", "engine=jet", "weekday=1")),
    "the same text in two columns": (ROWS[0] | {"airline": "jet"}, _known("airline=jet", "engine=jet", "weekday=1")),
    **{
        f"rare and unseen ones share a row per column: {airline}": (
            ROWS[0] | {"airline": airline, "engine": "rocket", "weekday": 6},
            [1, 3, 5],
        )
        for airline in ("ZZ", "never seen", "AA ", "engine=jet")
    },
    "missing ones": ({"speed": 1.0, "minute": 0, "airline": "", "weekday": MISSING_INT}, [0, 2, 4]),
}


@pytest.mark.parametrize("case", CATEGORIES)
def test_categories(transform: Any, case: str) -> None:
    row, expected = CATEGORIES[case]
    _, rows = _apply(transform, row)
    assert rows.tolist() == expected


def test_a_feature_that_was_not_ingested_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'speed' is not a column of the examples"):
        preprocessing_fn({}, {"features": SETTINGS.model_dump()})


def test_the_transform_does_not_depend_on_the_size_of_beam_s_batches(ingested: Any, tmp_path: Path) -> None:
    outputs = []
    for batch_rows in (97, 1000):
        job = dataclasses.replace(ingested, folder=tmp_path / str(batch_rows))
        job.folder.mkdir()
        (job.folder / "Split-train").symlink_to(ingested.folder / "Split-train")
        pattern = str(job.folder / "Split-train" / "*")
        quality.analyse(pattern, quality.SCHEMA, FlightFeatures(), job.folder / "transform", batch_rows)
        outputs.append(job.rows("train").features)
    for name, values in outputs[0].items():
        np.testing.assert_array_equal(values, outputs[1][name])


def test_words_are_found_whatever_their_case_punctuation_order_and_number() -> None:
    texts = ["Owner's  Manual, 2nd", "manual 2ND s OWNER owner", "", "?!", "\u00dcBER", "\u00fcber"]
    first, same, empty, wordless, upper, lower = _words(tf.constant(texts), 4096).numpy()

    assert np.count_nonzero(first) == 4
    np.testing.assert_array_equal(first, same)
    np.testing.assert_allclose(np.linalg.norm(first), 1.0, rtol=1e-6)
    assert not empty.any()
    assert not wordless.any()
    np.testing.assert_array_equal(upper, lower)
    assert np.count_nonzero(upper) == 1


def test_every_text_column_has_buckets_of_its_own() -> None:
    settings = FeatureSettings(text=("title", "note"), text_buckets=8)
    raw = {"title": tf.constant(["red"]), "note": tf.constant(["blue"])}
    outputs = preprocessing_fn(raw, {"features": settings.model_dump()})

    assert list(outputs) == [TEXT]
    assert outputs[TEXT].shape == (1, 2, 8)
    assert [np.count_nonzero(column) for column in outputs[TEXT][0]] == [1, 1]

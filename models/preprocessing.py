"""From raw columns to the tensors of the network: one function for training, evaluation and serving.

tf.Transform analyses the training split once, bakes the constants into a graph, and that same graph runs in the
training input, in evaluation and in every signature of the exported model. All numbers share their analyzers
and all categories share one, because each costs seconds however little data there is. Text needs none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from errors import FlightdeckError
from models.features import FeatureSettings

if TYPE_CHECKING:
    RawColumn = tf.Tensor | tf.SparseTensor

NUMERIC = "numeric_xf"
CATEGORICAL = "categorical_xf"
TEXT = "text_xf"
VOCABULARY = "categories"

# How a value is missing when it cannot simply be left out, as in a dense request.
MISSING: dict[tf.DType, Any] = {tf.float32: math.nan, tf.int64: np.iinfo(np.int64).min, tf.string: ""}


def preprocessing_fn(inputs: Mapping[str, RawColumn], custom_config: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Transforms raw columns; the signature is tf.Transform's.

    The label is not transformed: nothing derived from it can end up in the serving graph.

    Args:
        inputs: Raw columns by name, float32, int64 or string, dense or sparse [batch, 1]; sparse ones may miss
            rows, and a NaN, the smallest int64 or an empty string is a missing value too.
        custom_config: ``features`` is a dump of `FeatureSettings`.

    Returns:
        ``numeric_xf``, float32 [batch, numbers]: the scaled columns, the missing indicators (1 is missing), then
        sine and cosine per harmonic of each cyclic column. ``categorical_xf``, int64 [batch, categories]: rows of
        one embedding table, see `category_rows`. ``text_xf``, float32 [batch, text columns, buckets], see `_words`.
        Each is left out when there is nothing in it.

    Raises:
        FlightdeckError: If a column of the settings is not among the inputs.
    """
    settings = FeatureSettings.model_validate(custom_config["features"])
    absent = [name for name in settings.inputs if name not in inputs]
    if absent:
        raise FlightdeckError(f"feature '{absent[0]}' is not a column of the examples; ingest it or remove the feature")
    outputs = {}
    if settings.measured:
        outputs[NUMERIC] = _numbers(inputs, settings)
    if settings.categorical:
        outputs[CATEGORICAL] = _categories(inputs, settings)
    if settings.text:
        columns = [_words(tf.reshape(column, [-1]), settings.text_buckets) for column in _dense(inputs, settings.text)]
        outputs[TEXT] = tf.stack(columns, axis=1)
    return outputs


def category_rows(columns: int, vocabulary_size: int) -> int:
    """Returns how many rows the embedding table has: missing and unseen per column, then the vocabulary."""
    return 2 * columns + vocabulary_size


def number_names(settings: FeatureSettings) -> tuple[str, ...]:
    """Returns what each number of ``numeric_xf`` is: the same name is the same number, up to its scale and offset."""
    scaled = [f"root of {name}" if name in settings.heavy_tailed else name for name in settings.numeric]
    missing = [f"{name} is missing" for name in settings.missing_indicators]
    waves = [
        f"{wave} {order} of {name} by {period:g}"
        for name, period in settings.cycles
        for wave in ("sine", "cosine")
        for order in range(1, settings.harmonics + 1)
    ]
    return (*scaled, *missing, *waves)


def origins(settings: FeatureSettings) -> dict[str, tuple[str, ...]]:
    """Returns, for each transformed feature, the raw column that each of its places (axis 1) depends on."""
    indicated, waves = settings.missing_indicators, 2 * settings.harmonics
    cyclic = (name for name, _ in settings.cycles for _ in range(waves))
    return {
        name: columns
        for name, columns in (
            (NUMERIC, (*settings.numeric, *indicated, *cyclic)),
            (CATEGORICAL, settings.categorical),
            (TEXT, settings.text),
        )
        if columns
    }


def _numbers(inputs: Mapping[str, RawColumn], settings: FeatureSettings) -> tf.Tensor:
    raw = tf.concat([tf.cast(column, tf.float32) for column in _dense(inputs, settings.measured)], axis=1)
    raw = tf.where(raw == tf.cast(MISSING[tf.int64], tf.float32), math.nan, raw)
    parts = []
    if settings.numeric:
        parts.append(_scaled(raw[:, : len(settings.numeric)], settings))
    if settings.missing_indicators:
        parts.append(_missing_indicators(raw, settings))
    if settings.cyclic:
        parts.append(_harmonics(raw, settings))
    return tf.concat(parts, axis=1)


def _scaled(numeric: tf.Tensor, settings: FeatureSettings) -> tf.Tensor:
    heavy = tf.constant([name in settings.heavy_tailed for name in settings.numeric])
    root = tf.sign(numeric) * tf.sqrt(tf.abs(numeric))
    values = tf.where(heavy, root, numeric)
    # The analyzers skip NaN, so missing values move neither mean nor variance. Beam sizes its batches by the clock,
    # so float32 sums differ in their last bits from run to run; rounded float64 ones do not, and neither does the
    # model trained behind them.
    exact = tf.cast(values, tf.float64)
    mean = tf.cast(tft.mean(exact, reduce_instance_dims=False, name="mean"), tf.float32)
    deviation = tf.cast(tf.sqrt(tft.var(exact, reduce_instance_dims=False, name="variance")), tf.float32)
    scaled = tf.math.divide_no_nan(values - mean, deviation)
    # A column without a single known value has no mean either: whatever it brings later becomes 0 as well.
    known = tf.logical_and(tf.math.is_finite(numeric), tf.math.is_finite(scaled))
    return tf.where(known, tf.clip_by_value(scaled, -settings.clip, settings.clip), 0.0)


def _missing_indicators(raw: tf.Tensor, settings: FeatureSettings) -> tf.Tensor:
    indicated = tf.constant([settings.measured.index(name) for name in settings.missing_indicators], tf.int32)
    missing = tf.logical_not(tf.math.is_finite(tf.gather(raw, indicated, axis=1)))
    return tf.cast(missing, tf.float32)


def _harmonics(raw: tf.Tensor, settings: FeatureSettings) -> tf.Tensor:
    positions = tf.constant([settings.measured.index(name) for name, _ in settings.cycles], tf.int32)
    radians = tf.constant([2 * math.pi / period for _, period in settings.cycles], tf.float32)
    angles = tf.gather(raw, positions, axis=1) * radians
    orders = tf.range(1, settings.harmonics + 1, dtype=tf.float32)
    waves = angles[:, :, tf.newaxis] * orders
    waves = tf.concat([tf.sin(waves), tf.cos(waves)], axis=2)
    waves = tf.where(tf.math.is_finite(waves), waves, 0.0)
    return tf.reshape(waves, [-1, len(settings.cycles) * 2 * settings.harmonics])


def _categories(inputs: Mapping[str, RawColumn], settings: FeatureSettings) -> tf.Tensor:
    columns = len(settings.categorical)
    values = tf.concat([_text(column) for column in _dense(inputs, settings.categorical)], axis=1)
    # One vocabulary holds the categories of all columns, so equal texts of two columns need different names.
    names = tf.constant([f"{name}=" for name in settings.categorical]) + values
    missing = values == ""
    known = tft.compute_and_apply_vocabulary(
        tf.where(missing, "", names),
        default_value=-1,
        frequency_threshold=settings.vocabulary_min_count,
        vocab_filename=VOCABULARY,
        name=VOCABULARY,
    )
    first = 2 * tf.range(columns, dtype=tf.int64)
    rows = tf.where(known < 0, first + 1, known + 2 * columns)
    return tf.ensure_shape(tf.where(missing, first, rows), [None, columns])


def _words(values: tf.Tensor, buckets: int) -> tf.Tensor:
    """Returns which words a text has, as a unit vector over hash buckets, float32 [batch, buckets]; no word is zeros.

    Hashing needs no vocabulary to be counted, kept and served (Weinberger et al., "Feature Hashing for Large Scale
    Multitask Learning", ICML 2009). Case, punctuation, order and repetition are dropped.
    """
    cleaned = tf.strings.regex_replace(tf.strings.lower(values, encoding="utf-8"), r"[^\pL\pN]+", " ")
    words = tf.strings.split(cleaned)
    places = tf.stack([words.value_rowids(), tf.strings.to_hash_bucket_fast(words.flat_values, buckets)], axis=1)
    shape = tf.stack([tf.size(values, out_type=tf.int64), tf.constant(buckets, tf.int64)])
    present = tf.minimum(tf.scatter_nd(places, tf.ones_like(places[:, 0], tf.float32), shape), 1.0)
    return tf.ensure_shape(tf.math.l2_normalize(present, axis=1), [None, buckets])


def _text(values: tf.Tensor) -> tf.Tensor:
    if values.dtype == tf.string:
        return values
    return tf.where(values == MISSING[tf.int64], "", tf.strings.as_string(values))


def _dense(inputs: Mapping[str, RawColumn], names: Sequence[str]) -> list[tf.Tensor]:
    """Returns columns with a value, if only a missing one, in each row: each [batch, 1]."""
    columns = [inputs[name] for name in names]
    # The columns share what they can: ops cost most where the graph is traced, saved and loaded.
    missing = {dtype: tf.constant(value, dtype) for dtype, value in MISSING.items()}
    # A batch without any value has the shape [batch, 0]: the width is known, so it is stated.
    sparse = next((column for column in columns if isinstance(column, tf.SparseTensor)), None)
    shape = None if sparse is None else tf.stack([sparse.dense_shape[0], 1])
    return [
        tf.raw_ops.SparseToDense(
            sparse_indices=column.indices,
            output_shape=shape,
            sparse_values=column.values,
            default_value=missing[column.dtype],
        )
        if isinstance(column, tf.SparseTensor)
        else tf.reshape(column, [-1, 1])
        for column in columns
    ]

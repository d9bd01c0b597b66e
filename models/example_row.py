"""The example that an exported model carries: a real row, for people who ask the service for the first time."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# Servers copy this folder of a SavedModel and never read it.
FILE = os.path.join("assets.extra", "example.json")
_LOOKED_AT = 1000


def write(patterns: Sequence[str], inputs: Collection[str], path: str) -> None:
    """Writes a row of the evaluation split beside an exported model, as JSON: column -> value.

    Of the first thousand rows it is the one that lacks the fewest columns; those that it lacks are left out.
    """
    row = max(_rows(patterns, inputs), key=len, default=None)
    if row is None:
        return
    file = os.path.join(path, FILE)
    tf.io.gfile.makedirs(os.path.dirname(file))
    with tf.io.gfile.GFile(file, "w") as stream:
        stream.write(json.dumps(row, indent=1))


def _rows(patterns: Sequence[str], inputs: Collection[str]) -> Iterator[dict[str, Any]]:
    files = sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
    if not files:
        return
    compression = "GZIP" if files[0].endswith(".gz") else ""
    for example in tf.data.TFRecordDataset(files, compression_type=compression).take(_LOOKED_AT):
        features = tf.train.Example.FromString(example.numpy()).features.feature
        values = {name: _value(features[name]) for name in inputs if name in features}
        yield {name: value for name, value in values.items() if value is not None}


def _value(feature: Any) -> str | int | float | None:
    """The value as JSON has it; None if it is missing. An example holds decimals in 32 bits: 0.1 is 0.10000000149."""
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else ()
    if len(values) != 1:
        return None
    (value,) = values
    if kind == "bytes_list":
        return value.decode(errors="replace")
    if kind == "float_list":
        return float(str(np.float32(value))) if math.isfinite(value) else None
    return int(value)

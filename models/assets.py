"""What an exported model carries for the service: rules for its raw columns, and a real row as an example."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from data.contract import Target
from models import inputs as examples

# Servers copy this folder of a SavedModel and never read it; see SavedModel's README in TensorFlow.
FOLDER = "assets.extra"
CONTRACT = "contract.json"
EXAMPLE = "example.json"
_LOOKED_AT = 1000


def write(path: str, name: str, document: Any) -> None:
    """Writes JSON beside an exported model."""
    tf.io.gfile.makedirs(os.path.join(path, FOLDER))
    with tf.io.gfile.GFile(os.path.join(path, FOLDER, name), "w") as stream:
        stream.write(json.dumps(document, indent=1))


def write_contract(
    schema_path: str, inputs: Collection[str], target: Target, path: str, quantiles: Sequence[float] = ()
) -> None:
    """Writes beside an exported model what it predicts, and what the curated schema says of the columns it reads.

    The quantiles are those of the training labels, if they are known.
    """
    with tf.io.gfile.GFile(schema_path) as stream:
        schema = text_format.Parse(stream.read(), schema_pb2.Schema())
    labels = {"label_quantiles": list(map(_shortest, quantiles))} if quantiles else {}
    write(path, CONTRACT, {"target": target.model_dump(), **labels, "columns": list(_columns(schema, inputs))})


def write_example(patterns: Sequence[str], inputs: Collection[str], path: str) -> None:
    """Writes a row of the evaluation split beside an exported model: column -> value.

    Of the first thousand rows it is the one that lacks the fewest columns; those that it lacks are left out.
    """
    row = max(_rows(patterns, inputs), key=len, default=None)
    if row is not None:
        write(path, EXAMPLE, row)


def _columns(schema: schema_pb2.Schema, inputs: Collection[str]) -> Iterator[dict[str, Any]]:
    """What can be checked of a single row. That a share of the rows may break a rule can not, so such a rule is out."""
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    for feature in schema.feature:
        if feature.name not in inputs:
            continue
        column: dict[str, Any] = {"name": feature.name, "required": feature.presence.min_fraction >= 1}
        tolerant = feature.HasField("distribution_constraints") and feature.distribution_constraints.min_domain_mass < 1
        kind = None if tolerant else feature.WhichOneof("domain_info")
        if kind == "domain":
            column["values"] = domains[feature.domain]
        elif kind == "string_domain":
            column["values"] = list(feature.string_domain.value)
        elif kind in ("int_domain", "float_domain"):
            bounds = getattr(feature, kind)
            column["range"] = [
                _shortest(getattr(bounds, name)) if bounds.HasField(name) else None for name in ("min", "max")
            ]
        yield column


def _rows(patterns: Sequence[str], inputs: Collection[str]) -> Iterator[dict[str, Any]]:
    files = examples.matching(patterns)
    records = chain.from_iterable(examples.serialised(file, inputs, _LOOKED_AT) for file in files)
    for record in islice(records, _LOOKED_AT):
        features = tf.train.Example.FromString(record).features.feature
        values = {name: _value(features[name]) for name in inputs if name in features}
        yield {name: value for name, value in values.items() if value is not None}


def _value(feature: Any) -> str | int | float | None:
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else ()
    if len(values) != 1:
        return None
    (value,) = values
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return _shortest(value) if math.isfinite(value) else None


def _shortest(number: int | float) -> int | float:
    """Schemas and examples hold decimals in 32 bits: 0.1 is 0.10000000149 there."""
    return number if isinstance(number, int) else float(str(np.float32(number)))

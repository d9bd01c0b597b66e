"""The contract that an exported model carries: what its raw columns may hold, for the service to check requests by."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

# Servers copy this folder of a SavedModel and never read it.
FILE = os.path.join("assets.extra", "contract.json")


def write(schema_path: str, inputs: Collection[str], path: str) -> None:
    """Writes beside an exported model what the curated schema says of the columns that it reads."""
    import tensorflow as tf
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    with tf.io.gfile.GFile(schema_path) as stream:
        schema = text_format.Parse(stream.read(), schema_pb2.Schema())
    file = os.path.join(path, FILE)
    tf.io.gfile.makedirs(os.path.dirname(file))
    with tf.io.gfile.GFile(file, "w") as stream:
        stream.write(json.dumps({"columns": list(_columns(schema, inputs))}, indent=1))


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
            column["range"] = [_bound(bounds, name) for name in ("min", "max")]
        yield column


def _bound(bounds: Any, name: str) -> int | float | None:
    """A bound of a domain; None if there is none. A schema holds decimals in 32 bits: 0.1 is 0.10000000149 there."""
    if not bounds.HasField(name):
        return None
    value = getattr(bounds, name)
    return value if isinstance(value, int) else float(str(np.float32(value)))

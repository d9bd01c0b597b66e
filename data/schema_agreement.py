"""Whether a curated schema says what the contract says: they repeat each other, and people edit both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from data.contract import Column, Contract

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2


def disagreements(contract: Contract, schema_file: Path) -> list[str]:
    """Returns what the two say differently, one sentence each; none if they agree.

    Raises:
        OSError: If the file cannot be read.
        google.protobuf.text_format.ParseError: If it is no schema.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = text_format.Parse(schema_file.read_text(encoding="utf-8"), schema_pb2.Schema())
    features = {feature.name: feature for feature in schema.feature}
    ingested = contract.ingested()
    found = [f"'{name}' is ingested, and the schema lacks it." for name in ingested if name not in features]
    found += [f"'{name}' is in the schema, and is not ingested." for name in features if name not in ingested]
    if not found and list(features) != list(ingested):
        found.append("The schema has the columns in another order than the contract.")
    domains = {domain.name: tuple(domain.value) for domain in schema.string_domain}
    for name in (name for name in ingested if name in features):
        found += _differences(contract.column(name), features[name], domains)
    unused = domains.keys() - {feature.domain for feature in schema.feature}
    found += [f"The schema's domain '{name}' belongs to no column." for name in sorted(unused)]
    label = features.get(contract.label)
    if label is not None and list(label.not_in_environment) != ["SERVING"]:
        found.append(f"The label '{label.name}' must be absent from the environment SERVING: requests have none.")
    return found


def _differences(column: Column, feature: schema_pb2.Feature, domains: dict[str, tuple[str, ...]]) -> Iterator[str]:
    from tensorflow_metadata.proto.v0 import schema_pb2

    kinds = {"int64": schema_pb2.INT, "float32": schema_pb2.FLOAT, "string": schema_pb2.BYTES}
    stored = schema_pb2.FeatureType.Name(feature.type)
    if feature.type != kinds[column.type]:
        yield f"'{column.name}' is {column.type} in the contract, {stored} in the schema."
    if (feature.presence.min_fraction < 1) != column.nullable:
        may = "may" if column.nullable else "may not"
        wanted = f"{feature.presence.min_fraction:g} of the rows"
        yield f"'{column.name}' {may} be missing by the contract, and the schema wants it in {wanted}."
    kind = feature.WhichOneof("domain_info")
    bounds = None
    if kind in ("int_domain", "float_domain"):
        bounds = (getattr(feature, kind).min, getattr(feature, kind).max)
    # A schema holds decimal bounds in 32 bits.
    if (bounds is None) != (column.range is None) or (
        bounds and column.range and any(abs(a - b) > 1e-6 * abs(b) for a, b in zip(bounds, column.range, strict=True))
    ):
        yield f"'{column.name}' has the range {column.range} in the contract, {bounds} in the schema."
    listed = domains.get(feature.domain) if kind == "domain" else None
    if listed != column.values:
        yield f"'{column.name}' lists other values in the schema than in the contract."
    if feature.HasField("distribution_constraints") != column.open:
        state = "open" if column.open else "closed"
        yield f"'{column.name}' is {state} in the contract, and not in the schema (distribution_constraints)."

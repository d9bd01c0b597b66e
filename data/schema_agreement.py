"""Whether a curated schema says what the contract says: they repeat each other, and people edit both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from data import schema_diff
from data.contract import Column, Contract

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2


def disagreements(contract: Contract, schema_file: Path) -> list[str]:
    """Returns what the two say differently, one sentence each; none if they agree.

    The schema may have columns that the contract ignores: another contract may ingest them.

    Raises:
        SchemaError: If the file cannot be read, or is no schema.
    """
    schema = schema_diff.curated(schema_file, contract)
    features = {feature.name: feature for feature in schema.feature}
    ingested = contract.ingested()
    sentences = [f"'{name}' is ingested, and the schema lacks it." for name in ingested if name not in features]
    sentences += [f"'{name}' is in the schema, and is not ingested." for name in features if name not in ingested]
    if not sentences and list(features) != list(ingested):
        sentences.append("The schema has the columns in another order than the contract.")
    for name in (name for name in ingested if name in features):
        sentences += _differences(contract.column(name), features[name], schema_diff.domain(schema, features[name]))
    unused = {domain.name for domain in schema.string_domain} - {feature.domain for feature in schema.feature}
    sentences += [f"The schema's domain '{name}' belongs to no column." for name in sorted(unused)]
    label = features.get(contract.label)
    if label is not None and list(label.not_in_environment) != ["SERVING"]:
        sentences.append(f"The label '{label.name}' must be absent from the environment SERVING: requests have none.")
    return sentences


def _differences(column: Column, feature: schema_pb2.Feature, values: tuple[str, ...] | None) -> Iterator[str]:
    stored = schema_diff.type_name(feature)
    if stored != {"int64": "INT", "float32": "FLOAT", "string": "BYTES"}[column.type]:
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
    if values != column.values:
        yield f"'{column.name}' lists other values in the schema than in the contract."
    if feature.HasField("distribution_constraints") != column.open:
        state = "open" if column.open else "closed"
        yield f"'{column.name}' is {state} in the contract, and not in the schema (distribution_constraints)."

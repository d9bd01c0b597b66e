"""Compares the curated schema with an inferred one: what a person decided with what the data shows.

A difference is a question for the person who owns the curated one: has the data changed, or was the decision wrong?
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import storage
from errors import FlightdeckError

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

    from data.contract import Contract

FILE_NAME = "schema.pbtxt"
_NO_DOMAIN = "any text"
_NO_RANGE = "any number"


class SchemaError(FlightdeckError):
    """A schema file that is missing or is not a schema."""


@dataclass(frozen=True)
class SchemaDifference:
    """One thing on which the two schemas disagree about one column, with what each says.

    `what` is ``column`` (only one has it), ``type``, ``presence``, ``values`` (those only one lists) or ``range``.
    """

    column: str
    what: str
    curated: str
    inferred: str


def diff(curated_path: Path, inferred_path: Path, ignored: Collection[str] = ()) -> list[SchemaDifference]:
    """Returns the differences between two schemas, by column in the order of the curated one.

    Presence is compared as required or optional, because an inferred schema never states a share in between.
    The thresholds for drift and skew are not compared: data does not show them.

    Args:
        curated_path: A schema in text format, or a folder that holds it as ``schema.pbtxt``, as SchemaGen's artifact.
        inferred_path: Likewise.
        ignored: Columns that need not be in the inferred one.

    Raises:
        SchemaError: If a file is missing or is not a schema.
    """
    curated, inferred = read(curated_path), read(inferred_path)
    ours = {feature.name: feature for feature in curated.feature if feature.name not in ignored}
    theirs = {feature.name: feature for feature in inferred.feature}
    differences = []
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if name not in ours:
            differences.append(SchemaDifference(name, "column", "absent", "present"))
        elif name not in theirs:
            differences.append(SchemaDifference(name, "column", "present", "absent"))
        else:
            differences.extend(_compare(curated, ours[name], inferred, theirs[name]))
    return differences


def read(path: Path) -> schema_pb2.Schema:
    """Returns a schema in text format; raises a SchemaError if the file is missing or is not one."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    file = path / FILE_NAME if path.is_dir() else path
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), schema_pb2.Schema())
    except (OSError, UnicodeDecodeError) as error:
        reason = storage.why(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SchemaError(f"The schema {file} cannot be read: {reason}.") from error
    except text_format.ParseError as error:
        raise SchemaError(f"{file} is not a schema in text format: {error}.") from error


def curated(path: Path, contract: Contract) -> schema_pb2.Schema:
    """Returns a curated schema without the columns that the contract ignores, such as the label of another task."""
    schema = read(path)
    ignored = contract.ignored()
    kept = [feature for feature in schema.feature if feature.name not in ignored]
    del schema.feature[:]
    schema.feature.extend(kept)
    return schema


def _compare(
    curated: schema_pb2.Schema,
    ours: schema_pb2.Feature,
    inferred: schema_pb2.Schema,
    theirs: schema_pb2.Feature,
) -> Iterator[SchemaDifference]:
    statements = (
        ("type", type_name(ours), type_name(theirs)),
        ("presence", _presence(ours), _presence(theirs)),
        ("values", *_values(domain(curated, ours), domain(inferred, theirs))),
        ("range", _range(ours), _range(theirs)),
    )
    for what, left, right in statements:
        if left != right:
            yield SchemaDifference(ours.name, what, left, right)


def type_name(feature: schema_pb2.Feature) -> str:
    """Returns ``INT``, ``FLOAT`` or ``BYTES``."""
    from tensorflow_metadata.proto.v0 import schema_pb2

    return schema_pb2.FeatureType.Name(feature.type)


def _presence(feature: schema_pb2.Feature) -> str:
    return "required" if feature.presence.min_fraction >= 1.0 else "optional"


def _values(ours: Sequence[str] | None, theirs: Sequence[str] | None) -> tuple[str, str]:
    """Returns the values only one of them lists, or how many there are where the other lists none at all."""
    if ours is None or theirs is None:
        return _length(ours), _length(theirs)
    return _listing({*ours} - {*theirs}), _listing({*theirs} - {*ours})


def _length(values: Sequence[str] | None) -> str:
    return _NO_DOMAIN if values is None else f"{len(values)} values"


def _listing(values: set[str]) -> str:
    return ", ".join(sorted(values)) or "none"


def domain(schema: schema_pb2.Schema, feature: schema_pb2.Feature) -> tuple[str, ...] | None:
    """Returns the values that a feature may have, in the order of the schema; None if it may have any."""
    if feature.HasField("string_domain"):
        return tuple(feature.string_domain.value)
    if not feature.HasField("domain"):
        return None
    return next((tuple(shared.value) for shared in schema.string_domain if shared.name == feature.domain), ())


def _range(feature: schema_pb2.Feature) -> str:
    kind = feature.WhichOneof("domain_info")
    if kind not in ("int_domain", "float_domain"):
        return _NO_RANGE
    domain = getattr(feature, kind)
    low = f"{domain.min:g}" if domain.HasField("min") else "any"
    high = f"{domain.max:g}" if domain.HasField("max") else "any"
    return _NO_RANGE if low == high == "any" else f"{low} to {high}"

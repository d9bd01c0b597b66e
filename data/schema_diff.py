"""Compares the curated schema with an inferred one: what a person decided with what the data shows.

The curated schema is what validation uses. SchemaGen still infers one on every run, and a difference is a
question for the person who owns the curated one: has the data changed, or was the decision wrong?
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from errors import FlightdeckError

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

FILE_NAME = "schema.pbtxt"
_NO_DOMAIN = "any text"
_NO_RANGE = "any number"


class SchemaError(FlightdeckError):
    """A schema file that is missing or is not a schema."""


@dataclass(frozen=True)
class SchemaDifference:
    """One thing on which the two schemas disagree about one column.

    Attributes:
        column: Name of the column.
        what: ``column`` (only one of them has it), ``type``, ``presence``, ``values`` or ``range``.
        curated: What the curated schema says; for ``values``, the values that only it lists.
        inferred: What the inferred schema says; for ``values``, the values that only it lists.
    """

    column: str
    what: str
    curated: str
    inferred: str


def diff(curated_path: Path | str, inferred_path: Path | str) -> list[SchemaDifference]:
    """Returns the differences between two schemas, by column in the order of the curated one.

    Presence is compared as required or optional, because an inferred schema never states a share in between.
    The thresholds for drift and skew are not compared: data does not show them.

    Args:
        curated_path: A schema in text format, or a folder that holds it as ``schema.pbtxt``.
        inferred_path: Likewise; the folder of SchemaGen's artifact will do.

    Raises:
        SchemaError: If a file is missing or is not a schema.
    """
    curated, inferred = _read(Path(curated_path)), _read(Path(inferred_path))
    ours = {feature.name: feature for feature in curated.feature}
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


def _read(path: Path) -> schema_pb2.Schema:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    file = path / FILE_NAME if path.is_dir() else path
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), schema_pb2.Schema())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SchemaError(f"The schema {file} cannot be read: {reason}.") from error
    except text_format.ParseError as error:
        raise SchemaError(f"{file} is not a schema in text format: {error}.") from error


def _compare(
    curated: schema_pb2.Schema,
    ours: schema_pb2.Feature,
    inferred: schema_pb2.Schema,
    theirs: schema_pb2.Feature,
) -> Iterator[SchemaDifference]:
    statements = (
        ("type", _type(ours), _type(theirs)),
        ("presence", _presence(ours), _presence(theirs)),
        ("values", *_values(curated, ours, inferred, theirs)),
        ("range", _range(ours), _range(theirs)),
    )
    for what, left, right in statements:
        if left != right:
            yield SchemaDifference(ours.name, what, left, right)


def _type(feature: schema_pb2.Feature) -> str:
    from tensorflow_metadata.proto.v0 import schema_pb2

    return schema_pb2.FeatureType.Name(feature.type)


def _presence(feature: schema_pb2.Feature) -> str:
    return "required" if feature.presence.min_fraction >= 1.0 else "optional"


def _values(
    curated: schema_pb2.Schema,
    ours: schema_pb2.Feature,
    inferred: schema_pb2.Schema,
    theirs: schema_pb2.Feature,
) -> tuple[str, str]:
    """Returns the values only one of them lists, or how many there are where the other lists none at all."""
    left, right = _domain(curated, ours), _domain(inferred, theirs)
    if left is None or right is None:
        return _length(left), _length(right)
    return _listing(left - right), _listing(right - left)


def _domain(schema: schema_pb2.Schema, feature: schema_pb2.Feature) -> set[str] | None:
    if feature.HasField("string_domain"):
        return set(feature.string_domain.value)
    if not feature.HasField("domain"):
        return None
    return {value for domain in schema.string_domain if domain.name == feature.domain for value in domain.value}


def _length(domain: set[str] | None) -> str:
    return _NO_DOMAIN if domain is None else f"{len(domain)} values"


def _listing(values: set[str]) -> str:
    return ", ".join(sorted(values)) or "none"


def _range(feature: schema_pb2.Feature) -> str:
    kind = feature.WhichOneof("domain_info")
    if kind not in ("int_domain", "float_domain"):
        return _NO_RANGE
    domain = getattr(feature, kind)
    low = f"{domain.min:g}" if domain.HasField("min") else "any"
    high = f"{domain.max:g}" if domain.HasField("max") else "any"
    return _NO_RANGE if low == high == "any" else f"{low} to {high}"

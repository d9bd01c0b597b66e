"""CuratedSchema: brings a schema that people review into the pipeline.

TFX's ImportSchemaGen does the same, but its cache key is the file's address alone: an edited schema would be ignored.
Here the digest of the content is a parameter, so an edit is noticed, and a worker that holds another version of the
file than the one the pipeline was compiled with fails.
"""

import hashlib
import sys
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types.standard_artifacts import Schema

from components.annotations import OutputArtifact, Parameter
from errors import FlightdeckError


@component
def CuratedSchema(  # noqa: N802  (a component is used like a class)
    schema_file: Parameter[str],
    digest: Parameter[str],
    ignored: Parameter[list[str]],
    schema: OutputArtifact[Schema],
) -> None:
    """Brings a curated schema, a text-format ``tensorflow.metadata.v0.Schema``, into an artifact.

    It lies on any file system that TFX can read. A relative path, such as ``package/schema.pbtxt``, is looked up where
    packages are, so that it means the same in a checkout, in a project of its own and in an image. `digest` begins the
    SHA-256 of its bytes. The columns that are `ignored` are left out: one file may serve pipelines that read different
    columns of the same data.

    Raises:
        FlightdeckError: the file's content has another digest, or is not a schema.
    """
    with fileio.open(_located(schema_file), "rb") as source:
        content = source.read()
    if not hashlib.sha256(content).hexdigest().startswith(digest):
        raise FlightdeckError(
            f"The schema {schema_file} is not the one this pipeline was defined with (digest {digest})."
        )
    try:
        curated = text_format.Parse(content.decode(), schema_pb2.Schema())
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise FlightdeckError(f"The schema {schema_file} cannot be parsed: {error}") from error
    left_out = set(ignored).intersection(feature.name for feature in curated.feature)
    if left_out:
        kept = [feature for feature in curated.feature if feature.name not in left_out]
        del curated.feature[:]
        curated.feature.extend(kept)
        content = text_format.MessageToString(curated, as_utf8=True).encode()
    with fileio.open(f"{schema.uri}/schema.pbtxt", "wb") as target:
        target.write(content)


def _located(schema_file: str) -> str:
    if "://" in schema_file:
        return schema_file
    places = [Path(folder) / schema_file for folder in (Path(__file__).resolve().parents[1], *sys.path)]
    return str(next((place for place in places if place.is_file()), places[0]))

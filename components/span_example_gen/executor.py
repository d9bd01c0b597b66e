"""The executor: a Beam pipeline over row groups."""

import json
import os
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.annotations import Artifacts
from components.span_example_gen import request
from components.span_example_gen.errors import SpanError, refuse
from components.span_example_gen.request import Request, Resolution, all_null
from components.span_example_gen.shards import TALLY_JSON, Shard, Tally, WriteShard, plan_shards
from components.span_example_gen.storage import fingerprint

_STAGING = ".staging"
_TALLY = "tally.json"
# As TFX reads them from the artifact.
_FILE_FORMATS = {request.PARQUET: "FILE_FORMAT_PARQUET", request.TF_EXAMPLE: "tfrecords_gzip"}


class SpanExecutor(base_beam_executor.BaseBeamExecutor):
    """Writes the splits of a window; refuses one whose files have changed since the driver resolved it."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Ingests the window into the output artifact `examples`.

        Raises:
            SpanError: If rows cannot be read, a column has no value in a span, or the files have changed meanwhile.
            RuntimeError: If the Beam runner did not do all the work it was given.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict[request.EXAMPLES])
        asked = Request.from_properties(exec_properties)
        resolution = asked.resolve()
        _check_unchanged(resolution, exec_properties, asked.where)
        shards = plan_shards(resolution.splits, resolution.summaries, asked.columnar)
        tally = self._write(shards, asked, examples.uri)
        refuse(tally.problems, asked.where)
        _check_complete(shards, tally)
        if asked.refuses_all_null:
            refuse(_all_null_problems(resolution, tally), asked.where)
        _describe(examples, resolution, shards, tally, asked.payload_format)

    def _write(self, shards: Sequence[Shard], asked: Request, output_uri: str) -> Tally:
        staging_uri = os.path.join(output_uri, _STAGING)
        for folder in {os.path.dirname(shard.name) for shard in shards}:
            fileio.makedirs(os.path.join(output_uri, folder))
        fileio.makedirs(staging_uri)
        tally_uri = os.path.join(staging_uri, _TALLY)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Plan" >> beam.Create(shards, reshuffle=False)
                | "Spread" >> beam.Reshuffle()
                | "WriteShard" >> beam.ParDo(WriteShard(asked.columns, output_uri, staging_uri))
                | "Tally" >> beam.CombineGlobally(Tally.merged)
                | "WriteTally" >> beam.Map(_write_tally, tally_uri)
            )
        with fileio.open(tally_uri, "rb") as file:
            tally = TALLY_JSON.validate_json(file.read())
        fileio.rmtree(staging_uri)
        return tally


def _write_tally(tally: Tally, uri: str) -> None:
    with fileio.open(uri, "wb") as file:
        file.write(TALLY_JSON.dump_json(tally))


def _check_unchanged(resolution: Resolution, exec_properties: dict[str, Any], where: str) -> None:
    promised = exec_properties.get(request.INPUT_FINGERPRINT)
    if promised is not None and fingerprint(resolution.files) != promised:
        raise SpanError(f"The files in the {where} changed while they were being ingested; run again.")


def _check_complete(shards: Sequence[Shard], tally: Tally) -> None:
    lost = [shard.name for shard in shards if shard.name not in tally.rows]
    if lost:
        raise RuntimeError(
            f"The Beam runner lost {len(lost)} of {len(shards)} shards, {lost[0]} first; use another runner."
        )


def _all_null_problems(resolution: Resolution, tally: Tally) -> list[str]:
    folders = {file.span: os.path.dirname(file.name) for file in resolution.files}
    return [
        all_null(column, folders[span])
        for span, counts in sorted(tally.values.items())
        for column, count in counts.items()
        if count == 0
    ]


def _describe(
    examples: types.Artifact, resolution: Resolution, shards: Sequence[Shard], tally: Tally, payload: str
) -> None:
    row_counts = dict.fromkeys(resolution.splits, 0)
    for shard in shards:
        row_counts[shard.split] += tally.rows[shard.name]
    assert isinstance(examples, standard_artifacts.Examples)
    examples.splits = list(resolution.splits)
    examples.span = resolution.spans[-1]
    examples.set_string_custom_property(request.ROW_COUNTS, json.dumps(row_counts))
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.Value(payload))
    examples_utils.set_file_format(examples, _FILE_FORMATS[payload])

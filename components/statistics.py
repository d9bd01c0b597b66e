"""StatisticsGen, with an executor that reads shards in columns and large batches."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.generators.basic_stats_generator import BasicStatsGenerator
from tensorflow_data_validation.statistics.generators.top_k_uniques_sketch_stats_generator import (
    TopKUniquesSketchStatsGenerator,
)
from tfx import types
from tfx.components import StatisticsGen
from tfx.components.statistics_gen.executor import DEFAULT_FILE_NAME
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components import examples
from components.annotations import Artifacts

# Up to so many distinct values of a text column, they and their frequencies are counted exactly, as TFX does; beyond,
# they are estimated, and memory stays bounded.
_MOST_COUNTED = 1 << 16


def statistics_gen(rows: types.BaseChannel) -> StatisticsGen:
    """Returns TFX's component, with default options, for examples as SpanExampleGen writes them."""
    node = StatisticsGen(examples=rows)
    node.executor_spec = BeamExecutorSpec(StatisticsExecutor)
    return node


class StatisticsExecutor(base_beam_executor.BaseBeamExecutor):
    """Computes TFDV's statistics of every split, in a Beam pipeline over shards.

    TFX's own executor refuses Parquet with flat columns, and spends most of its time on small batches of tf.Examples
    and on a large graph. The results are the same, except that all texts of more than 1,024 bytes, and all that are
    not UTF-8, count as one value where values are ranked.
    """

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes `Split-*/FeatureStats.pb` for the splits of the input artifact `examples`.

        Raises:
            ExamplesError: If a split has no files, or a row has several values of a column.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        rows: Any = artifact_utils.get_single_instance(input_dict["examples"])
        statistics: Any = artifact_utils.get_single_instance(output_dict["statistics"])
        statistics.split_names = rows.split_names
        statistics.span = rows.span
        scratch = os.path.join(statistics.uri, ".scratch")
        shards = [
            _Shard(
                file,
                os.path.join(statistics.uri, f"Split-{split}", DEFAULT_FILE_NAME),
                index,
                os.path.join(scratch, f"{split}-{index}"),
            )
            for split in artifact_utils.decode_split_names(rows.split_names)
            for index, file in enumerate(examples.split_files(rows, split))
        ]
        fileio.makedirs(scratch)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Plan" >> beam.Create(shards, reshuffle=False)
                | "Spread" >> beam.Reshuffle()
                | "Summarise" >> beam.Map(_summarise)
                | "Gather" >> beam.GroupByKey()
                | "Write" >> beam.MapTuple(_write)
            )
        fileio.rmtree(scratch)


class _Shard(NamedTuple):
    file: str
    output: str
    index: int
    summary: str


def _generators() -> list[Any]:
    options = tfdv.StatsOptions()
    return [
        BasicStatsGenerator(
            num_values_histogram_buckets=options.num_values_histogram_buckets,
            num_histogram_buckets=options.num_histogram_buckets,
            num_quantiles_histogram_buckets=options.num_quantiles_histogram_buckets,
            epsilon=options.epsilon,
        ),
        TopKUniquesSketchStatsGenerator(
            num_top_values=options.num_top_values,
            num_rank_histogram_buckets=options.num_rank_histogram_buckets,
            num_misragries_buckets=_MOST_COUNTED,
            num_kmv_buckets=_MOST_COUNTED,
        ),
    ]


def _summarise(shard: _Shard) -> tuple[str, _Shard]:
    """Writes what the shard contributes, an accumulator per generator; returns where the statistics go, and the shard.

    Into a file, because Beam would hold those of all shards, which are megabytes each, in memory.
    """
    generators = _generators()
    accumulators = [generator.create_accumulator() for generator in generators]
    for batch in examples.read([shard.file]):
        lists = pa.record_batch([_lists(column) for column in batch.columns], names=batch.schema.names)
        accumulators = [
            generator.add_input(accumulator, lists)
            for generator, accumulator in zip(generators, accumulators, strict=True)
        ]
    with fileio.open(shard.summary, "wb") as file:
        pickle.dump([generator.compact(part) for generator, part in zip(generators, accumulators, strict=True)], file)
    return shard.output, shard


def _lists(column: pa.Array) -> pa.Array:
    # As TFDV reads tf.Examples, where a column without values has no type.
    return pa.nulls(len(column)) if column.null_count == len(column) else examples.as_lists(column)


def _summary(name: str) -> list[Any]:
    with fileio.open(name, "rb") as file:
        return pickle.load(file)


def _write(output: str, shards: Iterable[_Shard]) -> None:
    generators = _generators()
    # In the order of the shards, because sums of floats depend on it, and runners have none.
    ordered = [shard.summary for shard in sorted(shards, key=lambda shard: shard.index)]
    merged = _summary(ordered[0])
    for name in ordered[1:]:
        merged = [
            generator.merge_accumulators(pair)
            for generator, *pair in zip(generators, merged, _summary(name), strict=True)
        ]
    statistics = stats_impl.extract_statistics_output(merged, generators)
    fileio.makedirs(os.path.dirname(output))
    with fileio.open(output, "wb") as file:
        file.write(statistics.SerializeToString(deterministic=True))

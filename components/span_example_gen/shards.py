"""Shards: one row group in, one file of examples out, with the same name and bytes every time."""

import contextlib
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import apache_beam as beam
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import tensorflow as tf
from pydantic import TypeAdapter
from tfx.dsl.io import fileio

from components import examples
from components.span_example_gen.columns import csv_types, ingested, ingested_schema
from components.span_example_gen.inspection import FileSummary, inspect, unreadable
from components.span_example_gen.storage import SpanFile, create_file, open_file

# Bounds memory: rows are about 1 KB when encoded, whatever the size of a row group.
_BATCH_ROWS = 1 << 14
_CSV_BLOCK_BYTES = 1 << 24
# Level 1 is three times faster than the default 6 and its files a third larger; they are read as fast.
_GZIP = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)


@dataclass(frozen=True)
class Shard:
    """The unit of work, and of retry: a Parquet row group, or a whole CSV file (`row_group` is None).

    It is number `index` of `count` within its split, in the order of spans, files and row groups. It is written as
    Parquet if `columnar`, else as a TFRecord file of tf.Examples.
    """

    split: str
    index: int
    count: int
    file: SpanFile
    row_group: int | None
    columnar: bool

    @property
    def name(self) -> str:
        """The path of the output file below the artifact."""
        stem, suffix = ("data", examples.PARQUET) if self.columnar else ("data_tfrecord", ".gz")
        return f"Split-{self.split}/{stem}-{self.index:05d}-of-{self.count:05d}{suffix}"


@dataclass(frozen=True)
class Tally:
    """What some shards came to.

    Attributes:
        rows: Rows by name of shard.
        values: Non-missing values by span and column.
        problems: One sentence per shard that could not be read.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @classmethod
    def merged(cls, tallies: "Iterable[Tally]") -> "Tally":
        """Adds tallies up, in any order and grouping."""
        rows: dict[str, int] = {}
        values: dict[int, Counter[str]] = {}
        problems: list[str] = []
        for tally in tallies:
            rows.update(tally.rows)
            for span, counts in tally.values.items():
                values.setdefault(span, Counter()).update(counts)
            problems += tally.problems
        return cls(rows=rows, values=values, problems=tuple(sorted(problems)))


# How a tally leaves the Beam workers.
TALLY_JSON = TypeAdapter(Tally)


def plan_shards(splits: Mapping[str, list[int]], summaries: Iterable[FileSummary], columnar: bool) -> list[Shard]:
    """Numbers the row groups of every split, so that output names depend on the input alone."""
    summaries = list(summaries)
    shards = []
    for split, spans in splits.items():
        units = [unit for summary in summaries if summary.file.span in spans for unit in _units(summary)]
        shards += [
            Shard(split, index, len(units), file, row_group, columnar) for index, (file, row_group) in enumerate(units)
        ]
    return shards


class WriteShard(beam.DoFn):
    """Writes one shard and yields its tally.

    The file appears under its final name only when it is complete, and a retried bundle replaces it by the
    same bytes, so a row is never there twice. What a user can repair is yielded as a problem rather than
    raised, because runners retry and wrap what is raised.
    """

    def __init__(self, columns: Mapping[str, str], output_uri: str, staging_uri: str) -> None:
        super().__init__()
        # Plain values only, since the function travels to other processes.
        self._columns = dict(columns)
        self._output_uri = output_uri
        self._staging_uri = staging_uri

    def process(self, element: Shard) -> Iterator[Tally]:
        """Reads and writes a shard."""
        staged = os.path.join(self._staging_uri, uuid.uuid4().hex)
        try:
            rows, values = self._write(element, staged)
        except (pa.ArrowException, OSError) as error:
            if fileio.exists(staged):
                fileio.remove(staged)
            yield Tally(problems=(_shard_problem(element, error),))
            return
        fileio.rename(staged, os.path.join(self._output_uri, element.name), overwrite=True)
        yield Tally(rows={element.name: rows}, values={element.file.span: values})

    def _write(self, shard: Shard, path: str) -> tuple[int, dict[str, int]]:
        rows, values = 0, Counter(dict.fromkeys(self._columns, 0))
        with _parquet_writer(path, self._columns) if shard.columnar else _record_writer(path) as write:
            for batch in read_batches(shard, self._columns):
                batch = ingested(batch, self._columns)
                rows += batch.num_rows
                values.update({name: batch.num_rows - batch[name].null_count for name in self._columns})
                write(batch)
        return rows, dict(values)


@contextlib.contextmanager
def _parquet_writer(path: str, columns: Mapping[str, str]) -> Iterator[Callable[[pa.RecordBatch], None]]:
    with (
        create_file(path) as stream,
        pq.ParquetWriter(stream, ingested_schema(columns), compression="snappy") as writer,
    ):
        yield writer.write_batch


@contextlib.contextmanager
def _record_writer(path: str) -> Iterator[Callable[[pa.RecordBatch], None]]:
    with tf.io.TFRecordWriter(path, _GZIP) as writer:

        def write(batch: pa.RecordBatch) -> None:
            for example in examples.encode(batch):
                writer.write(example)

        yield write


def read_batches(shard: Shard, columns: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """Reads the declared columns of one shard, a bounded number of rows at a time.

    Raises:
        pa.ArrowException: If the file is corrupt or a CSV value does not parse as its declared type.
        OSError: If the file cannot be read.
    """
    with open_file(shard.file) as stream:
        if shard.row_group is None:
            yield from _open_csv(stream, columns)
        else:
            parquet = pq.ParquetFile(stream)
            yield from parquet.iter_batches(
                batch_size=_BATCH_ROWS, row_groups=[shard.row_group], columns=list(columns), use_threads=False
            )


def _open_csv(stream: object, columns: Mapping[str, str]) -> pa_csv.CSVStreamingReader:
    return pa_csv.open_csv(
        stream,
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES),
        convert_options=pa_csv.ConvertOptions(
            column_types=csv_types(columns),
            include_columns=list(columns),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _units(summary: FileSummary) -> list[tuple[SpanFile, int | None]]:
    if summary.file.is_parquet:
        return [(summary.file, index) for index, rows in enumerate(summary.row_groups) if rows]
    return [(summary.file, None) for _ in summary.row_groups]


def _shard_problem(shard: Shard, error: Exception) -> str:
    # Only a CSV complaint counts columns by number, and only then is the header worth reading again.
    names = () if shard.file.is_parquet else tuple(inspect(shard.file).types)
    return unreadable(shard.file, error, names)

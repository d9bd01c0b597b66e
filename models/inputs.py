"""Training input: rows of Parquet or TFRecord files go through the transform graph once; epochs come from memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from errors import FlightdeckError
from models.preprocessing import MISSING

FeatureSpec = tf.io.FixedLenFeature | tf.io.VarLenFeature

COLUMNAR = ".parquet"
_READ_ROWS = 32768
_READ_BYTES = 1 << 20


class InputError(FlightdeckError):
    """Examples that cannot be trained on."""


@dataclass(frozen=True)
class Rows:
    """Transformed rows in memory, in the order of the files: for spans, the order of time.

    Attributes:
        features: The transformed features by name, each [rows, width].
        labels: float32 [rows, 1].
    """

    features: dict[str, tf.Tensor]
    labels: tf.Tensor

    def __len__(self) -> int:
        """Counts the rows."""
        return int(tf.size(self.labels).numpy())

    def split(self, newest: float) -> tuple[Rows, Rows]:
        """Returns the older rows and the given fraction of newest rows, at least one each, or raises an InputError."""
        if len(self) < 2:
            raise InputError(f"{len(self)} rows cannot be split into older and newest ones; ingest more")
        cut = min(max(round(len(self) * (1 - newest)), 1), len(self) - 1)
        return self._between(0, cut), self._between(cut, len(self))

    def batches(self, batch_size: int, shuffle_seed: int | None = None) -> tf.data.Dataset:
        """Returns batches ``(features, labels)``, the last one possibly smaller.

        A seed gives each epoch an order of its own, the same ones each time; without, rows keep their order.
        """
        count = len(self)
        orders = tf.data.Dataset.from_tensors(tf.range(count))
        if shuffle_seed is not None:
            # A permutation per epoch: a shuffle buffer would take the positions one by one.
            seeds = tf.data.Dataset.random(shuffle_seed, rerandomize_each_iteration=True).batch(2).take(1)
            orders = seeds.map(lambda seed: tf.random.experimental.stateless_shuffle(tf.range(count), seed))
        starts = tf.data.Dataset.range(0, count, batch_size)
        batches = orders.flat_map(lambda order: starts.map(lambda start: order[start : start + batch_size]))
        batches = batches.map(self._at, num_parallel_calls=2, deterministic=True)
        steps = tf.data.experimental.assert_cardinality(-(-count // batch_size))
        return batches.apply(steps).prefetch(tf.data.AUTOTUNE)

    def _at(self, positions: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        features = {name: tf.gather(values, positions) for name, values in self.features.items()}
        return features, tf.gather(self.labels, positions)

    def _between(self, start: int, stop: int) -> Rows:
        return Rows({name: values[start:stop] for name, values in self.features.items()}, self.labels[start:stop])


class TransformGraph:
    """The saved transform graph, loaded and traced once for all that applies it.

    Attributes:
        columns: How to parse the raw columns that the model reads.
        apply: From raw columns, as `tf.io.parse_example` returns them, to the transformed features, both by name.
        resources: What a SavedModel must track to be saved with the graph: its tables and their vocabularies.
    """

    def __init__(self, transform: tft.TFTransformOutput, inputs: Sequence[str]) -> None:
        """Raises an InputError if an input is not in the schema that Transform saw."""
        self.columns = raw_columns(transform, inputs)
        self.transform = transform
        # What tf.Transform's Keras layer does, without autograph and without Keras 2, which take seconds.
        loader = SavedModelLoader(transform.transform_savedmodel_dir)
        self.resources = loader.__dict__
        self.signature = {name: _tensor_spec(spec) for name, spec in self.columns.items()}
        self.apply = tf.function(
            loader.apply_transform_model, input_signature=[self.signature], autograph=False
        ).get_concrete_function()


def read(patterns: Sequence[str], graph: TransformGraph, label: str) -> Rows:
    """Reads and transforms labelled examples into memory (40 numbers and 6 categories: 300 bytes a row).

    Args:
        patterns: Patterns of Parquet or TFRecord files, on any filesystem TensorFlow knows.
        graph: The transform graph; no columns but its own and the label are read.
        label: The label column, 0 or 1.

    Raises:
        InputError: If no file matches, there is no row, a row has no label, the label is not in the schema, or a row
            of a Parquet file lacks a required column.
        tf.errors.InvalidArgumentError: If a tf.Example lacks a required column.
    """
    files = matching(patterns)
    if not files:
        raise InputError(f"no file matches {', '.join(patterns)}; has the ingestion written this split?")
    # Optional, whatever the schema says: rows without a label are counted.
    optional = tf.io.VarLenFeature(raw_columns(graph.transform, [label])[label].dtype)
    features, labels = [], []
    # On the host: tf.data cannot gather from the memory of a GPU.
    with tf.device("/CPU:0"):
        for raw in raw_batches(files, graph.columns | {label: optional}, _READ_ROWS):
            labels.append(_known_labels(raw.pop(label)))
            features.append(graph.apply(raw))
        if not features:
            raise InputError(f"the files of {', '.join(patterns)} hold no example; ingest at least one row")
        rows = Rows(
            {name: tf.concat([batch[name] for batch in features], axis=0) for name in features[0]},
            tf.concat(labels, axis=0),
        )
    unlabelled = int(tf.shape(next(iter(rows.features.values())))[0]) - len(rows)
    if unlabelled:
        raise InputError(f"{unlabelled} rows of {', '.join(patterns)} have no '{label}'; train on labelled rows only")
    return rows


def matching(patterns: Sequence[str]) -> list[str]:
    """Returns the files that match any of the patterns, by name."""
    return sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))


def records(files: Sequence[str]) -> tf.data.Dataset:
    """Returns the serialised examples of TFRecord files."""
    compression = "GZIP" if files and files[0].endswith(".gz") else ""
    names = tf.constant(files, tf.string)
    return tf.data.TFRecordDataset(names, compression_type=compression, buffer_size=_READ_BYTES)


def raw_columns(transform: tft.TFTransformOutput, names: Sequence[str]) -> dict:
    """Returns how to parse some raw columns; raises an InputError if one is not in the schema that Transform saw."""
    known = transform.raw_feature_spec()
    absent = [name for name in names if name not in known]
    if absent:
        raise InputError(f"column '{absent[0]}' is not in the schema of the examples; ingest it or remove it")
    return {name: known[name] for name in names}


def raw_batches(files: Sequence[str], columns: Mapping[str, FeatureSpec], batch_rows: int) -> Iterator[dict[str, Any]]:
    """Yields raw columns by name, as `tf.io.parse_example` returns them, in the order of the rows.

    Args:
        files: All Parquet, by their names, or all TFRecord.
        columns: The columns to read, from `raw_columns`.
        batch_rows: Rows per batch; only the last batch may be smaller.

    Raises:
        InputError: If a row of a Parquet file lacks a required column.
        tf.errors.InvalidArgumentError: If a tf.Example lacks a required column.
    """
    if not files[0].endswith(COLUMNAR):
        parsed = records(files).batch(batch_rows).map(lambda examples: tf.io.parse_example(examples, dict(columns)))
        yield from parsed.prefetch(1)
        return
    for table in _tables(files, columns, batch_rows):
        yield {name: as_parsed(_dense(table, name, spec), spec) for name, spec in columns.items()}


def serialised(file: str, columns: Collection[str], rows: int) -> list[bytes]:
    """Returns some columns of the first rows of a file as tf.Examples; all columns if it is a TFRecord file."""
    if not file.endswith(COLUMNAR):
        return [example.numpy() for example in records([file]).take(rows)]
    batch = next(_parquet(file).iter_batches(rows, columns=list(columns)), None)
    if batch is None:
        return []
    lists = [_lists(column) for column in batch.columns]
    return RecordBatchToExamplesEncoder().encode(pa.record_batch(lists, batch.schema.names))


def as_parsed(column: tf.Tensor, spec: FeatureSpec) -> tf.Tensor | tf.SparseTensor:
    """Returns a dense column [rows, 1] as `tf.io.parse_example` would, but with missing values as values."""
    if isinstance(spec, tf.io.FixedLenFeature):
        return tf.reshape(column, [-1, *tf.TensorShape(spec.shape).as_list()])
    # Preprocessing knows missing values, so a sparse column need not be thinned out.
    rows = tf.shape(column, out_type=tf.int64)[0]
    indices = tf.stack([tf.range(rows), tf.zeros([rows], tf.int64)], axis=1)
    return tf.SparseTensor(indices, tf.reshape(column, [-1]), tf.stack([rows, tf.constant(1, tf.int64)]))


def _parquet(file: str) -> pq.ParquetFile:
    with tf.io.gfile.GFile(file, "rb") as stream:
        return pq.ParquetFile(pa.BufferReader(stream.read()))


def _tables(files: Sequence[str], columns: Collection[str], rows: int) -> Iterator[pa.Table]:
    """Yields tables of some rows, whatever file they are from: the last bits of a sine depend on where a batch ends."""
    rest: list[pa.Table] = []
    for file in files:
        rest.append(_parquet(file).read(list(columns)))
        table = pa.concat_tables(rest, promote_options="default")
        whole = len(table) - len(table) % rows
        yield from (table.slice(start, rows) for start in range(0, whole, rows))
        rest = [table.slice(whole)]
    if len(rest[0]):
        yield rest[0]


def _dense(table: pa.Table, name: str, spec: FeatureSpec) -> tf.Tensor:
    """Returns a column as [rows, 1], missing values as `MISSING` has them."""
    kind = pa.binary() if spec.dtype == tf.string else pa.from_numpy_dtype(spec.dtype.as_numpy_dtype)
    known = name in table.column_names
    column = table[name].combine_chunks() if known else pa.nulls(len(table), kind)
    if column.null_count and isinstance(spec, tf.io.FixedLenFeature):
        raise InputError(f"{column.null_count} rows have no '{name}', which the schema requires")
    if spec.dtype != tf.string:
        values = pc.fill_null(column.cast(kind), MISSING[spec.dtype])  # pyright: ignore[reportArgumentType]
        return tf.constant(values.to_numpy(zero_copy_only=False)[:, np.newaxis])
    # A string of TensorFlow costs a hundred times what a number does, so one is made per distinct text only.
    coded = column.dictionary_encode()
    texts = tf.constant([*coded.dictionary.to_pylist(), MISSING[tf.string]], tf.string)
    positions = pc.fill_null(coded.indices, len(coded.dictionary)).to_numpy(zero_copy_only=False)
    return tf.gather(texts, positions[:, np.newaxis])


def _known_labels(labels: Any) -> tf.Tensor:
    known = labels.values[tf.logical_and(labels.values == labels.values, labels.values != MISSING[labels.dtype])]
    return tf.cast(tf.reshape(known, [-1, 1]), tf.float32)


def _tensor_spec(spec: FeatureSpec) -> tf.TensorSpec | tf.SparseTensorSpec:
    if isinstance(spec, tf.io.FixedLenFeature):
        return tf.TensorSpec([None, *tf.TensorShape(spec.shape).as_list()], spec.dtype)
    return tf.SparseTensorSpec([None, None], spec.dtype)


def _lists(column: pa.Array) -> pa.LargeListArray:
    """Returns a list per row, empty where the value is missing."""
    values = column.cast(pa.large_binary()) if pa.types.is_binary(column.type) else column
    ends = np.cumsum(values.is_valid().to_numpy(zero_copy_only=False))
    return pa.LargeListArray.from_arrays(np.concatenate([[0], ends]), values.drop_null())

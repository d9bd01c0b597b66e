"""Training input: raw examples go through the saved transform graph once; epochs are then fed from memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf
import tensorflow_transform as tft

from errors import FlightdeckError

_READ_ROWS = 4096
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
        positions = tf.data.Dataset.range(len(self))
        if shuffle_seed is not None:
            # Positions are shuffled rather than rows: all of them fit a buffer, and a batch is then one gather.
            positions = positions.shuffle(len(self), seed=shuffle_seed, reshuffle_each_iteration=True)
        batches = positions.batch(batch_size)
        return batches.map(self._at, num_parallel_calls=2, deterministic=True).prefetch(tf.data.AUTOTUNE)

    def _at(self, positions: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        features = {name: tf.gather(values, positions) for name, values in self.features.items()}
        return features, tf.gather(self.labels, positions)

    def _between(self, start: int, stop: int) -> Rows:
        return Rows({name: values[start:stop] for name, values in self.features.items()}, self.labels[start:stop])


def read(patterns: Sequence[str], transform: tft.TFTransformOutput, inputs: Sequence[str], label: str) -> Rows:
    """Reads, parses and transforms labelled examples into memory (40 numbers and 6 categories: 300 bytes a row).

    Args:
        patterns: Patterns of TFRecord files, on any filesystem TensorFlow knows; ``.gz`` is decompressed.
        transform: The output of Transform; its metadata say how to parse.
        inputs: The raw columns the model reads; no others are parsed.
        label: The label column, 0 or 1.

    Raises:
        InputError: If no file matches, there is no row, a row has no label, or a column is not in the schema.
        tf.errors.InvalidArgumentError: If an example lacks a required column.
    """
    files = matching(patterns)
    if not files:
        raise InputError(f"no file matches {', '.join(patterns)}; has the ingestion written this split?")
    batches = list(_transformed(files, transform, inputs, label))
    if not batches:
        raise InputError(f"the files of {', '.join(patterns)} hold no example; ingest at least one row")
    # On the host: tf.data cannot gather from the memory of a GPU.
    with tf.device("/CPU:0"):
        names = batches[0][0]
        features = {name: tf.concat([batch[name] for batch, _ in batches], axis=0) for name in names}
        labels = tf.concat([labels for _, labels in batches], axis=0)
    unlabelled = int(tf.shape(next(iter(features.values())))[0] - tf.size(labels))
    if unlabelled:
        raise InputError(f"{unlabelled} rows of {', '.join(patterns)} have no '{label}'; train on labelled rows only")
    return Rows(features, labels)


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


def _transformed(
    files: Sequence[str], transform: tft.TFTransformOutput, inputs: Sequence[str], label: str
) -> tf.data.Dataset:
    columns = raw_columns(transform, [*inputs, label])
    apply = transform.transform_features_layer()

    def parse(serialised: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        raw = tf.io.parse_example(serialised, columns)
        labels = raw.pop(label)
        labels = labels.values if isinstance(labels, tf.SparseTensor) else labels
        return apply(raw), tf.cast(tf.reshape(labels, [-1, 1]), tf.float32)  # pyright: ignore[reportArgumentType]

    return (
        records(files).batch(_READ_ROWS).map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)
    )

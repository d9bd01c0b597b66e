"""What a split's columns look like: TFDV's statistics in plain values, or the same counted from Parquet.

Reads the protocol buffers with tensorflow_metadata, without TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

import storage

_TOP_VALUES = 12
_BINS = 10  # as TFDV


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a split.

    Attributes:
        kind: whether it holds numbers or categories.
        rows: of the split.
        present: rows that have a value.
        bins: (low, high, count) of a histogram of equal widths, of numbers.
        distinct: different values, of categories.
        frequencies: value -> count, most frequent first, of categories; all that are known.
    """

    kind: Literal["number", "category"]
    rows: int
    present: int
    mean: float | None = None
    deviation: float | None = None
    minimum: float | None = None
    median: float | None = None
    maximum: float | None = None
    bins: tuple[tuple[float, float, float], ...] = ()
    distinct: int | None = None
    frequencies: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def missing(self) -> float:
        """The share of rows without a value, from 0 to 1."""
        return 1 - self.present / self.rows if self.rows else 0.0

    @property
    def top(self) -> list[tuple[str, float]]:
        """The most frequent values and their shares of the values."""
        total = max(self.present, 1)
        return [(value, count / total) for value, count in list(self.frequencies.items())[:_TOP_VALUES]]


@dataclasses.dataclass(frozen=True)
class Statistics:
    """The columns of a split, and how many rows it has."""

    rows: int
    columns: Mapping[str, Column]


def read(file: Path) -> Statistics:
    """Reads a split's ``FeatureStats.pb``, as StatisticsGen writes it.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no statistics.
    """
    try:
        datasets = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes()).datasets
    except DecodeError as error:
        raise ValueError(f"{file.name} is damaged") from error
    if not datasets:
        raise ValueError(f"{file.name} holds no statistics")
    rows = int(datasets[0].num_examples)
    features = datasets[0].features
    return Statistics(
        rows, {".".join(feature.path.step) or feature.name: _column(feature, rows) for feature in features}
    )


def _column(feature: Any, rows: int) -> Column:
    if feature.WhichOneof("stats") == "num_stats":
        numbers = feature.num_stats
        present = int(numbers.common_stats.num_non_missing)
        if not present:
            return Column("number", rows, 0)
        standard = statistics_pb2.Histogram.STANDARD  # buckets of equal width
        histogram = next((histogram for histogram in numbers.histograms if histogram.type == standard), None)
        return Column(
            "number", rows, present, numbers.mean, numbers.std_dev, numbers.min, numbers.median, numbers.max,
            bins=tuple(
                (bucket.low_value, bucket.high_value, bucket.sample_count)
                for bucket in (histogram.buckets if histogram else ())
            ),
        )  # fmt: skip
    texts = feature.string_stats
    ranked = {bucket.label: bucket.sample_count for bucket in texts.rank_histogram.buckets}
    return Column(
        "category",
        rows,
        int(texts.common_stats.num_non_missing),
        distinct=int(texts.unique),
        frequencies=ranked or {value.value: value.frequency for value in texts.top_values},
    )


def served(log: Sequence[Path], version: str, like: Statistics) -> Statistics | None:
    """Counts the same of the rows that a version was asked and did not refuse, from Parquet files of a server's log.

    `like` says which columns, and which of them hold numbers.

    Returns:
        None if there is no such row, or no such column.
    """
    tables = []
    paths, system = storage.for_arrow(log)
    for path in paths:
        names = set(pq.read_schema(path, filesystem=system).names)
        if "model_version" not in names:
            continue
        wanted = [name for name in (*like.columns, "model_version", "request_refused") if name in names]
        table = pq.read_table(path, columns=wanted, filesystem=system)
        table = table.filter(pc.equal(table.column("model_version").cast(pa.string()), version))
        if "request_refused" in names:
            table = table.filter(pc.invert(pc.coalesce(table.column("request_refused"), False)))
        tables.append(table.select([name for name in wanted if name in like.columns]))
    tables = [table for table in tables if table.num_columns]
    table = pa.concat_tables(tables, promote_options="permissive") if tables else None
    if table is None or not table.num_rows:
        return None
    return Statistics(
        table.num_rows, {name: _counted(table.column(name), like.columns[name]) for name in table.column_names}
    )


def _counted(values: Any, like: Column) -> Column:
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        values = pc.list_element(pc.if_else(pc.greater(pc.list_value_length(values), 0), values, None), 0)
    rows = len(values)
    if like.kind == "category":
        pairs = pc.value_counts(values.cast(pa.string()).drop_null()).to_pylist()
        counts = Counter({pair["values"]: pair["counts"] for pair in pairs})
        return Column("category", rows, counts.total(), distinct=len(counts), frequencies=dict(counts.most_common()))
    numbers = values.cast(pa.float64()).drop_null().to_numpy()
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return Column("number", rows, 0)
    counts, edges = np.histogram(numbers, bins=_BINS)
    return Column(
        "number", rows, len(numbers), float(numbers.mean()), float(numbers.std()), float(numbers.min()),
        float(np.median(numbers)), float(numbers.max()),
        bins=tuple(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)),
    )  # fmt: skip


def shift(reference: Column, other: Column) -> float:
    """How far a column has moved; infinite where a constant has become another.

    Of categories, the largest change of one's share, the L-infinity distance of TFDV's comparators; of numbers, the
    change of the mean in standard deviations of the reference (Cohen 1988).
    """
    if reference.kind == "category":
        before, after = dict(reference.frequencies), dict(other.frequencies)
        shares = (
            abs(before.get(value, 0) / max(reference.present, 1) - after.get(value, 0) / max(other.present, 1))
            for value in before.keys() | after.keys()
        )
        return max(shares, default=0.0)
    if reference.mean is None or other.mean is None or reference.deviation is None:
        return 0.0
    difference = abs(reference.mean - other.mean)
    if difference == 0:
        return 0.0
    return difference / reference.deviation if reference.deviation else math.inf

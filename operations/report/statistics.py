"""What a split's columns look like: TFDV's statistics in plain values, or the same counted from Parquet.

Reads the protocol buffers with tensorflow_metadata, without TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

_STANDARD = 0  # tensorflow.metadata.v0.Histogram.STANDARD: buckets of equal width
_TOP_VALUES = 12
_BINS = 10  # as TFDV


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a split.

    Attributes:
        kind: whether it holds numbers or categories.
        rows: of the split.
        present: rows that have a value.
        zeros: values that are zero.
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
    zeros: int = 0
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
    from google.protobuf.message import DecodeError
    from tensorflow_metadata.proto.v0 import statistics_pb2

    try:
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{file.name} is damaged") from error
    if not found.datasets:
        raise ValueError(f"{file.name} holds no statistics")
    dataset = found.datasets[0]
    columns = {
        ".".join(each.path.step) or each.name: _column(each, int(dataset.num_examples)) for each in dataset.features
    }
    return Statistics(int(dataset.num_examples), columns)


def _column(feature: Any, rows: int) -> Column:
    if feature.WhichOneof("stats") == "num_stats":
        numbers = feature.num_stats
        standard = next((each for each in numbers.histograms if each.type == _STANDARD), None)
        present = int(numbers.common_stats.num_non_missing)
        known = (numbers.mean, numbers.std_dev, numbers.min, numbers.median, numbers.max) if present else (None,) * 5
        mean, deviation, minimum, median, maximum = known
        return Column(
            "number", rows, present, mean, deviation, minimum, median, maximum, int(numbers.num_zeros),
            bins=tuple((each.low_value, each.high_value, each.sample_count) for each in standard.buckets)
            if standard is not None and present
            else (),
        )  # fmt: skip
    texts = feature.string_stats
    ranked = {each.label: each.sample_count for each in texts.rank_histogram.buckets}
    return Column(
        "category",
        rows,
        int(texts.common_stats.num_non_missing),
        distinct=int(texts.unique),
        frequencies=ranked or {each.value: each.frequency for each in texts.top_values},
    )


def count(
    files: Sequence[Path], like: Statistics, only: Mapping[str, str] | None = None, without: Sequence[str] = ()
) -> Statistics | None:
    """Counts the same from Parquet files, of the columns that they share with other statistics.

    Args:
        files: such as a log of what a server was asked.
        like: says which columns, and the edges of their histograms.
        only: count rows in which these columns have these values, as text.
        without: leave out rows in which one of these columns is true; a file need not have them.

    Returns:
        None if there is no such row, or no such column.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    only = only or {}
    tables = []
    for file in files:
        names = set(pq.read_schema(file).names)
        if not set(only) <= names:
            continue
        table = pq.read_table(file, columns=[name for name in (*like.columns, *only, *without) if name in names])
        for name, value in only.items():
            table = table.filter(pc.equal(table.column(name).cast(pa.string()), value))
        for name in names.intersection(without):
            table = table.filter(pc.invert(pc.coalesce(table.column(name), False)))
        tables.append(table.select([name for name in table.column_names if name in like.columns]))
    tables = [table for table in tables if table.num_columns]
    table = pa.concat_tables(tables, promote_options="permissive") if tables else None
    if table is None or not table.num_rows:
        return None
    return Statistics(
        table.num_rows, {name: _counted(table.column(name), like.columns[name]) for name in table.column_names}
    )


def _counted(values: Any, like: Column) -> Column:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        values = pc.list_element(pc.if_else(pc.greater(pc.list_value_length(values), 0), values, None), 0)
    rows = len(values)
    if like.kind == "category":
        found = pc.value_counts(values.cast(pa.string()).drop_null())
        pairs = sorted(((each["values"], each["counts"]) for each in found.to_pylist()), key=lambda pair: -pair[1])
        return Column("category", rows, rows - values.null_count, distinct=len(pairs), frequencies=dict(pairs))
    numbers = values.cast(pa.float64()).drop_null().to_numpy()
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return Column("number", rows, 0)
    counts, edges = np.histogram(numbers, bins=_BINS)
    return Column(
        "number", rows, len(numbers), float(numbers.mean()), float(numbers.std()), float(numbers.min()),
        float(np.median(numbers)), float(numbers.max()), int((numbers == 0).sum()),
        bins=tuple(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)),
    )  # fmt: skip


def shift(reference: Column, other: Column) -> float:
    """How far a column has moved: of categories the largest change of one's share, of numbers that of the mean in
    standard deviations of the reference.

    The first is the L-infinity distance that TFDV's skew and drift comparators use; the second is the standardised
    difference of Cohen (1988). Both are 0 for no change, and infinite where a constant has become another.
    """  # noqa: D205
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


def names(splits: Iterable[Statistics]) -> list[str]:
    """All columns of some splits, in the order of the first that has them."""
    return list(dict.fromkeys(name for each in splits for name in each.columns))

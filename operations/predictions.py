"""Turns the output of batch inference into a table that people and programs read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def write_parquet(examples: Path, columns: Sequence[str], destination: Path) -> int:
    """Writes chosen columns of predicted examples as one Parquet file, whole or not at all.

    Args:
        examples: folder of gzipped TFRecord files of serialised tf.Example, below it one folder per split.
        columns: the columns to keep, in this order; each must have at most one value per example.
        destination: the file to write.

    Returns:
        The number of rows.

    Raises:
        OSError: the destination cannot be written to.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import tensorflow as tf
    from tfx_bsl.coders import example_coder

    decoder = example_coder.ExamplesToRecordBatchDecoder()
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}.partial")
    rows, writer = 0, None
    try:
        for file in sorted(examples.glob("Split-*/*")):
            records = tf.data.TFRecordDataset(str(file), compression_type="GZIP").batch(8192)
            for batch in records.as_numpy_iterator():
                decoded = decoder.DecodeBatch(batch.tolist())
                table = pa.table({name: _flat(decoded, name) for name in columns})
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                rows += table.num_rows
        if writer is None:
            raise FileNotFoundError(f"There are no predicted examples in {examples}.")
        writer.close()
        os.replace(temporary, destination)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _flat(batch: object, name: str) -> object:
    """A column of lists with at most one value, as a column of values; text instead of bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = batch.column(name)  # pyright: ignore[reportAttributeAccessIssue]
    values = pc.list_element(pc.if_else(pc.equal(pc.list_value_length(lists), 0), None, lists), 0)
    return (
        values.cast(pa.string()) if pa.types.is_large_binary(values.type) or pa.types.is_binary(values.type) else values
    )

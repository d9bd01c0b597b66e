"""Measures the Trainer's input pipeline alone, in rows per second, beside tf.data that parses tf.Examples row by row.

The first pass reads Parquet and applies the transform graph; the later epochs shuffle and batch what is then in memory,
as `models.training.fit` consumes it. Row by row is `tf.io.parse_single_example` in `tf.data.Dataset.map`, then batches:
only parsing, without the transform graph and without a shuffle, so the comparison is to its advantage.

    python -m benchmarks.input_pipeline --spans workspace/spans --write

With `--write` the figures go into ``docs/input_pipeline.json``, with the machine, and into the page of performance.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import pipeline, quality
from data import prepare, spans
from data.contract import Contract
from models.flights import FlightFeatures
from models.settings import ModelSettings

PARSED_ROWS = 50_000
NAMES = {
    "first_pass": "first pass: Parquet, transform graph",
    "later_epochs": "later epochs: shuffle, batch",
    "row_by_row": "tf.Example, row by row: parse, batch",
}


def measure(folder: Path, first: int, newest: int, repeat: int) -> dict[str, Any]:
    """Returns rows per second of each way, one figure per repetition, and what they were measured on."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import tensorflow as tf
    import tensorflow_transform as tft

    from models import inputs

    contract, features, settings = Contract.load(quality.CONTRACT), FlightFeatures(), ModelSettings()
    columns = contract.ingested()
    types = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.binary()}
    schema = pa.schema({name: types[kind] for name, kind in columns.items()})
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        (here / "parquet").mkdir()
        tables = [spans.read(folder, span) for span in range(first, newest + 1)]
        for number, table in enumerate(tables):
            pq.write_table(table.select(schema.names).cast(schema), here / "parquet" / f"data-{number:05}.parquet")
        quality.write_examples(tables, columns, here / "tfrecord")
        quality.analyse(str(here / "tfrecord" / "*"), quality.SCHEMA, features, here / "transform")
        graph = inputs.TransformGraph(tft.TFTransformOutput(str(here / "transform")), features.inputs)

        def read() -> inputs.Rows:
            return inputs.read([str(here / "parquet" / "*")], graph, contract.label)

        rows = read()
        batches = rows.batches(settings.batch_size, shuffle_seed=settings.seed)
        wanted = inputs.raw_columns(graph.transform, [*features.inputs, contract.label])
        records = inputs.records(inputs.matching([str(here / "tfrecord" / "*")])).take(PARSED_ROWS)
        parsed = records.map(
            lambda example: tf.io.parse_single_example(example, wanted), num_parallel_calls=tf.data.AUTOTUNE
        ).batch(settings.batch_size)
        ways: dict[str, tuple[Callable[[], Any], int]] = {
            "first_pass": (read, len(rows)),
            "later_epochs": (lambda: [None for _ in batches], len(rows)),
            "row_by_row": (lambda: [None for _ in parsed], min(PARSED_ROWS, len(rows))),
        }
        speeds = {name: [count / _seconds(run) for _ in range(repeat)] for name, (run, count) in ways.items()}
    return {
        "machine": pipeline.machine(),
        "rows": len(rows),
        "batch_size": settings.batch_size,
        "rows_per_second": speeds,
        "times_row_by_row": statistics.median(speeds["later_epochs"]) / statistics.median(speeds["row_by_row"]),
    }


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def table(document: dict[str, Any]) -> str:
    """A table in Markdown: medians, and their range."""
    lines = ["| | rows/s | from, to |", "|---|---|---|"]
    for name, speeds in document["rows_per_second"].items():
        spread = f"{min(speeds):,.0f}, {max(speeds):,.0f}"
        lines.append(f"| {NAMES[name]} | {statistics.median(speeds):,.0f} | {spread} |")
    return "\n".join([*lines, "", f"A later epoch is {document['times_row_by_row']:.0f} times as fast as row by row."])


def section(document: dict[str, Any]) -> str:
    """The section of the page of performance."""
    on = document["machine"]
    return f"""
## Input of the Trainer

Rows per second of the input pipeline alone, in batches of {document["batch_size"]:,} of {document["rows"]:,} rows. Row
by row is `tf.io.parse_single_example`, without the transform graph and without a shuffle.

{table(document)}

Medians of {len(document["rows_per_second"]["later_epochs"])} passes each on {on["cores"]} cores ({on["processor"]}),
commit `{on["commit"]}`, {on["date"]}. `python -m benchmarks.input_pipeline --write` measures again and writes
[its figures](input_pipeline.json).
"""


def main() -> int:
    """Measures; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--spans", type=Path, default=Path("workspace/spans"), help="prepared if it is not there")
    parser.add_argument("--first", type=int, default=1, help="oldest span")
    parser.add_argument("--newest", type=int, default=11, help="newest span")
    parser.add_argument("--repeat", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--write", action="store_true", help="write docs/input_pipeline.json")
    options = parser.parse_args()
    prepare.prepare(options.spans)
    document = measure(options.spans, options.first, options.newest, options.repeat)
    if options.write:
        path = pipeline.ROOT / "docs" / "input_pipeline.json"
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        pipeline.write_page(path.parent)
    print(table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())

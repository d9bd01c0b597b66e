"""Measures SpanExampleGen against TFX's own CsvExampleGen on the same rows, in the same run.

    python -m benchmarks.ingestion --rows 60000

Each contender runs as a one-node pipeline under TFX's local runner in a process of its own, so that its peak memory is
its own; what every TFX process costs (imports) is not counted as time and is shown as memory in the row `imports`.
Rows come from the spans of the workspace where they are prepared, and are made up otherwise.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

MADE_UP_ROWS, MADE_UP_SPANS = 327_346, 12
BEAM_ARGS: list[Any] = ["--runner=FnApiRunner", "--direct_running_mode=in_memory", "--sdk_container_image=none"]
CONTENDERS = {
    "imports": "nothing but TFX imported",
    "parquet": "SpanExampleGen, Parquet",
    "csv": "SpanExampleGen, CSV",
    "stock": "CsvExampleGen, CSV",
}


def main() -> None:
    """Writes the rows once, lets every contender ingest them and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000, help="rows over all spans (default: %(default)s)")
    parser.add_argument("--spans", type=Path, default=Path("workspace/spans"), help="prepared Parquet spans")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        measure(arguments.contender, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        rows = write_contest(Path(name), arguments.spans, arguments.rows)
        results = {contender: contend(contender, Path(name)) for contender in CONTENDERS}
    if arguments.json:
        print(json.dumps({"rows": rows, "results": results}))
    else:
        show(rows, results)


def write_contest(folder: Path, spans: Path, rows: int) -> int:
    """Writes the same rows as Parquet spans, as CSV spans and as the two folders CsvExampleGen splits by.

    Returns:
        How many rows there are.
    """
    tables = prepared_spans(spans) or made_up_spans()
    share = min(1.0, rows / sum(table.num_rows for table in tables))
    tables = [thinned(table, max(1, round(table.num_rows * share))) for table in tables]
    for number, table in enumerate(tables, start=1):
        split = "eval" if number == len(tables) else "train"
        for target in (f"parquet/span-{number:03d}", f"csv/span-{number:03d}", f"stock/{split}"):
            (folder / target).mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / f"parquet/span-{number:03d}/rows.parquet")
        pa_csv.write_csv(table, folder / f"csv/span-{number:03d}/rows.csv")
        os.link(folder / f"csv/span-{number:03d}/rows.csv", folder / f"stock/{split}/{number}.csv")
    columns = {field.name: declared_type(field.type) for field in tables[0].schema}
    (folder / "columns.json").write_text(json.dumps(columns))
    return sum(table.num_rows for table in tables)


def prepared_spans(spans: Path) -> list[pa.Table]:
    """Returns prepared spans, if there are any, without the columns a tf.Example cannot hold."""
    tables = [pq.read_table(path) for path in sorted(spans.glob("span-*/*.parquet"))]
    return [table.select([f.name for f in table.schema if declared_type(f.type)]) for table in tables]


def made_up_spans() -> list[pa.Table]:
    """Returns a table per span with 26 columns of all three types, with some values missing."""
    random = np.random.default_rng(0)
    rows = MADE_UP_ROWS // MADE_UP_SPANS
    words = np.array(["alpha", "bravo-charlie", "delta", "echo foxtrot"])

    def column(values: np.ndarray, missing: float) -> pa.Array:
        return pa.array(values, mask=random.random(rows) < missing)

    return [
        pa.table(
            {
                **{f"count_{n}": column(random.integers(0, 10 ** (n + 1), rows), 0.02 * n) for n in range(8)},
                **{f"level_{n}": column(random.normal(size=rows).astype("f4"), 0.02 * n) for n in range(12)},
                **{f"word_{n}": column(random.choice(words, rows), 0.02 * n) for n in range(6)},
            }
        )
        for _ in range(MADE_UP_SPANS)
    ]


def thinned(table: pa.Table, rows: int) -> pa.Table:
    """Returns evenly spaced rows of a table."""
    return table.take(pa.array(np.linspace(0, table.num_rows - 1, rows).astype(np.int64)))


def declared_type(arrow_type: pa.DataType) -> str | None:
    """Returns the type to declare for an Arrow type; None if a tf.Example cannot hold it."""
    if pa.types.is_integer(arrow_type):
        return "int64"
    if pa.types.is_floating(arrow_type):
        return "float32"
    return "string" if pa.types.is_string(arrow_type) else None


def contend(contender: str, folder: Path) -> dict[str, float]:
    """Runs one contender in a process of its own and returns its figures."""
    command = [sys.executable, "-m", "benchmarks.ingestion", "--contender", contender, "--folder", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"{CONTENDERS[contender]} failed:\n{run.stderr[-4000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def measure(contender: str, folder: Path) -> None:
    """Runs one contender in this process and prints seconds (wall, CPU) and peak resident memory (MB) as JSON."""
    pipeline = build_pipeline(contender, folder)
    from tfx.orchestration.local import local_dag_runner

    wall, cpu = time.perf_counter(), time.process_time()
    if contender != "imports":
        local_dag_runner.LocalDagRunner().run(pipeline)
    figures = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures))


def build_pipeline(contender: str, folder: Path) -> Any:
    """Returns a pipeline with the contender as its only node, metadata store included."""
    from tfx.components import CsvExampleGen
    from tfx.orchestration import metadata
    from tfx.orchestration.pipeline import Pipeline
    from tfx.proto import example_gen_pb2

    from components.span_example_gen.component import SpanExampleGen

    if contender == "stock":
        splits = [example_gen_pb2.Input.Split(name=name, pattern=f"{name}/*.csv") for name in ("train", "eval")]
        node = CsvExampleGen(str(folder / "stock"), input_config=example_gen_pb2.Input(splits=splits))
    else:
        source = "csv" if contender == "csv" else "parquet"
        node = SpanExampleGen(str(folder / source), json.loads((folder / "columns.json").read_text()))
    root = folder / f"root-{contender}"
    root.mkdir()
    return Pipeline(
        contender,
        str(root),
        components=[node],
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.db")),
        beam_pipeline_args=BEAM_ARGS,
    )


def show(rows: int, results: dict[str, dict[str, float]]) -> None:
    """Prints the figures, and how many times as long as the first contender each took."""
    table = Table(title=f"{rows:,} rows")
    for heading in ("", "seconds", "CPU s", "rows/s", "times", "peak RSS, MB"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    fastest = results["parquet"]["seconds"]
    for contender, figures in results.items():
        times = ("", "", "", "")
        if contender != "imports":
            seconds = figures["seconds"]
            times = (
                f"{seconds:.1f}", f"{figures['cpu_seconds']:.1f}", f"{rows / seconds:,.0f}", f"{seconds / fastest:.1f}"
            )  # fmt: skip
        table.add_row(CONTENDERS[contender], *times, f"{figures['peak_mb']:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()

"""Measures a run of the pipeline on more and more flights: how time and memory grow.

The months are drawn anew, row by row with replacement, to some multiple of their size. Numbers of the draws are
jittered, so that there are no copies, and the same seed gives the same files. Each size is run once, in a fresh
workspace with nothing cached. With `--write` the figures go into ``docs/growth.json``, with the machine, and from there
into the page and the plots beside it.

    python -m benchmarks.growth --sizes 1 4 16 --write
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import growth_page, pipeline
from benchmarks.processes import measure
from data import spans
from flightdeck.settings import read_settings

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from data.contract import Column, Contract

# Of the standard deviation of a column: enough to tell values apart, too little for the DataGate to see.
_JITTER = 0.02


def main() -> int:
    """Measures; returns the exit code."""
    options = arguments(__doc__).parse_args()
    document = measured(options, lambda folder, title: _run(options, folder))
    if options.write:
        docs = pipeline.ROOT / "docs"
        growth_page.write(document, docs)
        pipeline.write_page(docs)
    print(growth_page.totals(document))
    return 0


def arguments(about: str | None, overrides: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The options of a benchmark over several sizes of the data; its help begins with the first line of `about`."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--config", type=Path, default=pipeline.ROOT / "config" / "local.yaml")
    parser.add_argument("--set", action="append", default=[*overrides], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 4, 16], help="multiples of the data (1 4 16)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write the figures, their page and its plots into docs")
    return parser


def measured(options: argparse.Namespace, measure_size: Callable[[Path, str], dict[str, Any]]) -> dict[str, Any]:
    """The figures of all sizes: `measure_size` is given a folder that holds `spans` and is removed, and the size."""
    settings = read_settings(options.config, options.overrides)
    sizes = {}
    build = pipeline.ROOT / "build"  # there is more room than in /tmp
    build.mkdir(exist_ok=True)
    for times in sorted(options.sizes):
        title = f"{times} times"
        with tempfile.TemporaryDirectory(dir=build, prefix="growth-") as folder:
            say(f"{title}: resampling")
            resample(Path(settings.spans), Path(folder, "spans"), settings.contract(), times, options.seed)
            say(f"{title}: running")
            sizes[str(times)] = measure_size(Path(folder), title)
            say(json.dumps(sizes[str(times)]))
    return {
        "machine": pipeline.machine(),
        "config": options.config.name,
        "changed": options.overrides,
        "seed": options.seed,
        "sizes": sizes,
    }


def say(text: str) -> None:
    """Shows progress."""
    print(text, file=sys.stderr, flush=True)


def resample(source: Path, destination: Path, contract: Contract, times: int, seed: int) -> None:
    """Writes spans with `times` as many rows as those of `source`; one seed always gives the same bytes."""
    import numpy as np

    with spans.writing(destination) as staging:
        for number in spans.folders(source):
            table = resampled(spans.read(source, number), contract, times, np.random.default_rng([seed, times, number]))
            spans.require_conformity(table, contract, f"span {number}")
            spans.publish(table, destination, number, staging)


def resampled(table: pa.Table, contract: Contract, times: int, random: np.random.Generator) -> pa.Table:
    """Draws `times` as many rows as there are, in their order, with jittered features and text keys that are unique.

    Whether a value is missing, texts, timestamps, labels and outcomes stay as they are.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    drawn = table.take(np.sort(random.integers(len(table), size=times * len(table))))
    counted = pa.array(range(len(drawn))).cast(pa.string())
    for index, column in enumerate(contract.columns):
        values = drawn.column(column.name).combine_chunks()
        if column.role == "key" and column.type == "string" and not column.nullable:
            values = pc.binary_join_element_wise(values, counted, "#")
        elif column.role == "feature" and column.type in ("int64", "float32"):
            values = _jittered(values, column, random)
        drawn = drawn.set_column(index, drawn.schema.field(index), values)
    return drawn


def _jittered(values: pa.Array, column: Column, random: np.random.Generator) -> pa.Array:
    """Adds a normal error to each number and keeps it between the smallest and the largest one."""
    import numpy as np
    import pyarrow as pa

    known = values.drop_null().to_numpy().astype(np.float64)
    if not len(known):
        return values
    noisy = known + random.normal(scale=_JITTER * known.std(), size=len(known))
    noisy = np.clip(noisy if column.type == "float32" else np.rint(noisy), known.min(), known.max())
    numbers = np.zeros(len(values))
    present = values.is_valid().to_numpy(zero_copy_only=False)
    numbers[present] = noisy
    return pa.array(numbers, values.type, mask=~present)


def _run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Runs the pipeline on the spans in a folder; returns what it took and how good its model is."""
    command = pipeline.flightdeck_command(options, folder / "workspace", folder / "spans")
    taken = measure(command, pipeline.ROOT, folder)
    summary = json.loads((folder / "stdout").read_text())
    nodes = {
        node["node_id"]: {name: node[name] for name in ("seconds", "cpu_seconds", "peak_mb")}
        for node in summary["nodes"]
    }
    return {**taken, "rows": summary["rows"], "metrics": summary["metrics"], "nodes": nodes}


if __name__ == "__main__":
    sys.exit(main())

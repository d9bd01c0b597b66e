"""Measures a run of the pipeline against the same work in TFX's stock wiring and in a script without TFX.

The three are run in turn, each in a fresh process and a fresh folder, with nothing cached. All must have done the same
work: rows per split, columns, slices, and a ROC AUC within 0.005 of each other; else there is no result. The figures go
into ``docs/performance.json``, with the machine, and from there into the table and the plot of ``docs/performance.md``.

    python -m benchmarks.pipeline --repeat 3

Wall seconds are those of the whole process. CPU seconds and the memory of the largest process include the processes
that it started.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from flightdeck.settings import Settings, read_settings

ROOT = Path(__file__).resolve().parents[1]
SIDES = ("bare", "flightdeck", "stock")
MOST_APART = 0.005
PACKAGES = ("tfx", "tensorflow", "keras", "apache-beam", "tensorflow-data-validation", "scikit-learn", "pyarrow")


def main() -> int:
    """Measures; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", type=Path, default=ROOT / "config" / "local.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--repeat", type=int, default=3, help="how often each is run (default 3)")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    settings = read_settings(options.config, options.overrides)
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in options.sides}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_rows(settings, folder / "rows")
        for turn in range(options.repeat):
            for side in options.sides if turn % 2 == 0 else reversed(options.sides):
                print(f"{side}, {turn + 1} of {options.repeat}", file=sys.stderr, flush=True)
                runs[side].append(_run(side, options, folder / "rows", folder / f"{side}-{turn}"))
    if problem := different_work([run for of_side in runs.values() for run in of_side]):
        print(problem, file=sys.stderr)
        return 1
    document = {"machine": machine(), "settings": options.overrides, "config": options.config.name, "runs": runs}
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(table(document))
    return 0


def _write_rows(settings: Settings, folder: Path) -> None:
    """Writes the ingested columns of the window by split, one file per span, as Parquet and as CSV."""
    import pyarrow.parquet as pq

    from components.span_example_gen.window import Window, split_spans
    from data import spans

    base = Path(settings.spans)
    available = sorted(int(span.name.removeprefix("span-")) for span in base.glob("span-*"))
    numbers = Window.parse(settings.data.window).resolve(available, str(base))
    columns = list(settings.contract().ingested())
    for split, members in split_spans(numbers, settings.data.eval_spans, settings.data.window).items():
        (folder / split).mkdir(parents=True)
        for number in members:
            rows, file = spans.read(base, number).select(columns), folder / split / f"span-{number:03}"
            pq.write_table(rows, file.with_suffix(".parquet"))
            # Not as floats: one missing value would make "3.0" of every 3.
            rows.to_pandas(integer_object_nulls=True).to_csv(file.with_suffix(".csv"), index=False)


def _run(side: str, options: argparse.Namespace, rows: Path, out: Path) -> dict[str, Any]:
    """Runs one side in a process of its own; returns what it did and what it took."""
    out.mkdir()
    chosen = [f"--config={options.config}", *(f"--set={override}" for override in options.overrides)]
    if side == "flightdeck":
        places = [
            f"--set=workspace={out}",
            f"--set=data.spans={read_settings(options.config, options.overrides).spans}",
        ]
        command = [sys.executable, "-m", "flightdeck", "run", "--json", *chosen, *places]
    else:
        command = [sys.executable, "-m", f"benchmarks.{side}", *chosen, f"--data={rows}", f"--out={out}"]
    with (out / "stdout").open("wb") as stdout, (out / "stderr").open("wb") as stderr:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
    if status:
        raise SystemExit(f"{side} failed:\n{(out / 'stderr').read_text(errors='replace')[-2000:]}")
    work = _flightdeck(options.config, out) if side == "flightdeck" else json.loads((out / "result.json").read_text())
    return {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        **work,
    }


def _flightdeck(config: Path, workspace: Path) -> dict[str, Any]:
    """What a run did, in the words of the other two."""
    import tensorflow_data_validation as tfdv

    from ledger.opening import open_readonly
    from ledger.outputs import outputs_of_run
    from pipeline import evaluation, store

    summary = json.loads((workspace / "stdout").read_text())
    connection = store.connection(read_settings(config, [f"workspace={workspace}"]))
    outputs = outputs_of_run(open_readonly(connection), summary["run_id"])
    counted = outputs["StatisticsGen"]["statistics"].uri
    _, *slices = evaluation.results(outputs["Evaluator"]["evaluation"].uri)
    columns = [
        len(tfdv.load_stats_binary(str(Path(counted, f"Split-{split}", "FeatureStats.pb"))).datasets[0].features)
        for split in ("train", "eval")
    ]
    nodes = {node["node_id"]: {"seconds": node["seconds"]} for node in summary["nodes"]}
    return {
        "rows": summary["rows"],
        "columns": columns,
        "slices": len(slices),
        "metrics": summary["metrics"],
        "nodes": {"imports": {"seconds": summary["loading_seconds"]}, **nodes},
    }


def different_work(runs: Sequence[dict[str, Any]]) -> str | None:
    """Returns why runs cannot be compared; None if they did the same work."""
    for what in ("rows", "columns", "slices"):
        values = {json.dumps(run[what], sort_keys=True) for run in runs}
        if len(values) > 1:
            return f"They did not do the same work; {what}: {' and '.join(sorted(values))}."
    areas = [run["metrics"]["auc"] for run in runs]
    if max(areas) - min(areas) > MOST_APART:
        return f"Their models differ: ROC AUC from {min(areas):.4f} to {max(areas):.4f}."
    return None


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def table(document: dict[str, Any]) -> str:
    """The figures as a table in Markdown: the median of the runs of each side, and its ratios to the others."""
    runs = document["runs"]
    rows = ["| | wall s | min to max | CPU s | peak MB | times bare |", "|---|---|---|---|---|---|"]
    middle = {side: statistics.median(run["seconds"] for run in of_side) for side, of_side in runs.items()}
    for side, of_side in runs.items():
        walls = [run["seconds"] for run in of_side]
        cpu, peak = (statistics.median(run[what] for run in of_side) for what in ("cpu_seconds", "peak_mb"))
        ratio = f"{middle[side] / middle['bare']:.1f}" if "bare" in middle else ""
        spread = f"{min(walls):.1f} to {max(walls):.1f}"
        rows.append(f"| {side} | {middle[side]:.1f} | {spread} | {cpu:.1f} | {peak:,.0f} | {ratio} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())

"""Measures a run of the pipeline against the same work in TFX's stock wiring and in a script without TFX.

The three are run in turn, each in a fresh process and a fresh folder, with nothing cached. All must have done the same
work: rows per split, columns, slices, and a ROC AUC within 0.005 of each other; else there is no result. With `--write`
the figures go into ``docs/performance.json``, with the machine, and from there into the page and the plot beside it,
and into the rows about a run in the README and in the page of all figures.

    python -m benchmarks.pipeline --repeat 3 --write

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks import growth_page
from benchmarks.processes import measure
from flightdeck.settings import Settings, read_settings

ROOT = Path(__file__).resolve().parents[1]
SIDES = ("bare", "flightdeck", "stock")
NAMES = {"bare": "bare script", "flightdeck": "`flightdeck run`", "stock": "stock TFX"}
MOST_APART = 0.005
# Where a row tells what a run takes, and how it begins.
QUOTING = ("README.md", "docs/measured.md")
QUOTED = "| `flightdeck run`, nothing cached |"
OTHER = "other nodes"
# What the parts of the three are called, in their order.
PARTS = {
    "imports": "imports",
    "read": "ExampleGen",
    "CsvExampleGen": "ExampleGen",
    "SpanExampleGen": "ExampleGen",
    "statistics": "StatisticsGen",
    "StatisticsGen": "StatisticsGen",
    "transform": "Transform",
    "Transform": "Transform",
    "train": "Trainer",
    "Trainer": "Trainer",
    "InfraValidator": "InfraValidator",
    "Scores": "Scores",
    "evaluate": "Evaluator",
    "Evaluator": "Evaluator",
    "": OTHER,
}
# How many times as fast as stock TFX a run is to be, and the parts that no way of doing the work can leave out.
WANTED_FASTER, LEAST = 6, ("imports", "Trainer")
PACKAGES = ("tfx", "tensorflow", "keras", "apache-beam", "tensorflow-data-validation", "scikit-learn", "pyarrow")


def main() -> int:
    """Measures; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", type=Path, default=ROOT / "config" / "local.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--repeat", type=int, default=3, help="how often each is run (default 3)")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--write", action="store_true", help="write docs/performance.json, its page and its plot")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    if options.write and set(options.sides) != set(SIDES):
        parser.error("--write needs all sides: its page compares them")
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
    document = {"machine": machine(), "config": options.config.name, "changed": options.overrides, "runs": runs}
    if options.write:
        write(document, ROOT / "docs")
        for name in QUOTING:
            quote(ROOT / name, QUOTED, row(document, ROOT / name))
    print(json.dumps(document) if options.as_json else totals(document))
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
    if side == "flightdeck":
        command = flightdeck_command(options, out, Path(read_settings(options.config, options.overrides).spans))
    else:
        command = [sys.executable, "-m", f"benchmarks.{side}", *_chosen(options), f"--data={rows}", f"--out={out}"]
    taken = measure(command, ROOT, out)
    work = _flightdeck(options.config, out) if side == "flightdeck" else json.loads((out / "result.json").read_text())
    return {**taken, **work}


def _chosen(options: argparse.Namespace) -> list[str]:
    return [f"--config={options.config}", *(f"--set={override}" for override in options.overrides)]


def flightdeck_command(options: argparse.Namespace, workspace: Path, spans: Path) -> list[str]:
    """A run of the pipeline that prints its summary."""
    places = [f"--set=workspace={workspace}", f"--set=data.spans={spans}"]
    return [sys.executable, "-m", "flightdeck", "run", "--json", *_chosen(options), *places]


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
        return f"Their models differ: ROC AUC {', '.join(f'{area:.4f}' for area in areas)}."
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


def write(document: Mapping[str, Any], folder: Path) -> None:
    """Writes the figures, the page that shows them and its plot."""
    (folder / "performance.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    plot(document).save(folder / "assets" / "performance.svg")
    write_page(folder)


def quote(page: Path, beginning: str, row: str) -> None:
    """Puts a row of figures where a page has the row that begins like it."""
    lines = page.read_text(encoding="utf-8").splitlines()
    told = [row if line.startswith(beginning) else line for line in lines]
    page.write_text("\n".join([*told, ""]), encoding="utf-8")


def row(document: Mapping[str, Any], page: Path) -> str:
    """What a run takes, as a row of a table of a page."""
    wall, peak = (median(document, "flightdeck", what) for what in ("seconds", "peak_mb"))
    slower, faster = ratio(document, "flightdeck", "bare")[0], ratio(document, "stock", "flightdeck")[0]
    link = "performance.md" if page.parent.name == "docs" else "docs/performance.md"
    return (
        f"{QUOTED} {wall:.0f} s, peak memory {peak / 1024:.1f} GB | {slower:.1f} times a script without TFX that does "
        f"the same, {faster:.1f} times as fast as TFX's stock wiring ([measured in turn]({link})) |"
    )


def ratio(document: Mapping[str, Any], side: str, other: str) -> tuple[float, float, float]:
    """How many times as long as the other a side takes: the median over the turns, the least and the most."""
    turns = zip(document["runs"][side], document["runs"][other], strict=True)
    ratios = [run["seconds"] / other_run["seconds"] for run, other_run in turns]
    return statistics.median(ratios), min(ratios), max(ratios)


def write_page(folder: Path) -> None:
    """Writes the page of the figures in a folder, also of those of `input_pipeline` and `growth` if there are any."""
    if not (folder / "performance.json").exists():
        return
    from benchmarks import input_pipeline  # which imports this module

    text = page(json.loads((folder / "performance.json").read_text(encoding="utf-8")))
    for name, section in (("input_pipeline", input_pipeline.section), ("growth", growth_page.section)):
        figures = folder / f"{name}.json"
        text += section(json.loads(figures.read_text(encoding="utf-8"))) if figures.exists() else ""
    (folder / "performance.md").write_text(text, encoding="utf-8")


def page(document: Mapping[str, Any]) -> str:
    """The page of the figures."""
    on, runs = document["machine"], list(document["runs"].values())
    first, times = runs[0][0], len(runs[0])
    rows, columns, slices = first["rows"], first["columns"][0], first["slices"]
    versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
    slower, least_slower, most_slower = ratio(document, "flightdeck", "bare")
    faster, least_faster, most_faster = ratio(document, "stock", "flightdeck")
    wanted = median(document, "stock", "seconds") / WANTED_FASTER
    least = {side: sum(part_seconds(document, side).get(part, 0) for part in LEAST) for side in ("flightdeck", "bare")}
    return f"""# Performance

The same work three times: a run of the pipeline, the same nodes in the stock wiring of TFX's documentation
(`benchmarks/stock.py`), and a script without TFX (`benchmarks/bare.py`). Nothing is cached. All train on
{rows["train"]:,} rows and evaluate on {rows["eval"]:,}, with {columns} columns and {slices} slices; their ROC AUC are
{_spread(document):.4f} apart. The script has no gate, no lineage, no test of the server, and keeps nothing for the next
run.

{totals(document)}

Turn by turn, a run takes {slower:.1f} times as long as the script ({least_slower:.1f} to {most_slower:.1f}), and
stock TFX {faster:.1f} times as long as a run ({least_faster:.1f} to {most_faster:.1f}). A run {WANTED_FASTER} times as
fast as stock TFX, which is aimed at, would take {wanted:.1f} s. Imports and training alone take
{least["flightdeck"]:.1f} s of a run, and {least["bare"]:.1f} s of the script.

{nodes(document)}

![Seconds of each node](assets/performance.svg)

Medians of {times} runs each, in turn, on {on["cores"]} cores ({on["processor"]}) with {on["memory_gb"]:.0f} GB;
{on["system"]};
commit `{on["commit"]}`, {on["date"]};
{versions}.
CPU seconds and memory include the processes that a run starts; the memory is that of the largest process.
`make bench` measures again and writes this page and [its figures](performance.json).
"""


def totals(document: Mapping[str, Any]) -> str:
    """A table in Markdown of what each side took in all: medians, and the range of its wall seconds."""
    rows = ["| | wall s | from, to | CPU s | peak MB |", "|---|---|---|---|---|"]
    for side, runs in document["runs"].items():
        wall, cpu, peak = (median(document, side, what) for what in ("seconds", "cpu_seconds", "peak_mb"))
        walls = [run["seconds"] for run in runs]
        spread = f"{min(walls):.1f}, {max(walls):.1f}"
        rows.append(f"| {NAMES[side]} | {wall:.1f} | {spread} | {cpu:.1f} | {peak:,.0f} |")
    return "\n".join(rows)


def nodes(document: Mapping[str, Any]) -> str:
    """A table in Markdown of the wall seconds of the parts of each side, medians."""
    sides = list(document["runs"])
    rows = [f"| wall s of | {' | '.join(NAMES[side] for side in sides)} |", f"|---|{'---|' * len(sides)}"]
    for part in dict.fromkeys(PARTS.values()):
        seconds = [part_seconds(document, side).get(part) for side in sides]
        rows.append(f"| {part} | {' | '.join('' if taken is None else f'{taken:.1f}' for taken in seconds)} |")
    return "\n".join(rows)


def plot(document: Mapping[str, Any]) -> Any:
    """One bar per side, of its parts, as an Altair chart."""
    import altair as alt

    parts = list(dict.fromkeys(PARTS.values()))
    data = [
        {"side": NAMES[side], "part": part, "seconds": seconds, "order": parts.index(part)}
        for side in document["runs"]
        for part, seconds in part_seconds(document, side).items()
    ]
    return (
        alt.Chart(alt.Data(values=data), width=640, height=120)
        .mark_bar()
        .encode(
            alt.X("seconds:Q", title="seconds"),
            alt.Y("side:N", title=None, sort=list(NAMES.values())),
            alt.Color("part:N", title=None, sort=parts),
            alt.Order("order:Q"),
        )
    )


def median(document: Mapping[str, Any], side: str, what: str) -> float:
    """The median of a figure over the runs of a side."""
    return statistics.median(run[what] for run in document["runs"][side])


def part_seconds(document: Mapping[str, Any], side: str) -> dict[str, float]:
    """The median wall seconds of each part of the work, in which the nodes of the three are alike."""
    runs = document["runs"][side]
    seconds: dict[str, float] = {}
    for node in runs[0]["nodes"]:
        part = PARTS.get(node, OTHER)
        seconds[part] = seconds.get(part, 0.0) + statistics.median(run["nodes"][node]["seconds"] for run in runs)
    return seconds


def _spread(document: Mapping[str, Any]) -> float:
    areas = [run["metrics"]["auc"] for runs in document["runs"].values() for run in runs]
    return max(areas) - min(areas)


if __name__ == "__main__":
    sys.exit(main())

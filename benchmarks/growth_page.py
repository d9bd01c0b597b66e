"""The figures of `benchmarks.growth` as a section of the page of performance, and as plots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.markdown import table

MOST_MB = 6 * 1024


def write(document: Mapping[str, Any], folder: Path) -> None:
    """Writes the figures and their plots."""
    (folder / "growth.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    plot(document).save(folder / "assets" / "growth.svg")


def section(document: Mapping[str, Any]) -> str:
    """The section of the page."""
    on = document["machine"]
    return f"""
## More flights

The months drawn anew, with replacement and with jittered numbers, to multiples of their size, and a run of the pipeline
on each, with nothing cached.

{totals(document)}

{nodes(document)}

![Seconds and memory by flights](assets/growth.svg)

The memory of all processes is the largest sum, at any moment, of their proportional set sizes, in which a page that
several processes share counts once. It is sampled four times per second.

| memory of | grows with | bounded by |
|---|---|---|
| SpanExampleGen | nothing: it reads batches of 16,384 rows | - |
| StatisticsGen | a shard, read whole | the row groups of the files: a shard is about as large as one |
| Transform | a shard, read whole; the vocabularies of all shards | the row groups of the files |
| Trainer | the transformed rows of the window, which stay in memory for all epochs | `data.window` |
| Scores, Evaluator | the rows of the evaluation split | `data.eval_spans` |

One run each on {on["cores"]} cores ({on["processor"]}) with {on["memory_gb"]:.0f} GB, commit `{on["commit"]}`,
{on["date"]}. `make growth` measures again and writes [its figures](growth.json).
"""


def totals(document: Mapping[str, Any]) -> str:
    """A table in Markdown of what each size took."""
    sizes = ("largest process MB", "all processes MB")
    header = ("times", "flights", "wall s", "CPU s", "CPU µs per flight", *sizes, "AUC")
    rows = []
    for times, run in document["sizes"].items():
        flights = sum(run["rows"].values())
        cells = [
            times,
            f"{flights:,}",
            f"{run['seconds']:.1f}",
            f"{run['cpu_seconds']:.1f}",
            f"{run['cpu_seconds'] / flights * 1e6:.1f}",
            f"{run['peak_mb']:,.0f}",
            f"{run['together_mb']:,.0f}",
            f"{run['metrics']['auc']:.4f}",
        ]
        rows.append(cells)
    return table(header, rows)


def nodes(document: Mapping[str, Any]) -> str:
    """A table in Markdown of the CPU seconds and the memory of each node by size."""
    sizes = document["sizes"]
    header = ["node", *(f"{what}, {times} times" for what in ("CPU s", "peak MB") for times in sizes)]
    rows = []
    for node in next(iter(sizes.values()))["nodes"]:
        taken = [run["nodes"][node] for run in sizes.values()]
        rows.append([node, *(f"{of['cpu_seconds']:.1f}" for of in taken), *(f"{of['peak_mb']:,.0f}" for of in taken)])
    return table(header, rows)


def plot(document: Mapping[str, Any]) -> Any:
    """Seconds and memory by flights, with what is linear and what is allowed, as Altair charts beside each other."""
    import altair as alt

    runs = list(document["sizes"].values())
    flights = [sum(run["rows"].values()) for run in runs]
    per_flight = runs[0]["seconds"] / flights[0]
    figures = {
        "seconds": [
            *(("wall", count, run["seconds"]) for count, run in zip(flights, runs, strict=True)),
            *(("CPU", count, run["cpu_seconds"]) for count, run in zip(flights, runs, strict=True)),
            *(("linear", count, per_flight * count) for count in flights),
        ],
        "MB": [
            *(("all processes", count, run["together_mb"]) for count, run in zip(flights, runs, strict=True)),
            *(("largest process", count, run["peak_mb"]) for count, run in zip(flights, runs, strict=True)),
            *(("allowed", count, MOST_MB) for count in flights),
        ],
    }
    charts = []
    for unit, points in figures.items():
        lines = list(dict.fromkeys(line for line, _, _ in points))
        data = [{"line": line, "flights": count, unit: value} for line, count, value in points]
        charts.append(
            alt.Chart(alt.Data(values=data), width=280, height=200)
            .mark_line(point=True)
            .encode(
                alt.X("flights:Q", axis=alt.Axis(format="~s")),
                alt.Y(f"{unit}:Q", title=unit),
                alt.Color("line:N", title=None, sort=lines),
                alt.StrokeDash("line:N", title=None, sort=lines),
            )
        )
    return alt.hconcat(*charts).resolve_scale(color="independent", strokeDash="independent")

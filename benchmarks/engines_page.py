"""The figures of `benchmarks.engines` as a page and a plot: what another engine costs, and when it pays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.markdown import table
from data.spans import ROW_GROUP_ROWS

LOCAL = "local"
# The plan on paper.
PLANNED_ROWS, PLANNED_WORKERS = 100_000_000, 16


class Cost(NamedTuple):
    """Wall seconds as a straight line: those of no rows, and those of each row."""

    fixed: float
    per_row: float

    def seconds(self, rows: float) -> float:
        """The seconds of so many rows."""
        return self.fixed + self.per_row * rows

    def __str__(self) -> str:  # noqa: D105
        return f"{self.fixed:.1f} s and {self.per_row * 1e6:.1f} µs per flight"


def write(document: Mapping[str, Any], folder: Path) -> None:
    """Writes the figures, their page and their plot."""
    (folder / "engines.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (folder / "engines.md").write_text(page(document), encoding="utf-8")
    plot(document).save(folder / "assets" / "engines.svg")


def page(document: Mapping[str, Any]) -> str:
    """The page."""
    on = document["machine"]
    workers = [name for name in engines(document) if name != LOCAL]
    rows = flights(list(document["sizes"].values())[-1][LOCAL])
    return f"""# When another engine pays

The components that run on Beam, in the process of each node (`beam.engine: local`), and on Beam's own job service with
{", ".join(workers[:-1])} and {workers[-1]} workers, which are processes of `flightdeck beam pool`. The way to the
workers is that of [Flink](beam.md). Flink itself, its network and its JVMs are not in these figures: with them it takes
more flights. All runs of one size had the same rows and metrics. The months are drawn anew to multiples of their size,
as for [more flights](performance.md#more-flights).

{totals(document)}

![Seconds by flights](assets/engines.svg)

CPU seconds are those of the whole run, training included, and of the engine's processes; memory is the largest sum, at
any moment, of the proportional set sizes of all of them. The machine has {on["cores"]} cores, so more workers than that
cannot be faster.

## Where the seconds are

Wall seconds of each component: first at {rows:,} flights, then at none, by the straight line through the smallest and
the largest size.

{nodes(document)}

## From how many flights it pays

{break_even(document)}

## A plan for {PLANNED_ROWS:,} rows on {PLANNED_WORKERS} workers

On paper, from the same straight lines:

{plan(document)}

One run each on {on["cores"]} cores ({on["processor"]}) with {on["memory_gb"]:.0f} GB, commit `{on["commit"]}`,
{on["date"]}. `python -m benchmarks.engines --write` measures again and writes [its figures](engines.json) and this
page.
"""


def engines(document: Mapping[str, Any]) -> list[str]:
    """`local`, and the numbers of workers."""
    return list(next(iter(document["sizes"].values())))


def components(document: Mapping[str, Any]) -> list[str]:
    """The components that run on Beam."""
    return [name for name in next(iter(document["sizes"].values()))[LOCAL]["nodes"] if name != "Trainer"]


def wall(run: Mapping[str, Any]) -> float:
    """Seconds of the components that run on Beam, which run one after another."""
    return sum(node["seconds"] for name, node in run["nodes"].items() if name != "Trainer")


def flights(run: Mapping[str, Any]) -> int:
    """The rows of a run."""
    return sum(run["rows"].values())


def cost(document: Mapping[str, Any], engine: str, node: str | None = None) -> Cost:
    """What a component, or all on Beam, cost on an engine: the line through the smallest and the largest size."""
    smallest, *_, largest = [size[engine] for size in document["sizes"].values()]
    before, after = (run["nodes"][node]["seconds"] if node else wall(run) for run in (smallest, largest))
    per_row = (after - before) / (flights(largest) - flights(smallest))
    return Cost(before - per_row * flights(smallest), per_row)


def efficiency(document: Mapping[str, Any]) -> float:
    """How much of a second worker's time, on a core of its own, is a gain: 1 is all of it."""
    return cost(document, "1").per_row / cost(document, "2").per_row - 1


def with_workers(document: Mapping[str, Any], workers: int, node: str | None = None) -> Cost:
    """What several workers with a core each would cost, each of which gains as much as the second."""
    per_row = cost(document, "1", node).per_row / (1 + (workers - 1) * efficiency(document))
    return Cost(cost(document, "2", node).fixed, per_row)


def totals(document: Mapping[str, Any]) -> str:
    """A table in Markdown of what each size took on each engine."""
    header = ("flights", "engine", "wall s of the components on Beam", "CPU s, all", "MB, all processes")
    rows = []
    for size in document["sizes"].values():
        for engine, run in size.items():
            cpu = run["cpu_seconds"] + run["engine_cpu_seconds"]
            taken = f"{wall(run):.1f}", f"{cpu:.1f}", f"{run['together_mb']:,.0f}"
            rows.append([f"{flights(run):,}", named(engine), *taken])
    return table(header, rows)


def nodes(document: Mapping[str, Any]) -> str:
    """A table in Markdown of the seconds of each component on each engine, at the largest size and at no rows."""
    names = engines(document)
    largest = list(document["sizes"].values())[-1]
    rows = []
    for node in components(document):
        cells = [
            f"{largest[name]['nodes'][node]['seconds']:.1f}, {max(cost(document, name, node).fixed, 0):.1f}"
            for name in names
        ]
        rows.append([node, *cells])
    return table(["component", *map(named, names)], rows)


def break_even(document: Mapping[str, Any], candidates: Sequence[int] = (2, 4, 16)) -> str:
    """Text in Markdown that says from how many rows on some workers are faster than a process."""
    here, one, two = (cost(document, engine) for engine in (LOCAL, "1", "2"))
    rows = []
    for workers in candidates:
        there = with_workers(document, workers)
        gain = here.per_row - there.per_row
        pays = f"{max(there.fixed - here.fixed, 0) / gain:,.0f}" if gain > 0 else "never"
        rows.append([str(workers), pays])
    return f"""In the process of each node, the work takes {here}, with one worker {one}, with two
{two}. The second one, on a core of its own, gains {efficiency(document):.0%} of what it could. If each
further one does, too:

{table(("workers, a core each", "break even at, flights"), rows)}"""


def plan(document: Mapping[str, Any]) -> str:
    """The plan in Markdown."""
    rows = []
    for node in components(document):
        here, there = cost(document, LOCAL, node), with_workers(document, PLANNED_WORKERS, node)
        rows.append([node, *(f"{cost_of.seconds(PLANNED_ROWS):,.0f}" for cost_of in (here, there))])
    shards = PLANNED_ROWS / ROW_GROUP_ROWS
    each = shards / PLANNED_WORKERS
    smallest, *_, largest = (size[LOCAL] for size in document["sizes"].values())
    more_mb = largest["nodes"]["Trainer"]["peak_mb"] - smallest["nodes"]["Trainer"]["peak_mb"]
    gb_per_row = more_mb / 1024 / (flights(largest) - flights(smallest))
    minutes = cost(document, LOCAL, "Trainer").seconds(PLANNED_ROWS) / 60
    return f"""{table(("component", "s in one process", "s with the workers"), rows)}

- The unit of work is a row group of {ROW_GROUP_ROWS:,} rows: {shards:,.0f} of them, {each:,.0f} for each worker.
  A worker holds one at a time, so its memory does not grow with the rows.
- The evaluation split is assumed to grow with the rest. The Evaluator works on predictions that Scores, which is not on
  Beam, has made in one process.
- The Trainer is not on Beam. It keeps the transformed rows in memory, {gb_per_row * 1e6:.2f} GB for each million, so it
  would need {gb_per_row * PLANNED_ROWS:,.0f} GB, and {minutes:,.0f} minutes for an epoch of this small network. Shorten
  `data.window`, or train where there is that memory, and a GPU."""


def named(engine: str) -> str:
    """What an engine is called on the page."""
    return engine if engine == LOCAL else f"{engine} worker{'s' if engine != '1' else ''}"


def plot(document: Mapping[str, Any]) -> Any:
    """Seconds by flights on each engine, as an Altair chart."""
    import altair as alt

    data = [
        {"engine": named(engine), "flights": flights(run), "seconds": wall(run)}
        for size in document["sizes"].values()
        for engine, run in size.items()
    ]
    order = [named(engine) for engine in engines(document)]
    return (
        alt.Chart(alt.Data(values=data), width=420, height=240)
        .mark_line(point=True)
        .encode(
            alt.X("flights:Q", axis=alt.Axis(format="~s")),
            alt.Y("seconds:Q", title="seconds of the components on Beam"),
            alt.Color("engine:N", title=None, sort=order),
            alt.StrokeDash("engine:N", title=None, sort=order),
        )
    )

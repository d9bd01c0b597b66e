"""``flightdeck serve bench``: what one service answers, and how many a load needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.console import console, json_of, table
from flightdeck.options import Options

if TYPE_CHECKING:
    from operations.serving.bench import Bench, CapacityPlan

_ROWS = 4096


def bench(
    options: Options,
    batches: Annotated[list[int] | None, typer.Option("--batch", min=1, help="Rows per request. Repeatable.")] = None,
    clients: Annotated[
        list[int] | None, typer.Option(min=1, help="Clients that ask at the same time. Repeatable.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="For each number of clients and each batch size.")] = 5.0,
    load: Annotated[float | None, typer.Option(help="Requests per second to plan for.")] = None,
    margin: Annotated[float, typer.Option(min=0, help="What to have on top of the load; 0.3 is 30 %.")] = 0.3,
    cores_per_node: Annotated[float, typer.Option(help="Of the machines that would be rented.")] = 4.0,
    price: Annotated[
        float | None, typer.Option("--price-per-core-hour", help="In any currency; gives the cost per month.")
    ] = None,
    p99_ms: Annotated[
        float | None, typer.Option("--p99-ms", help="Plan only with what answered within this, 99 times of 100.")
    ] = None,
    at_least: Annotated[int, typer.Option("--min-replicas", min=1, help="Such as 2, so that one may fail.")] = 1,
) -> None:
    """Measure one service with real rows against the bare model, and say how many nodes a load needs.

    If the version carries a contract, a service that does not check requests by it is asked the same in turn.
    The newest pushed version is served on a free port of this machine and asked over connections that are kept. The
    answer to `--load` is for as many requests per second, with each batch size.
    """
    from operations.serving import bench as benchmark

    settings = options.settings
    if load is not None:
        benchmark.check_load(load, margin, cores_per_node, price)
    rows = benchmark.real_rows(settings, _ROWS)
    on = console(sys.stderr)
    with on.status("Starting") as status:

        def note(text: str) -> None:
            status.update(text) if on.is_terminal else on.print(text)

        measured = benchmark.measure(settings, rows, batches or (1, 64), clients or (1, 2, 4, 8, 16), seconds, note)
    plans = []
    if load is not None:
        plans = benchmark.plan(measured, load, margin, cores_per_node, price, p99_ms, at_least)
    if options.as_json:
        typer.echo(json_of({**vars(measured), "plans": plans}, indent=None))
    else:
        _show(measured, plans, margin, cores_per_node)
    if any(level.failed for level in measured.levels):
        for error in sorted({error for level in measured.levels for error in level.errors}):
            typer.echo(f"Failed: {error}", err=True)
        raise typer.Exit(1)


def _show(measured: Bench, plans: list[CapacityPlan], margin: float, cores_per_node: float) -> None:
    print(
        f"Version {measured.version}, one service, {measured.machine_cores} cores shared with its clients,"
        f" {measured.memory_mb:,.0f} MB of memory\n"
    )
    rows = [
        [f"{bare.rows}", "signature", f"{bare.calls_per_second:,.0f}", f"{bare.p50_ms:.2f}", "-", f"{bare.p99_ms:.2f}",
         "-", "100 %", "-", "-"]
        for bare in measured.bare
    ]  # fmt: skip
    rows += [
        [f"{level.rows}", f"{level.clients} clients", f"{level.requests_per_second:,.0f}", f"{level.p50_ms:.2f}",
         f"{level.p95_ms:.2f}", f"{level.p99_ms:.2f}", f"{level.cpu_ms:.2f}", f"{level.of_bare * 100:.0f} %",
         f"{level.failed}",
         "-" if level.unchecked_per_second is None else f"{level.unchecked_per_second:,.0f}"]
        for level in measured.levels
    ]  # fmt: skip
    rows.sort(key=lambda row: int(row[0]))
    table(
        ("rows", "asked by", "calls/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "of bare", "failed", "unchecked"), rows
    )
    costs = [level.cost_of_checks for level in measured.levels if level.cost_of_checks is not None]
    if costs:
        print(
            f"\nUnchecked: calls/s when requests are not checked by the contract. The checks cost"
            f" {sum(costs) / len(costs) * 100:.1f} % of the calls/s in the mean ({min(costs) * 100:.1f} to"
            f" {max(costs) * 100:.1f} %)."
        )
    if not plans:
        return
    first = plans[0]
    print(
        f"\nFor {first.load:,.0f} requests per second and {margin * 100:.0f} % more,"
        f" on nodes of {cores_per_node:g} cores:\n"
    )
    cells = [
        [f"{plan.rows}", f"{plan.per_replica:,.0f}", f"{plan.clients}", f"{plan.p99_ms:.2f}",
         f"{plan.cores_per_replica:.2f}", f"{plan.replicas}", f"{plan.replicas_per_node}", f"{plan.nodes}",
         "-" if plan.cost_per_month is None else f"{plan.cost_per_month:,.2f}"]
        for plan in plans
    ]  # fmt: skip
    table(
        ("rows", "per replica", "clients", "p99 ms", "cores", "replicas", "per node", "nodes", "cost per month"), cells
    )

"""The figures as a page, and as the rows of other pages that quote them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import markdown, pipeline
from benchmarks.serving_peers.asking import PROTOCOLS
from benchmarks.serving_peers.measuring import IN_ALL, SERVER_ALONE
from benchmarks.serving_peers.servers import MLSERVER_BATCH, OURS, UNLOGGED
from ledger.formats import count

PAGE, FIGURES = pipeline.ROOT / "docs" / "serving-peers.md", pipeline.ROOT / "docs" / "serving-peers.json"
QUOTED = "| the service: one row a request, 32 connections, one core |"
WANTED_PER_SECOND = 3000


def behind(document: Mapping[str, Any], service: str = OURS) -> list[str]:
    """Where a peer answers more requests per second than the service, or has a shorter p99, in words."""
    found = []
    for cell in document["cells"]:
        ours = cell["servers"][service]
        peers = {name: of for name, of in cell["servers"].items() if name not in (OURS, UNLOGGED)}
        for name, theirs in peers.items():
            slower = theirs["requests_per_second"] > ours["requests_per_second"]
            if slower or theirs["p99_ms"] < ours["p99_ms"]:
                found.append(f"{_cell(cell)}: {name} {'answers more' if slower else 'has a shorter p99'}")
    return found


def busiest(document: Mapping[str, Any], protocol: str = "v2") -> dict[str, dict[str, float]]:
    """The figures with one row a request over most connections."""
    most = max(cell["connections"] for cell in document["cells"])
    return next(
        cell["servers"]
        for cell in document["cells"]
        if (cell["protocol"], cell["rows"], cell["connections"]) == (protocol, 1, most)
    )


def _cell(cell: Mapping[str, Any]) -> str:
    rows, connections = cell["rows"], cell["connections"]
    return f"{PROTOCOLS[cell['protocol']]}, {count(rows, 'row')}, {count(connections, 'connection')}"


def table(document: Mapping[str, Any]) -> str:
    """All figures of the servers, as a table in Markdown."""
    names = list(document["cells"][0]["servers"])
    rows = []
    for cell in document["cells"]:
        shown = [
            f"{of['requests_per_second']:,.0f}, {of['p99_ms']:.1f}, {of['cpu_us']:,.0f}" if of else ""
            for of in map(cell["servers"].get, names)
        ]
        rows.append([_cell(cell), *shown])
    return markdown.table(["requests/s, p99 ms, CPU µs per request", *names], rows)


def parts_table(document: Mapping[str, Any]) -> str:
    """What the CPU time of a request goes into, as a table in Markdown."""
    of_parts = document["parts"]
    known = [part for part in next(iter(of_parts.values())) if part != IN_ALL]
    rest = {protocol: of[IN_ALL] - sum(of[part] for part in known) for protocol, of in of_parts.items()}
    shown = {part: [of[part] for of in of_parts.values()] for part in known}
    shown |= {"everything else": list(rest.values()), IN_ALL: [of[IN_ALL] for of in of_parts.values()]}
    rows = [[part, *(f"{taken:.0f}" for taken in costs)] for part, costs in shown.items()]
    return markdown.table(["CPU µs", *(PROTOCOLS[protocol] for protocol in of_parts)], rows)


def page(document: Mapping[str, Any]) -> str:
    """The page of the figures."""
    on = document["machine"]
    per_second = busiest(document)[OURS]["requests_per_second"]
    told = _told("The service", behind(document))
    unlogged = "Without its payload log, which the peers have no counterpart of, it"
    told_unlogged = _told(unlogged, behind(document, UNLOGGED))
    reached = "reaches" if per_second >= WANTED_PER_SECOND else "does not reach"
    most = max(cell["connections"] for cell in document["cells"])
    bare = "; ".join(
        f"{rows} row{'s' * (rows != '1')} {ways['signature']:,.0f} by the signature and {ways['session']:,.0f} by the "
        "session"
        for rows, ways in document["bare"].items()
    )
    return f"""# The service beside KServe and MLServer

The same SavedModel behind this service and behind the Python servers of {" and ".join(document["peers"])}, asked with
the same rows of real flights in the same bytes. Each server has one and the same core for itself while it is its turn;
h2load asks from another one, each connection with one request at a time. Their answers to the same rows are at most
{document["apart"]:.0e} apart.

{table(document)}

{told}
{told_unlogged}

- The peers run a model class as their users write it (`benchmarks/serving_peers/peers/`), quiet and without worker
  processes, which is their fastest on one core.
  `MLServer, batching` waits {MLSERVER_BATCH["max_batch_time"] * 1000:g} ms for up to
  {MLSERVER_BATCH["max_batch_size"]} requests, to answer them together.
- The service runs as in production: it checks the contract of the version and writes the payload log. It runs the graph
  of the model in a session, which is faster than the signature that the peers call, and answers requests that wait by
  one call of it.
- Calls per second of the model without a server, on the same core: {bare}.

## What a request costs

A core is to answer {WANTED_PER_SECOND:,} requests of one row per second, so each may take
{1e6 / WANTED_PER_SECOND:.0f} µs of its time. Over {most} connections the service {reached} that with REST:
{per_second:,.0f}. Its time goes into:

{parts_table(document)}

`{SERVER_ALONE}` is what uvicorn and Starlette, or gRPC's own server for asyncio, take for a request that asks
nothing of the service, over the network. The parts below it were called in a loop. `everything else` is what is left of
the time of the whole process: headers, metrics, payload log, the way between the threads, and what the parts take more
when other work runs between them.

{document["turns"]} turns of {document["turn_seconds"]:g} s for each figure, on {on["cores"]} cores
({on["processor"]}), commit `{on["commit"]}`, {on["date"]}; medians are [among the figures](serving-peers.json).
`make serving-peers` measures again and writes this page.
"""


def _told(service: str, worse: list[str]) -> str:
    if worse:
        return f"{service} is not ahead everywhere: {'; '.join(worse)}."
    return f"{service} answers more requests per second than any peer, and has the shortest p99, in each row."


def row(document: Mapping[str, Any], path: Path) -> str:
    """What one row a request over most connections showed, as a row of a table of a page."""
    servers = busiest(document)
    ours = servers[OURS]
    theirs = ", ".join(
        f"{name} {of['requests_per_second']:,.0f} and {of['p99_ms']:.0f} ms"
        for name, of in servers.items()
        if name not in (OURS, UNLOGGED)
    )
    link = PAGE.name if path.parent.name == "docs" else f"docs/{PAGE.name}"
    return (
        f"{QUOTED} {ours['requests_per_second']:,.0f} requests/s over REST, p99 {ours['p99_ms']:.0f} ms | "
        f"{theirs} ([side by side]({link})) |"
    )

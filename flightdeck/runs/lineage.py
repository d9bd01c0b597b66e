"""``flightdeck runs lineage``: where a model came from, down to the files, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.console import console, plain, print_json, shown
from flightdeck.options import Options

if TYPE_CHECKING:
    from rich.tree import Tree

    from ledger.lineage import Lineage, Node

_MOST = 20  # things below one; the rest is counted


def lineage(
    options: Options,
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|RUN|VERSION",
            help="A pushed version, a model's number in the metadata store, or a run as of `runs show`. "
            "`version:`, `model:` or `run:` before it says which.",
        ),
    ],
    upstream: Annotated[bool, typer.Option("--upstream", help="Only where it came from.")] = False,
    downstream: Annotated[bool, typer.Option("--downstream", help="Only what came of it.")] = False,
    dot: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a graph for Graphviz; - is standard output.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Show everything, however much.")] = False,
) -> None:
    """Show where a model came from and what came of it.

    Upstream to the Parquet files, the code and the settings; downstream to the pushed versions, rollbacks and
    predictions.
    """
    from ledger import lineage as ledger

    direction = "both" if upstream == downstream else "upstream" if upstream else "downstream"
    traced = ledger.trace(options.store(), what, direction)
    if dot is not None:
        _write_dot(traced, dot)
    if options.as_json:
        print_json(vars(traced) | {"nodes": list(traced.nodes.values())})
    elif dot is None:
        _print(traced, None if all_ else _MOST)
    elif dot != "-":
        typer.echo(f"Wrote {shown(dot)}: {len(traced.nodes)} things, {len(traced.edges)} links")


def _write_dot(traced: Lineage, destination: str) -> None:
    import storage
    from ledger.dot import written
    from ledger.opening import LedgerError

    text = written(traced)
    if destination == "-":
        typer.echo(text, nl=False)
        return
    try:
        storage.write(Path(destination), text)
    except OSError as error:
        raise LedgerError(f"The graph cannot be written to {destination} ({error.strerror}).") from None


def _print(traced: Lineage, most: int | None) -> None:
    on = console()
    for heading, keys, drawn in (
        ("Where it came from", traced.upstream_of, _Drawing(traced, most, upstream=True)),
        ("What came of it", traced.downstream_of, _Drawing(traced, most, upstream=False)),
    ):
        if keys:
            on.print(f"[bold]{heading}[/]")
            for key in keys:
                # A line that is too long for the screen goes on on the next one, and is whole in a file.
                on.print(drawn.tree(key), no_wrap=True, overflow="ignore", crop=False)
            on.print()
    for key, times in traced.compared.items():
        if key in traced.downstream_of:
            evaluations = "1 evaluation" if times == 1 else f"{times:,} evaluations"
            plain(on, f"{traced.nodes[key].name} was the champion in {evaluations} of others.")


class _Drawing:
    """Trees from a thing to what it was made from, or to what was made from it; each thing once, then by name."""

    def __init__(self, traced: Lineage, most: int | None, upstream: bool) -> None:
        self._nodes, self._sources, self._targets = traced.nodes, traced.sources(), traced.targets()
        self._most = most
        self._upstream = upstream
        self._drawn: set[str] = set()

    def tree(self, key: str) -> Tree:
        from rich.tree import Tree

        root = Tree(self._line(key))
        self._grow(root, key)
        return root

    def _grow(self, tree: Tree, key: str) -> None:
        self._drawn.add(key)
        below = sorted(dict.fromkeys(self._below(key)), key=self._place)
        for other in below[: self._most]:
            if other in self._drawn:
                tree.add(f"{_styled(self._nodes[other])}  [dim](see above)[/]")
            else:
                self._grow(tree.add(self._line(other)), other)
        if self._most is not None and len(below) > self._most:
            tree.add(f"[dim]and {len(below) - self._most:,} more: add --all[/]")

    def _below(self, key: str) -> Iterator[str]:
        """The inputs of the execution that made a thing; or what was made from it, or else the execution itself."""
        if self._upstream:
            for maker in self._sources.get(key, []):
                yield from (edge.source for edge in self._sources.get(maker.source, []))
        elif self._nodes[key].kind != "execution":
            for user in self._targets.get(key, []):
                yield from [edge.target for edge in self._targets.get(user.target, [])] or [user.target]

    def _place(self, key: str) -> tuple[int, int]:
        """Models, then pushed versions, then the rest; of predictions, which may be many, the newest first."""
        node = self._nodes[key]
        if node.name.startswith("Predictions "):
            return 3, -int(key.rpartition(" ")[2])
        return {"Model": 0, "PushedModel": 1}.get(node.type, 2), 0

    def _line(self, key: str) -> str:
        makers = [self._nodes[edge.source] for edge in self._sources.get(key, [])]
        return _described(self._nodes[key], makers[0] if makers else None)


def _described(node: Node, maker: Node | None) -> str:
    from rich.markup import escape

    from ledger.dot import label

    parts = [_styled(node), *(escape(fact) for fact in label(node)[1:])]
    if maker is not None and node.kind == "artifact":
        run = f", run {maker.run_id}" if maker.run_id else ""
        who = "".join(f", {fact}" for fact in label(maker)[1:] if fact.startswith("by "))
        parts.append(f"[dim]{escape(f'from {maker.name}{run}{who}')}[/]")
    if node.facts.get("state") == "failed":
        parts.append("[bold red]failed[/]")
    return "  ".join(parts)


def _styled(node: Node) -> str:
    from rich.markup import escape

    from ledger.dot import label

    style = {"Model": "bold cyan", "PushedModel": "bold green"}.get(node.type, "bold")
    return f"[{style}]{escape(label(node)[0])}[/]"

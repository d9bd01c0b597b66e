"""Lineage as a graph in Graphviz's language DOT, for `dot -Tsvg` and everything else that reads it."""

from __future__ import annotations

import json

from ledger.lineage import Lineage, Node

_SHAPES = {"artifact": "box", "execution": "ellipse", "file": "note", "code": "component", "settings": "component"}
_COLOURS = {"Model": "#cfe3f6", "PushedModel": "#cdebd4"}


def written(lineage: Lineage) -> str:
    """A graph in DOT, from what came first at the top to what came of it at the bottom."""
    asked = {*lineage.upstream_of, *lineage.downstream_of}
    lines = [
        "digraph lineage {",
        f"  label={_quoted(f'Lineage of {lineage.asked}')};",
        "  labelloc=t;",
        "  rankdir=TB;",
        '  node [fontname="Helvetica", fontsize=11, style=filled, fillcolor="#f4f4f4"];',
        '  edge [fontname="Helvetica", fontsize=9, color="#777777"];',
        *(f"  {_quoted(node.key)} [{_attributes(node, node.key in asked)}];" for node in lineage.nodes.values()),
        *(
            f"  {_quoted(edge.source)} -> {_quoted(edge.target)} [label={_quoted(edge.name)}];"
            for edge in lineage.edges
        ),
        "}",
    ]
    return "\n".join(lines) + "\n"


def label(node: Node) -> list[str]:
    """What to write on a node: its name, and one or two lines that matter of it."""
    facts = node.facts
    lines = [node.name]
    if node.kind == "file":
        lines.append(f"{facts['bytes']:,} bytes, sha256 {facts['sha256'][:12]}")
    elif node.kind == "code":
        whose = f" of {facts['of']}" if "of" in facts else ""
        lines = [f"commit {node.name}{whose}", "with uncommitted changes" if facts.get("dirty") else "as committed"]
    elif node.kind == "settings":
        lines = [f"settings {node.name}", *([f"packages {facts['lock']}"] if "lock" in facts else [])]
    elif "pushed_version" in facts:
        lines.append(f"version {facts['pushed_version']}")
    elif facts.get("pushed") is False:
        lines.append("not pushed")
    elif "blessed" in facts:
        lines.append("blessed" if facts["blessed"] else "not blessed")
    elif "row_counts" in facts:
        lines.append(_rows(str(facts["row_counts"])))
    if node.run_id and node.kind == "execution":
        lines.append(f"run {node.run_id}")
    if "who" in facts:
        lines.append(f"by {facts['who']}" + (f": {facts['reason']}" if facts.get("reason") else ""))
    return lines


def _rows(counts: str) -> str:
    """Rows by split, such as {"train": 5000} -> 5,000 train."""
    try:
        return ", ".join(f"{rows:,} {split}" for split, rows in json.loads(counts).items())
    except (ValueError, AttributeError):  # of another component's making
        return f"rows {counts}"


def _attributes(node: Node, asked: bool) -> str:
    attributes = {
        "label": "\n".join(label(node)),
        "shape": _SHAPES[node.kind],
        "tooltip": str(node.facts.get("uri") or node.facts.get("sha256") or node.facts.get("commit") or node.key),
    }
    if node.type in _COLOURS:
        attributes["fillcolor"] = _COLOURS[node.type]
    if asked:
        attributes["penwidth"] = "3"
    return ", ".join(f"{name}={_quoted(value)}" for name, value in attributes.items())


def _quoted(text: str) -> str:
    """A string of DOT, in which a quote is escaped, and so is the backslash that begins Graphviz's own escapes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n") + '"'

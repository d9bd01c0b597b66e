"""Pictures of graphs: what hangs on what, in layers from top to bottom."""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import fast_sugiyama

_CHARACTER = 8.4  # pixels of the widest of the usual fonts, on average
_PADDING = 34
_LAYER = 92  # from one layer to the next
_GAP = 26  # between neighbours
_MARGIN = 8


@dataclasses.dataclass(frozen=True)
class Box:
    """A node to draw: two lines of text, the second one smaller, and a class of the style sheet."""

    key: str
    title: str
    detail: str = ""
    style: str = ""


@dataclasses.dataclass(frozen=True)
class Placed:
    """A box with its place: left upper corner and width, in pixels."""

    box: Box
    x: float
    y: float
    width: float


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A picture, in pixels; `paths` has an SVG path for each edge, and every box has the same height."""

    width: float
    height: float
    boxes: list[Placed]
    paths: list[str]
    box_height: int = 50


def draw(boxes: Sequence[Box], edges: Iterable[tuple[str, str]]) -> Drawing:
    """Lays a graph out in layers (Sugiyama, Tagawa and Toda 1981), with few crossings, the same every time.

    Nodes come upstream ones first; edges are pairs of keys, of which those with unknown nodes are left out.
    """
    number = {box.key: index for index, box in enumerate(boxes)}
    # As integers: the library would put names into a set, whose order differs from process to process.
    pairs = sorted({(number[a], number[b]) for a, b in edges if a in number and b in number and a != b})
    widths = [max(len(box.title), len(box.detail) * 0.8) * _CHARACTER + _PADDING for box in boxes]
    column = max(widths, default=0) + _GAP
    centres: dict[int, tuple[float, float]] = {}
    paths: list[list[int]] = []
    left = 0.0
    parts = fast_sugiyama.from_edges(pairs, vertex_spacing=1, dummy_vertices=True, check_layout=False) if pairs else []
    offset = len(boxes)
    for positions, width, height, edges_drawn in parts:
        # Points on the way of an edge over several layers are numbered anew in each part.
        names = {node: int(node) if int(node) < len(boxes) else offset + int(node) for node, _ in positions}
        offset += max((int(node) for node, _ in positions), default=0) + 1
        low = min(x for _, (x, _) in positions)
        for node, (x, y) in positions:
            centres[names[node]] = (left + (x - low) * column + column / 2, (height - y) * _LAYER)
        follow = defaultdict(list)
        for a, b in edges_drawn or ():
            follow[names[a]].append(names[b])
        for start in [node for node in follow if node < len(boxes)]:
            for successor in follow[start]:
                way = [start, successor]
                while way[-1] >= len(boxes):
                    way.append(follow[way[-1]][0])
                paths.append(way)
        left += width * column + column
    alone = [index for index in range(len(boxes)) if index not in centres]
    for place, index in enumerate(alone):
        centres[index] = (left + column / 2, place * _LAYER)
    # Points on the way of an edge have no width.
    half = defaultdict(float, {node: width / 2 for node, width in enumerate(widths)})
    centres = _tightened(centres, half)
    x_low = min((x - half[node] for node, (x, _) in centres.items()), default=0) - _MARGIN
    placed = [
        Placed(box, round(centres[at][0] - widths[at] / 2 - x_low, 1), round(centres[at][1] + _MARGIN, 1), widths[at])
        for at, box in enumerate(boxes)
    ]
    points = {node: (x - x_low, y + _MARGIN) for node, (x, y) in centres.items()}
    height = max((box.y for box in placed), default=0) + Drawing.box_height + _MARGIN
    width = max(
        [box.x + box.width for box in placed] + [x for node, (x, _) in points.items() if node >= len(boxes)],
        default=0,
    )
    return Drawing(round(width + _MARGIN), round(height), placed, [_path([points[at] for at in way]) for way in paths])


def _tightened(centres: dict[int, tuple[float, float]], half: Mapping[int, float]) -> dict[int, tuple[float, float]]:
    """The same with columns as wide as what stands in them: x is squeezed between neighbouring places."""
    low = min((x for x, _ in centres.values()), default=0.0)
    layers: dict[float, list[int]] = defaultdict(list)
    for node, (_, y) in centres.items():
        layers[y].append(node)
    # The factor by which everything may shrink before two neighbours of a layer touch.
    factor = 0.35
    for nodes in layers.values():
        ordered = sorted(nodes, key=lambda node: centres[node][0])
        for a, b in itertools.pairwise(ordered):
            needed = half[a] + half[b] + _GAP
            distance = centres[b][0] - centres[a][0]
            factor = max(factor, min(1.0, needed / distance)) if distance else 1.0
    return {node: ((x - low) * factor, y) for node, (x, y) in centres.items()}


def _path(points: list[tuple[float, float]]) -> str:
    """A smooth line through points, from below the first box to above the last."""
    (x, y), *_ = points
    y += Drawing.box_height
    path = f"M{x:.1f} {y:.1f}"
    for at, (next_x, next_y) in enumerate(points[1:], start=2):
        middle = (y + next_y) / 2
        path += f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}"
        x, y = next_x, next_y
        if at < len(points):  # past the layer that it only passes through
            y += Drawing.box_height
            path += f"V{y:.1f}"
    return path

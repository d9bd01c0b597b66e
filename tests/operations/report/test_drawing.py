"""The layout of graphs."""

import itertools
import subprocess
import sys

import pytest

from operations.report.drawing import Box, Drawing, draw

pytestmark = pytest.mark.unit

EDGES = [
    ("read", "count"), ("read", "learn"), ("count", "check"), ("rules", "check"), ("check", "learn"),
    ("learn", "judge"), ("learn", "probe"), ("judge", "push"), ("probe", "push"), ("read", "push"), ("a", "b"),
]  # fmt: skip
BOXES = [Box(name, name, "done, 1.0 s") for name in dict.fromkeys([*itertools.chain(*EDGES), "alone"])]


def test_edges_point_down_and_boxes_do_not_overlap():
    drawing = draw(BOXES, EDGES)
    placed = {box.box.key: box for box in drawing.boxes}
    assert set(placed) == {box.key for box in BOXES}
    assert len(drawing.paths) == len(EDGES)
    for start, end in EDGES:
        assert placed[start].y + Drawing.box_height < placed[end].y
    for one, other in itertools.combinations(placed.values(), 2):
        apart = (
            one.x + one.width <= other.x
            or other.x + other.width <= one.x
            or one.y + Drawing.box_height <= other.y
            or other.y + Drawing.box_height <= one.y
        )
        assert apart, (one, other)
    for box in placed.values():
        assert 0 <= box.x <= drawing.width - box.width
        assert box.y + Drawing.box_height <= drawing.height


def test_unknown_nodes_and_loops_are_left_out_and_there_may_be_no_edges_or_nodes():
    boxes = [Box("a", "a"), Box("b", "b")]
    assert len(draw(boxes, [("a", "b"), ("a", "nobody"), ("a", "a")]).paths) == 1
    assert len(draw(boxes, []).boxes) == 2
    assert draw([], []).boxes == []


def test_the_same_in_every_process():
    code = "from tests.operations.report.test_drawing import BOXES, EDGES, draw; print(draw(BOXES, EDGES))"
    environments = [{"PYTHONHASHSEED": seed, "PYTHONPATH": "."} for seed in ("1", "2")]
    one, other = (subprocess.check_output([sys.executable, "-c", code], env=own) for own in environments)
    assert one == other

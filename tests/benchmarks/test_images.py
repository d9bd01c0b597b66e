"""The page of the images tells what was measured."""

import json

import pytest

from benchmarks import images

pytestmark = pytest.mark.unit


def test_a_row_has_the_size_and_the_median_of_the_starts():
    measured = {"bytes": 1_640_000_000, "first_answer_seconds": [9.0, 5.4, 5.2]}
    told = images.row({"targets": {"serve": measured}}, "serve")
    assert told.startswith("| `serve` | those of `requirements/serve.txt`")
    assert "| 1.6 GB | 5 s |" in told


def test_the_page_tells_no_other_figures_than_those_that_were_measured():
    lines = images.PAGE.read_text().splitlines()
    measured = json.loads(images.FIGURES.read_text())
    assert [row for target in measured["targets"] if (row := images.row(measured, target)) not in lines] == []
    assert {"cpu", "serve"} <= measured["targets"].keys()

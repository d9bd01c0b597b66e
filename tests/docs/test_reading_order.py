"""The reading orders lead through files that are there, few and short enough to be read in an hour."""

import re

import pytest

from tests.world import ROOT

pytestmark = pytest.mark.unit


def files_in_order(folder: str):
    lines = re.findall(r"^\d+\. .*$", (ROOT / folder / "README.md").read_text(), re.MULTILINE)
    assert all(re.search(r"\): \S.*\.$", line) for line in lines), "each has one sentence"
    return [(ROOT / folder / link).resolve() for line in lines for link in re.findall(r"\]\(([^)]+)\)", line)]


@pytest.mark.parametrize("folder", ["pipeline", "operations"])
def test_a_reading_order_leads_through_a_dozen_files(folder):
    files = files_in_order(folder)

    assert 5 < len(files) <= 12
    assert all(file.is_file() for file in files)


def test_the_reference_pipeline_is_read_in_1500_lines_and_below_operations():
    files = files_in_order("pipeline")

    assert sum(len(file.read_text().splitlines()) for file in files) <= 1500
    assert {file.relative_to(ROOT).parts[0] for file in files} <= {"data", "models", "components", "ledger", "pipeline"}


def test_the_readme_is_at_most_150_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150

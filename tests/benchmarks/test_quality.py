"""The network and the trees stand side by side, and the pages quote what was measured."""

import json

import pytest

from benchmarks import pipeline, quality
from tests.benchmarks.test_pipeline import MACHINE

pytestmark = pytest.mark.unit


@pytest.fixture
def document() -> dict:
    def runs(*areas: float) -> list[dict]:
        return [{"auc": area, "log_loss": 0.5, "seconds": 2.0} for area in areas]

    models = {quality.NETWORK: runs(0.70, 0.72), quality.PLAIN: runs(0.69, 0.69), quality.TREES: runs(0.705)}
    months = [{"newest": 12, "rows": {"train": 900, "eval": 100}, "models": models}]
    return {"machine": MACHINE, "months": months}


def test_the_network_is_shown_by_mean_and_range_over_the_seeds(document):
    rows = quality.table(document).splitlines()
    assert "| December | network | 0.7100 | 0.7000, 0.7200 | 0.5000 | 2.0 |" in rows
    assert "| December | gradient-boosted trees | 0.7050 | 0.7050, 0.7050 | 0.5000 | 2.0 |" in rows


def test_the_page_says_what_was_compared(document):
    page = quality.page(document)
    assert "means over 2 seeds" in page
    assert "December: 900 and 100" in page


def test_a_page_quotes_the_figures(document, tmp_path):
    page = tmp_path / "README.md"
    page.write_text("| ROC AUC on June | soon | never |\n")
    pipeline.quote(page, quality.QUOTED, quality.row(document, page))
    assert page.read_text() == (
        "| ROC AUC on December, trained on January to November, mean of 2 seeds | 0.7100 | 0.7050 with gradient "
        "boosting on the same features ([side by side](docs/quality.md)) |\n"
    )


@pytest.mark.parametrize("name", pipeline.QUOTING)
def test_no_page_quotes_other_figures_than_those_that_were_measured(name):
    page = pipeline.ROOT / name
    measured = json.loads((pipeline.ROOT / "docs" / "quality.json").read_text())
    assert quality.row(measured, page) in page.read_text().splitlines()

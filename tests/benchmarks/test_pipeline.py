"""What the three sides did is compared before what they took, and the page says both."""

import copy
import json

import pytest

from benchmarks import pipeline
from tests.benchmarks.test_growth import figures

pytestmark = pytest.mark.unit

RUN = {
    "seconds": 10.0,
    "cpu_seconds": 15.0,
    "peak_mb": 1000.0,
    "rows": {"train": 900, "eval": 100},
    "columns": [26, 26],
    "slices": 38,
    "metrics": {"auc": 0.7},
    "nodes": {"imports": {"seconds": 4.0}, "Trainer": {"seconds": 5.0}, "Pusher": {"seconds": 0.5}},
}
MACHINE = {
    "processor": "a chip",
    "cores": 2,
    "memory_gb": 24.2,
    "system": "Linux 6, Python 3.11",
    "versions": {"tfx": "1.21.0"},
    "commit": "abc",
    "date": "2026-01-02",
}


def changed(**values) -> dict:
    return copy.deepcopy(RUN) | values


@pytest.fixture
def document() -> dict:
    bare = [changed(seconds=seconds, nodes={"train": {"seconds": 3.0}}) for seconds in (4.0, 5.0, 8.0)]
    flightdeck = [changed(seconds=seconds, metrics={"auc": 0.702}) for seconds in (11.0, 10.0, 9.0)]
    stock = [changed(seconds=seconds) for seconds in (66.0, 50.0, 54.0)]
    return {"machine": MACHINE, "runs": {"bare": bare, "flightdeck": flightdeck, "stock": stock}}


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (changed(), None),
        (changed(seconds=99.0, metrics={"auc": 0.7049}), None),
        (changed(rows={"train": 900, "eval": 99}), "They did not do the same work; rows: "),
        (changed(columns=[26, 25]), "They did not do the same work; columns: [26, 25] and [26, 26]."),
        (changed(slices=37), "They did not do the same work; slices: 37 and 38."),
        (changed(metrics={"auc": 0.7051}), "Their models differ: ROC AUC 0.7000, 0.7051."),
    ],
)
def test_only_runs_of_the_same_work_are_compared(other, problem):
    said = pipeline.different_work([RUN, other])
    assert said is None if problem is None else said is not None and said.startswith(problem)


def test_totals_are_medians_with_their_range(document):
    _, _, *rows = pipeline.totals(document).splitlines()
    assert rows == [
        "| bare script | 5.0 | 4.0, 8.0 | 15.0 | 1,000 |",
        "| `flightdeck run` | 10.0 | 9.0, 11.0 | 15.0 | 1,000 |",
        "| stock TFX | 54.0 | 50.0, 66.0 | 15.0 | 1,000 |",
    ]


def test_ratios_are_of_runs_of_the_same_turn(document):
    assert pipeline.ratio(document, "flightdeck", "bare") == pytest.approx((2.0, 1.125, 2.75))
    assert pipeline.ratio(document, "stock", "flightdeck") == pytest.approx((6.0, 5.0, 6.0))


def test_a_page_quotes_the_figures(document, tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# Read me\n\n| `flightdeck run`, nothing cached | soon | never |\n| other | 1 | 2 |\n")
    pipeline.quote(page, pipeline.QUOTED, pipeline.row(document, page))
    _, _, quoted, *rest = page.read_text().splitlines()
    assert "10 s, peak memory 1.0 GB | 2.0 times a script" in quoted
    assert "6.0 times as fast as TFX's stock wiring ([measured in turn](docs/performance.md))" in quoted
    assert rest == ["| other | 1 | 2 |"]


@pytest.mark.parametrize("name", pipeline.QUOTING)
def test_no_page_quotes_other_figures_than_those_that_were_measured(name):
    page = pipeline.ROOT / name
    measured = json.loads((pipeline.ROOT / "docs" / "performance.json").read_text())
    assert pipeline.row(measured, page) in page.read_text().splitlines()


def test_parts_of_the_same_work_stand_side_by_side(document):
    rows = pipeline.nodes(document).splitlines()
    assert "| imports |  | 4.0 | 4.0 |" in rows
    assert "| Trainer | 3.0 | 5.0 | 5.0 |" in rows
    assert f"| {pipeline.OTHER} |  | 0.5 | 0.5 |" in rows


def test_the_page_says_what_was_compared_and_where(document):
    page = pipeline.page(document)
    for said in (
        "900 rows and evaluate on 100",
        "26 columns and 38 slices",
        "0.0020 apart",
        "2.0 times as long as the script (1.1 to 2.8)",
        "6.0 times as long as a run (5.0 to 6.0)",
        "A run 6 times as\nfast as stock TFX, which is aimed at, would take 9.0 s.",
        "alone take\n9.0 s of a run, and 3.0 s of the script",
        "Medians of 3 runs",
        "`abc`",
    ):
        assert said in page


def test_growth_is_on_the_page_once_it_was_measured(document, tmp_path):
    pipeline.write_page(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "performance.json").write_text(json.dumps(document))
    pipeline.write_page(tmp_path)
    alone = (tmp_path / "performance.md").read_text()
    (tmp_path / "growth.json").write_text(json.dumps({"machine": MACHINE, "sizes": {"1": figures(1)}}))
    pipeline.write_page(tmp_path)
    both = (tmp_path / "performance.md").read_text()
    assert alone == pipeline.page(document)
    assert both.startswith(f"{alone}\n## More flights")
    measured = pipeline.ROOT / "docs" / "input_pipeline.json"
    (tmp_path / measured.name).write_text(measured.read_text())
    pipeline.write_page(tmp_path)
    assert (tmp_path / "performance.md").read_text().startswith(f"{alone}\n## Input of the Trainer")

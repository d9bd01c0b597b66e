"""The pages tell of a replay what its document says."""

import json

import pytest

from benchmarks import pipeline, replay

pytestmark = pytest.mark.unit


def level(number: int, loss: float) -> dict:
    months = [
        {"month": month, "log_loss": {"value": loss + later, "low": None, "high": None}}
        for later, month in enumerate(("2013-07", "2013-08"))
    ]
    return {
        "level": number,
        "months": months,
        "log_loss": loss,
        "auc": 0.7,
        "trainings": 3,
        "deployments": 2,
        "rollbacks": 1,
        "false_alarms": [{"kind": "drift", "judged": 399, "exceeded": 2, "subjects": {}}],
        "fault": None,
        "events": [{"kind": "training"}],
    }


@pytest.fixture
def document() -> dict:
    comparisons = [
        {"level": 2, "against": other, "metric": metric, "difference": -0.02, "low": -0.03, "high": -0.01, "rows": 9}
        for other in (0, 1)
        for metric in ("auc", "log_loss")
    ]
    clean = {"levels": [level(0, 0.6), level(1, 0.5), level(2, 0.4)], "comparisons": comparisons}
    fault = {"column": "temp", "month": "2013-07", "detected_after_days": 31.0, "named": True, "action": "alert"}
    return replay.figures(clean, {"celsius@7": {"levels": [level(2, 0.45) | {"fault": fault}]}})


def test_the_page_has_each_month_and_what_became_of_a_fault(document):
    told = dict(replay.rows(document, replay.PAGE))
    assert told["| July |"] == "| July | 0.6000 | 0.5000 | 0.4000 |"
    assert told["| trainings, deployments, rollbacks |"].endswith("| 3, 2, 1 | 3, 2, 1 | 3, 2, 1 |")
    assert told["Signals exceeded at level 2:"] == "Signals exceeded at level 2: drift 2 of 399."
    assert told["| `celsius@7` |"] == (
        "| `celsius@7` | after 31 days, names `temp` | alert | 0.4500 | 0.4000 | 1.4500 | 1.4000 |"
    )


def test_the_readme_says_how_much_better_the_higher_level_is(document):
    told = dict(replay.rows(document, replay.README))
    assert told["| AUC |"] == "| AUC | 0.700 | 0.700 | 0.700 |"
    assert told["Level 2 is better than level 1 by"] == (
        "Level 2 is better than level 1 by 0.0200 (0.0100 to 0.0300), and than level 0 by 0.0200 (0.0100 to 0.0300)."
    )


def test_the_figures_leave_out_what_happened_when(document):
    assert all("events" not in played for played in document["clean"]["levels"])


@pytest.mark.parametrize("name", [replay.README, replay.PAGE])
def test_no_page_quotes_other_figures_than_those_that_were_measured(name):
    lines = (pipeline.ROOT / name).read_text().splitlines()
    measured = json.loads(replay.FIGURES.read_text())
    assert [row for _, row in replay.rows(measured, name) if row not in lines] == []

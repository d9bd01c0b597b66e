"""What a comment on a pull request says of two runs, and that a branch cannot write into it what it likes."""

import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from errors import FlightdeckError
from ledger.comparison import Change, Comparison, MetricChange, SliceChange
from ledger.run_record import RunRecord
from ledger.significance import BOOTSTRAP, SignificanceTest
from operations.experiments import branch_comparison as branch
from tests.repository import commit, git

pytestmark = pytest.mark.unit


MAIN = RunRecord(
    run_id="a",
    started=datetime(2013, 7, 1, tzinfo=UTC),
    outcome="blessed",
    commit="a" * 40,
    spans={"train": [1, 2], "eval": [3]},
    rows={"eval": 1500},
    metrics={"auc": 0.7, "row_count": 1500.0},
)
BRANCH = MAIN.model_copy(update={"commit": "b" * 40, "metrics": {"auc": 0.71, "row_count": 1500.0}})
NOISE = SignificanceTest("auc", 0.7, 0.71, 0.01, 0.004, 0.016, 0.002, "DeLong", 1500)
COMPARISON = Comparison(
    first=MAIN,
    second=BRANCH,
    sections={"outcome": [], "code": [Change("commit", "a", "b")], "data": []},
    unknown={},
    main_metric="auc",
    metrics=[MetricChange("auc", 0.7, 0.71, 0.01, NOISE, "better", 0.002)],
    slices=[],
    same_rows=True,
    why_not=None,
)


def markdown(packages_differ: bool = False, **fields: Any) -> str:
    return branch.markdown(dataclasses.replace(COMPARISON, **fields), {"auc": "higher"}, packages_differ)


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_every_metric_is_a_row_the_main_one_first_and_what_is_the_same_says_so():
    text = markdown()

    assert rows(text)[2:] == [
        ["auc", "higher", "0.7000", "0.7100", "+0.0100", "+0.0040 to +0.0160", "**better**"],
        ["row_count", "-", "1,500", "1,500", "0", "-", "the same"],
    ]
    assert "Main: `aaaaaaaaaaaa`, blessed. This branch: `bbbbbbbbbbbb`, blessed." in text
    assert "evaluated on span 3, 1,500 rows" in text
    assert "What differs between the runs: code." in text
    assert "lock files" not in text


def test_metrics_of_classes_have_the_direction_of_their_kind():
    name = "recall/very late"
    change = MetricChange(name, 0.2, 0.3, 0.1, dataclasses.replace(NOISE, test=BOOTSTRAP), "better", 0.002)
    comparison = dataclasses.replace(
        COMPARISON, second=MAIN.model_copy(update={"metrics": {name: 0.3}}), metrics=[change]
    )

    text = branch.markdown(comparison, {"class_recall": "higher"}, False)

    assert ["recall/very late", "higher", "0.2000", "0.3000", "+0.1000"] in [row[:5] for row in rows(text)]
    assert "(all by a paired bootstrap)" in text


def test_without_a_test_the_reason_stands_there():
    text = markdown(packages_differ=True, metrics=[MetricChange("auc", 0.7, 0.71, 0.01)], why_not="Other rows.")

    assert rows(text)[2] == ["auc", "higher", "0.7000", "0.7100", "+0.0100", "-", "not tested"]
    assert "No change was tested: Other rows." in text
    assert "with the packages of this branch" in text


def test_a_change_that_changes_no_metric_says_so():
    assert "No metric differs." in markdown(metrics=[], second=MAIN)
    assert "No metric differs." not in markdown()


def test_slices_that_are_worse_are_listed_and_not_without_end():
    change = MetricChange("auc", 0.7, 0.6, -0.1, None, "worse", 0.001)
    text = markdown(slices=[SliceChange(f"origin = {number}", change, 10, 10) for number in range(14)])

    assert "corrected for how many there are (14)" in text
    assert text.count("- `origin = ") == 10
    assert "- and 4 more" in text


def test_a_branch_cannot_write_markup_links_or_mentions():
    evil = "a | b <img src=x> [x](http://evil) @everyone `code`\n# title"
    text = markdown(
        second=BRANCH.model_copy(update={"metrics": {evil: 1.5}}),
        metrics=[MetricChange(evil, None, 1.5, None)],
        slices=[SliceChange(evil, MetricChange("auc", 1, 0, -1.0, None, "worse", 0.0), 1, 1)],
        sections={evil: [Change("x", 1, 2)]},
    ) + branch.unavailable(evil)

    # Within backquotes nothing is markup, and the text cannot end them.
    outside = "".join(re.split(r"(?<!\\)`", text)[::2])
    assert "<img" not in outside
    assert "@everyone" not in outside
    assert "\\[x\\]" in text
    assert not [line for line in text.splitlines() if line.startswith("# ")]
    assert len({line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}) == 1


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A main branch of two commits; a branch that left it at the first one is checked out."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, {"file": "1\n"})
    git(folder, "checkout", "-qb", "branch")
    commit(folder, {"file": "2\n"})
    git(folder, "checkout", "-q", "main")
    commit(folder, {"file": "3\n"})
    git(folder, "checkout", "-q", "branch")
    return folder


def test_the_commit_where_the_branch_left_main_is_checked_out_and_removed_again_also_after_a_failure(repository):
    with branch.worktree(repository, branch.merge_base(repository, "main")) as checkout:
        assert (checkout / "file").read_text() == "1\n"
        assert (repository / "file").read_text() == "2\n"
    with pytest.raises(RuntimeError), branch.worktree(repository, "HEAD") as other:
        raise RuntimeError
    assert not checkout.exists()
    assert not other.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1


@pytest.mark.parametrize("name", ["absent", "--output=/tmp/x"])
def test_a_branch_that_is_not_there_is_a_sentence(repository, name):
    with pytest.raises(FlightdeckError):
        branch.merge_base(repository, name)


def test_a_shallow_clone_is_told_to_fetch_more(repository, tmp_path):
    options = ["-q", "--depth=1", "--no-single-branch", "-b", "branch"]
    git(tmp_path, "clone", *options, f"file://{repository}", "shallow")

    with pytest.raises(FlightdeckError, match="fetch-depth: 0"):
        branch.merge_base(tmp_path / "shallow", "origin/main")

"""What CI says of a change, as a person runs it: whether the data fits, and what becomes of the metrics."""

from pathlib import Path
from typing import Any

import pytest

from tests.damaged_spans import damaged
from tests.repository import git
from tests.world import LOCAL, ROOT, World

pytestmark = pytest.mark.e2e
SMALL_CONFIG = ("--config", str(ROOT / "config" / "small.yaml"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, small_spans: Path) -> World:
    return World(tmp_path_factory.mktemp("workspace"), small_spans)


@pytest.fixture(scope="module")
def ours(world: World) -> dict[str, Any]:
    """The run of a branch that learns faster."""
    return world.json("run", *SMALL_CONFIG, overrides=("model.learning_rate=0.02",))


def test_data_that_is_gone_in_part_does_not_fit_and_people_read_what(world, tmp_path):
    spans = damaged(world.spans, tmp_path, "carrier", None)
    done = World(world.workspace, spans).flightdeck("data", "check", *SMALL_CONFIG)

    assert done.returncode == 1, done.stderr
    assert "span 2, columns of the contract are missing: carrier" in done.stdout


def test_a_branch_is_compared_with_the_commit_where_it_left_main(world, ours, tmp_path):
    before = git(ROOT, "worktree", "list")
    comment = tmp_path / "ci" / "metrics.md"

    against = ("runs", "against", "HEAD", *SMALL_CONFIG, "--output", str(comment))
    comparison = world.json(*against, overrides=("model.learning_rate=0.0005",))

    head = git(ROOT, "rev-parse", "HEAD")
    assert comparison["base"] == head
    assert comparison["branch"] == ours["run_id"]
    assert comparison["main"] != ours["run_id"]
    auc = comparison["metrics"]["auc"]
    assert auc["branch"] == pytest.approx(ours["metrics"]["auc"])
    assert auc["delta"] == pytest.approx(auc["branch"] - auc["main"])
    assert auc["verdict"] in ("better", "worse", "within noise")
    text = comment.read_text()
    assert f"| auc | higher | {auc['main']:.4f} | {auc['branch']:.4f} | {auc['delta']:+.4f} |" in text
    assert f"Main: `{head[:12]}" in text
    assert "The same 1,500 rows in both" in text
    # The worktree is gone.
    assert git(ROOT, "worktree", "list") == before


def test_older_code_that_cannot_be_run_is_told_in_the_comment(world, ours, tmp_path):
    # The commit understands no such setting: it is laid into the worktree as the settings of both.
    config = tmp_path / "config" / "newer.yaml"
    config.parent.mkdir()
    base = ROOT / "config" / "small.yaml"
    config.write_text(base.read_text().replace("local.yaml", "absent.yaml"))
    (config.parent / "absent.yaml").write_text(LOCAL.read_text())
    for folder in ("data", "models"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    comment = tmp_path / "metrics.md"

    done = world.flightdeck("runs", "against", "HEAD", "--config", str(config), "--output", str(comment))

    assert done.returncode == 1, done.stdout + done.stderr
    assert "There is no comparison: The older code could not be run" in comment.read_text()
    assert "absent.yaml" in comment.read_text()

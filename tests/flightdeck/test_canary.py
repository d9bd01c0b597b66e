"""What a run pushes is tried first: the first version is served at once, the next beside it until somebody decides."""

import pytest

from tests.world import World

pytestmark = pytest.mark.e2e


def test_the_first_version_is_served_at_once_and_the_next_one_is_tried_beside_it(small_spans, tmp_path):
    world = World(tmp_path / "workspace", small_spans, ("canary.mode=shadow", "canary.rows=100"))

    first = world.run()
    (served,) = world.json("models", "list")
    screen = world.says("run", overrides=("model.hidden_units=[8]",))
    canary, same = world.json("models", "list")

    # The first was promoted, for there was nothing to compare it with: nothing is left among the canaries but the next.
    assert (first["outcome"], served["origin"], served["served"]) == ("pushed", "promote", True)
    assert served["number"] != int(first["version"])
    assert first["pushed_to"].endswith("-canary")
    assert f"is compared with version {served['number']} in shadow mode" in screen
    assert (canary["canary"], canary["served"], same["number"]) == (True, False, served["number"])
    assert [each.name for each in (tmp_path / "workspace" / "models").glob("*-canary/*")] == [str(canary["number"])]
    shown = world.json("canary", "show")
    assert [each["action"] for each in shown["before"]] == ["promote"]
    assert shown["verdict"]["action"] == "wait"

    # A person may decide before enough was seen, with a reason; then the lineage of the version leads to both.
    assert "needs a --reason" in world.says("canary", "promote", expect=2)
    world.says("canary", "promote", "--reason", "it is urgent")
    now = world.json("models", "show")
    lineage = world.says("runs", "lineage", str(now["number"]))
    assert (now["model_id"], now["origin"]) == (canary["model_id"], "promote")
    assert "it is urgent" in now["reason"]
    assert "from Promote" in lineage
    assert "\u2500 Canary" in lineage

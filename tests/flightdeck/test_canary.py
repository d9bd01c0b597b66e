"""What a run pushes is tried first: the first version is served at once, the next beside it until somebody decides."""

import json

import pytest

pytestmark = pytest.mark.e2e


def test_the_first_version_is_served_at_once_and_the_next_one_is_tried_beside_it(world_in, small_spans, tmp_path):
    world = world_in(tmp_path / "workspace", small_spans)
    trial = ("canary.mode=shadow", "canary.rows=100")

    def flightdeck(*arguments: str, expect: int = 0, overrides: tuple[str, ...] = ()) -> str:
        done = world.flightdeck(*arguments, overrides=(*trial, *overrides))
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout or done.stderr

    first = world.run(*trial)
    (served,) = json.loads(flightdeck("models", "list", "--json"))
    screen = flightdeck("run", overrides=("model.hidden_units=[8]",))
    canary, same = json.loads(flightdeck("models", "list", "--json"))

    # The first was promoted, for there was nothing to compare it with: nothing is left among the canaries but the next.
    assert (first["outcome"], served["origin"], served["served"]) == ("pushed", "promote", True)
    assert served["number"] != int(first["version"])
    assert first["pushed_to"].endswith("-canary")
    assert f"is tried beside version {served['number']}" in screen
    assert (canary["on_trial"], canary["served"], same["number"]) == (True, False, served["number"])
    assert [each.name for each in (tmp_path / "workspace" / "models").glob("*-canary/*")] == [str(canary["number"])]
    shown = json.loads(flightdeck("canary", "show", "--json"))
    assert [each["action"] for each in shown["before"]] == ["promote"]
    assert shown["verdict"]["action"] == "wait"

    # A person may decide before enough was seen, with a reason; then the lineage of the version leads to both.
    assert "needs a --reason" in flightdeck("canary", "promote", expect=2)
    flightdeck("canary", "promote", "--reason", "it is urgent")
    now = json.loads(flightdeck("models", "show", "--json"))
    lineage = flightdeck("runs", "lineage", str(now["number"]))
    assert (now["model_id"], now["origin"]) == (canary["model_id"], "promote")
    assert "it is urgent" in now["reason"]
    assert "from Promote" in lineage
    assert "\u2500 Canary" in lineage

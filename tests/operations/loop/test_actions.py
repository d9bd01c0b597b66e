"""A decision is carried out once, below level 2 by nobody but a person, and a kill in between changes nothing."""

import json
from pathlib import Path

import pytest

from operations.loop.actions import Actions
from operations.monitoring import quarantine
from operations.monitoring.policy import Decision
from tests.operations.monitoring import windows
from tests.operations.test_registry import Factory

pytestmark = pytest.mark.unit


class World(Factory):
    """A workspace in which version 1 was served before version 2, and the alerts that were raised."""

    def __init__(self, workspace: Path) -> None:
        super().__init__(workspace)
        for number, run in enumerate(("one", "two"), start=1):
            self.push(run, self.train(run), number)
        (workspace / "spans" / "span-004").mkdir(parents=True)
        self.alerts: list = []

    def carry_out(self, decision: Decision, level: int = 2, alert=None):
        return Actions(self.watched(level=level), self.store).carry_out(decision, alert or self.alerts.append)

    def numbers(self) -> list[int]:
        return [version.number for version in self.registry().versions()]

    def marked(self) -> list[int]:
        return [marked.span for marked in quarantine.listed(self.settings)]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "workspace")


def decision(action: str, **fields) -> Decision:
    return windows.decision(action, text="It is worse.", **{"window": "2024-04", "version": "2", **fields})


def test_a_version_is_rolled_back_once_with_the_decision_as_the_reason(world):
    act = world.carry_out(decision("roll back"))

    served = world.registry().served()
    assert (act.outcome, served.restores, served.reason) == ("done", 1, "2024-04: It is worse.")
    assert world.carry_out(decision("roll back")) is None
    assert len(world.numbers()) == 3
    assert [alert.severity for alert in world.alerts] == ["critical"]


def test_killed_after_the_rollback_it_is_neither_done_twice_nor_forgotten(world):
    def killed(_alert):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.carry_out(decision("roll back"), alert=killed)
    versions = world.numbers()

    act = world.carry_out(decision("roll back"))

    assert world.numbers() == versions
    assert act.outcome == "done"
    assert [each.facts["action"] for each in world.alerts] == ["roll back"]
    assert world.carry_out(decision("roll back")) is None


def test_a_person_was_faster(world):
    world.registry().rollback(reason="by hand")

    act = world.carry_out(decision("roll back"))

    assert (act.outcome, len(world.numbers()), world.alerts) == ("passed over", 3, [])


@pytest.mark.parametrize("level", [0, 1])
def test_below_level_two_a_person_is_asked_once_and_told_the_command(world, level):
    first, again = (world.carry_out(decision("roll back"), level) for _ in range(2))

    assert (first.outcome, again, world.numbers()) == ("proposed", None, [2, 1])
    assert ["flightdeck models rollback --to 1" in alert.text for alert in world.alerts] == [True]


def test_without_an_earlier_model_a_person_is_asked(tmp_path):
    factory = Factory(tmp_path / "workspace")
    factory.push("one", factory.train("one"), 1)

    act = Actions(factory.watched(level=2), factory.store).carry_out(
        decision("roll back", version="1"), lambda alert: None
    )

    assert act is not None
    assert act.outcome == "proposed"
    assert "no earlier blessed model" in act.text


def test_spans_are_marked_once_and_stay_released_when_a_person_releases_them(world):
    act = world.carry_out(decision("quarantine", spans=(4,)))

    assert (act.outcome, world.marked()) == ("done", [4])
    marker = json.loads((world.workspace / "spans" / "span-004" / "_QUARANTINE").read_text())
    assert (marker["who"], marker["reason"]) == ("flightdeck watch", "2024-04: It is worse.")
    quarantine.release(world.settings, 4)
    assert world.carry_out(decision("quarantine", spans=(4,))) is None
    assert world.marked() == []


@pytest.mark.parametrize(
    ("spans", "level", "outcome"), [((4,), 1, "proposed"), ((4,), 0, "proposed"), ((), 2, "passed over")]
)
def test_spans_are_left_alone_below_level_two_or_where_none_has_come(world, spans, level, outcome):
    act = world.carry_out(decision("quarantine", spans=spans), level)

    assert (act.outcome, world.marked()) == (outcome, [])
    assert len(world.alerts) == (outcome == "proposed")


@pytest.mark.parametrize("action", ["none", "alert", "retrain"])
def test_other_decisions_ask_for_no_act(world, action):
    assert world.carry_out(decision(action)) is None
    assert Actions(world.settings, world.store).all() == []

"""What is a reason to train, and what is none: tables of what is there and what runs have seen."""

from datetime import UTC, datetime, timedelta

import pytest

from operations.loop import triggers
from operations.loop.settings import Triggers
from operations.loop.triggers import PastRun, Recipe, find
from operations.monitoring.policy import Decision
from tests.operations.monitoring import windows

pytestmark = pytest.mark.unit

NOW = datetime(2024, 5, 1, tzinfo=UTC)
ONE = Recipe({"model.epochs": 1}, {"m/network.py": "aa"})
TWO = Recipe({"model.epochs": 2}, {"m/network.py": "aa"})


def run(name: str, hours_ago: float = 1, **told) -> PastRun:
    return PastRun(name, NOW - timedelta(hours=hours_ago), **{"succeeded": True, **told})


@pytest.mark.parametrize(
    ("there", "runs", "expected"),
    [
        ({1: "a", 2: "b"}, [], ["span:1:a", "span:2:b"]),
        ({1: "a", 2: "b"}, [run("r", spans={1: "a"})], ["span:2:b"]),
        ({1: "a", 2: "b"}, [run("r", spans={1: "a", 2: "b"})], []),
        ({1: "x"}, [run("r", spans={1: "a"})], ["span:1:x"]),
        # Any run counts, and not only the last one.
        ({1: "a", 2: "b"}, [run("r", spans={1: "a", 2: "b"}), run("s", spans={1: "a"})], []),
        # One that failed has learned nothing.
        ({1: "a"}, [run("r", spans={1: "a"}, succeeded=False)], ["span:1:a"]),
        # A span that went away is no reason.
        ({1: "a"}, [run("r", spans={1: "a", 2: "b"})], []),
    ],
)
def test_spans(there, runs, expected):
    assert [each.key for each in triggers.new_spans(there, runs, NOW)] == expected


def test_people_read_whether_a_span_is_new_or_has_changed():
    found = triggers.new_spans({1: "x", 2: "b"}, [run("r", spans={1: "a"})], NOW)

    assert [each.reason for each in found] == ["span 1 has changed since a run saw it", "span 2 is new"]


@pytest.mark.parametrize(
    ("now", "runs", "base"),
    [
        (ONE, [], None),  # nothing to compare with: the data are a reason of their own
        (ONE, [run("r", recipe=ONE)], None),
        (TWO, [run("r", recipe=ONE)], "r"),
        (TWO, [run("r", recipe=ONE, triggers=("a",))], "r"),
        # A person has tried something else meanwhile.
        (ONE, [run("r", recipe=ONE, triggers=("a",)), run("hand", recipe=TWO)], None),
        # A person has run the changed settings already.
        (TWO, [run("r", recipe=ONE, triggers=("a",)), run("hand", recipe=TWO)], None),
        # Back to what there was before: the last run of the loop had something else.
        (ONE, [run("r", recipe=ONE, triggers=("a",)), run("s", recipe=TWO, triggers=("a",))], "s"),
        # One that failed made nothing.
        (TWO, [run("r", recipe=ONE), run("s", recipe=TWO, succeeded=False)], "r"),
        # By hand alone, the newest counts; the same in an earlier run is no news either.
        (Recipe({"model.epochs": 3}, {}), [run("r", recipe=ONE), run("s", recipe=TWO)], "s"),
        (ONE, [run("r", recipe=ONE), run("s", recipe=TWO)], None),
        (TWO, [run("of another program")], None),
    ],
)
def test_changes(now, runs, base):
    found = list(triggers.changed(now, runs, NOW))

    assert [each.key for each in found] == ([f"change:{now.digest()}:{base}"] if base else [])


def test_a_change_is_named():
    now = Recipe({"model.epochs": 2, "model.seed": 1}, {"m/network.py": "bb", "m/new.py": "cc"})

    (found,) = triggers.changed(now, [run("r", recipe=ONE)], NOW)

    assert found.reason == (
        "code or settings have changed since run r: model.epochs, model.seed, m/network.py and 1 more"
    )


def decision(window: str, version: str, action="retrain") -> Decision:
    return windows.decision(action, window=window, version=version)


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        ([], []),
        ([decision("2024-04", "7")], ["decision:2024-04/7"]),
        ([decision("4", "7"), decision("4+labels", "7")], ["decision:4/7", "decision:4+labels/7"]),
        ([decision("2024-04", "6")], []),  # that version answers no more
        ([decision("2024-04", "7", "alert"), decision("2024-05", "7", "roll back")], []),
    ],
)
def test_decisions(decisions, expected):
    assert [each.key for each in triggers.decided(decisions, {"7"}, NOW)] == expected


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], ["schedule:first"]),
        ([run("r", hours_ago=25)], ["schedule:r"]),
        ([run("r", hours_ago=24)], ["schedule:r"]),
        ([run("r", hours_ago=23)], []),
        ([run("r", hours_ago=25), run("s", hours_ago=2, succeeded=False)], []),
    ],
)
def test_schedule(runs, expected):
    assert [each.key for each in triggers.scheduled(24 * 3600, runs, NOW)] == expected


def test_only_what_the_settings_want_counts():
    everything = ({1: "a"}, TWO, [decision("2024-04", "7")], {"7"}, [run("r", recipe=ONE)], NOW)
    nothing = Triggers(new_span=False, decision=False, change=False)

    assert find(nothing, *everything) == []
    kinds = [trigger.kind for trigger in find(Triggers(every_seconds=60), *everything)]
    assert kinds == ["new span", "change", "decision", "schedule"]

"""When a fault counts as noticed, and when as over."""

from datetime import UTC, datetime

import pytest

from operations.loop.replay import plan
from operations.loop.replay.recovery import outcome
from operations.loop.replay.steps import Step
from operations.monitoring.policy import Decision
from tests.operations.monitoring import windows

pytestmark = pytest.mark.unit

JULY, AUGUST, SEPTEMBER = (datetime(2013, month, 1, tzinfo=UTC) for month in (7, 8, 9))


def served(month: datetime, run: str) -> Step:
    return step("serving", run, month, rows=10, version=1, **{"from": month.timestamp()})


def trained(run: str, *spans: int) -> Step:
    return step("training", run, JULY, spans={"train": list(spans)})


def step(kind: str, run: str, when: datetime, **facts) -> Step:
    return Step(name=f"{when}/{run}", kind=kind, when=when, wall_seconds=1, cpu_seconds=1, facts={"run": run, **facts})


def decision(action: str, subject: str, when: datetime = AUGUST, window: str = "2013-07-01") -> Decision:
    return windows.decision(action, subject, window=window, when=when)


def judged(settings, decisions, steps, fault="celsius@7"):
    made = plan.make(settings, "2", "3:9", fault, None)
    july = windows.window(0, signals=(windows.signal(subject="temp"),), name="2013-07-01")
    return outcome(settings, made, steps, decisions, [july], [], "log_loss")


def test_without_a_fault_there_is_nothing_to_tell(settings):
    made = plan.make(settings, "2", "3:9", None, None)
    assert outcome(settings, made, [], [], [], [], "log_loss") is None


@pytest.mark.parametrize(
    ("decisions", "days", "within", "named", "action"),
    [
        ([], None, False, False, None),
        ([decision("quarantine", "temp")], 31, True, True, "quarantine"),
        ([decision("quarantine", "dewp")], None, False, False, None),  # something else was found
        ([decision("none", "temp")], None, False, False, None),  # seen, and held back
        ([decision("alert", "temp", SEPTEMBER, "2013-08-01")], None, False, False, None),  # of another month
    ],
)
def test_a_fault_is_noticed_by_a_decision_about_its_column_and_month(settings, decisions, days, within, named, action):
    found = judged(settings, decisions, [])
    assert (found.detected_after_days, found.within_month, found.named, found.action) == (days, within, named, action)


@pytest.mark.parametrize(
    ("fault", "steps", "days"),
    [
        # Nobody learned from it: requests are right again when the month is over; labels were never in requests.
        ("celsius@7", [trained("a", 1, 2), served(JULY, "a"), served(AUGUST, "a")], 31),
        ("poisoned@7", [trained("a", 1, 2), served(JULY, "a"), served(AUGUST, "a")], 0),
        # A model that learned from it answered in August.
        (
            "celsius@7",
            [trained("a", 1), trained("b", 6, 7), served(JULY, "a"), served(AUGUST, "b"), served(SEPTEMBER, "a")],
            62,
        ),
        ("celsius@7", [trained("b", 6, 7), served(AUGUST, "b")], None),
    ],
)
def test_a_fault_is_over_when_neither_requests_nor_model_have_anything_of_it(settings, fault, steps, days):
    assert judged(settings, [], steps, fault).recovered_after_days == days

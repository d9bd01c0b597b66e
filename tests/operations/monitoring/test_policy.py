"""Decisions, as tables of cases."""

from datetime import timedelta

import pytest

from operations.monitoring.policy import Decision, decide
from operations.monitoring.settings import Rule
from operations.monitoring.signals import Window
from tests.operations.monitoring import windows
from tests.operations.monitoring.windows import DAY, START, signal

pytestmark = pytest.mark.unit
RETRAIN = Rule(name="drifting", kinds=("drift", "skew"), windows=2, of=3, action="retrain")


def window(day: int, *exceeded: str, version: str = "7", kind: str = "drift", ok: tuple[str, ...] = ()) -> Window:
    """A window of one day in which the signals of some columns were exceeded, and those of others were not."""
    bad, good = ([signal(kind, name, value) for name in names] for value, names in ((0.3, exceeded), (0.05, ok)))
    return windows.window(day, version, (*bad, *good))


def both(*windows: Window) -> Window:
    """One window with the signals of several, whose labels came with span 4."""
    signals = tuple(signal for seen in windows for signal in seen.signals)
    return windows[0].model_copy(update={"signals": signals, "spans": (4,)})


def after(rules, seen, earlier=(), now=START + 30 * DAY) -> Decision:
    return decide(rules, max(seen, key=lambda window: window.end), seen, earlier, now)


@pytest.mark.parametrize(
    ("days", "action"),
    [
        pytest.param([True], "none", id="once is not twice"),
        pytest.param([True, True], "retrain", id="two of two so far"),
        pytest.param([True, False, True], "retrain", id="two of three, the latest among them"),
        pytest.param([True, True, False], "none", id="it is over"),
        pytest.param([True, False, False, True], "none", id="too long ago"),
        pytest.param([False, False, False], "none", id="nothing"),
        pytest.param([True, True, True, True], "retrain", id="it goes on"),
    ],
)
def test_n_of_m_windows_and_the_latest_one_in_whatever_order_they_are_given(days, action):
    seen = [window(day, *(["temp"] if bad else []), ok=("humid",)) for day, bad in enumerate(days)]

    assert after([RETRAIN], seen).action == after([RETRAIN], seen[::-1]).action == action


def test_what_an_earlier_version_did_does_not_count():
    seen = [window(0, "temp", version="6"), window(1, "temp", version="6"), window(2, "temp", version="7")]

    decision = after([RETRAIN], seen)

    assert (decision.action, decision.version) == ("none", "7")


def test_the_most_drastic_action_wins_and_every_reason_is_kept():
    rules = [
        Rule(name="tell", kinds=("drift",), action="alert"),
        Rule(name="go back", kinds=("quality",), action="roll back"),
        Rule(name="learn", kinds=("drift",), action="retrain"),
    ]

    decision = after(rules, [both(window(0, "temp"), window(0, "auc", kind="quality"))])

    assert decision.action == "roll back"
    assert [reason.rule for reason in decision.reasons] == ["tell", "go back", "learn"]


@pytest.mark.parametrize(
    ("kinds", "patterns", "action"),
    [
        (("drift",), ("*",), "alert"),
        (("drift",), ("temp",), "alert"),
        (("drift",), ("te*",), "alert"),
        (("drift",), ("humid", "temp"), "alert"),
        (("drift",), ("humid",), "none"),
        (("quality",), ("*",), "none"),
    ],
)
def test_a_rule_is_about_the_kinds_and_subjects_that_it_names(kinds, patterns, action):
    rule = Rule(name="tell", kinds=kinds, subjects=patterns)

    assert after([rule], [window(0, "temp")]).action == action


def test_the_reason_names_what_was_exceeded_the_worst_first():
    seen = windows.window(0, signals=(signal(subject="humid", value=0.11), signal(subject="temp", value=0.3)))

    (reason,) = after([Rule(name="tell", kinds=("drift",))], [seen]).reasons

    assert reason.subjects == ("temp", "humid")
    assert "in day-0" in reason.text
    assert "temp." in reason.text


@pytest.mark.parametrize(("hours", "action"), [(1, "none"), (23, "none"), (24, "alert"), (48, "alert")])
def test_a_rule_that_has_asked_is_held_back_for_its_cool_down(hours, action):
    rule = Rule(name="tell", kinds=("drift",), cool_down_seconds=86_400)
    first = after([rule], [window(0, "temp")], now=START + DAY)

    second = after([rule], [window(0, "temp"), window(1, "temp")], [first], START + DAY + timedelta(hours=hours))

    assert first.action == "alert"
    assert second.action == action
    assert len(second.reasons) == 1
    assert ("Held back until" in second.reasons[0].text) == (action == "none")


@pytest.mark.parametrize(("action", "again"), [("quarantine", "quarantine"), ("retrain", "none")])
def test_a_quarantine_that_cools_down_still_names_the_spans_when_the_labels_of_its_window_arrive(action, again):
    rule = Rule(name="fault", kinds=("drift",), cool_down_seconds=86_400, action=action)
    seen = both(window(0, "temp"))
    first = after([rule], [seen], now=START + DAY)

    labelled = after([rule], [seen], [first], START + DAY)
    next_day = after([rule], [seen, window(1, "temp")], [first], START + DAY + timedelta(hours=1))

    assert (labelled.action, next_day.action) == (again, "none")
    assert labelled.spans == ((4,) if action == "quarantine" else ())


def test_being_held_back_does_not_prolong_the_cool_down():
    rule = Rule(name="tell", kinds=("drift",), cool_down_seconds=10 * 3600)
    decisions = []
    for hour in range(0, 25, 5):
        decisions.append(after([rule], [window(0, "temp")], decisions, START + DAY + timedelta(hours=hour)))

    assert [decision.action for decision in decisions] == ["alert", "none", "alert", "none", "alert"]


def test_a_number_that_could_not_be_measured_is_no_reason():
    seen = windows.window(0, signals=(signal(subject="temp", value=None),))

    assert after([Rule(name="tell", kinds=("drift",))], [seen]).action == "none"


def test_more_windows_than_there_can_be_are_refused():
    with pytest.raises(ValueError, match="wants 3 of 2 windows"):
        Rule(name="never", kinds=("drift",), windows=3, of=2)


FAULT = Rule(name="fault", kinds=("missing",), action="quarantine")
BACK = Rule(name="go back", kinds=("quality",), action="roll back")
LEARN = Rule(name="learn", kinds=("quality",), windows=2, of=2, action="retrain")
TELL = Rule(name="tell", kinds=("quality",))


def test_data_at_fault_say_nothing_about_a_model():
    bad = both(window(0, "temp", kind="missing"), window(0, "auc", kind="quality"))

    decision = after([FAULT, BACK, TELL], [bad])

    assert (decision.action, decision.spans) == ("quarantine", (4,))
    assert [reason.action for reason in decision.reasons] == ["quarantine", "none", "alert"]
    assert "the data of this window are at fault" in decision.reasons[1].text


def test_a_window_that_was_at_fault_stays_so_when_its_labels_arrive():
    bad = both(window(0, "auc", kind="quality"))
    first = after([FAULT], [window(0, "temp", kind="missing")])

    assert after([BACK], [bad], [first]).action == "none"
    assert (after([BACK], [bad]).action, after([BACK], [bad]).spans) == ("roll back", ())


def test_later_windows_do_not_look_back_at_one_that_was_at_fault():
    seen = [window(0, "auc", kind="quality"), window(1, "auc", kind="quality")]
    first = after([FAULT], [both(window(0, "temp", kind="missing"))])
    fine = first.model_copy(update={"action": "alert"})

    assert after([LEARN], seen, [fine]).action == "retrain"
    assert after([LEARN], seen, [first]).action == "none"
    # It is the data that are said to be at fault, whichever version noticed.
    assert after([LEARN], seen, [first.model_copy(update={"version": "6", "window": "day-0+labels"})]).action == "none"


def test_versions_whose_windows_end_together_are_each_decided_on():
    ours, theirs = window(0, "auc", kind="quality"), window(0, version="8")

    assert decide([BACK], ours, [theirs, ours], [], START).action == "roll back"
    assert decide([BACK], theirs, [theirs, ours], [], START).version == "8"


def test_windows_after_the_one_decided_on_do_not_count():
    late = window(1, "auc", kind="quality")

    assert decide([LEARN], window(0, "auc", kind="quality"), [late], [], START).action == "none"

"""Decides what to do about the signals: pure functions of stored windows, so that every decision can be explained.

The rule is that of Databricks' mlops-stacks: a signal counts when it was exceeded in N of the last M windows, the
latest one among them, so that one bad day is no reason to retrain. A window whose data or labels are at fault says
nothing about a model: where one rule asks for quarantine, those that would judge the model are held back, now and when
later windows look back at it. Rows that the service refused never were among these data: where they alone are at fault,
people are alerted, and nothing is quarantined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from pydantic import BaseModel

from operations.monitoring.settings import Action, Rule
from operations.monitoring.signals import Signal, Window

# By rising priority.
ACTIONS: tuple[Action, ...] = ("none", "alert", "retrain", "roll back", "quarantine")
# What judges a model, and not data.
_JUDGEMENTS: tuple[Action, ...] = ("retrain", "roll back")
LABELLED = "+labels"


class Reason(BaseModel, frozen=True):
    """Why a rule asked for its action, or was held back.

    Attributes:
        action: what the rule asks for; ``none`` if it is held back.
        subjects: the columns, slices or measures that were exceeded, the worst first.
        text: one sentence.
    """

    rule: str
    action: Action
    subjects: tuple[str, ...]
    text: str


class Decision(BaseModel, frozen=True):
    """What to do after a window.

    Attributes:
        window: the latest window's name, with `LABELLED` if it is decided on again because labels have arrived.
        version: that was served then.
        action: the most drastic one that a rule asks for.
        reasons: of every rule that was met, also of those held back.
        spans: to quarantine, those that the labels of the window came with; empty for other actions and without labels.
    """

    window: str
    version: str
    when: datetime
    action: Action
    reasons: tuple[Reason, ...]
    spans: tuple[int, ...] = ()

    @property
    def why(self) -> str:
        """The reasons that asked for the action, in words."""
        return "; ".join(reason.text for reason in self.reasons if reason.action == self.action)

    @property
    def window_name(self) -> str:
        """The name of the window, without `LABELLED`."""
        return self.window.removesuffix(LABELLED)


def faulty(decisions: Iterable[Decision]) -> set[str]:
    """The names of the windows whose data or labels are at fault, whichever version's decision says so."""
    return {decision.window_name for decision in decisions if decision.action == "quarantine"}


def decide(
    rules: Sequence[Rule], latest: Window, windows: Sequence[Window], earlier: Sequence[Decision], now: datetime
) -> Decision:
    """What to do after a window.

    Windows come in any order; of those, only earlier ones of the latest one's version count: what an earlier model did
    is no reason to replace this one. Earlier decisions are for the cool-down and for the windows at fault.
    """
    before = [window for window in windows if window.version == latest.version and window.end < latest.end]
    history = [*sorted(before, key=lambda window: window.end), latest]
    at_fault = faulty(earlier)
    sound = [window for window in history if window.name not in at_fault or window is latest]
    judged = (_judge(rule, sound if rule.action in _JUDGEMENTS else history, earlier, now) for rule in rules)
    reasons = [reason for reason in judged if reason is not None]
    # Data that were at fault once stay so when their labels arrive.
    if latest.name in at_fault or any(reason.action == "quarantine" for reason in reasons):
        held = "Held back: the data of this window are at fault, and say nothing about a model."
        reasons = [
            reason.model_copy(update={"action": "none", "text": f"{reason.text}. {held}"})
            if reason.action in _JUDGEMENTS
            else reason
            for reason in reasons
        ]
    asked: list[Action] = ["none", *(reason.action for reason in reasons)]
    action = max(asked, key=ACTIONS.index)
    return Decision(
        window=latest.name,
        version=latest.version,
        when=now,
        action=action,
        reasons=tuple(reasons),
        spans=latest.spans if action == "quarantine" else (),
    )


def _judge(rule: Rule, history: Sequence[Window], earlier: Sequence[Decision], now: datetime) -> Reason | None:
    """The reason that a rule gives; None if it is not met."""
    recent = history[-rule.of :]
    exceeded = [_exceeded(rule, window) for window in recent]
    times, worst = sum(bool(signals) for signals in exceeded), exceeded[-1]
    if not worst or times < rule.windows:
        return None
    subjects = tuple(dict.fromkeys(signal.subject or signal.name for signal in worst))
    where = f"in {times} of the last {len(recent)} windows" if len(recent) > 1 else f"in {recent[-1].name}"
    text = f"{rule.name}: {', '.join(subjects)} {where}: {worst[0].meaning}"
    action = rule.action
    if rule.action == "quarantine":
        if all(signal.refused for signal in worst):
            action = "alert"
        # The same window may ask again when its labels have come, to name the spans that they came with.
        earlier = [decision for decision in earlier if decision.window_name != recent[-1].name]
    if until := _cooling(rule, earlier, now):
        action, text = "none", f"{text}. Held back until {until:%Y-%m-%d %H:%M} UTC."
    return Reason(rule=rule.name, action=action, subjects=subjects, text=text)


def _exceeded(rule: Rule, window: Window) -> list[Signal]:
    """The exceeded signals that a rule is about, the furthest from its threshold first."""
    signals = [
        signal
        for signal in window.signals
        if signal.exceeded
        and signal.kind in rule.kinds
        and any(fnmatchcase(signal.subject or signal.name, pattern) for pattern in rule.subjects)
    ]
    return sorted(signals, key=_excess, reverse=True)


def _excess(signal: Signal) -> float:
    """How far a signal is beyond its threshold, in thresholds."""
    if signal.value is None or not signal.threshold:
        return 0.0
    return abs(signal.value - signal.threshold) / abs(signal.threshold)


def _cooling(rule: Rule, earlier: Sequence[Decision], now: datetime) -> datetime | None:
    """The end of a rule's cool-down; None if it may ask for its action."""
    asked = [
        decision.when
        for decision in earlier
        for reason in decision.reasons
        if reason.rule == rule.name and reason.action != "none" and decision.when <= now
    ]
    until = max(asked) + timedelta(seconds=rule.cool_down_seconds) if asked else now
    return until if until > now else None

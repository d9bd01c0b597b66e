"""Decides what to do about what was seen: pure functions of stored results, so that every decision can be explained.

The rule is that of Databricks' mlops-stacks: a signal counts when it was exceeded in N of the last M windows, the
latest one among them. One bad day is no reason to retrain, and a fault that is over is none either.

A window whose data or labels are at fault says nothing about any model: where one rule asks for quarantine, those that
would judge the model are held back, now and when later windows look back at it. Rows that the service refused were
never among these data: where they alone are at fault, people are told, and nothing is quarantined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict

from operations.monitoring.settings import Action, Rule
from operations.monitoring.signals import Signal, Window

# From the mildest to the one that outranks the others.
ACTIONS: tuple[Action, ...] = ("none", "alert", "retrain", "roll back", "quarantine")
# What says something about a model, and not about data.
_JUDGEMENTS: tuple[Action, ...] = ("retrain", "roll back")
LABELLED = "+labels"


class Reason(BaseModel):
    """Why a rule asked for its action, or was held back.

    Attributes:
        rule: its name.
        action: what it asks for; ``none`` if it is held back.
        subjects: the columns, slices or measures that were exceeded, the worst first.
        text: one sentence.
    """

    model_config = ConfigDict(frozen=True)

    rule: str
    action: Action
    subjects: tuple[str, ...]
    text: str


class Decision(BaseModel):
    """What is to be done after a window.

    Attributes:
        window: the latest window's name, with `LABELLED` if it is decided on again because labels have arrived.
        version: the version that was served then.
        when: the time of the decision.
        action: the most drastic one that a rule asks for.
        reasons: of every rule that was met, also of those held back.
        spans: to be quarantined: those that the labelled rows of the window came from. Empty for other actions, and
            while no label has arrived.
    """

    model_config = ConfigDict(frozen=True)

    window: str
    version: str
    when: datetime
    action: Action
    reasons: tuple[Reason, ...]
    spans: tuple[int, ...] = ()

    @property
    def window_name(self) -> str:
        """The name of the window, whether or not its labels had arrived."""
        return self.window.removesuffix(LABELLED)


def faulty(decisions: Iterable[Decision]) -> set[str]:
    """The names of the windows whose data or labels are at fault, by whichever version that was noticed."""
    return {each.window_name for each in decisions if each.action == "quarantine"}


def decide(
    rules: Sequence[Rule], latest: Window, windows: Sequence[Window], earlier: Sequence[Decision], now: datetime
) -> Decision:
    """What to do after a window.

    Args:
        rules: of the settings.
        latest: the window to decide on.
        windows: what was seen, in any order, of any version; `latest` may be among them. Only those of its version
            count, until it ended: what an earlier model did is no reason to replace this one.
        earlier: decisions before this one, for the cool-down and for the windows that say nothing about a model.
        now: the time of the decision.

    Returns:
        The decision; its action is ``none`` when no rule is met.
    """
    before = [each for each in windows if each.version == latest.version and each.end < latest.end]
    seen = [*sorted(before, key=lambda each: each.end), latest]
    at_fault = faulty(earlier)
    sound = [each for each in seen if each.name not in at_fault or each is latest]
    reasons = [
        reason
        for rule in rules
        if (reason := _judge(rule, sound if rule.action in _JUDGEMENTS else seen, earlier, now)) is not None
    ]
    # Of data that are at fault it stays true when they are looked at again.
    if latest.name in at_fault or any(each.action == "quarantine" for each in reasons):
        reasons = [_silenced(each) if each.action in _JUDGEMENTS else each for each in reasons]
    asked: list[Action] = [each.action for each in reasons]
    action = max(asked, key=ACTIONS.index) if asked else "none"
    return Decision(
        window=latest.name,
        version=latest.version,
        when=now,
        action=action,
        reasons=tuple(reasons),
        spans=latest.spans if action == "quarantine" else (),
    )


def _silenced(reason: Reason) -> Reason:
    """A reason that is held back because the data are at fault."""
    text = f"{reason.text}. Held back: the data of this window are at fault, and say nothing about a model."
    return reason.model_copy(update={"action": "none", "text": text})


def _judge(rule: Rule, seen: Sequence[Window], earlier: Sequence[Decision], now: datetime) -> Reason | None:
    """The reason that a rule gives; None if it is not met."""
    recent = seen[-rule.of :]
    exceeded = [_exceeded(rule, window) for window in recent]
    times = sum(bool(each) for each in exceeded)
    if not exceeded[-1] or times < rule.windows:
        return None
    worst = exceeded[-1]
    subjects = tuple(dict.fromkeys(each.subject or each.name for each in worst))
    where = f"in {times} of the last {len(recent)} windows" if len(recent) > 1 else f"in {recent[-1].name}"
    text = f"{rule.name}: {', '.join(subjects)} {where}: {worst[0].meaning}"
    # What callers get wrong, and were told, is no fault of the data that arrived.
    action = "alert" if rule.action == "quarantine" and all(each.refused for each in worst) else rule.action
    if rule.action == "quarantine":  # asked again when labels have come, to name the spans that they came with
        earlier = [each for each in earlier if each.window_name != recent[-1].name]
    if until := _cooling(rule, earlier, now):
        return Reason(
            rule=rule.name,
            action="none",
            subjects=subjects,
            text=f"{text}. Held back until {until:%Y-%m-%d %H:%M} UTC.",
        )
    return Reason(rule=rule.name, action=action, subjects=subjects, text=text)


def _exceeded(rule: Rule, window: Window) -> list[Signal]:
    """The signals that a rule is about and that were exceeded, the furthest from its threshold first."""
    found = [
        each
        for each in window.signals
        if each.exceeded
        and each.kind in rule.kinds
        and any(fnmatchcase(each.subject or each.name, pattern) for pattern in rule.subjects)
    ]
    return sorted(found, key=_distance, reverse=True)


def _distance(signal: Signal) -> float:
    """How far beyond its threshold, in thresholds."""
    if signal.value is None or not signal.threshold:
        return 0.0
    return abs(signal.value - signal.threshold) / abs(signal.threshold)


def _cooling(rule: Rule, earlier: Sequence[Decision], now: datetime) -> datetime | None:
    """Until when a rule is held back, because it has asked for its action not long ago."""
    asked = [
        decision.when
        for decision in earlier
        for reason in decision.reasons
        if reason.rule == rule.name and reason.action != "none" and decision.when <= now
    ]
    until = max(asked) + timedelta(seconds=rule.cool_down_seconds) if asked else None
    return until if until is not None and until > now else None

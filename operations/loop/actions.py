"""What the loop does about a decision of the monitor, once, however often it is killed.

An act is kept in ML Metadata when it is done, as `flightdeck.Act` under the name of the decision. A process that was
killed before that leaves what it did itself: the registry records a rollback before and after it makes a version, and a
span bears its mark. So the next process looks at what there is, does what is missing, and keeps the act.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import ml_metadata
from pydantic import BaseModel

from ledger.executions import Executions
from operations.alerts.alert import Alert, alert_of
from operations.loop.messages import sentence
from operations.loop.settings import Settings
from operations.monitoring import quarantine
from operations.monitoring.policy import Decision
from operations.registry import Registry

ACT = "flightdeck.Act"
Outcome = Literal["done", "proposed", "passed over"]


class Act(BaseModel, frozen=True):
    """What became of a decision.

    Attributes:
        decision: the window and the version that it is about, as ``WINDOW/VERSION``.
        action: that it asked for.
        outcome: ``proposed`` to a person; ``passed over`` if there was nothing to be done any more.
        text: one sentence.
    """

    decision: str
    action: str
    outcome: Outcome
    text: str


class Actions:
    """The acts of one pipeline."""

    def __init__(self, settings: Settings, store: ml_metadata.MetadataStore) -> None:
        self._settings = settings
        self._kept = Executions(store, settings.use_case.name)

    def carry_out(self, decision: Decision, alert: Callable[[Alert], object]) -> Act | None:
        """Does what a decision asks for, or below level 2 proposes it to people.

        None if it asks for nothing of this kind, or was carried out before; a FlightdeckError if it cannot be now.
        """
        if decision.action not in ("roll back", "quarantine"):
            return None
        name = f"{decision.window}/{decision.version}"
        if self._kept.get(ACT, name, Act) is not None:
            return None
        outcome, text = self._roll_back(decision) if decision.action == "roll back" else self._quarantine(decision)
        act = Act(decision=name, action=decision.action, outcome=outcome, text=text)
        if outcome != "passed over":
            # People first: a second alert is better than none, and the outbox deduplicates them.
            alert(self._alert(act, decision))
        self._kept.keep(ACT, name, act, once=True)
        return act

    def all(self) -> list[Act]:
        """Every act, oldest first."""
        return self._kept.all(ACT, Act)

    def _roll_back(self, decision: Decision) -> tuple[Outcome, str]:
        registry = Registry(self._settings)
        reason = f"{decision.window}: {decision.why}"
        served = registry.served()
        if str(served.number) != decision.version:
            return _left(registry, decision, reason)
        earlier = registry.previous()
        if earlier is None:
            return "proposed", f"version {served.number} should be rolled back, and there is no earlier blessed model"
        if self._settings.continuous.level < 2:
            return "proposed", (
                f"version {served.number} should be rolled back to {earlier.number}: "
                f"flightdeck models rollback --to {earlier.number} --reason '{decision.window}'"
            )
        change = registry.rollback(earlier.number, reason)
        return "done", f"version {served.number} is rolled back to {earlier.number}, as {change.version.number}"

    def _quarantine(self, decision: Decision) -> tuple[Outcome, str]:
        spans = ", ".join(map(str, decision.spans))
        if not decision.spans:
            return "passed over", "no rows of the window have come with a span, so there is nothing to keep from runs"
        if self._settings.continuous.level < 2:
            commands = "; ".join(f"flightdeck data quarantine {number} --reason '...'" for number in decision.spans)
            return "proposed", f"span {spans} should be kept from runs: {commands}"
        for number in decision.spans:
            quarantine.quarantine(self._settings, number, f"{decision.window}: {decision.why}", "flightdeck watch")
        return "done", f"span {spans} is in quarantine, and no run learns from it"

    def _alert(self, act: Act, decision: Decision) -> Alert:
        return alert_of(
            self._settings,
            "watch",
            f"act/{act.decision}/{act.action}",
            "critical" if act.action == "roll back" or act.outcome == "proposed" else "warning",
            f"{act.action} {'done' if act.outcome == 'done' else 'asked for'}, after {decision.window}",
            f"{sentence(act.text)} {sentence(decision.why)}",
            {"window": decision.window, "version": decision.version, "action": act.action},
        )


def _left(registry: Registry, decision: Decision, reason: str) -> tuple[Outcome, str]:
    """What to say of a version that is not served any more: perhaps this act was killed after it had rolled back."""
    by = next((left.rolled_back_by for left in registry.versions() if str(left.number) == decision.version), None)
    if by is not None and registry.version(by).reason == reason:
        return "done", f"version {decision.version} is rolled back to {registry.version(by).restores}, as {by}"
    return "passed over", f"version {decision.version} is no longer served, so it is not rolled back"

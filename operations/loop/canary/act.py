"""Does what a verdict says, or proposes it to people; killed at any moment, the same is done when it is called again.

A verdict that is carried out is kept in ML Metadata first, as ``flightdeck.Canary`` below the Model; then the model is
pushed into the folder that is served, if it may take over; people are told; and last its folder among the canaries is
removed. As long as that is there, the act is not finished, and the kept verdict is carried out, not another one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from errors import FlightdeckError
from ledger.executions import Executions
from operations.alerts.alert import Alert
from operations.loop.canary.evidence import gather
from operations.loop.canary.judgement import Verdict, judge
from operations.loop.settings import Settings
from operations.registry import Registry, RegistryError, Version

CANARY, PROPOSAL = "flightdeck.Canary", "flightdeck.CanaryProposal"


class CanaryError(FlightdeckError):
    """Nothing can be done about a canary; the text says why."""


def look(
    settings: Settings, store: Any, until: datetime, level: int, alert: Callable[[Alert], object]
) -> Verdict | None:
    """One look at the version on trial: finishes what was interrupted, or judges it and acts on that.

    Args:
        settings: of the workspace.
        store: an open metadata store.
        until: requests from then on are left out.
        level: of maturity; see `carry_out`.
        alert: takes alerts.

    Returns:
        The verdict; None if no version is on trial.

    Raises:
        ValueError: of ours, if the log or the labels cannot be read, or the registry cannot be changed.
    """
    canary = Registry(settings).canary()
    if canary is None:
        return None
    verdict = finished_half(settings, store, canary)
    if verdict is not None:
        _finish(settings, verdict, alert)
        return verdict
    verdict = judged(settings, store, canary, until)
    carry_out(settings, store, verdict, level, alert)
    return verdict


def judged(settings: Settings, store: Any, canary: Version, until: datetime) -> Verdict:
    """What is to become of a version on trial.

    Args:
        settings: of the workspace.
        store: an open metadata store.
        canary: from `Registry.canary`.
        until: requests from then on are left out.
    """
    served = next((each for each in Registry(settings).versions() if each.served), None)
    return judge(gather(settings, store, canary, served, until), settings.canary)


def finished_half(settings: Settings, store: Any, canary: Version) -> Verdict | None:
    """The verdict that was being carried out on a version that is still on trial; None if there is none."""
    return Executions(store, settings.use_case.name).get(CANARY, str(canary.number), Verdict)


def verdicts(settings: Settings, store: Any) -> list[Verdict]:
    """All verdicts that were carried out, oldest first."""
    return Executions(store, settings.use_case.name).all(CANARY, Verdict)


def carry_out(settings: Settings, store: Any, verdict: Verdict, level: int, alert: Callable[[Alert], object]) -> bool:
    """Acts on a verdict. May be called again with the same one.

    Args:
        settings: of the workspace.
        store: an open metadata store.
        verdict: to promote, to reject, or to wait, which does nothing.
        level: of maturity. At 2 it is done, and people are told; below, it is proposed to them, once. Where nothing is
            served yet, a promotion is done at any level: the run itself would have pushed the model.
        alert: takes alerts.

    Returns:
        Whether something was done, or newly proposed.

    Raises:
        RegistryError: the registry cannot be changed.
    """
    if verdict.action == "wait":
        return False
    kept = Executions(store, settings.use_case.name)
    if level < 2 and verdict.served is not None:
        if kept.get(PROPOSAL, f"{verdict.canary}/{verdict.action}", Verdict) is not None:
            return False
        # People first: told twice is better than not at all, and the outbox takes the same alert once.
        alert(_alert(settings, verdict, proposed=True))
        return kept.keep(PROPOSAL, f"{verdict.canary}/{verdict.action}", verdict, verdict.model_id, once=True)
    if not kept.keep(CANARY, str(verdict.canary), verdict, verdict.model_id, once=True):
        # Somebody has decided before: that holds.
        verdict = kept.get(CANARY, str(verdict.canary), Verdict) or verdict
    _finish(settings, verdict, alert)
    return True


def first(settings: Settings, store: Any, alert: Callable[[Alert], object]) -> Verdict | None:
    """Promotes the version on trial if nothing is served yet: there is nothing to compare it with.

    Returns:
        The verdict; None if a version is served, or none is on trial.
    """
    if any(each.served for each in Registry(settings).versions()):
        return None
    return look(settings, store, datetime.now(UTC), settings.continuous.level, alert)


def by_hand(settings: Settings, store: Any, action: str, reason: str, until: datetime) -> Verdict:
    """A person's verdict on the version on trial, carried out.

    Args:
        settings: of the workspace.
        store: an open metadata store.
        action: ``promote`` or ``reject``.
        reason: why; needed to reject, and to promote against what was judged.
        until: requests from then on are left out of the numbers that are kept with it.

    Raises:
        CanaryError: no version is on trial, it was decided on already, its model is unknown, or a reason is missing.
    """
    canary = Registry(settings).canary()
    if canary is None:
        raise CanaryError("No version is on trial; a run pushes one if canary.mode is shadow or split.")
    kept = Executions(store, settings.use_case.name)
    half = finished_half(settings, store, canary)
    if half is not None:
        _mend(settings, kept, half, action, reason)
        raise CanaryError(f"Version {canary.number} was decided on before ({half.action}: {half.text}); that is done.")
    if action == "promote" and canary.model_id is None:
        raise CanaryError(
            f"ML Metadata does not know the model of version {canary.number}, so it cannot be promoted; "
            "end its trial with: flightdeck canary reject --reason TEXT"
        )
    verdict = judged(settings, store, canary, until)
    if not reason.strip() and verdict.action != action:
        raise CanaryError(
            f"What was seen of version {canary.number} says {verdict.action} ({verdict.text}); "
            f"to {action} it nevertheless needs a --reason."
        )
    reasons = (
        (f"A person decided: {reason.strip().rstrip('.')}.", *verdict.reasons) if reason.strip() else verdict.reasons
    )
    verdict = verdict.model_copy(update={"action": action, "reasons": reasons})
    if not kept.keep(CANARY, str(canary.number), verdict, canary.model_id, once=True):
        verdict = kept.get(CANARY, str(canary.number), Verdict) or verdict
    _finish(settings, verdict)
    return verdict


def _mend(settings: Settings, kept: Executions, half: Verdict, action: str, reason: str) -> None:
    """Finishes what was interrupted. A promotion that cannot be, because the model is gone, may be rejected instead."""
    try:
        _finish(settings, half)
    except RegistryError:
        if half.action != "promote" or action != "reject":
            raise
        instead = half.model_copy(
            update={"action": "reject", "reasons": (f"A person decided: {reason.strip().rstrip('.')}.", *half.reasons)}
        )
        kept.keep(CANARY, str(half.canary), instead, half.model_id)
        _finish(settings, instead)


def _finish(settings: Settings, verdict: Verdict, alert: Callable[[Alert], object] = lambda told: None) -> None:
    """Makes the registry what the verdict says; what was done already is not done again."""
    registry = Registry(settings)
    mark = f"canary {verdict.canary}: "
    if verdict.action == "promote" and not any((each.reason or "").startswith(mark) for each in registry.versions()):
        served = registry.current()
        if served is None or served.model_id != verdict.model_id:
            registry.promote(str(verdict.model_id), f"{mark}{verdict.text}")
    alert(_alert(settings, verdict))
    registry.retire(verdict.canary)


def _alert(settings: Settings, verdict: Verdict, proposed: bool = False) -> Alert:
    name = settings.use_case.name
    what = f"please {verdict.action}" if proposed else {"promote": "promoted", "reject": "rejected"}[verdict.action]
    return Alert(
        key=f"{name}/canary {verdict.canary}/{what}",
        severity="warning" if verdict.action == "reject" or proposed else "info",
        title=f"{name}: canary {verdict.canary}: {what}",
        text=f"{verdict.text} Do it with: flightdeck canary {verdict.action}" if proposed else verdict.text,
        source="canary",
        facts={
            "canary": str(verdict.canary),
            "served": str(verdict.served or "none"),
            **{key: f"{value:g}" for key, value in verdict.numbers.items()},
        },
        when=datetime.now(UTC),
    )

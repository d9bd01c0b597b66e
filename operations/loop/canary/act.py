"""Carries out the verdict on a canary, or proposes it to people. Idempotent: after a kill, the next call does the rest.

A verdict is kept in ML Metadata first, as ``flightdeck.Canary`` below the Model; then the model is promoted, if it may
take over; people are alerted; and the canary's folder is removed last. While that folder exists, the kept verdict is
carried out, and not another one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from errors import FlightdeckError
from ledger.executions import Executions
from operations.alerts.alert import Alert, alert_of
from operations.loop.canary.evidence import gather
from operations.loop.canary.judgement import Verdict, judge
from operations.loop.settings import Settings
from operations.registry import Registry, RegistryError, Version

CANARY, PROPOSAL = "flightdeck.Canary", "flightdeck.CanaryProposal"


def look(
    settings: Settings, store: Any, canary: Version, until: datetime, level: int, alert: Callable[[Alert], object]
) -> Verdict:
    """Judges a canary by the requests until a moment and acts on the verdict, or finishes what was interrupted.

    At level 2 the verdict is carried out; below, it is proposed to people, once. Where nothing is served yet, a
    promotion is carried out at any level: the run itself would have pushed the model.

    Raises:
        FlightdeckError: the log or the labels cannot be read, or the registry cannot be changed.
    """
    verdict = kept_verdict(settings, store, canary)
    if verdict is not None:
        _finish(settings, verdict, alert)
        return verdict
    verdict = judged(settings, store, canary, until)
    if verdict.action == "wait":
        return verdict
    if is_proposal(verdict, level):
        documents, name = Executions(store, settings.use_case.name), f"{verdict.canary}/{verdict.action}"
        if documents.get(PROPOSAL, name, Verdict) is None:
            # People first: a second alert is better than none, and the outbox deduplicates them.
            alert(_alert(settings, verdict, proposed=True))
            documents.keep(PROPOSAL, name, verdict, verdict.model_id, once=True)
        return verdict
    _finish(settings, _kept(settings, store, verdict), alert)
    return verdict


def judged(settings: Settings, store: Any, canary: Version, until: datetime) -> Verdict:
    """The verdict on a canary by all requests before a moment."""
    served = next((version for version in Registry(settings).versions() if version.served), None)
    return judge(gather(settings, store, canary, served, until), settings.canary)


def kept_verdict(settings: Settings, store: Any, canary: Version) -> Verdict | None:
    """The verdict on a canary that is being carried out; None if there is none."""
    return Executions(store, settings.use_case.name).get(CANARY, str(canary.number), Verdict)


def verdicts(settings: Settings, store: Any) -> list[Verdict]:
    """All verdicts that were carried out, oldest first."""
    return Executions(store, settings.use_case.name).all(CANARY, Verdict)


def is_proposal(verdict: Verdict, level: int) -> bool:
    """Whether a verdict is proposed to people at a level, and not carried out."""
    return level < 2 and verdict.served is not None


def first(settings: Settings, store: Any, alert: Callable[[Alert], object]) -> Verdict | None:
    """Promotes the canary if nothing is served yet; None if a version is, or there is no canary."""
    registry = Registry(settings)
    canary = registry.canary()
    if canary is None or any(version.served for version in registry.versions()):
        return None
    return look(settings, store, canary, datetime.now(UTC), settings.continuous.level, alert)


def by_hand(settings: Settings, store: Any, action: str, reason: str, until: datetime) -> Verdict:
    """Carries out a person's verdict on the canary, ``promote`` or ``reject``.

    A reason is needed to decide against what was judged by the requests until a moment.

    Raises:
        FlightdeckError: there is no canary, it was decided on already, its model is unknown, or a reason is missing.
    """
    canary = Registry(settings).canary()
    if canary is None:
        raise FlightdeckError("There is no canary; a run pushes one if canary.mode is shadow or split.")
    earlier = kept_verdict(settings, store, canary)
    if earlier is not None:
        _finish_or_reject(settings, store, earlier, action, reason)
        raise FlightdeckError(
            f"Version {canary.number} was decided on before ({earlier.action}: {earlier.text}); that is done."
        )
    if action == "promote" and canary.model_id is None:
        raise FlightdeckError(
            f"ML Metadata does not know the model of version {canary.number}, so it cannot be promoted; "
            "reject it with: flightdeck canary reject --reason TEXT"
        )
    verdict = judged(settings, store, canary, until)
    if not reason.strip() and verdict.action != action:
        raise FlightdeckError(
            f"What was seen of version {canary.number} says {verdict.action} ({verdict.text}); "
            f"to {action} it nevertheless needs a --reason."
        )
    verdict = _kept(settings, store, _decided(verdict, action, reason))
    _finish(settings, verdict)
    return verdict


def _decided(verdict: Verdict, action: str, reason: str) -> Verdict:
    """A verdict with the action and the reason of a person in place of its own."""
    decision = (f"A person decided: {reason.strip().rstrip('.')}.",) if reason.strip() else ()
    return verdict.model_copy(update={"action": action, "reasons": (*decision, *verdict.reasons)})


def _kept(settings: Settings, store: Any, verdict: Verdict) -> Verdict:
    """Keeps a verdict; if somebody has decided before, theirs holds."""
    documents, name = Executions(store, settings.use_case.name), str(verdict.canary)
    documents.keep(CANARY, name, verdict, verdict.model_id, once=True)
    return documents.get(CANARY, name, Verdict) or verdict


def _finish_or_reject(settings: Settings, store: Any, verdict: Verdict, action: str, reason: str) -> None:
    """Finishes what was interrupted. If the model to be promoted is gone, a person may reject it instead."""
    try:
        _finish(settings, verdict)
    except RegistryError:
        if verdict.action != "promote" or action != "reject":
            raise
        rejection = _decided(verdict, action, reason)
        Executions(store, settings.use_case.name).keep(CANARY, str(verdict.canary), rejection, verdict.model_id)
        _finish(settings, rejection)


def _finish(settings: Settings, verdict: Verdict, alert: Callable[[Alert], object] = lambda _alert: None) -> None:
    """Makes the registry what the verdict says; what was done already is not done again."""
    registry = Registry(settings)
    mark = f"canary {verdict.canary}: "
    versions = registry.versions()
    if verdict.action == "promote" and not any((version.reason or "").startswith(mark) for version in versions):
        served = next((version for version in versions if version.served), None)
        if served is None or served.model_id != verdict.model_id:
            registry.promote(str(verdict.model_id), f"{mark}{verdict.text}")
    alert(_alert(settings, verdict))
    registry.retire(verdict.canary)


def _alert(settings: Settings, verdict: Verdict, proposed: bool = False) -> Alert:
    what = f"please {verdict.action}" if proposed else {"promote": "promoted", "reject": "rejected"}[verdict.action]
    numbers = {key: f"{value:g}" for key, value in verdict.numbers.items()}
    return alert_of(
        settings,
        "canary",
        f"canary {verdict.canary}/{what}",
        "warning" if verdict.action == "reject" or proposed else "info",
        f"canary {verdict.canary}: {what}",
        f"{verdict.text} Do it with: flightdeck canary {verdict.action}" if proposed else verdict.text,
        {"canary": str(verdict.canary), "served": str(verdict.served or "none"), **numbers},
    )

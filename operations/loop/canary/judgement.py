"""Decides whether a canary may take over: a pure function of what was seen, so that it can be explained.

What would harm at once is looked at first: answers that failed, then answers that look different, and their quality as
soon as enough labels have arrived. A difference counts only when all of its interval is beyond what is allowed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import numpy as np
from pydantic import BaseModel

from ledger.significance import SignificanceTest, bootstrap, bootstrap_of_two_samples, why_not
from operations.loop.canary.evidence import Evidence
from operations.monitoring.model_signals import prediction_distance
from operations.serving.settings import Canary

_METRIC = "log_loss"


class Verdict(BaseModel, frozen=True):
    """What is to become of a canary, and why.

    Attributes:
        canary: its number.
        model_id: its Model artifact; None if ML Metadata does not know it.
        served: the version that it was compared with; None if nothing was served.
        when: until when requests and labels were looked at, UTC.
        action: what is to be done.
        reasons: sentences, the one that decided it first.
        numbers: what it was decided on, by name; only what could be measured.
    """

    canary: int
    model_id: int | None
    served: int | None
    when: datetime
    action: Literal["promote", "reject", "wait"]
    reasons: tuple[str, ...]
    numbers: dict[str, float] = {}

    @property
    def text(self) -> str:
        """One line for people."""
        return " ".join(self.reasons)


def judge(evidence: Evidence, settings: Canary) -> Verdict:
    """Rejects a version that is unknown, served already, broken, too different or worse.

    Waits while too little was seen; promotes any other.
    """
    ours, theirs, counts, served = evidence.by_canary, evidence.by_served, evidence.counts, evidence.served
    numbers = _counted(evidence)

    def verdict(action: Literal["promote", "reject", "wait"], *reasons: str) -> Verdict:
        return Verdict(
            canary=evidence.canary.number,
            model_id=evidence.canary.model_id,
            served=served.number if served else None,
            when=evidence.until,
            action=action,
            reasons=reasons,
            numbers=numbers,
        )

    if evidence.canary.model_id is None:
        return verdict("reject", "ML Metadata does not know its model, and whether that was ever blessed.")
    if served is None:
        return verdict("promote", "Nothing is served yet, so there is nothing to compare it with.")
    if served.model_id == evidence.canary.model_id:
        return verdict("reject", f"Its model is served already, as version {served.number}.")
    if counts.does_not_load:
        return verdict("reject", f"It cannot be loaded: {counts.does_not_load}")
    allowed = settings.may_fail * max(counts.answered + counts.failed, settings.rows)
    if counts.failed > allowed:
        last = f" The last time: {counts.failure}" if counts.failure else ""
        return verdict(
            "reject", f"It failed to answer {counts.failed:,} requests, and {allowed:,.0f} are allowed.{last}"
        )
    if nonsense := int((~np.isfinite(ours.probabilities)).sum()):
        return verdict("reject", f"{nonsense:,} of its answers are not numbers.")
    if ours.rows < settings.rows:
        out = f", beside {evidence.left_out:,} of windows whose data are at fault" if evidence.left_out else ""
        return verdict("wait", f"It has answered {ours.rows:,} rows of the {settings.rows:,} that are needed{out}.")
    reasons = []
    if len(ours.probabilities) and len(theirs.probabilities):
        distance = prediction_distance(ours.probabilities, theirs.probabilities)
        numbers["prediction_distance"] = distance
        within = distance <= settings.prediction_distance
        reasons.append(
            f"Its answers (mean {ours.probabilities.mean():.3f}) are {distance:.3f} from those of version "
            f"{served.number} (mean {theirs.probabilities.mean():.3f}) by Jensen-Shannon divergence, "
            f"{'within' if within else 'more than'} {settings.prediction_distance:g}."
        )
        if not within:
            return verdict("reject", *reasons)
    cannot = _cannot_compare(evidence, settings)
    if cannot is None:
        test = _difference(evidence)
        numbers |= {
            "log_loss_served": test.first,
            "log_loss_canary": test.second,
            "log_loss_difference": test.difference,
            "log_loss_difference_low": test.low,
            "log_loss_difference_high": test.high,
        }
        worse = test.low > settings.may_lose
        sentence = (
            f"Its log loss is {test.second:.4f}, that of version {served.number} {test.first:.4f}: a difference of "
            f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f}) on {numbers['labelled']:,} labelled rows, "
            f"{'all of it beyond' if worse else 'not certainly beyond'} {settings.may_lose:g}."
        )
        return verdict("reject" if worse else "promote", sentence, *reasons)
    if settings.wait_for_labels:
        return verdict("wait", f"It is to be judged by labels, and {cannot}.", *reasons)
    return verdict("promote", *reasons, f"Its quality was not compared: {cannot}.")


def _counted(evidence: Evidence) -> dict[str, float]:
    numbers: dict[str, float | None] = {
        "answered": evidence.by_canary.rows,
        "failed": evidence.counts.failed,
        "dropped": evidence.counts.dropped_rows,
        "left_out": evidence.left_out,
        "labelled": len(evidence.by_canary.labelled[0]),
        "canary_p99_seconds": evidence.by_canary.p99_seconds,
        "served_p99_seconds": evidence.by_served.p99_seconds,
    }
    return {name: number for name, number in numbers.items() if number is not None}


def _cannot_compare(evidence: Evidence, settings: Canary) -> str | None:
    """Why its quality cannot be compared; None if it can."""
    labels, probabilities = evidence.by_canary.labelled
    served_labels, served_probabilities = evidence.by_served.labelled
    if len(labels) < settings.labels:
        return f"{len(labels):,} labels have arrived of the {settings.labels:,} that are needed"
    if evidence.paired:
        return why_not(labels, probabilities, served_probabilities)
    return why_not(labels, probabilities) or why_not(served_labels, served_probabilities)


def _difference(evidence: Evidence) -> SignificanceTest:
    """How much the log loss of the canary exceeds that of the served version."""
    ours, theirs = evidence.by_canary.labelled, evidence.by_served.labelled
    if not evidence.paired:
        return bootstrap_of_two_samples(_METRIC, theirs, ours)
    (test,) = bootstrap(ours[0], theirs[1], ours[1], [_METRIC])
    return test

"""Decides whether a canary may take over: a pure function of what was seen, so that it can be explained.

What would harm at once is looked at first: answers that failed, then answers that look different, and their quality as
soon as enough labels have arrived. A difference counts only when all of its interval is beyond what is allowed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import numpy as np
from pydantic import BaseModel

from ledger.significance import SignificanceTest, bootstrap, bootstrap_of_two_samples
from operations.loop.canary.evidence import Evidence
from operations.serving.settings import Canary


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
    task, numbers = evidence.task, _counted(evidence)

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
    if nonsense := _nonsense(ours.predictions):
        return verdict("reject", f"{nonsense:,} of its answers are not numbers.")
    if ours.rows < settings.rows:
        out = f", beside {evidence.left_out:,} of windows whose data are at fault" if evidence.left_out else ""
        return verdict("wait", f"It has answered {ours.rows:,} rows of the {settings.rows:,} that are needed{out}.")
    reasons = []
    if len(ours.predictions) and len(theirs.predictions):
        distance = task.distance(ours.predictions, theirs.predictions)
        numbers["prediction_distance"] = distance
        within = distance <= settings.prediction_distance
        reasons.append(
            f"Its answers ({task.summary(ours.predictions)}) are {distance:.3f} from those of version "
            f"{served.number} ({task.summary(theirs.predictions)}) by Jensen-Shannon divergence, "
            f"{'within' if within else 'more than'} {settings.prediction_distance:g}."
        )
        if not within:
            return verdict("reject", *reasons)
    cannot = _cannot_compare(evidence, settings)
    if cannot is None:
        loss, test = task.loss, _difference(evidence)
        numbers |= {
            f"{loss.name}_served": test.first,
            f"{loss.name}_canary": test.second,
            f"{loss.name}_difference": test.difference,
            f"{loss.name}_difference_low": test.low,
            f"{loss.name}_difference_high": test.high,
        }
        allowed_loss = loss.allowance(test.first, getattr(settings, task.canary_setting))
        worse = test.low > allowed_loss
        sentence = (
            f"Its {loss.title} is {loss.number(test.second, 4)}{task.unit(loss)}, that of version {served.number} "
            f"{loss.number(test.first, 4)}: a difference of {loss.difference(test.difference, test.low, test.high)} on "
            f"{numbers['labelled']:,} labelled rows, {'all of it beyond' if worse else 'not certainly beyond'} "
            f"{allowed_loss:g}."
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


def _nonsense(predictions: np.ndarray) -> int:
    """How many predictions are not numbers, or have one that is not."""
    return int((~np.isfinite(predictions).all(axis=tuple(range(1, predictions.ndim)))).sum())


def _cannot_compare(evidence: Evidence, settings: Canary) -> str | None:
    """Why its quality cannot be compared; None if it can."""
    labels, predictions = evidence.by_canary.labelled
    served_labels, served_predictions = evidence.by_served.labelled
    why_not = evidence.task.measures.why_not
    if len(labels) < settings.labels:
        return f"{len(labels):,} labels have arrived of the {settings.labels:,} that are needed"
    if evidence.paired:
        return why_not(labels, predictions, served_predictions)
    return why_not(labels, predictions) or why_not(served_labels, served_predictions)


def _difference(evidence: Evidence) -> SignificanceTest:
    """How much the loss of the canary exceeds that of the served version."""
    ours, theirs, measures = evidence.by_canary.labelled, evidence.by_served.labelled, evidence.task.measures
    if not evidence.paired:
        return bootstrap_of_two_samples(evidence.task.loss.name, theirs, ours, measures=measures)
    (test,) = bootstrap(ours[0], theirs[1], ours[1], [evidence.task.loss.name], measures=measures)
    return test

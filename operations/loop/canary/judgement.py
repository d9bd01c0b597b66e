"""Decides whether a canary may take over: a pure function of what was seen, so that it can be explained.

What would harm at once is looked at first: answers that failed, then answers that look different, and their quality as
soon as enough labels have arrived. A difference counts only when all of its interval is beyond what is allowed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from ledger.significance import LEVEL, RESAMPLED, RESAMPLES, SignificanceTest, bootstrap, why_not
from operations.loop.canary.evidence import Evidence
from operations.monitoring.model_signals import prediction_distance
from operations.serving.settings import Canary

_METRIC = "log_loss"
UNPAIRED = "bootstrap of two samples"


class Verdict(BaseModel):
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

    model_config = ConfigDict(frozen=True)

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
    """What is to become of a canary.

    Returns:
        ``reject`` for a version whose model is not known or served already, that does not load, fails too often,
        answers too differently, or is worse by more than it may be; ``wait`` while too little was seen; otherwise
        ``promote``.
    """
    numbers = _counted(evidence)

    def verdict(action: Literal["promote", "reject", "wait"], *reasons: str) -> Verdict:
        return Verdict(
            canary=evidence.canary,
            model_id=evidence.model_id,
            served=evidence.served,
            when=evidence.until,
            action=action,
            reasons=reasons,
            numbers=numbers,
        )

    if evidence.model_id is None:
        return verdict("reject", "ML Metadata does not know its model, and whether that was ever blessed.")
    if evidence.served is None:
        return verdict("promote", "Nothing is served yet, so there is nothing to compare it with.")
    if evidence.same_model:
        return verdict("reject", f"Its model is served already, as version {evidence.served}.")
    if evidence.does_not_load:
        return verdict("reject", f"It cannot be loaded: {evidence.does_not_load}")
    allowed = settings.may_fail * max(evidence.requests + evidence.failed, settings.rows)
    if evidence.failed > allowed:
        last = f" The last time: {evidence.failure}" if evidence.failure else ""
        return verdict(
            "reject", f"It failed to answer {evidence.failed:,} requests, and {allowed:,.0f} are allowed.{last}"
        )
    if nonsense := evidence.not_numbers:
        return verdict("reject", f"{nonsense:,} of its answers are not numbers.")
    if evidence.answered < settings.rows:
        out = f", beside {evidence.left_out:,} of windows whose data are at fault" if evidence.left_out else ""
        return verdict(
            "wait", f"It has answered {evidence.answered:,} rows of the {settings.rows:,} that are needed{out}."
        )
    reasons = []
    if evidence.has_answers:
        distance = prediction_distance(evidence.canary_answers, evidence.served_answers)
        numbers["prediction_distance"] = distance
        within = distance <= settings.prediction_distance
        reasons.append(
            f"Its answers (mean {evidence.canary_answers.mean():.3f}) are {distance:.3f} from those of version "
            f"{evidence.served} (mean {evidence.served_answers.mean():.3f}) by Jensen-Shannon divergence, "
            f"{'within' if within else 'more than'} {settings.prediction_distance:g}."
        )
        if not within:
            return verdict("reject", *reasons)
    labelled = evidence.labelled
    cannot = _cannot_compare(evidence, settings)
    if cannot is None:
        found = _difference(evidence)
        numbers |= {
            "log_loss_served": found.first,
            "log_loss_canary": found.second,
            "log_loss_difference": found.difference,
            "log_loss_difference_low": found.low,
            "log_loss_difference_high": found.high,
        }
        worse = found.low > settings.may_lose
        sentence = (
            f"Its log loss is {found.second:.4f}, that of version {evidence.served} {found.first:.4f}: a difference of "
            f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f}) on {labelled:,} labelled rows, "
            f"{'all of it beyond' if worse else 'not certainly beyond'} {settings.may_lose:g}."
        )
        return verdict("reject" if worse else "promote", sentence, *reasons)
    if settings.wait_for_labels:
        return verdict("wait", f"It is to be judged by labels, and {cannot}.", *reasons)
    return verdict("promote", *reasons, f"Its quality was not compared: {cannot}.")


def _counted(evidence: Evidence) -> dict[str, float]:
    numbers: dict[str, float] = {
        "answered": evidence.answered,
        "failed": evidence.failed,
        "dropped": evidence.dropped,
        "left_out": evidence.left_out,
        "labelled": evidence.labelled,
    }
    for name in ("canary_p99_seconds", "served_p99_seconds"):
        if (value := getattr(evidence, name)) is not None:
            numbers[name] = value
    return numbers


def _cannot_compare(evidence: Evidence, settings: Canary) -> str | None:
    """Why its quality cannot be compared; None if it can."""
    if evidence.labelled < settings.labels:
        return f"{evidence.labelled:,} labels have arrived of the {settings.labels:,} that are needed"
    reasons = (
        why_not(evidence.labels, evidence.canary_labelled, *([evidence.served_labelled] if evidence.paired else [])),
        None if evidence.paired else why_not(evidence.served_labels, evidence.served_labelled),
    )
    return next((each for each in reasons if each), None)


def _difference(evidence: Evidence) -> SignificanceTest:
    """How much the log loss of the canary exceeds that of the served version."""
    if evidence.paired:
        (found,) = bootstrap(evidence.labels, evidence.served_labelled, evidence.canary_labelled, [_METRIC])
        return found
    return unpaired(
        _METRIC, evidence.served_labels, evidence.served_labelled, evidence.labels, evidence.canary_labelled
    )


def unpaired(
    metric: str,
    first_labels: np.ndarray,
    first: np.ndarray,
    second_labels: np.ndarray,
    second: np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> SignificanceTest:
    """The two-sample bootstrap: the rows of each model are drawn with replacement by themselves.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 8. The interval is much wider than that of
    the same models on the same rows, whose luck they share.

    Args:
        metric: one of `ledger.significance.RESAMPLED`.
        first_labels: 0 or 1 [rows of the first].
        first: probabilities of the first model [rows of the first].
        second_labels: 0 or 1 [rows of the second].
        second: probabilities of the second model [rows of the second].
        seed: of the drawing.
        resamples: how often to draw.
    """
    random = np.random.default_rng(seed)
    one, other = RESAMPLED[metric](first_labels, first), RESAMPLED[metric](second_labels, second)

    def drawn(rows: int) -> np.ndarray:
        return np.bincount(random.integers(0, rows, rows), minlength=rows).astype(np.float64)

    differences = np.array([other(drawn(len(second))) - one(drawn(len(first))) for _ in range(resamples)])
    low, high = np.nanquantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    side = min((differences <= 0).sum(), (differences >= 0).sum())
    before, after = one(np.ones(len(first))), other(np.ones(len(second)))
    return SignificanceTest(
        metric,
        float(before),
        float(after),
        float(after - before),
        float(low),
        float(high),
        min(1.0, 2 * (int(side) + 1) / (resamples + 1)),
        UNPAIRED,
        len(first) + len(second),
    )

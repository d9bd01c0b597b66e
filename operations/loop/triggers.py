"""What makes the loop train: pure comparisons of what is there now with what the runs before have seen.

A trigger has a key that names exactly what happened. So the same thing, found again in every round and by every
process, is the same trigger, and is handled once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field

from operations.loop.settings import Triggers
from operations.monitoring.policy import Decision

Kind = Literal["new span", "schedule", "decision", "change"]
# In a sentence; the rest is counted.
_NAMED = 3


class Trigger(BaseModel, frozen=True):
    """A reason to train.

    Attributes:
        kind: what happened.
        key: the same for the same thing, whenever and by whomever it is found.
        reason: one sentence for people.
        when: it was found, in UTC.
    """

    kind: Kind
    key: str = Field(min_length=1, max_length=200)
    reason: str
    when: datetime


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a model is made from besides data.

    Attributes:
        settings: those that change what is learned or how it is judged, by dotted name.
        code: the files that the model's functions, its contract and its schema are made of: path -> digest.
    """

    settings: Mapping[str, Any]
    code: Mapping[str, str]

    def digest(self) -> str:
        """12 hexadecimal digits."""
        text = json.dumps([self.settings, self.code], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def differences(self, other: Recipe) -> list[str]:
        """What differs, by name."""
        pairs = ((self.settings, other.settings), (self.code, other.code))
        return [name for one, two in pairs for name in sorted({*one, *two}) if one.get(name) != two.get(name)]


@dataclasses.dataclass(frozen=True)
class PastRun:
    """A run that was made before.

    Attributes:
        started: in UTC.
        succeeded: whether it came to its end, whatever it said of the model. One that failed has learned nothing.
        triggers: keys of those that the loop started it for; empty if a person did.
        spans: those that it ingested, with the fingerprints of their files; empty if that is not known.
        recipe: None if it is not known.
    """

    run_id: str
    started: datetime
    succeeded: bool
    triggers: tuple[str, ...] = ()
    spans: Mapping[int, str] = dataclasses.field(default_factory=dict)
    recipe: Recipe | None = None


def find(
    wanted: Triggers,
    spans: Mapping[int, str],
    recipe: Recipe,
    decisions: Sequence[Decision],
    served: Collection[str],
    runs: Sequence[PastRun],
    now: datetime,
) -> list[Trigger]:
    """Every reason to train that holds now, of the kinds that are wanted.

    Spans, each with the fingerprint of its files, and recipe are those of a run that would begin now; `served` are the
    versions that answer; runs come oldest first.
    """
    triggers: list[Trigger] = []
    if wanted.new_span:
        triggers += new_spans(spans, runs, now)
    if wanted.change:
        triggers += changed(recipe, runs, now)
    if wanted.decision:
        triggers += decided(decisions, served, now)
    if wanted.every_seconds is not None:
        triggers += scheduled(wanted.every_seconds, runs, now)
    return triggers


def new_spans(spans: Mapping[int, str], runs: Sequence[PastRun], now: datetime) -> Iterator[Trigger]:
    """Spans that no run has learned from or been judged by, and those whose files have changed since."""
    seen: dict[int, set[str]] = {}
    for run in runs:
        if run.succeeded:
            for span, fingerprint in run.spans.items():
                seen.setdefault(span, set()).add(fingerprint)
    for span, fingerprint in sorted(spans.items()):
        if fingerprint not in seen.get(span, ()):
            what = "has changed since a run saw it" if span in seen else "is new"
            yield Trigger(kind="new span", key=f"span:{span}:{fingerprint}", reason=f"span {span} {what}", when=now)


def changed(recipe: Recipe, runs: Sequence[PastRun], now: datetime) -> Iterator[Trigger]:
    """The recipe, if it is another one than that of the last run that the loop made.

    A person's own run in between, with other settings, is an experiment and no change; if it had those of now, the
    change is made already.
    """
    known = [run for run in runs if run.succeeded and run.recipe is not None]
    last = max((index for index, run in enumerate(known) if run.triggers), default=0)
    if not known or any(run.recipe is not None and not recipe.differences(run.recipe) for run in known[last:]):
        return
    # Before the loop made a run, a person did, and the newest of those is what there is to go by.
    base = known[last] if known[last].triggers else known[-1]
    assert base.recipe is not None
    names = recipe.differences(base.recipe)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    yield Trigger(
        kind="change",
        # With the run: a recipe that comes back after another one is a change again.
        key=f"change:{recipe.digest()}:{base.run_id}",
        reason=f"code or settings have changed since run {base.run_id}: {', '.join(names[:_NAMED])}{more}",
        when=now,
    )


def decided(decisions: Sequence[Decision], served: Collection[str], now: datetime) -> Iterator[Trigger]:
    """Decisions to retrain, about versions that still answer."""
    for decision in decisions:
        if decision.action == "retrain" and decision.version in served:
            reason = decision.why or f"the monitor wants it, after {decision.window}"
            key = f"decision:{decision.window}/{decision.version}"
            yield Trigger(kind="decision", key=key, reason=reason, when=now)


def scheduled(every_seconds: float, runs: Sequence[PastRun], now: datetime) -> Iterator[Trigger]:
    """The schedule, if the last run began so long ago; also if that one failed."""
    last = max(runs, key=lambda run: run.started, default=None)
    if last is None:
        yield Trigger(kind="schedule", key="schedule:first", reason="there has been no run yet", when=now)
    elif now - last.started >= timedelta(seconds=every_seconds):
        reason = f"the last run, {last.run_id}, began more than {every_seconds:g} s ago"
        yield Trigger(kind="schedule", key=f"schedule:{last.run_id}", reason=reason, when=now)

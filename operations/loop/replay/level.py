"""Plays one level of maturity: month after month requests are answered, labels arrive, the policy acts.

What decides and acts is the loop of `flightdeck watch`, with a clock that is set. What is played is the world around
it: requests, spans that arrive, the runs that the loop begins, and at level 1 the person who approves of a model.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import ml_metadata

from errors import FlightdeckError
from operations.alerts.alert import Alert
from operations.alerts.channels import channels
from operations.alerts.dispatcher import log_place, outbox_place
from operations.alerts.outbox import Outbox
from operations.loop.actions import Actions
from operations.loop.attempts import Attempt, Attempts
from operations.loop.canary.act import kept_verdict
from operations.loop.replay import arrival, traffic, training
from operations.loop.replay.plan import LEVELS, ReplayPlan, approved, initial, month_of, of
from operations.loop.replay.steps import Step, Steps
from operations.loop.round import Event, Rounds
from operations.loop.runs import Result, result_of
from operations.loop.seen import History
from operations.loop.settings import Settings, Triggers
from operations.monitoring import quarantine
from operations.monitoring.records import MonitoringRecords
from operations.monitoring.served import Period
from operations.registry import Registry, Version


class ReplayRuns:
    """Runs that the player makes when the loop has begun them; a kill in between changes nothing."""

    def __init__(self, settings: Settings, store: ml_metadata.MetadataStore) -> None:
        self._settings, self._history = settings, History(store, settings.use_case.name)

    def busy(self) -> str | None:
        """Nobody: the player holds the workspace."""

    def start(self, attempt: Attempt, settings: Settings) -> str | None:
        """Leaves it to the player."""

    def result(self, attempt: Attempt) -> Result | None:
        """What came of the run; at level 2 a blessed model is pushed: served, or in shadow mode."""
        record = self._history.record(attempt.run_id)
        result = None if record is None else result_of(record)
        if record is None or result is None or result.outcome != "blessed" or self._settings.continuous.level < 2:
            return result
        shadow = self._settings.canary.mode != "off"
        version = record.model_id if shadow else Registry(self._settings).served().number
        return dataclasses.replace(result, outcome="pushed", version=str(version))

    def stop(self, attempt: Attempt) -> bool:
        """Nothing goes on by itself."""
        return False


class Player:
    """One level."""

    def __init__(
        self,
        settings: Settings,
        plan: ReplayPlan,
        source: Path,
        store: ml_metadata.MetadataStore,
        tell: Callable[[Step], None] = lambda step: None,
    ) -> None:
        self._settings, self._plan, self._source, self._store = settings, plan, source, store
        self._replay, self._level = of(settings), settings.continuous.level
        self._steps = Steps(store, settings.use_case.name, tell)
        self._now = month_of(self._replay, plan.first).begin
        self._channels = channels(settings.alerts, log_place(settings), {})
        self._outbox = Outbox(
            outbox_place(settings), tuple(self._channels), settings.alerts.quiet_seconds, lambda: self._now.timestamp()
        )
        # The model that was blessed last, until it is judged; as a version it has the number of its model.
        self._canary: Version | None = None
        self._attempts, self._run_id = Attempts(settings, store), ""
        self._rounds = Rounds(
            store,
            self._attempts,
            ReplayRuns(settings, store),
            self._put,
            _stop_at_problem,
            run_id=lambda: self._run_id,
            canary=lambda _settings: self._canary,
        )
        self._trained: dict[int | None, dict[str, Any]] = {}

    def play(self) -> None:
        """Plays all months, from wherever it was left; a FlightdeckError if it cannot go on."""
        self._begin()
        for span in self._plan.spans:
            self._month(span)
        # A day later whatever a killed process had begun to deliver is due again.
        self._now += timedelta(days=1)
        self._outbox.deliver(self._channels)

    def _begin(self) -> None:
        """The model that the level begins with: the only one that a person trains and deploys at every level."""
        spans = initial(self._replay)
        for span in spans:
            self._arrive(span)
        window = self._replay.initial
        data = self._settings.data.model_copy(update={"window": window})
        settings = self._settings.model_copy(update={"data": data})
        trained = self._train(spans[-1], settings, f"by hand, on the spans {window}", {})
        if trained["outcome"] != "blessed":
            raise FlightdeckError(
                f"The model that every level begins with is {trained['outcome']} ({'; '.join(trained['reasons'])}); "
                "choose another replay.initial, or lower thresholds."
            )
        self._canary = None
        self._deploy(spans[-1], trained["run"], "the first model")

    def _month(self, span: int) -> None:
        month = self._name(span)
        self._serve(span)
        self._now = self._period(span).end
        self._arrive(span)
        if self._level > 0:  # at level 0 nobody watches
            self._run_id = f"replay-{month}"
            facts = self._once(f"{month}/watch", "monitoring", functools.partial(self._watch, span))
            self._end_canary(facts)
            self._carry_on(span)
        if self._level == 1:
            self._approve(span)

    def _serve(self, span: int) -> None:
        """Answers the requests of a month; in shadow mode the canary answers them, too, until it was judged."""
        month = self._name(span)
        self._now = self._period(span).begin
        if self._canary is None:
            self._once(f"{month}/serve", "serving", lambda: self._answer(span, f"{month}-1", 0, None))
            return
        most = self._settings.canary.rows
        self._once(f"{month}/serve-1", "serving", lambda: self._answer(span, f"{month}-1", 0, most))
        # The share of the month that has passed when the canary has answered enough.
        share = min(1.0, most / max(arrival.rows_of(self._source, span), 1))
        self._now += (self._period(span).end - self._period(span).begin) * share
        self._end_canary(self._once(f"{month}/canary", "deploying", self._judge))
        self._once(f"{month}/serve-2", "serving", lambda: self._answer(span, f"{month}-2", most, None))

    def _answer(self, span: int, name: str, first: int, last: int | None) -> dict[str, Any]:
        requests = arrival.requests(self._settings, self._plan, self._source, span)
        at = traffic.times(self._period(span), requests.num_rows)
        served = Registry(self._settings).served()
        rows = slice(first, requests.num_rows if last is None else min(last, requests.num_rows))
        asked = requests.slice(rows.start, max(0, rows.stop - rows.start))
        answered = traffic.answer(self._settings, asked, at[rows], served, self._canary, name)
        return {
            "version": served.number,
            "run": served.run_id,
            "rows": answered,
            "from": float(at[rows][0]) if answered else None,
            "shadow": self._canary.number if self._canary else None,
        }

    def _watch(self, span: int) -> dict[str, Any]:
        """A round of the loop at the end of a month: what `flightdeck watch` does, but for the run that it begins."""
        settings = self._settings
        if span == self._plan.last:  # what is trained then would answer nothing
            none = Triggers(new_span=False, decision=False, change=False)
            continuous = settings.continuous.model_copy(update={"triggers": none})
            settings = settings.model_copy(update={"continuous": continuous})
        # A window counts as over for the loop when the log of its last requests must be on disk.
        rotated = timedelta(seconds=settings.serving.payloads.rotate_seconds)
        self._rounds.one_round(settings, self._now + rotated)
        self._outbox.deliver(self._channels)
        # From the ledger: of a round that was killed, only the first one knew what was decided.
        decisions = [
            decision
            for decision in MonitoringRecords(self._store, settings.use_case.name).decisions()
            if decision.window_name == self._period(span).name
        ]
        about = {f"{decision.window}/{decision.version}" for decision in decisions}
        return {
            "decisions": [
                {"version": made.version, "action": made.action, "reasons": [reason.text for reason in made.reasons]}
                for made in decisions
            ],
            "acts": [act.model_dump() for act in Actions(settings, self._store).all() if act.decision in about],
            "quarantined": sorted(marked.span for marked in quarantine.listed(settings)),
            **self._verdict(),
        }

    def _judge(self) -> dict[str, Any]:
        """The loop's look at the canary as soon as it has answered enough."""
        self._rounds.judge(self._settings, self._now)
        self._outbox.deliver(self._channels)
        return {"action": "wait", **self._verdict()}

    def _verdict(self) -> dict[str, Any]:
        """The verdict on the canary that the loop has carried out; empty if there is none yet."""
        canary = self._canary
        verdict = None if canary is None else kept_verdict(self._settings, self._store, canary)
        if canary is None or verdict is None:
            return {}
        facts = {"run": canary.run_id, "action": verdict.action, "text": verdict.text, "numbers": verdict.numbers}
        return {**facts, **self._served_now()} if verdict.action == "promote" else facts

    def _end_canary(self, facts: dict[str, Any]) -> None:
        if facts.get("action") in ("promote", "reject"):
            self._canary = None

    def _carry_on(self, span: int) -> None:
        """Makes the run that the loop has begun, if it has, and lets the loop settle it."""
        attempt = next((begun for begun in self._attempts.all() if begun.run_id == self._run_id), None)
        if attempt is None:
            return
        self._train(span, self._settings, attempt.because, attempt.reasons)
        if self._canary is not None and self._settings.canary.mode == "off":
            self._canary = None
            self._deploy(span, self._run_id, "blessed; there is no canary")
        self._rounds.settle(self._settings, self._now)
        self._outbox.deliver(self._channels)

    def _train(self, span: int, settings: Settings, why: str, triggers: Mapping[str, str]) -> dict[str, Any]:
        run_id = f"replay-{self._name(span)}"
        facts = self._once(
            f"{self._name(span)}/train",
            "training",
            lambda: {**training.train(settings, self._store, run_id, triggers), "why": why},
        )
        self._trained[span] = facts
        if self._level == 2 and facts["outcome"] == "blessed":
            # A newer one takes the place of one that is still in shadow mode.
            model_id = facts["model"]
            folder = training.saved_model(self._store, model_id)
            self._canary = Version(model_id, folder, model_id, run_id, blessed=True, present=True, pushed_at=self._now)
        return facts

    def _approve(self, span: int) -> None:
        """A person approves of a model that was trained some months ago."""
        trained = self._trained.get(approved(self._replay, self._plan, span))
        if trained is not None and trained["outcome"] == "blessed":
            self._deploy(span, trained["run"], "a person has approved of it")

    def _deploy(self, span: int, run_id: str, reason: str) -> None:
        self._once(f"{self._name(span)}/deploy", "deploying", lambda: self._promote(run_id, reason))

    def _promote(self, run_id: str, reason: str) -> dict[str, Any]:
        """Has a run's model served, unless it is: a process that was killed right after may do it again."""
        registry = Registry(self._settings)
        model_id = next(run["model"] for run in self._trained.values() if run["run"] == run_id)
        served = registry.current()
        if served is None or served.model_id != model_id:
            registry.promote(run_id, reason)
        return self._served_now()

    def _served_now(self) -> dict[str, Any]:
        served = Registry(self._settings).served()
        return {"version": served.number, "run": served.run_id, "digest": training.weights(served.folder)}

    def _arrive(self, span: int) -> None:
        def work() -> dict[str, Any]:
            arrival.arrive(self._settings, self._plan, self._source, span)
            return {"span": span}

        self._once(f"{self._name(span)}/arrive", "arriving", work)

    def _once(self, name: str, kind: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return self._steps.once(name, kind, self._now, work)

    def _put(self, alert: Alert) -> None:
        facts = {**alert.facts, "level": f"{self._level}: {LEVELS[self._level]}"}
        self._outbox.put(alert.model_copy(update={"when": self._now, "facts": facts}))

    def _period(self, span: int) -> Period:
        return month_of(self._replay, span)

    def _name(self, span: int) -> str:
        return f"{self._period(span).begin:%Y-%m}"


def _stop_at_problem(event: Event) -> None:
    """What hinders the loop ends the replay: its months would otherwise differ from those of another one."""
    if event.kind == "problem":
        raise FlightdeckError(event.text)

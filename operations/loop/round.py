"""One round of the loop: see what has happened, act on it, and have at most one run go on.

A round is short, and may be killed at any moment: whatever it does is on disk before it is told, and the next round, by
whichever process, goes on from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import ml_metadata

import storage
from errors import FlightdeckError
from ledger.executions import Executions
from operations.alerts.alert import Alert
from operations.loop import messages
from operations.loop.actions import Actions
from operations.loop.attempts import Attempt, Attempts, Waiting, given_up, waiting
from operations.loop.messages import sentence
from operations.loop.runs import Result, Runner
from operations.loop.seen import History, Spans, recipe_now
from operations.loop.settings import Settings
from operations.loop.triggers import Trigger, find
from operations.monitoring.records import MonitoringRecords
from operations.registry import Registry, RegistryError, Version
from pipeline.workspace import new_run_id

ASKED = "flightdeck.TrainingAsked"
EventKind = Literal["trigger", "withdrawn", "run", "decision", "act", "canary", "alert", "problem"]


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happened, for people and programs.

    Attributes:
        kind: what it is about.
        text: one sentence or two.
        facts: the same for programs.
        when: in UTC.
    """

    kind: EventKind
    text: str
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    when: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))


def triggers_now(
    settings: Settings, store: ml_metadata.MetadataStore, attempts: Attempts, spans: Mapping[int, str], now: datetime
) -> tuple[list[Trigger], list[Waiting]]:
    """The triggers that hold now, and those of them that wait for a run."""
    recipe = recipe_now(settings)
    runs = History(store, settings.use_case.name).runs(recipe.code)
    triggers = find(
        settings.continuous.triggers,
        spans,
        recipe,
        MonitoringRecords(store, settings.use_case.name).decisions(),
        _served(settings),
        runs,
        now,
    )
    return triggers, waiting(triggers, attempts.all(), runs, settings.continuous)


class Rounds:
    """Makes rounds of one workspace; remembers only what spares it work.

    `alert` returns something true if people will hear of the alert; `tell` is told of each thing that happens, at once;
    `run_id` names a new run; `canary` finds the version that is to be judged.
    """

    def __init__(
        self,
        store: ml_metadata.MetadataStore,
        attempts: Attempts,
        runner: Runner,
        alert: Callable[[Alert], object],
        tell: Callable[[Event], object],
        run_id: Callable[[], str] = new_run_id,
        canary: Callable[[Settings], Version | None] = lambda settings: Registry(settings).canary(),
    ) -> None:
        self._store, self._attempts, self._runner, self._takes_alerts, self._tell = store, attempts, runner, alert, tell
        self._run_id, self._find_canary = run_id, canary
        self._spans = Spans()
        self._waiting: dict[str, Waiting] = {}
        self._looked: dict[str, object] = {}
        self._problems: dict[str, str] = {}

    def one_round(self, settings: Settings, now: datetime) -> Result | None:
        """Makes a round; what came of the run that went on, if it has ended.

        A step that has a problem is told once and retried in the next round; the others are done.
        """
        result = self.settle(settings, now)
        spans = self._step("spans", settings, lambda: self._spans.now(settings, now.timestamp()))
        self._step("monitor", settings, lambda: self._monitor(settings, spans, now))
        self._step("decision", settings, lambda: self._carry_out(settings))
        self.judge(settings, now, spans)
        # A span that was marked just now is no reason to train.
        spans = self._step("spans", settings, lambda: self._spans.now(settings, now.timestamp()))
        if spans is not None:
            self._step("trigger", settings, lambda: self._collect(settings, spans, now))
            self._step("start", settings, lambda: self._start(settings, now))
        return result

    def settle(self, settings: Settings, now: datetime) -> Result | None:
        """What came of the run that goes on, if it has ended; its triggers are done, or wait for another one."""
        return self._step("run", settings, lambda: self._settle(settings, now))

    def judge(self, settings: Settings, now: datetime, spans: Mapping[int, str] | None = None) -> None:
        """Judges the version in shadow mode, if anything has been added to what is known of it, and acts on that."""
        self._step("canary", settings, lambda: self._judge(settings, spans, now))

    @property
    def problems(self) -> Mapping[str, str]:
        """What could not be done in the last round: step -> sentence."""
        return self._problems

    @property
    def settles_in(self) -> float:
        """Seconds until the spans count that the last round passed over, as they may still be being written."""
        return max(self._spans.settling.values(), default=0.0)

    def goes_on(self) -> Attempt | None:
        """The run that has not been settled."""
        return self._attempts.open()

    def stop(self, settings: Settings, now: datetime) -> None:
        """Ends what would not go on without this process; its triggers wait for the next one."""
        attempt = self._attempts.open()
        if attempt is None or not self._runner.stop(attempt):
            return
        result = self._runner.result(attempt)
        if result is not None and result.ended:
            self._ended(settings, attempt, result, now)
            return
        self._attempts.end(attempt, "stopped", "it was stopped with the loop", now)
        self._tell(Event("run", f"Run {attempt.run_id} was stopped; its triggers wait.", {"run_id": attempt.run_id}))

    def _step(self, name: str, settings: Settings, action: Callable[[], Any]) -> Any:
        """Does a part of a round; what is wrong with it is one sentence, told when it is new."""
        try:
            done = action()
        except (FlightdeckError, OSError) as error:
            self._looked.pop(name, None)
            text = sentence(" ".join(str(error).split()))
            if self._problems.get(name) != text:
                self._problems[name] = text
                self._tell(Event("problem", text, {"about": name}))
                self._alert(messages.problem(settings, name, text))
            return None
        self._problems.pop(name, None)
        return done

    def _alert(self, alert: Alert) -> None:
        if self._takes_alerts(alert):
            text = f"{alert.severity.capitalize()}: {alert.title}. {alert.text}"
            self._tell(Event("alert", text, alert.model_dump(mode="json")))

    def _changed(self, name: str, *what: object) -> bool:
        before, self._looked[name] = self._looked.get(name), what
        return before != what

    def _settle(self, settings: Settings, now: datetime) -> Result | None:
        attempt = self._attempts.open()
        result = None if attempt is None else self._runner.result(attempt)
        if attempt is None or result is None:
            return None
        if result.ended:
            self._ended(settings, attempt, result, now)
        else:
            again = "" if self._failed(settings, attempt, result, now) else " It is tried again."
            text = sentence(f"run {result.run_id}: {result.outcome}", result.detail) + again
            self._tell(Event("run", text, _facts(result)))
        return result

    def _ended(self, settings: Settings, attempt: Attempt, result: Result, now: datetime) -> None:
        """Settles a run that came to its end, and its triggers for good."""
        if (alert := messages.ended(settings, result, attempt)) is not None:
            self._alert(alert)
        self._attempts.end(attempt, result.outcome, result.detail, now)
        version = f" as version {result.version}" if result.version else ""
        text = sentence(f"run {result.run_id}: {result.outcome}{version}", result.detail)
        self._tell(Event("run", text, _facts(result)))

    def _failed(self, settings: Settings, attempt: Attempt, result: Result, now: datetime) -> list[Trigger]:
        """Settles a run that did not come to its end; the triggers that are given up."""
        triggers = given_up(attempt, self._attempts.all(), settings.continuous)
        if triggers:
            # People first: a second alert is better than none, and the outbox deduplicates them.
            self._alert(messages.given_up(settings, result, triggers))
        self._attempts.end(attempt, result.outcome, result.detail, now)
        return triggers

    def _monitor(self, settings: Settings, spans: dict[int, str] | None, now: datetime) -> None:
        from operations.monitoring.served import period_of, require_log

        require_log(settings, now)
        log, length = storage.at(settings.payloads), settings.monitoring.window
        # Until then the last file of a window may not have been written.
        until = now - timedelta(seconds=settings.serving.payloads.rotate_seconds)
        if not log.is_dir() or not self._changed("monitor", period_of(until, length), spans):
            return
        from operations.monitoring.round import monitor

        for decision in monitor(settings, self._store, until, self._alert).decisions:
            if decision.action != "none":
                facts = decision.model_dump(include={"window", "version", "action"})
                text = "{window}, version {version}: {action}. ".format(**facts) + sentence(decision.why)
                self._tell(Event("decision", text, facts))

    def _carry_out(self, settings: Settings) -> None:
        acts = Actions(settings, self._store)
        for decision in MonitoringRecords(self._store, settings.use_case.name).decisions():
            # By itself: what cannot be done about one, such as when its span is gone, holds no other one back.
            name = f"decision {decision.window}/{decision.version}"
            act = self._step(name, settings, functools.partial(acts.carry_out, decision, self._alert))
            if act is not None:
                self._tell(Event("act", sentence(act.text), act.model_dump()))

    def _judge(self, settings: Settings, spans: Mapping[int, str] | None, now: datetime) -> None:
        if settings.canary.mode == "off":
            return
        canary = self._find_canary(settings)
        if canary is None or not self._changed("canary", canary.number, _state_of(settings.payloads), spans):
            return
        from operations.loop.canary.act import is_proposal, look

        verdict = look(settings, self._store, canary, now, settings.continuous.level, self._alert)
        if verdict.action != "wait" and self._changed("verdict", verdict.canary, verdict.action):
            asked = "a person is asked to " if is_proposal(verdict, settings.continuous.level) else ""
            text = f"Version {verdict.canary}: {asked}{verdict.action}. {verdict.text}"
            self._tell(Event("canary", text, verdict.model_dump(include={"canary", "action", "numbers"})))

    def _collect(self, settings: Settings, spans: Mapping[int, str], now: datetime) -> None:
        """Finds what waits for a run, and tells of what is new and of what no longer holds."""
        triggers, waits = triggers_now(settings, self._store, self._attempts, spans, now)
        holding = {trigger.key for trigger in triggers}
        for key, gone in self._waiting.items():
            if key not in holding:
                self._tell(Event("withdrawn", f"No longer true: {gone.trigger.reason}.", {"key": key}))
        known = {key for attempt in self._attempts.all() for key in attempt.reasons} | set(self._waiting)
        self._waiting = {wait.trigger.key: wait for wait in waits}
        for trigger in (wait.trigger for wait in waits):
            if trigger.key not in known and not self._asked(settings, trigger):
                self._tell(Event("trigger", sentence(trigger.reason), {"key": trigger.key, "kind": trigger.kind}))

    def _asked(self, settings: Settings, trigger: Trigger) -> bool:
        """Whether people were asked to train for a trigger, at level 0."""
        return Executions(self._store, settings.use_case.name).get(ASKED, trigger.key, Trigger) is not None

    def _start(self, settings: Settings, now: datetime) -> None:
        if settings.continuous.level == 0:
            for trigger in (wait.trigger for wait in self._waiting.values()):
                if not self._asked(settings, trigger):
                    self._alert(messages.asked(settings, trigger))
                    Executions(self._store, settings.use_case.name).keep(ASKED, trigger.key, trigger, once=True)
            return
        if self._attempts.open() is not None or not any(wait.due <= now for wait in self._waiting.values()):
            return
        if self._runner.busy():
            return
        attempt = self._attempts.begin(self._run_id(), [wait.trigger for wait in self._waiting.values()], now)
        self._waiting = {}
        try:
            reference = self._runner.start(attempt, settings)
        except FlightdeckError as error:
            self._failed(settings, attempt, Result("failed", str(error), attempt.run_id), now)
            raise
        if reference is not None:
            self._attempts.refer(attempt, reference)
        run_id = reference or attempt.run_id
        facts = {"run_id": run_id, "triggers": attempt.reasons}
        self._tell(Event("run", f"Run {run_id} begins, because {attempt.because}.", facts))


def _facts(result: Result) -> dict[str, Any]:
    return {"run_id": result.run_id, "outcome": result.outcome, "version": result.version}


def _state_of(folder: str) -> int:
    """A number that becomes another when a file of a folder is written."""
    return hash(tuple(storage.files_below(storage.at(folder)).items()))


def _served(settings: Settings) -> set[str]:
    with contextlib.suppress(RegistryError):  # nothing is pushed yet
        return {str(Registry(settings).served().number)}
    return set()

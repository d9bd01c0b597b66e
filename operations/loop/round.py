"""One round of the loop: see what has happened, act on it, and have at most one run go on.

A round is short, and may be killed at any moment: whatever it does is on disk before it is told, and the next round, by
whichever process, goes on from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import ml_metadata

from errors import FlightdeckError
from operations.alerts.alert import Alert
from operations.loop import messages
from operations.loop.acts import Acts
from operations.loop.messages import sentence
from operations.loop.queue import Batch, Queue
from operations.loop.runs import Result, Runner
from operations.loop.seen import History, Spans, recipe_now
from operations.loop.settings import Settings
from operations.loop.triggers import Trigger, find
from operations.monitoring.records import MonitoringRecords
from operations.registry import Registry, RegistryError
from pipeline.workspace import new_run_id

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


def queue_of(settings: Settings) -> Queue:
    """The queue of a workspace.

    Raises:
        QueueError: it cannot be used.
    """
    return Queue(Path(settings.workspace) / "continuous" / "queue.sqlite")


class Rounds:
    """Makes rounds of one workspace; remembers only what spares it work."""

    def __init__(
        self,
        store: ml_metadata.MetadataStore,
        queue: Queue,
        runner: Runner,
        alert: Callable[[Alert], object],
        tell: Callable[[Event], object],
    ) -> None:
        """Has made no round yet.

        Args:
            store: the metadata store, open.
            queue: from `queue_of`.
            runner: where runs go.
            alert: takes alerts, and returns something true if people will hear of it.
            tell: is told of each thing that happens, at once.
        """
        self._store, self._queue, self._runner, self._takes_alerts, self._tell = store, queue, runner, alert, tell
        self._spans = Spans()
        self._looked: dict[str, object] = {}
        self._problems: dict[str, str] = {}

    def one_round(self, settings: Settings, now: datetime) -> Result | None:
        """Makes a round.

        What cannot be done now is told, once, and tried again in the next one; the rest is done.

        Args:
            settings: as they are now.
            now: the time it is.

        Returns:
            What came of the run that went on, if it has ended.
        """
        result = self.settle(settings, now)
        spans = self._step("spans", settings, lambda: self._spans.now(settings, now.timestamp()))
        self._step("monitor", settings, lambda: self._monitor(settings, spans, now))
        self._step("decision", settings, lambda: self._carry_out(settings))
        self._step("canary", settings, lambda: self._judge(settings, spans, now))
        # A span that was marked just now is no reason to train.
        spans = self._step("spans", settings, lambda: self._spans.now(settings, now.timestamp()))
        if spans is not None:
            self._step("trigger", settings, lambda: self._collect(settings, spans, now))
            self._step("start", settings, lambda: self._start(settings, now))
        return result

    def settle(self, settings: Settings, now: datetime) -> Result | None:
        """What came of the run that goes on, if it has ended; its triggers are done, or wait for another one."""
        return self._step("run", settings, lambda: self._settle(settings, now))

    @property
    def hindered(self) -> bool:
        """Whether something could not be done in the last round."""
        return bool(self._problems)

    def goes_on(self) -> Batch | None:
        """The run that has not been settled."""
        return self._queue.open_run()

    def stop(self, settings: Settings, now: datetime) -> None:
        """Ends what would not go on without this process; its triggers wait for the next one."""
        batch = self._queue.open_run()
        if batch is None or not self._runner.stop(batch):
            return
        result = self._runner.result(batch)
        if result is not None and result.ended:
            self._ended(settings, batch, result, now)
            return
        self._queue.give_back(batch.run_id, "it was stopped with the loop", now)
        self._tell(Event("run", f"Run {batch.run_id} was stopped; its triggers wait.", {"run_id": batch.run_id}))

    def _step(self, name: str, settings: Settings, action: Callable[[], Any]) -> Any:
        """Does a part of a round; what is wrong with it is one sentence, told when it is new."""
        try:
            done = action()
        except (FlightdeckError, OSError, ml_metadata.errors.StatusError) as error:
            self._looked.pop(name, None)
            text = sentence(" ".join(str(error).split()))
            if self._problems.get(name) != text:
                self._problems[name] = text
                self._alert(messages.hindered(settings, name, text))
                self._tell(Event("problem", text, {"about": name}))
            return None
        self._problems.pop(name, None)
        return done

    def _alert(self, alert: Alert) -> None:
        if self._takes_alerts(alert):
            self._tell(Event("alert", f"{alert.severity.capitalize()}: {alert.title}", alert.model_dump(mode="json")))

    def _changed(self, name: str, *what: object) -> bool:
        """Whether something is another than when it was last looked at."""
        before, self._looked[name] = self._looked.get(name), what
        return before != what

    def _settle(self, settings: Settings, now: datetime) -> Result | None:
        batch = self._queue.open_run()
        result = None if batch is None else self._runner.result(batch)
        if batch is None or result is None:
            return None
        if result.ended:
            self._ended(settings, batch, result, now)
        else:
            given_up = self._failed(settings, batch, result, now)
            again = "" if given_up else " It is tried again."
            text = sentence(f"run {result.run_id}: {result.outcome}", result.detail) + again
            self._tell(Event("run", text, _facts(result)))
        return result

    def _ended(self, settings: Settings, batch: Batch, result: Result, now: datetime) -> None:
        """Settles a run that came to its end, and its triggers for good."""
        if (alert := messages.ended(settings, result, batch)) is not None:
            self._alert(alert)
        self._queue.done(batch.run_id, result.outcome, result.detail, now)
        version = f" as version {result.version}" if result.version else ""
        text = sentence(f"run {result.run_id}: {result.outcome}{version}", result.detail)
        self._tell(Event("run", text, _facts(result)))

    def _failed(self, settings: Settings, batch: Batch, result: Result, now: datetime) -> list[Trigger]:
        """Settles a run that did not come to its end; the triggers that are given up."""
        continuous = settings.continuous
        given_up = self._queue.last_start(batch.run_id, continuous.starts)
        if given_up:
            # People first: told twice is better than not at all, and the outbox takes the same alert once.
            self._alert(messages.given_up(settings, result, given_up))
        # A run that was killed, perhaps with the loop, is no reason to wait.
        pause = 0.0 if result.outcome == "killed" else continuous.retry_seconds
        self._queue.failed(batch.run_id, result.outcome, result.detail, now, continuous.starts, pause)
        return given_up

    def _monitor(self, settings: Settings, spans: dict[int, str] | None, now: datetime) -> None:
        from operations.monitoring.served import period_of

        log, length = Path(settings.payloads), settings.monitoring.window
        # Until then the last file of a window may not have been written.
        until = now - timedelta(seconds=settings.serving.payloads.rotate_seconds)
        if not log.is_dir() or not self._changed("monitor", period_of(until, length), spans):
            return
        from operations.monitoring.round import monitor

        for each in monitor(settings, self._store, until, self._alert).decisions:
            if each.action != "none":
                reasons = "; ".join(reason.text for reason in each.reasons if reason.action == each.action)
                self._tell(
                    Event(
                        "decision",
                        f"{each.window}, version {each.version}: {each.action}. {sentence(reasons)}",
                        {"window": each.window, "version": each.version, "action": each.action},
                    )
                )

    def _carry_out(self, settings: Settings) -> None:
        acts = Acts(settings, self._store)
        for decision in MonitoringRecords(self._store, settings.use_case.name).decisions():
            # By itself: what cannot be done about one, such as when its span is gone, holds no other one back.
            name = f"decision {decision.window}/{decision.version}"
            act = self._step(name, settings, functools.partial(acts.carry_out, decision, self._alert))
            if act is not None:
                self._tell(Event("act", sentence(act.text), act.model_dump()))

    def _judge(self, settings: Settings, spans: dict[int, str] | None, now: datetime) -> None:
        """Looks at the version on trial, if anything has been added to what is known of it."""
        if settings.canary.mode == "off":
            return
        canary = Registry(settings).canary()
        if canary is None or not self._changed("canary", canary.number, _state_of(Path(settings.payloads)), spans):
            return
        from operations.loop.canary.act import look

        verdict = look(settings, self._store, now, settings.continuous.level, self._alert)
        if (
            verdict is not None
            and verdict.action != "wait"
            and self._changed("verdict", verdict.canary, verdict.action)
        ):
            left = Registry(settings).canary()
            asked = "a person is asked to " if left is not None and left.number == verdict.canary else ""
            self._tell(
                Event(
                    "canary",
                    f"Version {verdict.canary}: {asked}{verdict.action}. {verdict.text}",
                    {"canary": verdict.canary, "action": verdict.action, "numbers": verdict.numbers},
                )
            )

    def _collect(self, settings: Settings, spans: dict[int, str], now: datetime) -> None:
        """Puts every reason to train into the queue, and takes out those that hold no more."""
        recipe = recipe_now(settings)
        found = find(
            settings.continuous.triggers,
            spans,
            recipe,
            MonitoringRecords(self._store, settings.use_case.name).decisions(),
            set(_served(settings)),
            History(self._store, settings.use_case.name).runs(recipe.code),
            now,
        )
        for each in self._queue.withdraw_others({one.key for one in found}):
            self._tell(Event("withdrawn", f"It holds no more that {each.reason}.", {"key": each.key}))
        for each in found:
            if self._queue.put(each):
                self._tell(Event("trigger", sentence(each.reason), {"key": each.key, "kind": each.kind}))

    def _start(self, settings: Settings, now: datetime) -> None:
        if settings.continuous.level == 0:
            untold = [each.trigger for each in self._queue.waiting() if not each.told]
            for each in untold:
                self._alert(messages.asked(settings, each))
            self._queue.told([each.key for each in untold])
            return
        if self._queue.open_run() is not None or not self._queue.waiting() or self._runner.busy():
            return
        batch = self._queue.take(new_run_id(), now)
        if batch is None:
            return
        try:
            reference = self._runner.start(batch, settings)
        except ValueError as error:
            self._failed(settings, batch, Result("failed", str(error), batch.run_id), now)
            raise
        if reference is not None:
            self._queue.refer(batch.run_id, reference)
        self._tell(
            Event(
                "run",
                f"Run {reference or batch.run_id} begins, because {batch.because}.",
                {"run_id": reference or batch.run_id, "triggers": batch.reasons},
            )
        )


def _facts(result: Result) -> dict[str, Any]:
    return {"run_id": result.run_id, "outcome": result.outcome, "version": result.version}


def _state_of(folder: Path) -> tuple[int, int]:
    """How many files a folder has, and when the newest was written, in nanoseconds."""
    times = []
    for each in folder.rglob("*") if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # a service has renamed it meanwhile
            times.append(each.stat().st_mtime_ns)
    return len(times), max(times, default=0)


def _served(settings: Settings) -> Iterator[str]:
    try:
        yield str(Registry(settings).served().number)
    except RegistryError:  # nothing is pushed yet, or the versions are in a bucket
        return

"""Plays one level of maturity: month after month requests are answered, labels arrive, the policy acts.

All of it is the machinery of real operation, with a clock that is set: the pipeline, the monitor and its rules, the
canary, the quarantine, the registry and the outbox of alerts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_metadata

from operations.alerts.alert import Alert, Severity
from operations.alerts.channels import channels
from operations.alerts.dispatcher import log_file, outbox_file
from operations.alerts.outbox import Outbox
from operations.loop.acts import Acts
from operations.loop.canary import act
from operations.loop.replay import arrival, traffic, training
from operations.loop.replay.plan import LEVELS, Plan, ReplayError, approved, initial, month_of, of
from operations.loop.replay.steps import Step, Steps
from operations.loop.settings import Settings
from operations.loop.triggers import decided
from operations.monitoring import quarantine
from operations.monitoring.records import MonitoringRecords
from operations.monitoring.served import Period
from operations.registry import Registry, Version

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model that was blessed and is not served yet.

    Attributes:
        run_id: that trained it.
        model_id: of its artifact.
        since: when it was trained, by the simulated clock.
    """

    run_id: str
    model_id: int
    since: datetime


class Player:
    """One level."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        source: Path,
        store: ml_metadata.MetadataStore,
        tell: Callable[[Step], None] = lambda step: None,
    ) -> None:
        """Opens what the level has.

        Args:
            settings: of the level, from `plan.level_settings`.
            plan: what to play.
            source: the folder of the spans as they are.
            store: an open store of the level's workspace.
            tell: is told of each step that is done now.
        """
        self._settings, self._plan, self._source, self._store = settings, plan, source, store
        self._replay, self._level = of(settings), settings.continuous.level
        self._steps = Steps(store, settings.use_case.name, tell)
        self._now = month_of(self._replay, plan.first).begin
        self._channels = channels(settings.alerts, log_file(settings), {})
        self._outbox = Outbox(
            outbox_file(settings), tuple(self._channels), settings.alerts.quiet_seconds, lambda: self._now.timestamp()
        )
        self._candidate: Candidate | None = None
        self._trained: dict[int, dict[str, Any]] = {}

    def play(self) -> None:
        """Plays all months, from wherever it was left.

        Raises:
            ValueError: of ours, if it cannot go on.
        """
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
        trained = self._train(spans[-1], self._with_window(window), f"by hand, on the spans {window}")
        if trained["outcome"] != "blessed":
            raise ReplayError(
                f"The model that every level begins with is {trained['outcome']} ({'; '.join(trained['reasons'])}); "
                "choose another replay.initial, or lower thresholds."
            )
        self._candidate = None
        month = self._name(spans[-1])
        self._once(f"{month}/deploy", "deploying", lambda: self._promote(trained["run"], "the first model"))

    def _month(self, span: int) -> None:
        month, period = self._name(span), self._period(span)
        self._serve(span)
        self._now = period.end
        self._arrive(span)
        retrain: list[str] = []
        if self._level > 0:
            retrain = self._once(f"{month}/watch", "monitoring", functools.partial(self._watch, span))["retrain"]
        if self._candidate is not None and self._level == 2:  # its answers now have labels
            self._judge(f"{month}/canary-labels")
        why = self._why_train(span, retrain)
        if why:
            self._train(span, self._settings, why)
        self._deploy(span)

    def _serve(self, span: int) -> None:
        """Answers the requests of a month; those that come while a version is on trial are answered by that, too."""
        month = self._name(span)
        self._now = self._period(span).begin
        if self._candidate is None or self._settings.canary.mode == "off":
            self._once(f"{month}/serve", "serving", lambda: self._answer(span, f"{month}-1", 0, None))
            return
        most = self._settings.canary.rows
        self._once(f"{month}/serve-1", "serving", lambda: self._answer(span, f"{month}-1", 0, most))
        self._now = self._period(span).begin + (self._period(span).end - self._period(span).begin) * self._share(span)
        self._judge(f"{month}/canary")
        self._once(f"{month}/serve-2", "serving", lambda: self._answer(span, f"{month}-2", most, None))

    def _answer(self, span: int, name: str, first: int, last: int | None) -> dict[str, Any]:
        requests, at = self._requests(span)
        served = Registry(self._settings).served()
        versions = [traffic.Answering(served.number, served.folder)]
        if self._candidate is not None and self._settings.canary.mode != "off":
            on_trial = self._on_trial(self._candidate)
            versions.append(traffic.Answering(on_trial.number, on_trial.folder, shadow=True))
        rows = slice(first, requests.num_rows if last is None else min(last, requests.num_rows))
        answered = traffic.answer(
            self._settings, requests.slice(rows.start, max(0, rows.stop - rows.start)), at[rows], versions, name
        )
        return {
            "version": served.number,
            "run": served.run_id,
            "rows": answered,
            "from": float(at[rows][0]) if answered else None,
            "shadow": versions[1].number if len(versions) > 1 else None,
        }

    def _watch(self, span: int) -> dict[str, Any]:
        """A round of the monitor over the month that has ended, and what level 2 does about its decisions."""
        from operations.monitoring.round import monitor

        period = self._period(span)
        monitor(self._settings, self._store, self._now, self._put)
        # From the records: of a round that was killed, the first one knows what was decided.
        decisions = [
            each
            for each in MonitoringRecords(self._store, self._settings.use_case.name).decisions()
            if each.window_name == period.name
        ]
        acts = Acts(self._settings, self._store)
        for each in decisions:
            acts.carry_out(each, self._put)
        self._outbox.deliver(self._channels)
        about = {f"{each.window}/{each.version}" for each in decisions}
        served = str(Registry(self._settings).served().number)
        return {
            "decisions": [
                {"version": each.version, "action": each.action, "reasons": [one.text for one in each.reasons]}
                for each in decisions
            ],
            "acts": [each.model_dump(mode="json") for each in acts.all() if each.decision in about],
            "quarantined": sorted(each.span for each in quarantine.listed(self._settings)),
            # As the loop has it: of a version that has just been rolled back, it is no reason.
            "retrain": [each.reason for each in decided(decisions, {served}, self._now)],
        }

    def _why_train(self, span: int, retrain: list[str]) -> str | None:
        """Why the level trains at the end of a month; None if it does not."""
        if self._level == 0 or span >= self._plan.last:  # what is trained then would answer nothing
            return None
        if self._level == 1:
            return "a month has passed"
        triggers, held = self._settings.continuous.triggers, quarantine.listed(self._settings)
        usable = all(each.span != span for each in held)
        reasons = [f"span {span} has arrived"] if triggers.new_span and usable else []
        reasons += retrain if triggers.decision else []
        return "; ".join(reasons) or None

    def _train(self, span: int, settings: Settings, why: str) -> dict[str, Any]:
        month = self._name(span)
        run_id = f"replay-{month}"

        def work() -> dict[str, Any]:
            facts = {**training.train(settings, self._store, run_id), "why": why}
            if facts["outcome"] != "blessed":
                said = "; ".join(facts["reasons"])
                self._alert(run_id, "warning", f"The model of run {run_id} is {facts['outcome']}", said)
            elif self._level == 1 and span in self._plan.spans:  # the first one is deployed by hand
                self._alert(run_id, "info", f"The model of run {run_id} waits for approval", "It is blessed.")
            self._outbox.deliver(self._channels)
            return facts

        facts = self._once(f"{month}/train", "training", work)
        self._trained[span] = facts
        if self._level == 2 and facts["outcome"] == "blessed":
            # A newer one takes the place of one that is still on trial.
            self._candidate = Candidate(run_id, facts["model"], self._now)
        return facts

    def _deploy(self, span: int) -> None:
        """At level 1 the model that a person has by now approved of; at level 2 without a canary what was blessed."""
        month = self._name(span)
        if self._level == 1:
            waited = approved(self._replay, self._plan, span)
            trained = None if waited is None else self._trained.get(waited)
            if trained is not None and trained["outcome"] == "blessed":
                reason = "a person has approved of it"
                self._once(f"{month}/deploy", "deploying", lambda: self._promote(trained["run"], reason))
        elif self._level == 2 and self._candidate is not None and self._settings.canary.mode == "off":
            run_id, self._candidate = self._candidate.run_id, None
            self._once(f"{month}/deploy", "deploying", lambda: self._promote(run_id, "blessed; there is no canary"))

    def _judge(self, step: str) -> None:
        """Judges the version on trial by what it has answered until now."""
        candidate = self._candidate
        if candidate is None or self._settings.canary.mode == "off":
            return

        def work() -> dict[str, Any]:
            on_trial = self._on_trial(candidate)
            # One that was kept is being carried out: the process was killed meanwhile.
            verdict = act.finished_half(self._settings, self._store, on_trial) or act.judged(
                self._settings, self._store, on_trial, self._now
            )
            act.carry_out(self._settings, self._store, verdict, self._level, self._put)
            self._outbox.deliver(self._channels)
            told = {"run": candidate.run_id, "action": verdict.action, "text": verdict.text, "numbers": verdict.numbers}
            return {**told, **self._served_now()} if verdict.action == "promote" else told

        if self._once(step, "deploying", work)["action"] != "wait":
            self._candidate = None

    def _on_trial(self, candidate: Candidate) -> Version:
        """A candidate as a version; it has the number of its model, which no pushed version has."""
        return Version(
            number=candidate.model_id,
            folder=training.saved_model(self._store, candidate.model_id),
            model_id=candidate.model_id,
            run_id=candidate.run_id,
            blessed=True,
            present=True,
            pushed_at=candidate.since,
        )

    def _promote(self, run_id: str, reason: str) -> dict[str, Any]:
        """Has a run's model served, unless it is: a process that was killed right after may do it again."""
        registry = Registry(self._settings)
        model_id = next(each["model"] for each in self._trained.values() if each["run"] == run_id)
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

    def _alert(self, key: str, severity: Severity, title: str, text: str) -> None:
        name = f"{self._settings.use_case.name}/{key}"[:200]
        self._put(Alert(key=name, severity=severity, title=title[:200], text=text, source="replay"))

    def _put(self, alert: Alert) -> None:
        """Keeps an alert, with the time of the replay and its level."""
        facts = {**alert.facts, "level": f"{self._level}: {LEVELS[self._level]}"}
        self._outbox.put(alert.model_copy(update={"when": self._now, "facts": facts}))

    def _requests(self, span: int) -> tuple[pa.Table, np.ndarray]:
        rows = arrival.requests(self._settings, self._plan, self._source, span)
        return rows, traffic.times(self._period(span), rows.num_rows)

    def _share(self, span: int) -> float:
        """The share of a month that has passed when the version on trial has answered enough."""
        rows = arrival.rows_of(self._source, span)
        return min(1.0, self._settings.canary.rows / max(rows, 1))

    def _period(self, span: int) -> Period:
        return month_of(self._replay, span)

    def _name(self, span: int) -> str:
        return f"{self._period(span).begin:%Y-%m}"

    def _with_window(self, window: str) -> Settings:
        data = self._settings.data.model_copy(update={"window": window})
        return self._settings.model_copy(update={"data": data})

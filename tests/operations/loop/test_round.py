"""Rounds on a real store and a folder of spans. Where runs go is played, to end them as a case wants."""

import dataclasses
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from errors import FlightdeckError
from ledger.recorder import Recorder
from operations.loop import loop
from operations.loop.attempts import Attempt, Attempts
from operations.loop.round import Rounds, _state_of, triggers_now
from operations.loop.runs import Result
from operations.loop.seen import Spans, recipe_now
from operations.monitoring.records import MonitoringRecords
from pipeline import stamp
from tests.operations.monitoring.windows import decision
from tests.operations.test_registry import Factory

pytestmark = pytest.mark.component  # the folder of spans is read by TFX

NOW = datetime(2030, 5, 1, tzinfo=UTC)  # later than every file of the test was written


@dataclasses.dataclass
class Stage:
    """Where the runs of a test go."""

    started: list[Attempt] = dataclasses.field(default_factory=list)
    ends: Result | None = None
    busy_with: str | None = None
    refuses: str | None = None

    def busy(self) -> str | None:
        return self.busy_with

    def start(self, attempt: Attempt, _settings) -> str | None:
        if self.refuses:
            raise FlightdeckError(self.refuses)
        self.started.append(attempt)

    def result(self, attempt: Attempt) -> Result | None:
        return None if self.ends is None else dataclasses.replace(self.ends, run_id=attempt.run_id)

    def stop(self, _attempt: Attempt) -> bool:
        return True


class World:
    """A workspace with two spans, and rounds in it."""

    def __init__(self, folder: Path) -> None:
        self.factory = Factory(folder)
        self.store, self.folder = self.factory.store, folder
        self.stage, self.alerts, self.events = Stage(), [], []
        self.changes: dict[str, object] = {"level": 2}
        for span in (1, 2):
            self.span(span)
        self.now = NOW
        self.begin()

    @property
    def settings(self):
        return self.factory.watched(**self.changes)

    def begin(self, alert=None) -> None:
        self.attempts = Attempts(self.settings, self.store)
        self.rounds = Rounds(self.store, self.attempts, self.stage, alert or self.alerts.append, self.events.append)

    def waiting(self):
        spans = Spans().now(self.settings, self.now.timestamp())
        return triggers_now(self.settings, self.store, self.attempts, spans, self.now)[1]

    def span(self, number: int, content: str = "rows") -> None:
        folder = self.folder / "spans" / f"span-{number:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "part.parquet").write_text(f"{content} of {number}")

    def round(self, after: float = 60) -> list[str]:
        """A round; the kinds of what happened in it."""
        self.now += timedelta(seconds=after)
        before = len(self.events)
        self.rounds.one_round(self.settings, self.now)
        return [event.kind for event in self.events[before:]]

    def learned(self, run_id: str, outcome: str = "pushed", spans: tuple[int, ...] = ()) -> None:
        """A run of now's settings and code is over; it saw these spans, or all that are there."""
        from components.span_example_gen.storage import fingerprint, list_files, list_spans
        from pipeline.results import ingested

        recorder, base = Recorder(self.store), self.settings.spans
        folders = list_spans(base)
        files = [file for span in spans or folders for file in list_files(base, span, folders[span])[0]]
        documents = {
            "settings": recorder.put_document(self.settings.document()),
            "sources": recorder.put_document(stamp.sources()),
            "files": recorder.put_document(ingested(base, spans or list(folders), fingerprint(files))),
        }
        facts = {"pipeline": self.settings.use_case.name, "started": self.now, "outcome": outcome}
        recorder.write(run_id, kind="run", documents=documents, triggers={"a": "b"}, **facts)

    def ends(self, outcome: str, detail: str = "") -> list[str]:
        """The run that goes on ends, and a round finds out."""
        if outcome in ("pushed", "blessed", "not blessed"):
            self.learned(self.stage.started[-1].run_id, outcome)
        self.stage.ends = Result(outcome, detail, "", "7" if outcome == "pushed" else None)
        happened = self.round()
        self.stage.ends = None
        return happened

    def reasons(self) -> list[list[str]]:
        return [list(attempt.reasons.values()) for attempt in self.stage.started]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "workspace")


def test_new_spans_begin_one_run_and_those_that_come_meanwhile_the_next(world):
    assert world.round() == ["trigger", "trigger", "run"]
    world.span(3)
    assert world.round() == ["trigger"]
    world.span(4)
    assert world.round() == ["trigger"]
    world.learned(world.stage.started[-1].run_id, spans=(1, 2))
    world.stage.ends = Result("pushed", "", "", "7")
    assert world.round() == ["run", "run"]
    world.stage.ends = None

    assert world.reasons() == [["span 1 is new", "span 2 is new"], ["span 3 is new", "span 4 is new"]]
    assert world.ends("pushed") == ["run"]
    assert world.round() == []


def test_a_span_that_is_still_being_written_waits(world):
    world.now = datetime.now(UTC)

    assert world.round(after=0) == []
    assert world.round(after=60) == ["trigger", "trigger", "run"]


def test_a_single_round_waits_for_what_was_written_just_now_because_no_other_one_may_come(world):
    world.changes["settle_seconds"] = 2
    world.span(3)
    world.stage.ends = Result("blessed", "", "", None)

    result = loop.Loop(world.rounds, lambda: world.settings, world.events.append).once(wait=True)

    assert [event.kind for event in world.events] == ["trigger", "trigger", "trigger", "run", "run"]
    assert (result.outcome, len(world.stage.started)) == ("blessed", 1)


def test_at_level_zero_people_are_told_once_and_nothing_runs(world):
    world.changes["level"] = 0

    world.round()
    world.begin()
    world.round()

    assert world.stage.started == []
    assert [alert.title for alert in world.alerts] == ["late-flights: span 1 is new", "late-flights: span 2 is new"]
    assert "flightdeck run" in world.alerts[0].text


def test_a_run_of_a_person_makes_triggers_pointless(world):
    world.changes["level"] = 0
    world.round()
    world.learned("by-hand")

    assert world.round() == ["withdrawn", "withdrawn"]
    world.changes["level"] = 2
    assert world.round() == []
    assert world.stage.started == []


def test_triggers_wait_while_a_person_holds_the_workspace(world):
    world.stage.busy_with = "process 1"
    assert world.round() == ["trigger", "trigger"]
    world.stage.busy_with = None
    assert world.round() == ["run"]


@pytest.mark.parametrize(
    ("outcome", "severity", "says"),
    [
        ("pushed", "info", "version 7 is pushed"),
        ("blessed", "warning", "flightdeck models promote"),
        ("not blessed", "warning", "auc is 0.4"),
    ],
)
def test_people_are_told_what_came_of_a_run(world, outcome, severity, says):
    world.round()
    world.ends(outcome, "auc is 0.4" if outcome == "not blessed" else "")

    (alert,) = world.alerts
    assert alert.severity == severity
    assert says in f"{alert.title} {alert.text}"
    assert alert.facts["because"] == "span 1 is new; span 2 is new"
    assert world.round() == []


def test_failed_runs_pause_longer_and_longer_and_end_with_an_alert(world):
    world.changes |= {"starts": 3, "retry_seconds": 100.0}
    world.round()
    for pause in (100, 200):
        assert world.ends("failed", "the disk is full") == ["run"]
        assert world.round(after=pause - 1) == []
        assert world.round(after=1) == ["run"]
    assert world.alerts == []
    assert world.ends("failed", "the disk is full") == ["run"]

    assert world.round(after=10**6) == []
    assert [alert.severity for alert in world.alerts] == ["critical"]
    assert "the disk is full" in world.alerts[0].text
    # Mended data are something new.
    world.span(2, "other rows")
    assert world.round() == ["trigger", "run"]
    assert world.reasons()[-1] == ["span 2 is new"]


def test_a_run_that_cannot_be_begun_is_a_failed_one(world):
    world.changes |= {"starts": 2, "retry_seconds": 0.0}
    world.stage.refuses = "There is no memory."

    assert world.round() == ["trigger", "trigger", "problem"]
    assert world.round() == []
    assert world.round() == []
    assert [alert.severity for alert in world.alerts].count("critical") == 1
    assert world.waiting() == []


def test_what_another_process_began_is_settled_by_this_one(world):
    world.round()
    world.begin()

    assert world.ends("killed", "its process was killed") == ["run", "run"]
    assert world.reasons() == [["span 1 is new", "span 2 is new"]] * 2


def test_stopping_gives_the_triggers_back(world):
    world.round()
    world.stage.ends = Result("killed", "interrupted", "")
    world.rounds.stop(world.settings, world.now)
    world.stage.ends = None

    assert [trigger.starts for trigger in world.waiting()] == [0, 0]
    world.begin()
    assert world.round() == ["run"]


def test_people_are_told_of_a_run_that_has_ended_when_the_loop_is_stopped(world):
    world.round()
    world.learned(world.stage.started[-1].run_id, "blessed")
    world.stage.ends = Result("blessed", "", "")

    world.rounds.stop(world.settings, world.now)

    assert "flightdeck models promote" in world.alerts[-1].text
    assert (world.events[-1].kind, world.attempts.open(), world.waiting()) == ("run", None, [])


def test_what_cannot_be_done_about_one_decision_holds_no_other_one_back(world):
    book = MonitoringRecords(world.store, world.settings.use_case.name)
    for day, span in enumerate((9, 2)):  # there is no span 9: a person has taken it away
        when = NOW + timedelta(days=day)
        book.keep_decision(decision("quarantine", window=f"w{day}", version="1", when=when, spans=(span,)))

    assert world.round()[:2] == ["problem", "act"]
    assert (world.folder / "spans" / "span-002" / "_QUARANTINE").is_file()
    assert "act" not in world.round()


def test_an_alert_that_people_will_hear_of_is_told_too(world):
    world.changes["level"] = 0
    world.begin(alert=lambda alert: "1:" in alert.key)

    assert world.round() == ["trigger", "trigger", "alert"]
    assert world.events[-1].text == (
        "Warning: late-flights: span 1 is new. Span 1 is new. Nothing is done about it at level 0; train with: "
        "flightdeck run"
    )


def test_a_missing_span_is_one_sentence_told_once_and_nothing_is_begun(world):
    world.round()
    world.ends("pushed")
    world.span(4)

    assert world.round() == ["problem"]
    assert world.round() == []
    assert "span 3 is missing between 2 and 4" in world.alerts[-1].text
    world.span(3)
    assert world.round() == ["trigger", "trigger", "run"]


def test_a_decision_to_retrain_is_a_trigger_and_one_to_quarantine_an_act_before_the_span_is_learned_from(world):
    model = world.factory.train("first")
    world.factory.push("first", model, 1)
    world.round()
    world.ends("pushed")
    book = MonitoringRecords(world.store, world.settings.use_case.name)
    for action, spans in (("retrain", ()), ("quarantine", (3,))):
        text = f"a moved, so {action}."
        book.keep_decision(decision(action, text=text, window=f"before {action}", version="1", when=NOW, spans=spans))
    world.span(3)

    assert world.round() == ["act", "trigger", "run"]
    assert world.reasons()[-1] == ["a moved, so retrain."]
    assert (world.folder / "spans" / "span-003" / "_QUARANTINE").is_file()


def test_a_changed_setting_is_a_trigger_and_one_that_only_people_see_is_none(world):
    world.round()
    world.ends("pushed")
    settings = world.factory.settings
    quieter = {"alerts": settings.alerts.model_copy(update={"quiet_seconds": 1.0})}
    world.factory.settings = settings.model_copy(update=quieter)
    assert world.round() == []

    longer = {"model": settings.model.model_copy(update={"epochs": settings.model.epochs + 1})}
    world.factory.settings = settings.model_copy(update=longer)

    assert world.round() == ["trigger", "run"]
    assert world.reasons()[-1][0].endswith("model.epochs")


def test_the_recipe_holds_the_code_of_the_model_and_its_contract_alone(world):
    code = recipe_now(world.settings).code

    assert {"models/training.py", "models/network.py", "data/contract.yaml", "data/schema.pbtxt"} <= set(code)
    assert not [path for path in code if path.startswith(("operations", "flightdeck", "pipeline"))]


@pytest.mark.parametrize("level", [1, 2])
def test_a_canary_is_judged_and_acted_on(world, level):
    world.changes["level"] = level
    settings = world.factory.settings
    model = world.factory.train("new")
    world.factory.push("new", model, 5, canary=True)
    shadow = {"canary": settings.canary.model_copy(update={"mode": "shadow"})}
    world.factory.settings = settings.model_copy(update=shadow)

    # Nothing is served that it could be compared with.
    assert "canary" in world.round()

    said = next(event for event in world.events if event.kind == "canary")
    served = world.factory.registry().served()
    assert (said.facts["action"], served.model_id, served.origin) == ("promote", model, "promote")
    assert said.text.startswith("Version 5: promote. Nothing is served yet")
    assert "canary" not in world.round()


def test_a_file_of_the_log_that_goes_away_meanwhile_is_no_problem(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    before = _state_of(str(tmp_path))
    (tmp_path / ".a.json.part").symlink_to("renamed")  # listed, and gone when it is looked at

    assert _state_of(str(tmp_path)) == before
    (tmp_path / "b.json").write_text("{}")
    assert _state_of(str(tmp_path)) != before


def test_a_source_file_that_goes_away_meanwhile_does_not_end_the_loop(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKOUT", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "contract.py").write_text("")
    (tmp_path / "data" / ".#contract.py").symlink_to("nobody@nowhere")  # as an editor locks a file

    assert len(loop._code()) == 1


def test_people_are_told_that_nothing_is_monitored_while_the_rest_of_the_round_is_done(world):
    world.factory.push("first", world.factory.train("first"), 1)

    assert world.round() == ["problem", "trigger", "trigger", "run"]

    assert "Nothing can be monitored: version 1 is served" in world.events[0].text
    assert [(alert.title, alert.severity) for alert in world.alerts] == [
        ("late-flights: the loop has a problem", "warning")
    ]
    day = Path(world.settings.payloads, "2030-05-01")
    day.mkdir(parents=True)
    os.utime(day, (world.now.timestamp(), world.now.timestamp()))
    world.round()
    assert "monitor" not in world.rounds.problems

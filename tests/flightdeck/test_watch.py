"""``flightdeck watch`` on real flights: it trains when there is a reason to, once for each, whoever is killed."""

import dataclasses
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml

from tests import forked
from tests.operations.serving.live_server import wait_for
from tests.small_run import SMALL
from tests.world import LOCAL, USE_CASE, World

pytestmark = pytest.mark.proof
PATIENCE_SECONDS = 420
SERVED_ON = datetime(2013, 4, 1, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Deck(World):
    """A workspace with a settings file of its own, and the commands on it."""

    prepared: Path = Path()

    @property
    def file(self) -> Path:
        return self.workspace.with_name("settings.yaml")

    def options(self, *overrides: str) -> list[str]:
        return ["--config", str(self.file), *(part for setting in (*SMALL, *overrides) for part in ("--set", setting))]

    def write(self, **changes: Any) -> None:
        """Changes the settings file: sections get further settings."""
        settings = yaml.safe_load(self.file.read_text())
        for section, change in changes.items():
            settings[section] = settings.get(section, {}) | change
        self.file.write_text(yaml.safe_dump(settings))

    def arrive(self, span: int) -> None:
        name = f"span-{span:03d}"
        staged = self.workspace / f".{name}"
        shutil.copytree(self.prepared / name, staged)
        self.spans.mkdir(exist_ok=True)
        staged.rename(self.spans / name)

    def watch(self, how: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.says("watch", how, "--json").splitlines()]

    def loop(self) -> forked.Forked:
        return self.start("watch", "--json")

    def reaches(self, began: dict[str, Any], node: str) -> None:
        """Waits until a run that the loop told of has come to a node."""
        log = self.workspace / "runs" / began["facts"]["run_id"] / "run.log"
        reached = f"[{node}] Resolved inputs"
        wait_for(lambda: log.exists() and reached in log.read_text(errors="replace"), PATIENCE_SECONDS)

    def runs(self) -> list[dict[str, Any]]:
        """Those that came to their end, oldest first."""
        ended = [run for run in self.json("runs", "list")["runs"] if run["outcome"] not in ("failed", "killed")]
        return [self.json("runs", "show", run["run_id"]) for run in sorted(ended, key=lambda run: run["started"])]

    def alerts(self) -> list[dict[str, Any]]:
        file = self.workspace / "alerts" / "alerts.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def events(process: forked.Forked, last: Callable[[dict], bool]) -> Iterator[dict]:
    for line in process.stdout:
        event = json.loads(line)
        yield event
        if last(event):
            return
    raise AssertionError("the loop has ended")


@pytest.fixture(scope="module")
def deck(prepared, tmp_path_factory):
    from data.prepare import slice_spans

    folder = tmp_path_factory.mktemp("watched")
    slice_spans(prepared, folder / "small", rows_per_span=1500, spans=(1, 2, 3, 4))
    workspace = folder / "workspace"
    workspace.mkdir()
    made = Deck(workspace, workspace / "spans", prepared=folder / "small")
    settings = {
        "extends": str(LOCAL),
        "use_case": USE_CASE,
        "workspace": str(workspace),
        "evaluation": {"importance_rows": 0},
        "continuous": {"level": 2, "poll_seconds": 1, "settle_seconds": 0, "retry_seconds": 5},
        "serving": {"payloads": {"rotate_seconds": 1}},
    }
    made.file.write_text(yaml.safe_dump(settings))
    made.arrive(1)
    made.arrive(2)
    return made


def begins(event: dict) -> bool:
    return event["kind"] == "run" and "begins" in event["text"]


def pushed(event: dict) -> bool:
    return event["kind"] == "run" and event["facts"].get("outcome") == "pushed"


@pytest.fixture(scope="module")
def killed(deck):
    """A loop that is killed in the middle of a run: the run's process, and what the loop said."""
    process = deck.loop()
    said = list(events(process, begins))
    # Beside it, forked for tests, is a process in which nodes could run.
    (run,) = (child for child in psutil.Process(process.pid).children() if "flightdeck" in child.cmdline())
    deck.reaches(said[-1], "SpanExampleGen")
    process.kill()
    process.wait()
    return run, said


@dataclasses.dataclass
class Told:
    """What loops said up to a moment, and what was there then."""

    said: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    alerts: list[dict[str, Any]]
    versions: int

    @classmethod
    def by(cls, said: list[dict[str, Any]], deck: Deck) -> "Told":
        versions = len(list((deck.workspace / "models" / "late-flights").iterdir()))
        return cls(said, deck.runs(), deck.alerts(), versions)


@pytest.fixture(scope="module")
def learned(deck, killed):
    """The next loop. While it trains a span comes and the settings change: it goes on until both are learned."""
    process = deck.loop()
    said = list(events(process, begins))
    refused = deck.flightdeck("watch")
    # The run has read its settings and its spans.
    deck.reaches(said[-1], "StatisticsGen")
    deck.arrive(3)
    deck.write(model={"learning_rate": 0.004})
    said += events(process, pushed)
    said += events(process, pushed)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=PATIENCE_SECONDS) == 0
    return Told.by(said, deck), refused


@pytest.fixture(scope="module")
def history(learned):
    return learned[0]


@pytest.fixture(scope="module")
def quiet(deck, history):
    """Nothing has happened since: what a loop says, and the status."""
    return deck.watch("--once"), *deck.watch("--status")


@pytest.fixture(scope="module")
def by_hand(deck, quiet):
    deck.write(model={"learning_rate": 0.003}, continuous={"level": 0})
    return Told.by(deck.watch("--once"), deck)


@pytest.fixture(scope="module")
def waiting(deck, by_hand):
    """At level 1, what has waited since level 0 is learned."""
    deck.write(continuous={"level": 1})
    return Told.by(deck.watch("--once"), deck), deck.json("models", "show")["number"]


def test_a_killed_loop_leaves_no_run_behind(deck, killed):
    run, said = killed

    assert [event["kind"] for event in said] == ["trigger", "trigger", "run"]
    wait_for(lambda: not run.is_running() or run.status() == psutil.STATUS_ZOMBIE)


def test_what_the_killed_loop_had_taken_is_handled_once(history):
    assert "killed" in history.said[0]["text"]
    runs = history.runs

    assert [run["outcome"] for run in runs] == ["pushed", "pushed"]
    assert [run["spans"] for run in runs] == [{"train": [1], "eval": [2]}, {"train": [1, 2], "eval": [3]}]
    first = [key for run in runs for key in run["triggers"] if re.match("span:[12]:", key)]
    assert len(first) == 2
    assert first == list(runs[0]["triggers"])


def test_what_comes_while_a_run_goes_on_is_one_further_run(history):
    newest = history.runs[-1]

    assert sorted(key.split(":")[0] for key in newest["triggers"]) == ["change", "span"]
    change = next(reason for key, reason in newest["triggers"].items() if key.startswith("change"))
    assert "model.learning_rate" in change
    assert newest["hyperparameters"]["learning_rate"] == 0.004
    assert history.versions == 2


def test_two_loops_on_one_workspace_are_one_sentence(learned):
    _, refused = learned

    assert refused.returncode == 2
    assert re.fullmatch(r"The workspace .* is watched already, by process \d+ since .*\n", refused.stderr)


def test_when_nothing_has_happened_nothing_is_said_or_done(quiet):
    said, status = quiet

    assert said == []
    assert (status["waiting"], status["running"], status["watched_by"]) == ([], None, None)
    assert [run["outcome"] for run in status["runs"]] == ["pushed", "pushed", "killed"]


def test_at_level_one_a_person_deploys(deck, waiting):
    told, served = waiting
    run = told.runs[-1]

    assert told.said[-1]["facts"]["outcome"] == run["outcome"] == "blessed"
    assert served == int(told.runs[1]["version"])
    command = told.alerts[-1]["text"].partition("flightdeck ")[2].split()
    assert command == ["models", "promote", run["run_id"]]
    assert deck.json(*command)["run_id"] == run["run_id"]


def test_a_span_with_broken_rows_is_kept_from_runs(deck, waiting):
    """Its rows were asked for with a temperature in Celsius, so they were served with a fault."""
    deck.write(continuous={"level": 2})
    rows = pd.read_parquet(deck.prepared / "span-004")
    rows["temp"] = (rows["temp"] - 32) / 1.8
    deck.answer(rows, SERVED_ON)
    deck.arrive(4)

    said = deck.watch("--once")

    decision = next(event for event in said if event["kind"] == "decision")
    assert decision["facts"]["action"] == "quarantine"
    assert "temp" in decision["text"]
    assert [event["facts"]["outcome"] for event in said if event["kind"] == "act"] == ["done"]
    assert {event["kind"] for event in said} & {"trigger", "run"} == set()
    assert (deck.spans / "span-004" / "_QUARANTINE").is_file()
    assert deck.watch("--once") == []


def test_without_data_there_is_one_sentence_an_alert_and_exit_code_one(tmp_path):
    done = forked.run("flightdeck", "watch", "--once", "--set", f"workspace={tmp_path}")

    assert done.returncode == 1
    problem = next(line for line in done.stdout.splitlines() if "problem" in line)
    sentence = f"The folder of spans {tmp_path}/spans does not exist; prepare the data or correct the path."
    assert problem.endswith(sentence)
    assert "prepare the data" in (tmp_path / "alerts" / "alerts.jsonl").read_text()

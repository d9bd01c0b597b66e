"""``flightdeck watch`` on real flights: it trains when there is a reason to, once for each, whoever is killed."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml

from tests import forked
from tests.small_run import SMALL
from tests.world import LOCAL, ROOT, World

pytestmark = pytest.mark.proof
PATIENCE_SECONDS = 420
SERVED_ON = datetime(2013, 4, 1, tzinfo=UTC)


class Deck:
    """A workspace with a settings file of its own, and the commands on it."""

    def __init__(self, folder: Path, prepared: Path) -> None:
        self.workspace, self.prepared = folder / "workspace", prepared
        self.file = folder / "settings.yaml"
        self.settings: dict[str, Any] = {
            "extends": str(LOCAL),
            "use_case": {
                name: str(ROOT / "data" / file)
                for name, file in (
                    ("contract", "contract.yaml"),
                    ("schema_file", "schema.pbtxt"),
                    ("model_card", "../models/CARD.md"),
                )
            },
            "workspace": str(self.workspace),
            "evaluation": {"importance_rows": 0},
            "continuous": {"level": 2, "poll_seconds": 1, "settle_seconds": 0, "retry_seconds": 5},
            "serving": {"payloads": {"rotate_seconds": 1}},
        }
        self.write()

    def write(self, **continuous: Any) -> None:
        self.settings["continuous"] |= continuous
        self.file.write_text(yaml.safe_dump(self.settings))

    def arrive(self, span: int) -> None:
        """A span appears whole, as one should."""
        name = f"span-{span:03d}"
        staged = self.workspace / f".{name}"
        shutil.copytree(self.prepared / name, staged)
        (self.workspace / "spans").mkdir(exist_ok=True)
        staged.rename(self.workspace / "spans" / name)

    def command(self, *arguments: str) -> list[str]:
        options = [part for each in SMALL for part in ("--set", each)]
        return ["flightdeck", *arguments, "--config", str(self.file), *options]

    def __call__(self, *arguments: str) -> Any:
        done = forked.run(*self.command(*arguments, "--json"))
        assert done.returncode == 0, done.stdout + done.stderr
        return (
            [json.loads(line) for line in done.stdout.splitlines()]
            if arguments[0] == "watch"
            else json.loads(done.stdout)
        )

    def status(self) -> dict[str, Any]:
        return self("watch", "--status")[0]

    def watch(self) -> forked.Forked:
        return forked.Forked(*self.command("watch", "--json"), stderr=subprocess.STDOUT)

    def reaches(self, began: dict[str, Any], node: str) -> None:
        """Waits until a run that the loop told of has come to a node."""
        log = self.workspace / "runs" / began["facts"]["run_id"] / "run.log"
        until(lambda: log.exists() and f"[{node}] Resolved inputs" in log.read_text(errors="replace"))

    def runs(self) -> list[dict[str, Any]]:
        """Those that came to their end, oldest first."""
        ended = [each for each in self("runs", "list")["runs"] if each["outcome"] not in ("failed", "killed")]
        return [self("runs", "show", each["run_id"]) for each in sorted(ended, key=lambda each: each["started"])]

    def alerts(self) -> list[dict[str, Any]]:
        file = self.workspace / "alerts" / "alerts.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def until(what: Callable[[], Any]) -> Any:
    """What a function finds, as soon as it finds something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := what()):
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.3)
    return found


def events(process: forked.Forked, last: Callable[[dict], bool]) -> Iterator[dict]:
    """What a loop tells, up to an event."""
    for line in process.stdout:
        event = json.loads(line)
        yield event
        if last(event):
            return
    raise AssertionError("the loop has ended")


def children(process: forked.Forked) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


@pytest.fixture(scope="module")
def deck(prepared, tmp_path_factory):
    from data.prepare import slice_spans

    folder = tmp_path_factory.mktemp("watched")
    slice_spans(prepared, folder / "small", rows_per_span=1500, spans=(1, 2, 3, 4))
    made = Deck(folder, folder / "small")
    made.workspace.mkdir()
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
    process = deck.watch()
    said = list(events(process, begins))
    (run,) = children(process)
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
    process = deck.watch()
    said = list(events(process, begins))
    refused = forked.run(*deck.command("watch"))
    # The run has read its settings and its spans.
    deck.reaches(said[-1], "StatisticsGen")
    deck.arrive(3)
    deck.settings["model"] = {"learning_rate": 0.004}
    deck.write()
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
    return deck("watch", "--once"), deck.status()


@pytest.fixture(scope="module")
def by_hand(deck, quiet):
    """At level 0, the settings change."""
    deck.settings["model"] = {"learning_rate": 0.003}
    deck.write(level=0)
    return Told.by(deck("watch", "--once"), deck)


@pytest.fixture(scope="module")
def waiting(deck, by_hand):
    """At level 1, what has waited since level 0 is learned."""
    deck.write(level=1)
    return Told.by(deck("watch", "--once"), deck), deck("models", "show")["number"]


def test_a_killed_loop_leaves_no_run_behind(deck, killed):
    run, said = killed

    assert [each["kind"] for each in said] == ["trigger", "trigger", "run"]
    until(lambda: not run.is_running() or run.status() == psutil.STATUS_ZOMBIE)


def test_what_the_killed_loop_had_taken_is_handled_once(history):
    assert "killed" in history.said[0]["text"]
    runs = history.runs

    assert [each["outcome"] for each in runs] == ["pushed", "pushed"]
    assert [each["spans"] for each in runs] == [{"train": [1], "eval": [2]}, {"train": [1, 2], "eval": [3]}]
    first = [key for each in runs for key in each["triggers"] if re.match("span:[12]:", key)]
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
    assert [each["outcome"] for each in status["runs"]] == ["pushed", "pushed", "killed"]


def test_at_level_one_a_person_deploys(deck, waiting):
    told, served = waiting
    run = told.runs[-1]

    assert told.said[-1]["facts"]["outcome"] == run["outcome"] == "blessed"
    assert served == int(told.runs[1]["version"])
    command = told.alerts[-1]["text"].partition("flightdeck ")[2].split()
    assert command == ["models", "promote", run["run_id"]]
    assert deck(*command)["run_id"] == run["run_id"]


def test_a_span_with_broken_rows_is_kept_from_runs(deck, waiting):
    """Its rows were asked for with a temperature in Celsius, so they were served with a fault."""
    deck.write(level=2)
    rows = pd.read_parquet(deck.prepared / "span-004")
    rows["temp"] = (rows["temp"] - 32) / 1.8
    World(deck.workspace, deck.workspace / "spans").answer(rows, SERVED_ON)
    deck.arrive(4)

    said = deck("watch", "--once")

    decision = next(each for each in said if each["kind"] == "decision")
    assert decision["facts"]["action"] == "quarantine"
    assert "temp" in decision["text"]
    assert [each["facts"]["outcome"] for each in said if each["kind"] == "act"] == ["done"]
    assert [each["kind"] for each in said if each["kind"] in ("trigger", "run")] == []
    assert (deck.workspace / "spans" / "span-004" / "_QUARANTINE").is_file()
    assert deck("watch", "--once") == []


def test_without_data_there_is_one_sentence_an_alert_and_exit_code_one(tmp_path):
    done = forked.run("flightdeck", "watch", "--once", "--set", f"workspace={tmp_path}")

    assert done.returncode == 1
    problem = next(line for line in done.stdout.splitlines() if "problem" in line)
    sentence = f"The folder of spans {tmp_path}/spans does not exist; prepare the data or correct the path."
    assert problem.endswith(sentence)
    assert "prepare the data" in (tmp_path / "alerts" / "alerts.jsonl").read_text()

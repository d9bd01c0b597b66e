"""No alert is lost, none is sent twice without need, and a channel that is down costs nothing but time."""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ml_metadata.proto import metadata_store_pb2

from operations.alerts.alert import Alert
from operations.alerts.outbox import (
    LONGEST_BACKOFF_SECONDS,
    DeliveryError,
    Outbox,
    OutboxError,
    Server,
    backoff,
    pending,
)
from pipeline import store
from tests.operations.serving.live_server import wait_for

ON_SERVER = pytest.param("server", id="MariaDB", marks=pytest.mark.kubeflow)


@dataclasses.dataclass
class Paper:
    """A channel that writes lines into a file, and can be down."""

    file: Path
    name: str = "paper"
    down: bool = False

    def send(self, alert_id: str, alert: Alert, repeated: int) -> None:
        if self.down:
            raise DeliveryError("out of ink")
        with self.file.open("a") as file:
            file.write(f"{alert_id} {alert.key} {repeated}\n")

    @property
    def lines(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []


def about(key: str) -> Alert:
    return Alert(key=key, severity="warning", title=f"about {key}", source="test")


@pytest.fixture
def clock():
    return SimpleNamespace(now=1_000_000.0)


@pytest.fixture
def paper(tmp_path):
    return Paper(tmp_path / "paper.txt")


@pytest.fixture(
    params=[
        pytest.param("file", id="SQLite", marks=pytest.mark.unit),
        ON_SERVER,
    ]
)
def place(request, tmp_path):
    """Where the outbox is."""
    if request.param == "file":
        yield tmp_path / "outbox.sqlite"
        return
    from tests.services import mariadb

    with mariadb.running() as server, server.passing_database() as environment:
        server.execute(f"CREATE DATABASE {environment['FLIGHTDECK_METADATA_DATABASE']}")
        yield Server(store.from_environment(0, environment).mysql, f"gs://bucket/{tmp_path.name}")


@pytest.fixture
def outbox(place, clock):
    return Outbox(place, ["paper"], quiet_seconds=60, clock=lambda: clock.now)


def test_an_alert_is_delivered_once(outbox, paper):
    alert_id = outbox.put(about("drift"))

    assert outbox.deliver({"paper": paper}) == (1, 0)
    assert outbox.deliver({"paper": paper}) == (0, 0)
    assert paper.lines == [f"{alert_id} drift 0"]
    assert outbox.kept()[0].delivered


def test_the_same_again_is_counted_and_sent_again_only_after_the_quiet_time(outbox, paper, clock):
    first = outbox.put(about("drift"))
    assert outbox.put(about("drift")) is None
    clock.now += 1
    other = outbox.put(about("skew"))
    outbox.deliver({"paper": paper})
    clock.now += 61
    again = outbox.put(about("drift"))
    outbox.deliver({"paper": paper})

    assert paper.lines == [f"{first} drift 1", f"{other} skew 0", f"{again} drift 0"]


def test_a_channel_that_is_down_is_tried_again_with_growing_pauses_until_it_takes_the_alert(outbox, paper, clock):
    outbox.put(about("drift"))
    paper.down = True
    pauses = []
    for _ in range(12):
        assert outbox.deliver({"paper": paper}) == (0, 1)
        due = outbox.kept(pending_only=True)[0].deliveries[0].due
        assert outbox.deliver({"paper": paper}) == (0, 0), "tried again before its time"
        pauses.append(due - clock.now)
        clock.now = due
    (kept,) = outbox.kept(pending_only=True)
    assert kept.deliveries[0].attempts == 12
    assert kept.deliveries[0].error == "out of ink"
    assert pauses[-1] > pauses[0]
    assert max(pauses) <= LONGEST_BACKOFF_SECONDS

    paper.down = False
    assert outbox.deliver({"paper": paper}) == (1, 0)
    assert outbox.kept(pending_only=True) == []


def test_one_channel_does_not_wait_for_another(place, tmp_path, clock):
    outbox = Outbox(place, ["paper", "radio"], 60, lambda: clock.now)
    paper, radio = Paper(tmp_path / "paper.txt"), Paper(tmp_path / "radio.txt", "radio", down=True)
    outbox.put(about("drift"))

    assert outbox.deliver({"paper": paper, "radio": radio}) == (1, 1)
    radio.down, clock.now = False, clock.now + 60
    assert outbox.deliver({"paper": paper, "radio": radio}) == (1, 0)

    assert len(paper.lines) == len(radio.lines) == 1


@pytest.mark.unit
def test_the_pauses_double_and_are_spread():
    assert len({backoff(1) for _ in range(20)}) > 1
    for attempts in range(200):
        assert 0 < backoff(attempts) <= LONGEST_BACKOFF_SECONDS


def _raise_alerts(file: Path | Server, name: str, count: int) -> None:
    outbox = Outbox(file, ["paper"], quiet_seconds=0)
    for number in range(count):
        outbox.put(about(f"{name}{number}"))
    time.sleep(600)


def _deliver_slowly(file: Path | Server, paper: Path) -> None:
    class Slow(Paper):
        def send(self, alert_id: str, alert: Alert, repeated: int) -> None:
            super().send(alert_id, alert, repeated)
            time.sleep(0.05)

    Outbox(file, ["paper"], quiet_seconds=0).deliver({"paper": Slow(paper)})


def test_what_was_raised_survives_the_kill_of_the_process_that_raised_and_of_the_one_that_delivers(place, tmp_path):
    file, text = place, tmp_path / "paper.txt"
    context = multiprocessing.get_context("spawn")
    raising = context.Process(target=_raise_alerts, args=(file, "a", 20))
    raising.start()
    outbox = Outbox(file, ["paper"], 0)
    wait_for(lambda: len(outbox.kept()) == 20)
    os.kill(raising.pid, signal.SIGKILL)
    raising.join()
    for _ in range(3):
        delivering = context.Process(target=_deliver_slowly, args=(file, text))
        before = len(Paper(text).lines)
        delivering.start()
        while delivering.is_alive() and len(Paper(text).lines) < before + 3:
            time.sleep(0.01)
        os.kill(delivering.pid, signal.SIGKILL)
        delivering.join()

    # After the leases of the killed.
    later = Outbox(file, ["paper"], 0, clock=lambda: time.time() + 3600)
    later.deliver({"paper": Paper(text)})

    sent = [line.split()[1] for line in Paper(text).lines]
    assert set(sent) == {f"a{number}" for number in range(20)}
    assert len(sent) <= 20 + 3, "more repetitions than kills"
    assert later.kept(pending_only=True) == []


@pytest.mark.unit
def test_an_outbox_that_cannot_be_used_says_so(tmp_path):
    (tmp_path / "outbox.sqlite").write_text("this is not a database, and long enough to be taken for one" * 20)
    with pytest.raises(OutboxError, match="cannot be used"):
        Outbox(tmp_path / "outbox.sqlite", ["paper"], 60)


@pytest.mark.unit
def test_a_server_that_cannot_be_reached_says_so():
    login = metadata_store_pb2.MySQLDatabaseConfig(host="127.0.0.1", port=1, user="u", password="hidden", database="d")
    with pytest.raises(OutboxError, match=r"127.0.0.1:1/d cannot be used") as refused:
        Outbox(Server(login, "gs://bucket"), ["paper"], 60)
    assert "hidden" not in str(refused.value)


def test_what_waits_is_counted_without_making_anything(place, outbox, paper):
    assert pending(place) == 0
    outbox.put(about("drift"))
    outbox.put(about("skew"))
    assert pending(place) == 2
    outbox.deliver({"paper": paper})
    assert pending(place) == 0


@pytest.mark.parametrize("place", [ON_SERVER], indirect=True)
def test_workspaces_share_a_database_and_no_alert(place, outbox):
    other = dataclasses.replace(place, workspace="gs://another")
    assert pending(other) == 0
    outbox.put(about("drift"))
    assert (pending(place), pending(other)) == (1, 0)
    assert Outbox(other, ["paper"], 60).kept() == []


@pytest.mark.unit
def test_an_outbox_of_before_is_read(tmp_path):
    """As it was made before it could be on a server."""
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.sqlite")) as database:
        database.executescript(BEFORE)
        values = ("0123456789abcdef", "drift", 1.0, about("drift").model_dump_json())
        database.execute("INSERT INTO alert (id, key, raised, body) VALUES (?, ?, ?, ?)", values)
        database.execute("INSERT INTO delivery (alert, channel, due) VALUES ('0123456789abcdef', 'paper', 1.0)")
        database.commit()
    outbox, paper = Outbox(tmp_path / "outbox.sqlite", ["paper"], 60), Paper(tmp_path / "paper.txt")
    outbox.put(about("skew"))
    assert outbox.deliver({"paper": paper}) == (2, 0)
    assert [line.split()[1:] for line in paper.lines] == [["drift", "0"], ["skew", "0"]]


BEFORE = """
CREATE TABLE alert (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, raised REAL NOT NULL, body TEXT NOT NULL,
    repeated INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX alert_by_key ON alert (key, raised);
CREATE TABLE delivery (
    alert TEXT NOT NULL REFERENCES alert (id), channel TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL, delivered REAL, error TEXT, PRIMARY KEY (alert, channel)
);
CREATE INDEX delivery_by_due ON delivery (delivered, due);
"""

"""No alert is lost, none is sent twice without need, and a channel that is down costs nothing but time."""

import dataclasses
import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from operations.alerts.alert import Alert
from operations.alerts.outbox import LONGEST_BACKOFF_SECONDS, DeliveryError, Outbox, OutboxError, backoff
from tests.operations.serving.live_server import wait_for

pytestmark = pytest.mark.unit


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


@pytest.fixture
def outbox(tmp_path, clock):
    return Outbox(tmp_path / "outbox.sqlite", ["paper"], quiet_seconds=60, clock=lambda: clock.now)


def test_an_alert_is_delivered_once(outbox, paper):
    alert_id = outbox.put(about("drift"))

    assert outbox.deliver({"paper": paper}) == (1, 0)
    assert outbox.deliver({"paper": paper}) == (0, 0)
    assert paper.lines == [f"{alert_id} drift 0"]
    assert outbox.kept()[0].delivered


def test_the_same_again_is_counted_and_sent_again_only_after_the_quiet_time(outbox, paper, clock):
    first = outbox.put(about("drift"))
    assert outbox.put(about("drift")) is None
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


def test_one_channel_does_not_wait_for_another(tmp_path, clock):
    outbox = Outbox(tmp_path / "outbox.sqlite", ["paper", "radio"], 60, lambda: clock.now)
    paper, radio = Paper(tmp_path / "paper.txt"), Paper(tmp_path / "radio.txt", "radio", down=True)
    outbox.put(about("drift"))

    assert outbox.deliver({"paper": paper, "radio": radio}) == (1, 1)
    radio.down, clock.now = False, clock.now + 60
    assert outbox.deliver({"paper": paper, "radio": radio}) == (1, 0)

    assert len(paper.lines) == len(radio.lines) == 1


def test_the_pauses_double_and_are_spread():
    assert len({backoff(1) for _ in range(20)}) > 1
    for attempts in range(200):
        assert 0 < backoff(attempts) <= LONGEST_BACKOFF_SECONDS


def _raise_alerts(file: Path, name: str, count: int) -> None:
    outbox = Outbox(file, ["paper"], quiet_seconds=0)
    for number in range(count):
        outbox.put(about(f"{name}{number}"))
    time.sleep(600)


def _deliver_slowly(file: Path, paper: Path) -> None:
    class Slow(Paper):
        def send(self, alert_id: str, alert: Alert, repeated: int) -> None:
            super().send(alert_id, alert, repeated)
            time.sleep(0.05)

    Outbox(file, ["paper"], quiet_seconds=0).deliver({"paper": Slow(paper)})


def test_what_was_raised_survives_the_kill_of_the_process_that_raised_and_of_the_one_that_delivers(tmp_path):
    file, text = tmp_path / "outbox.sqlite", tmp_path / "paper.txt"
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


def test_an_outbox_that_cannot_be_used_says_so(tmp_path):
    (tmp_path / "outbox.sqlite").write_text("this is not a database, and long enough to be taken for one" * 20)
    with pytest.raises(OutboxError, match="cannot be used"):
        Outbox(tmp_path / "outbox.sqlite", ["paper"], 60)

"""Steps of a level: done once, also by another process; what is not recorded is done again."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from flightdeck.settings import read_settings
from ledger.opening import open_store
from operations.loop.replay.steps import Steps, cpu_seconds, read
from pipeline import store
from tests.world import LOCAL

pytestmark = pytest.mark.unit
NOW = datetime(2013, 7, 1, tzinfo=UTC)


@pytest.fixture
def opened(tmp_path):
    settings = read_settings(LOCAL, [f"workspace={tmp_path}"])
    return open_store(store.connection(settings))


def test_a_step_is_done_once_and_its_facts_are_remembered(opened):
    done = []

    def work():
        done.append(1)
        return {"rows": 3, "of": (1, 2)}

    told = []
    first = Steps(opened, "p", told.append).once("2013-07/serve", "serving", NOW, work)
    again = Steps(opened, "p", told.append).once("2013-07/serve", "serving", NOW, work)
    assert first == again == {"rows": 3, "of": [1, 2]}
    assert len(done) == len(told) == 1


def test_a_step_that_failed_is_done_again(opened):
    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Steps(opened, "p").once("a", "serving", NOW, killed)
    assert Steps(opened, "p").once("a", "serving", NOW, lambda: {"x": 1}) == {"x": 1}
    assert [each.name for each in read(opened, "p")] == ["a"]
    assert read(opened, "another") == []


def test_what_a_process_uses_that_has_not_ended_counts_as_well():
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    before = cpu_seconds()
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        living = cpu_seconds()
        process.communicate(b"\n")

    assert living - before > 0.4  # the system counts in hundredths
    assert cpu_seconds() - before > 0.4

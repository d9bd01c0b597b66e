"""Steps of a level: done once, also by another process; what is not recorded is done again."""

from datetime import UTC, datetime

import pytest

from flightdeck.settings import read_settings
from ledger.opening import open_store
from operations.loop.replay.steps import Steps, read
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

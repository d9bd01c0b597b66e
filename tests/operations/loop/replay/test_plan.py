"""What a person may ask to be replayed, and what a replay that is there goes on with."""

import pytest

from errors import FlightdeckError
from flightdeck.settings import read_settings
from operations.loop.replay import plan
from tests.world import LOCAL

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("levels", "months", "fault", "said"),
    [
        ("3", "3:12", None, "not a list of 0, 1 and 2"),
        ("0;1", "3:12", None, "not a list of 0, 1 and 2"),
        ("2", "2:12", None, "begin after span 2"),
        ("2", "12:3", None, "FIRST:LAST"),
        ("2", "3", None, "FIRST:LAST"),
        ("2", "3:12", "rain@7", "There is no fault 'rain' in the settings; there are: celsius, poisoned, renamed"),
        ("2", "3:6", "celsius@7", "celsius@SPAN, with a span from 3 to 6"),
        ("2", "3:6", "celsius", "celsius@SPAN, with a span from 3 to 6"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(settings, levels, months, fault, said):
    with pytest.raises(FlightdeckError, match=said):
        plan.make(settings, levels, months, fault, None)


def test_a_plan_is_named_after_its_fault(settings):
    made = plan.make(settings, "2,0", "3:9", "celsius@7", None)
    assert (made.name, made.levels, list(made.spans)) == ("celsius-07", (0, 2), list(range(3, 10)))
    assert made.fault_of(settings, 7).column == "temp"
    assert made.fault_of(settings, 6) is None
    assert plan.make(settings, "2", "3:9", None, None).name == "clean"


def test_settings_without_a_replay_are_refused():
    local = read_settings(LOCAL)
    with pytest.raises(FlightdeckError, match=r"config/replay\.yaml"):
        plan.make(local, "2", "3:12", None, None)


def test_spans_are_months_also_beyond_a_year(settings):
    asked = plan.of(settings)
    assert [plan.month_of(asked, span).name for span in (1, 12, 13)] == ["2013-01-01", "2013-12-01", "2014-01-01"]


def test_a_replay_goes_on_only_with_its_own_plan(settings, tmp_path):
    made, root = plan.make(settings, "2", "3:12", None, None), tmp_path / "clean"
    assert plan.begin(root, made, fresh=False) is False
    assert plan.begin(root, made, fresh=False) is True
    other_level = plan.make(settings, "0,1,2", "3:12", None, None)
    assert plan.begin(root, other_level, fresh=False) is True
    with pytest.raises(FlightdeckError, match="--fresh"):
        plan.begin(root, plan.make(settings, "2", "3:11", None, None), fresh=False)
    (root / "level-2").mkdir()
    assert plan.begin(root, plan.make(settings, "2", "3:11", None, None), fresh=True) is False
    assert not (root / "level-2").exists()


def test_a_person_approves_of_what_was_trained_a_month_ago_and_not_again_of_the_first_model(settings):
    made = plan.make(settings, "1", "3:7", None, None)
    asked = plan.of(settings)
    assert [plan.approved(asked, made, span) for span in made.spans] == [None, 3, 4, 5, None]
    slower = asked.model_copy(update={"approval_spans": 2})
    assert [plan.approved(slower, made, span) for span in made.spans] == [None, None, 3, 4, None]


def test_each_level_has_a_workspace_of_its_own_and_nothing_but_the_registry_deploys(settings, tmp_path):
    made = [plan.level_settings(settings, tmp_path, level) for level in (0, 1, 2)]
    assert len({each.spans for each in made}) == len({each.pushed for each in made}) == 3
    assert not any(each.push.enabled for each in made)
    assert [each.continuous.level for each in made] == [0, 1, 2]

"""Which columns the model reads, and which it may not."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from data.contract import Contract, InfeasibleFeatureError
from errors import FlightdeckError
from models.features import FeatureSettings
from models.flights import FlightFeatures

pytestmark = pytest.mark.unit

NOTHING = {"numeric": (), "heavy_tailed": (), "missing_indicators": (), "cyclic": {}, "categorical": ()}


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.load(Path("data/contract.yaml"))


def test_default_features_are_feasible_and_tell_the_absence_of_none_that_is_always_there(contract: Contract) -> None:
    FlightFeatures().check(contract)
    nullable = {column.name for column in contract.columns if column.nullable}
    assert set(FlightFeatures().missing_indicators) <= nullable


def test_inputs_hold_every_column_once() -> None:
    settings = FeatureSettings(numeric=("a", "b"), cyclic={"b": 7, "c": 24}, categorical=("d",))
    assert settings.inputs == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        *(
            ({"numeric": (*FlightFeatures().numeric, column)}, InfeasibleFeatureError, column)
            for column in ("arrived_late", "dep_delay", "arr_delay", "flight_id", "departure_gate")
        ),
        ({"numeric": ("plane_engine",)}, FlightdeckError, "'plane_engine' holds text"),
        ({"categorical": ("temp",)}, FlightdeckError, "'temp' holds decimal numbers"),
        ({"text": ("visib",)}, FlightdeckError, "'visib' holds numbers, not text"),
    ],
)
def test_infeasible_and_misplaced_features_are_refused_by_name(contract: Contract, change, error, message) -> None:
    with pytest.raises(error, match=message):
        FeatureSettings(**change).check(contract)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numeric": ("temp", "temp")}, "'temp' is listed twice in numeric"),
        ({"heavy_tailed": ("humidity",)}, "'humidity' of heavy_tailed is not in numeric"),
        ({"missing_indicators": ("carrier",)}, "'carrier' of missing_indicators is not in numeric"),
        ({"categorical": ("carrier", "temp")}, "'temp' is both a number and a category"),
        ({"cyclic": {"wind_dir": 0}}, "wind_dir"),
        ({"colour": "red"}, "colour"),
        ({"text": ("title", "title")}, "'title' is listed twice in text"),
        ({"text": ("carrier",)}, "'carrier' is both text and a number or a category"),
        ({"text": ("temp",)}, "'temp' is both text and a number or a category"),
        (NOTHING, "reads no column"),
    ],
)
def test_contradictions_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FlightFeatures(**change)


def test_settings_survive_the_way_through_a_pipeline() -> None:
    settings = FlightFeatures(cyclic={"wind_dir": 360, "sched_dep_minute": 1440})
    shuffled = dict(sorted(settings.model_dump(mode="json").items()))
    shuffled["cyclic"] = dict(sorted(shuffled["cyclic"].items()))
    restored = FlightFeatures.model_validate(shuffled)
    assert restored.inputs == settings.inputs
    assert restored.cycles == settings.cycles

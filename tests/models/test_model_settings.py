"""The settings of the network, and tuned values over them."""

import pytest
from pydantic import ValidationError

from models.settings import ModelSettings, SearchSpace

pytestmark = pytest.mark.unit


def test_tuned_values_replace_only_what_was_tuned() -> None:
    settings = ModelSettings(batch_size=512).with_hyperparameters({"hidden_units": "64-32-16", "dropout": 0.3})
    assert settings.hidden_units == (64, 32, 16)
    assert settings.dropout == 0.3
    assert settings.batch_size == 512


def test_an_unknown_hyperparameter_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown hyperparameter 'momentum'"):
        ModelSettings().with_hyperparameters({"momentum": 0.9})


def test_a_tuned_value_must_be_a_valid_setting() -> None:
    with pytest.raises(ValidationError, match="dropout"):
        ModelSettings().with_hyperparameters({"dropout": 1.5})


@pytest.mark.parametrize(
    "change",
    [
        {"dropout": 1.0},
        {"epochs": 0},
        {"hidden_units": (0,)},
        {"hidden_units": (), "cross_layers": 0},
        {"accelerator": "gpu"},
        {"tuning": {"algorithm": "grid"}},
        {"tuning": {"algorithm": "hyperband", "epochs": 2}},
        {"xla": True},
        {"learning_rat": 0.1},
    ],
)
def test_impossible_settings_are_refused(change: dict) -> None:
    with pytest.raises(ValidationError):
        ModelSettings(**change)


def test_an_empty_search_space_is_refused() -> None:
    empty = dict.fromkeys(SearchSpace.model_fields, ())
    with pytest.raises(ValidationError, match="the search space is empty"):
        ModelSettings(tuning={"search": empty})


def test_settings_survive_the_way_through_a_pipeline() -> None:
    settings = ModelSettings(hidden_units=(32,), tuning={"max_trials": 3})
    assert ModelSettings.model_validate(settings.model_dump(mode="json")) == settings

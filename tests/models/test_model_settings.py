"""The settings of the network, and tuned values over them."""

import pytest
from pydantic import ValidationError

from models.settings import ModelSettings

pytestmark = pytest.mark.unit


def test_tuned_values_replace_only_what_was_tuned() -> None:
    settings = ModelSettings(batch_size=512).with_hyperparameters({"hidden_units": "64-32-16", "dropout": 0.3})
    assert settings.hidden_units == (64, 32, 16)
    assert settings.dropout == 0.3
    assert settings.batch_size == 512


@pytest.mark.parametrize(
    ("tuned", "sentence"), [({"momentum": 0.9}, "unknown hyperparameter 'momentum'"), ({"dropout": 1.5}, "dropout")]
)
def test_a_tuned_value_must_be_a_valid_setting(tuned: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ModelSettings().with_hyperparameters(tuned)


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


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ({}, "the search space is empty"),
        ({"dropout": [], "learning_rate": {"choice": []}}, "the search space is empty"),
        ({"learning_rte": [0.1]}, "no hyperparameter 'learning_rte' to search for; choose among .*learning_rate"),
        ({"accelerator": ["cpu"]}, "no hyperparameter 'accelerator'"),
        ({"dropout": {"min": 0.1, "max": 1.0}}, "dropout cannot be 1.0: input should be less than 1"),
        ({"hidden_units": [64, 32]}, "hidden_units cannot be 64: input should be a valid tuple"),
        ({"batch_size": [256, 0]}, "batch_size cannot be 0"),
        ({"dropout": {"min": 0.3, "max": 0.1}}, "min must be less than max, and 0.3 is not less than 0.1"),
        ({"dropout": {"min": 0.1}}, "a range needs both min and max"),
        ({"dropout": {}}, "give either choice, or min and max"),
        ({"dropout": {"choice": [0.1], "min": 0.1, "max": 0.2}}, "give either choice, or min and max"),
        ({"dropout": {"choice": [0.1], "step": 0.1}}, "step and sampling belong to a range"),
        ({"dropout": {"min": 0, "max": 0.5, "sampling": "log"}}, "greater than 0 with sampling: log"),
        ({"learning_rate": {"min": 0.001, "max": 0.1, "sampling": "log", "step": 0.5}}, "step is a factor"),
    ],
)
def test_what_cannot_be_searched_is_refused_and_named(search: dict, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ModelSettings(tuning={"search": search})


def test_a_list_is_its_candidates_and_a_plain_value_the_only_one() -> None:
    settings = ModelSettings(tuning={"search": {"hidden_units": [[8], [16, 8]], "xla": False, "dropout": []}})
    assert {name: dimension.choice for name, dimension in settings.tuning.searched().items()} == {
        "hidden_units": ((8,), (16, 8)),
        "xla": (False,),
    }


def test_settings_survive_the_way_through_a_pipeline() -> None:
    settings = ModelSettings(hidden_units=(32,), tuning={"max_trials": 3})
    assert ModelSettings.model_validate(settings.model_dump(mode="json")) == settings

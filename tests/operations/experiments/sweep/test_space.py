"""The file of the search space, and what the command says about the search."""

from pathlib import Path

import pytest

from flightdeck.settings import read_settings
from ledger.run_record import RunRecord
from operations.experiments.sweep.plan import SweepError, settings_around
from operations.experiments.sweep.space import read_space, searching
from tests.world import LOCAL

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def settings():
    return read_settings(LOCAL)


@pytest.fixture
def space(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return path

    return write


def test_dotted_and_nested_keys_ranges_lists_and_single_values(settings, space) -> None:
    path = space(
        "model.learning_rate: {min: 1e-4, max: 1e-2, sampling: log}\n"
        "model.hidden_units: {choice: [[64], [128, 64]]}\n"
        "model:\n  cross_layers: {min: 0, max: 4, step: 2}\n  mixed_precision: [true, false]\n  dropout: 0.3\n"
    )
    searched = searching(settings, path, {"max_trials": 5}).model.tuning.searched()

    assert searched["learning_rate"].extremes() == (1e-4, 1e-2)
    assert searched["learning_rate"].sampling == "log"
    assert searched["hidden_units"].choice == ((64,), (128, 64))
    assert searched["cross_layers"].step == 2
    assert searched["mixed_precision"].choice == (True, False)
    assert searched["dropout"].choice == (0.3,)
    assert len(searched) == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model.learning_rte: [0.1]", "there is no setting `model.learning_rte`; did you mean `model.learning_rate`?"),
        ("model.learning_rate: {min: 0, max: 1}", "`model.learning_rate`: learning_rate cannot be 0: input should be"),
        ("model.learning_rate: {min: 0.1}", "`model.learning_rate`: .*a range needs both min and max"),
        ("model.learning_rate: {minimum: 0.1}", "`model.learning_rate`: .*minimum: Extra inputs are not permitted"),
        ("model.learning_rate: []", "`model.learning_rate`: the search space is empty"),
        ("model.hidden_units: [64, 32]", "`model.hidden_units`: hidden_units cannot be 64"),
        ("model.tuning: [1]", "`model.tuning`: there is no hyperparameter 'tuning'"),
        ("data.window: [1:2]", "`data.window` is not a setting of the model"),
        ("[1, 2]", "must hold settings of the model"),
        ("", "must hold settings of the model"),
        ("a: [", "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_key(settings, space, text: str, sentence: str) -> None:
    with pytest.raises(SweepError, match=sentence) as raised:
        read_space(space(text), settings.model)
    assert "\n" not in str(raised.value)
    assert "space.yaml" in str(raised.value)


def test_a_missing_file_is_named(settings, tmp_path) -> None:
    with pytest.raises(SweepError, match=r"no file .*nothing.yaml"):
        read_space(tmp_path / "nothing.yaml", settings.model)


def test_without_a_file_the_space_of_the_settings_and_the_epochs_of_the_run(settings) -> None:
    tuning = searching(settings, None, {"algorithm": "bayesian"}).model.tuning

    assert tuning.search == settings.model.tuning.search
    assert tuning.epochs == settings.model.epochs
    assert tuning.algorithm == "bayesian"


@pytest.mark.parametrize(
    ("tuning", "sentence"),
    [
        ({"algorithm": "hyperband", "epochs": 2}, "hyperband needs epochs of at least 3"),
        ({"objective": "val_f1"}, "objective: Input should be 'val_auc', 'val_accuracy', 'val_rmse' or 'val_loss'"),
    ],
)
def test_a_search_that_cannot_be_made_is_one_sentence(settings, tuning: dict, sentence: str) -> None:
    with pytest.raises(SweepError, match=sentence):
        searching(settings, None, tuning)


def test_a_sweep_has_the_hyperparameters_of_its_run_in_the_place_of_the_command(settings, tmp_path) -> None:
    ran = read_settings(LOCAL, ["tuning.enabled=true", "model.batch_size=512", f"workspace={tmp_path}/there"])
    here = read_settings(LOCAL, [f"workspace={tmp_path}/here"])
    parent = RunRecord(run_id="r", started="2013-07-01T00:00:00Z", hyperparameters={"dropout": 0.35})

    around = settings_around(parent, ran.document(), here, ["model.tuning.holdout=0.3", "workspace=elsewhere"])

    assert (around.model.batch_size, around.model.dropout, around.model.tuning.holdout) == (512, 0.35, 0.3)
    assert around.workspace == f"{tmp_path}/here"
    assert not around.tuning.enabled
    with pytest.raises(SweepError, match="trials learn from the data of the run"):
        settings_around(parent, ran.document(), here, ["features.numeric=[distance]"])

"""The search: what it tries, on what it judges, and that it fails when a trial does."""

import json

import keras_tuner
import pytest
from tfx.components.tuner import executor
from tfx.types import standard_artifacts

from models.settings import ModelSettings
from models.training import tuned_values
from models.tuning import tuner_fn
from tests.components.scorers import artifact

pytestmark = pytest.mark.component


def _searched(arguments):
    result = tuner_fn(arguments)
    result.tuner.search(**result.fit_kwargs)
    return result.tuner


def _arguments(job, tmp_path, **tuning):
    search = {"hidden_units": [[16], [8, 4]], "learning_rate": [0.01, 0.003]}
    settings = {"max_trials": 2, "epochs": 1, "holdout": 0.2, "search": search} | tuning
    arguments = job.arguments(tmp_path / "unused", batch_size=512, tuning=settings)
    arguments.working_dir = str(tmp_path / "search")
    # Tuning must leave the evaluation split alone.
    arguments.eval_files = [str(tmp_path / "nothing")]
    return arguments


@pytest.mark.parametrize(("algorithm", "epochs", "trials"), [("random", 1, 2), ("bayesian", 1, 2), ("hyperband", 3, 4)])
def test_every_algorithm_completes_its_trials(ingested, tmp_path, algorithm: str, epochs: int, trials: int) -> None:
    tuner = _searched(_arguments(ingested, tmp_path, algorithm=algorithm, epochs=epochs))
    done = list(tuner.oracle.trials.values())
    assert len(done) >= trials
    assert all(trial.status == "COMPLETED" and 0.4 < trial.score < 1 for trial in done)
    best = tuner.get_best_hyperparameters()[0].get_config()
    assert json.loads(json.dumps(best)) == best
    settings = ModelSettings().with_hyperparameters(tuned_values(best))
    assert settings.hidden_units in {(16,), (8, 4)}
    assert settings.learning_rate in {0.01, 0.003}
    assert max(trial.score for trial in done) == tuner.oracle.get_best_trials()[0].score


def test_a_search_repeats(ingested, tmp_path) -> None:
    searches = [_searched(_arguments(ingested, tmp_path / name)) for name in ("first", "second")]
    first, second = (
        [(trial.hyperparameters.values, trial.score) for trial in tuner.oracle.trials.values()] for tuner in searches
    )
    assert first == second


def test_a_failed_trial_fails_the_search_and_says_which(ingested, tmp_path) -> None:
    # Not its own class: TFX, and so another test, may have imported the module anew.
    with pytest.raises(
        keras_tuner.errors.FatalError, match=r"trial 0+ failed with .*'learning_rate': 1e\+30.*diverged"
    ):
        _searched(_arguments(ingested, tmp_path, search={"learning_rate": [1e30]}))


def test_a_failed_trial_fails_tfx_s_tuner(ingested, tmp_path) -> None:
    examples = artifact(standard_artifacts.Examples, ingested.folder, split_names='["train", "eval"]')
    graph = artifact(standard_artifacts.TransformGraph, ingested.folder / "transform")
    best, results = standard_artifacts.HyperParameters(), standard_artifacts.TunerResults()
    best.uri, results.uri = str(tmp_path / "best"), str(tmp_path / "results")
    custom = _arguments(ingested, tmp_path, search={"learning_rate": [1e30]}).custom_config
    properties = {"tuner_fn": "models.tuning.tuner_fn", "train_args": "{}", "eval_args": "{}"}
    context = executor.Executor.Context(tmp_dir=str(tmp_path / "temporary"), unique_id="1")
    # TFX imports the module anew, so the error's own class is not the one that could be named here.
    with pytest.raises(keras_tuner.errors.FatalError, match=r"trial 0+ failed"):
        executor.Executor(context).Do(
            {"examples": [examples], "transform_graph": [graph]},
            {"best_hyperparameters": [best], "tuner_results": [results]},
            properties | {"custom_config": json.dumps(custom)},
        )
    assert not (tmp_path / "best").exists()


def test_the_tuner_s_file_is_understood() -> None:
    space = keras_tuner.HyperParameters()
    space.Choice("learning_rate", [0.01, 0.02])
    space.Fixed("tuner/epochs", 2)
    space.values["learning_rate"] = 0.02
    settings = ModelSettings().with_hyperparameters(tuned_values(json.loads(json.dumps(space.get_config()))))
    assert settings == ModelSettings(learning_rate=0.02)

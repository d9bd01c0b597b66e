"""Hyperparameter search with keras-tuner: the same network, input and fit as in training."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras_tuner
import tensorflow_transform as tft

from models import inputs, network, runtime, training
from models.features import FeatureSettings
from models.settings import ModelSettings, TuningSettings

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs
    from tfx.components.tuner.component import TunerFnResult

OBJECTIVE = keras_tuner.Objective("val_auc", direction="max")

_log = logging.getLogger(__name__)


class TrialError(keras_tuner.errors.FatalError):
    """A trial that failed. Fatal to keras-tuner, which otherwise carries on and reports the search a success."""


class Search(keras_tuner.Tuner):
    """A search that fails as soon as one of its trials does."""

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        score: Callable[[Mapping[str, Any]], float],
        directory: str,
    ) -> None:
        """Initialises the search.

        Args:
            oracle: Proposes hyperparameters.
            score: Trains with the given hyperparameters and returns the value of `OBJECTIVE`.
            directory: Where keras-tuner keeps its state; what an earlier search left there is removed.
        """
        # keras-tuner takes a model to build; here a trial is a whole training, so there is none to give.
        super().__init__(oracle=oracle, directory=directory, project_name="search", overwrite=True)
        self._score = score

    def run_trial(self, trial: keras_tuner.engine.trial.Trial) -> dict[str, float]:
        """Runs one trial.

        Returns:
            The objective by name.

        Raises:
            TrialError: If the training failed or its score is not a number.
        """
        values = dict(trial.hyperparameters.values)
        try:
            score = self._score(values)
        except Exception as error:
            raise TrialError(f"trial {trial.trial_id} failed with {values}: {error}") from error
        if not math.isfinite(score):
            raise TrialError(f"trial {trial.trial_id} has no score with {values}: {OBJECTIVE.name} is {score}")
        _log.info("trial %s: %s %.4f with %s", trial.trial_id, OBJECTIVE.name, score, values)
        return {OBJECTIVE.name: score}

    def on_search_end(self) -> None:
        """Checks that the search has a result.

        Raises:
            TrialError: If there was no trial or one did not complete.
        """
        trials = list(self.oracle.trials.values())
        incomplete = [trial.trial_id for trial in trials if trial.status != "COMPLETED" or trial.score is None]
        if not trials or incomplete:
            raise TrialError(f"trials {', '.join(incomplete)} did not complete" if trials else "no trial was run")


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Prepares the search that TFX's Tuner runs.

    Reads ``train_files``, ``transform_graph_path``, ``working_dir`` and ``custom_config`` (``features``, ``model`` and
    ``label``). Trials learn from the older training rows and are scored on the newest ones.

    Returns:
        The search and no arguments for it.

    Raises:
        AcceleratorError: At once, before any data is read, if a GPU is required and there is none.
        InputError: If the examples cannot be trained on.
    """
    from tfx.components.tuner.component import TunerFnResult

    features = FeatureSettings.model_validate(fn_args.custom_config["features"])
    settings = ModelSettings.model_validate(fn_args.custom_config["model"])
    devices = runtime.devices_for(settings.accelerator)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    rows = inputs.read(fn_args.train_files, transform, features.inputs, fn_args.custom_config["label"])
    older, newest = rows.split(settings.tuning.holdout)
    shape = network.TransformedFeatures.of(transform)

    def score(values: Mapping[str, Any]) -> float:
        epochs = values.get("tuner/epochs", settings.tuning.epochs)
        tried = settings.with_hyperparameters(values).model_copy(update={"epochs": epochs})
        with runtime.configured(tried, devices) as where:
            _, history = training.fit(tried, shape, where, older, newest)
        return history[OBJECTIVE.name][-1]

    oracle = _oracle(settings.tuning, seed=settings.seed)
    return TunerFnResult(tuner=Search(oracle, score, fn_args.working_dir), fit_kwargs={})


def _oracle(tuning: TuningSettings, seed: int) -> keras_tuner.Oracle:
    space = keras_tuner.HyperParameters()
    for name, candidates in tuning.search.candidates().items():
        values = ["-".join(map(str, value)) if isinstance(value, tuple) else value for value in candidates]
        space.Choice(name, values, ordered=False if isinstance(values[0], str) else None)
    # keras-tuner takes the seed 0 for none and draws one.
    shared = {"objective": OBJECTIVE, "hyperparameters": space, "allow_new_entries": False, "seed": seed + 1}
    if tuning.algorithm == "hyperband":
        return keras_tuner.oracles.HyperbandOracle(max_epochs=tuning.epochs, **shared)
    if tuning.algorithm == "bayesian":
        return keras_tuner.oracles.BayesianOptimizationOracle(max_trials=tuning.max_trials, **shared)
    return keras_tuner.oracles.RandomSearchOracle(max_trials=tuning.max_trials, **shared)

"""Hyperparameter search with keras-tuner: the same network, input and fit as in training."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras_tuner
import tensorflow_transform as tft

from data.contract import Target
from errors import FlightdeckError
from models import inputs, network, runtime, tasks, training
from models.features import FeatureSettings
from models.settings import Dimension, ModelSettings

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs
    from tfx.components.tuner.component import TunerFnResult

_log = logging.getLogger(__name__)


class TrialError(FlightdeckError, keras_tuner.errors.FatalError):
    """A trial that failed. Fatal to keras-tuner, which otherwise carries on and reports the search a success."""


class Search(keras_tuner.Tuner):
    """A search that fails as soon as one of its trials does."""

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        train: Callable[[Mapping[str, Any], str | None], dict[str, float]],
        directory: str,
        logs: str | None = None,
    ) -> None:
        """Prepares a search, whose state is kept in `directory` in place of an earlier search's.

        `train` takes hyperparameters and, if there are `logs`, the folder of the trial's TensorBoard logs, and returns
        metrics by name, the objective among them.
        """
        # keras-tuner takes a model to build; here a trial is a whole training, so there is none to give.
        super().__init__(oracle=oracle, directory=directory, project_name="search", overwrite=True)
        self._train = train
        self._logs = logs

    def run_trial(self, trial: keras_tuner.engine.trial.Trial) -> dict[str, float]:
        """Runs one trial, or raises a TrialError if the training fails or its score is not a number."""
        values = dict(trial.hyperparameters.values)
        name = self.oracle.objective.name
        logs = None if self._logs is None else os.path.join(self._logs, trial.trial_id)
        try:
            metrics = self._train(values, logs)
        except Exception as error:
            raise TrialError(f"trial {trial.trial_id} failed with {values}: {error}") from error
        if not math.isfinite(metrics[name]):
            raise TrialError(f"trial {trial.trial_id} has no score with {values}: {name} is {metrics[name]}")
        _log.info("trial %s: %s %.4f with %s", trial.trial_id, name, metrics[name], values)
        return metrics

    def on_search_end(self) -> None:
        """Raises a TrialError if there was no trial or one did not complete."""
        trials = list(self.oracle.trials.values())
        incomplete = [trial.trial_id for trial in trials if trial.status != "COMPLETED" or trial.score is None]
        if not trials or incomplete:
            raise TrialError(f"trials {', '.join(incomplete)} did not complete" if trials else "no trial was run")


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Prepares the search that TFX's Tuner, or a sweep, runs.

    ``custom_config`` holds ``features``, ``model``, ``target`` and, if the trials' TensorBoard logs shall stay, their
    folder ``logs``. Trials learn from the older training rows and are scored on the newest ones.

    Raises:
        AcceleratorError: At once, before any data is read, if a GPU is required and there is none.
        InputError: If the examples cannot be trained on.
    """
    from tfx.components.tuner.component import TunerFnResult

    features = FeatureSettings.model_validate(fn_args.custom_config["features"])
    settings = ModelSettings.model_validate(fn_args.custom_config["model"])
    runtime.limit_threads(settings.threads)
    devices = runtime.devices_for(settings.accelerator)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    target = Target.model_validate(fn_args.custom_config["target"])
    rows = inputs.read(fn_args.train_files, inputs.TransformGraph(transform, features.inputs), target.label)
    older, newest = rows.split(settings.tuning.holdout)
    head = tasks.head(target).fitted(older.labels)
    shape = network.TransformedFeatures.of(transform, features)

    def train(values: Mapping[str, Any], logs: str | None) -> dict[str, float]:
        # Hyperband's later rounds begin anew with more epochs rather than from an earlier round's weights: the learning
        # rate falls over the whole of a training, so the first epochs of a longer one are not those of a shorter one.
        epochs = values.get("tuner/epochs", values.get("epochs", settings.tuning.epochs))
        tried = settings.with_hyperparameters(values).model_copy(update={"epochs": epochs})
        with runtime.configured(tried, devices) as where:
            _, history = training.fit(tried, shape, head, where, older, newest, log_dir=logs)
        return {name: per_epoch[-1] for name, per_epoch in history.items()}

    oracle = _oracle(settings, head, seed=settings.seed if settings.tuning.seed is None else settings.tuning.seed)
    search = Search(oracle, train, fn_args.working_dir, fn_args.custom_config.get("logs"))
    return TunerFnResult(tuner=search, fit_kwargs={})


def _oracle(settings: ModelSettings, head: tasks.Head, seed: int) -> keras_tuner.Oracle:
    tuning = settings.tuning
    space = keras_tuner.HyperParameters()
    for name, dimension in tuning.searched().items():
        _declare(space, name, dimension, whole=isinstance(getattr(settings, name), int))
    direction = "min" if tuning.objective == "val_loss" else head.direction
    objective = keras_tuner.Objective(tuning.objective, direction=direction)
    # keras-tuner takes the seed 0 for none and draws one.
    shared = {"objective": objective, "hyperparameters": space, "allow_new_entries": False, "seed": seed + 1}
    if tuning.algorithm == "hyperband":
        return keras_tuner.oracles.HyperbandOracle(max_epochs=tuning.epochs, **shared)
    if tuning.algorithm == "bayesian":
        # By default it draws three trials per hyperparameter at random first, which can be all there are.
        drawn = max(2, min(3 * len(space.space), tuning.max_trials // 3))
        return keras_tuner.oracles.BayesianOptimizationOracle(
            max_trials=tuning.max_trials, num_initial_points=drawn, **shared
        )
    return keras_tuner.oracles.RandomSearchOracle(max_trials=tuning.max_trials, **shared)


def _declare(space: keras_tuner.HyperParameters, name: str, dimension: Dimension, whole: bool) -> None:
    if dimension.choice is not None:
        values = [
            "-".join(map(str, candidate)) if isinstance(candidate, tuple) else candidate
            for candidate in dimension.choice
        ]
        space.Choice(
            name, values, ordered=None if all(type(candidate) in (int, float) for candidate in values) else False
        )
    elif whole:
        step = None if dimension.step is None else int(dimension.step)
        space.Int(name, int(dimension.min or 0), int(dimension.max or 0), step=step, sampling=dimension.sampling)
    else:
        lowest, highest = float(dimension.min or 0), float(dimension.max or 0)
        space.Float(name, lowest, highest, step=dimension.step, sampling=dimension.sampling)

"""Training: read, build, fit, export. `run_fn` is what TFX's Trainer calls."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from data.contract import Target
from errors import FlightdeckError
from models import assets, inputs, network, preprocessing, runtime, signatures, tasks, warm_start
from models.explanation import Explainer
from models.features import FeatureSettings
from models.settings import ModelSettings

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

RECORD = "training.json"
_EVALUATION_ROWS = 8192
# On one device, TensorFlow makes so many steps before it returns to Python, which takes a tenth less of CPU time. On
# several, Keras (3.15) cannot.
_STEPS_AT_ONCE = 32

_log = logging.getLogger(__name__)


class DivergenceError(FlightdeckError):
    """A training whose loss is no longer a number."""


def run_fn(fn_args: FnArgs) -> None:
    """Trains the network and exports it, as TFX's Trainer asks for.

    ``custom_config`` holds ``features``, ``model`` and ``target``; ``hyperparameters`` take precedence over the
    settings of the model. Writes the SavedModel, with the contract that ``schema_path`` and the target make and a row
    of the evaluation split as an example, into ``serving_model_dir``; TensorBoard logs and ``training.json`` into
    ``model_run_dir``. Training begins with the weights of ``base_model``; if they cannot be read it begins anew, and
    the record says why.

    Raises:
        AcceleratorError: At once, before any data is read, if a GPU is required and there is none.
        InputError: If the examples cannot be trained on.
        DivergenceError: If the loss stops being a number; nothing is exported then.
    """
    features = FeatureSettings.model_validate(fn_args.custom_config["features"])
    settings = ModelSettings.model_validate(fn_args.custom_config["model"])
    if fn_args.hyperparameters:
        settings = settings.with_hyperparameters(tuned_values(fn_args.hyperparameters))
    runtime.limit_threads(settings.threads)
    devices = runtime.devices_for(settings.accelerator)
    started = time.monotonic()
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    graph = inputs.TransformGraph(transform, features.inputs)
    # Read before determinism is on: the order is fixed anyway, and determinism would keep it from being parallel.
    target = Target.model_validate(fn_args.custom_config["target"])
    train, evaluation = (inputs.read(files, graph, target.label) for files in (fn_args.train_files, fn_args.eval_files))
    _log.info("read %d training and %d evaluation rows", len(train), len(evaluation))
    read = time.monotonic()
    shape = network.TransformedFeatures.of(transform, features)
    head = tasks.head(target).fitted(train.labels)
    initial = warm_start.InitialWeights(fn_args, head, warm_start.Layout.of(features, settings, head, transform), graph)
    members, histories = [], []
    for number, member in enumerate(_members(settings)):
        log_dir = os.path.join(fn_args.model_run_dir, f"member_{number}") if number else fn_args.model_run_dir
        with runtime.configured(member, devices) as where:
            trained, history = fit(
                member, shape, initial.head, where, train, evaluation, log_dir=log_dir, initial=initial
            )
        members.append(inference(trained, member, shape, initial.head, initial.layout.rescaling, number))
        histories.append(history)
    fitted = time.monotonic()
    exported_network = network.averaged(members)
    explainer = Explainer.of(exported_network, preprocessing.origins(features), train.features)
    signatures.export(exported_network, initial.head, graph, explainer, fn_args.serving_model_dir)
    # The first network's weights come first, and are what a warm start begins with.
    warm_start.describe(members[0], initial.layout, fn_args.serving_model_dir)
    if fn_args.schema_path:
        assets.write_contract(fn_args.schema_path, features.inputs, target, fn_args.serving_model_dir, head.quantiles)
    assets.write_example(fn_args.eval_files, features.inputs, fn_args.serving_model_dir)
    exported = time.monotonic()
    record = {
        "settings": settings.model_dump(mode="json"),
        "rows": {"train": len(train), "eval": len(evaluation)},
        "warm_start": initial.record,
        "history": {name: np.mean([of[name] for of in histories], axis=0).tolist() for name in histories[0]},
        "devices": list(devices),
        "seconds": {
            "read": round(read - started, 3),
            "fit": round(fitted - read, 3),
            "export": round(exported - fitted, 3),
        },
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, RECORD), "w") as file:
        file.write(json.dumps(record, indent=2))


def _members(settings: ModelSettings) -> list[ModelSettings]:
    """The settings of each network of the model: with a seed of its own, which no other seed of the settings gives."""
    count = settings.members
    return [settings.model_copy(update={"seed": settings.seed * count + number}) for number in range(count)]


def tuned_values(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a keras-tuner HyperParameters config, which is what the Tuner hands over."""
    import keras_tuner

    return keras_tuner.HyperParameters.from_config(dict(hyperparameters)).values


def fit(
    settings: ModelSettings,
    shape: network.TransformedFeatures,
    head: tasks.Head,
    where: runtime.Runtime,
    train: inputs.Rows,
    evaluation: inputs.Rows,
    *,
    log_dir: str | None = None,
    initial: warm_start.InitialWeights | None = None,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Builds and fits the network with AdamW (Loshchilov and Hutter, ICLR 2019) and a half-cosine learning rate.

    Returns:
        The fitted model, and one value per epoch of ``loss``, the head's metric, and both with ``val_`` before them, on
        the evaluation rows. Nothing is chosen by those.

    Raises:
        DivergenceError: At the end of the first epoch whose loss is not a number.
    """
    steps = -(-len(train) // settings.batch_size) * settings.epochs
    schedule: Any = keras.optimizers.schedules.CosineDecay(settings.learning_rate, decay_steps=steps)
    with where.strategy.scope():
        model = network.build(settings, shape, head, where.dtype, initial.layout.rescaling if initial else None)
        if initial:
            initial(model)
        model.compile(
            optimizer=keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay),
            loss=head.loss(),
            metrics=[head.measured()],
            steps_per_execution=min(_STEPS_AT_ONCE, steps) if where.strategy.num_replicas_in_sync == 1 else 1,
            jit_compile=settings.xla,  # pyright: ignore[reportArgumentType]
        )
        # If a training step creates variables, Keras traces it a second time.
        model.optimizer.build(model.trainable_variables)
    callbacks: list[keras.callbacks.Callback] = [_Progress(settings.epochs, head.metric)]
    if log_dir:
        callbacks.append(keras.callbacks.TensorBoard(log_dir, write_graph=False, update_freq="epoch"))
    history = model.fit(
        train.batches(settings.batch_size, shuffle_seed=settings.seed),
        validation_data=evaluation.batches(max(settings.batch_size, _EVALUATION_ROWS)),
        epochs=settings.epochs,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,  # pyright: ignore[reportArgumentType]
    )
    return model, {name: [float(value) for value in values] for name, values in history.history.items()}


def inference(
    trained: keras.Model,
    settings: ModelSettings,
    shape: network.TransformedFeatures,
    head: tasks.Head,
    rescaling: network.Rescaling | None = None,
    number: int = 0,
) -> keras.Model:
    """Returns a copy for inference: float32 on one device, without optimizer, whatever it was trained with.

    The number tells those of one model apart.
    """
    name = f"{network.NAME}_{number}" if number else network.NAME
    copy = network.build(settings, shape, head, rescaling=rescaling, name=name)
    copy.set_weights(trained.get_weights())
    return copy


class _Progress(keras.callbacks.Callback):
    """One log line per epoch, and an end to a training that has diverged."""

    def __init__(self, epochs: int, metric: str) -> None:
        super().__init__()
        self._epochs, self._metric = epochs, metric
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        _log.info(
            "epoch %d of %d: loss %.4f, evaluation loss %.4f, evaluation %s %.4f, %.1f s",
            epoch + 1,
            self._epochs,
            logs["loss"],
            logs["val_loss"],
            self._metric,
            logs[f"val_{self._metric}"],
            time.monotonic() - self._started,
        )
        if not math.isfinite(logs["loss"] + logs["val_loss"]):
            raise DivergenceError(
                f"the training diverged in epoch {epoch + 1}: its loss is not a number; lower model.learning_rate"
            )

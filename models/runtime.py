"""How TensorFlow is set up for a training, and put back afterwards: other nodes share the process."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

# Switching determinism off again is not public: https://github.com/tensorflow/tensorflow/blob/v2.21.0/tensorflow/
# python/framework/config.py has it for TensorFlow's own tests, which share a process as pipeline nodes do.
from tensorflow.python.framework import config as _determinism

from errors import FlightdeckError

if TYPE_CHECKING:
    from models.settings import ModelSettings

_log = logging.getLogger(__name__)


class AcceleratorError(FlightdeckError):
    """A GPU is required and TensorFlow sees none."""


@dataclass(frozen=True)
class Runtime:
    """Where and how a training computes: on one device or on several, and by which Keras dtype policy."""

    strategy: tf.distribute.Strategy
    dtype: str


def limit_threads(threads: int) -> None:
    """Lets one operation use so many threads, or one per core if it is 0; in a process that has not computed yet."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:
        _log.warning("this process has computed before, with other threads, which may change the last bits of weights")


def devices_for(accelerator: str) -> tuple[str, ...]:
    """Returns the names of the devices to train on; raises an AcceleratorError if a required GPU is missing."""
    gpus = tuple(f"GPU:{index}" for index, _ in enumerate(tf.config.list_logical_devices("GPU")))
    if accelerator == "required" and not gpus:
        raise AcceleratorError(
            "model.accelerator is 'required', but TensorFlow sees no GPU; check the driver and that the gpu extra is "
            "installed, or set model.accelerator to 'auto'"
        )
    return ("CPU:0",) if accelerator == "cpu" or not gpus else gpus


def strategy_over(devices: Sequence[str]) -> tf.distribute.Strategy:
    """Returns the strategy for some devices: mirrored variables on several, plain ones on one."""
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy(list(devices))
    if tf.config.list_logical_devices("GPU"):
        # Named even for one device: without a strategy TensorFlow would prefer the GPU to the CPU asked for.
        return tf.distribute.OneDeviceStrategy(devices[0])
    return tf.distribute.get_strategy()


@contextlib.contextmanager
def configured(settings: ModelSettings, devices: Sequence[str]) -> Iterator[Runtime]:
    """Seeds all generators and turns deterministic operations on for the body of the ``with`` statement.

    Thread pools are left alone: TensorFlow fixes them at its first operation, see `limit_threads`. The seeds stay set
    afterwards; determinism is switched back, because later nodes may draw unseeded random numbers, which it forbids.
    """
    before = _determinism.is_op_determinism_enabled()
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        yield Runtime(strategy_over(devices), "mixed_float16" if settings.mixed_precision else "float32")
    finally:
        if not before:
            _determinism.disable_op_determinism()

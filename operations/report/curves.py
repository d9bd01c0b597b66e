"""The curves of a training, from its TensorBoard events. Reads them without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

# TensorBoard's own reader in Python. Its event loaders import TensorFlow wherever that is installed.
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.tensorflow_stub import errors, pywrap_tensorflow
from tensorboard.util import tensor_util

import storage

# Keras's callback for TensorBoard names a metric so, and writes a folder per kind of rows.
_PREFIX = "epoch_"


@dataclasses.dataclass(frozen=True)
class Curve:
    """One metric of a training on ``train`` or ``validation`` rows; points are (epoch, value), epochs from 1."""

    metric: str
    rows: str
    points: tuple[tuple[int, float], ...]


def read(folder: Path) -> list[Curve]:
    """All curves below the Trainer's ``model_run``, by metric."""
    curves: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for file in sorted(folder.rglob("*tfevents*")):
        for event in map(event_pb2.Event.FromString, _records(file)):
            for value in event.summary.value:
                if value.tag.startswith(_PREFIX):
                    tensor = value.HasField("tensor")
                    number = float(tensor_util.make_ndarray(value.tensor)) if tensor else value.simple_value
                    curves[value.tag.removeprefix(_PREFIX), file.parent.name][event.step + 1] = number
    return [Curve(metric, rows, tuple(sorted(points.items()))) for (metric, rows), points in sorted(curves.items())]


def _records(file: Path) -> Iterator[bytes]:
    """The whole records of a file of events; one that a killed training left half-written ends it."""
    with storage.on_disk(file) as here:
        reader = pywrap_tensorflow.PyRecordReader_New(str(here), 0, b"", None)
        while True:
            try:
                reader.GetNext()
            except (errors.OutOfRangeError, errors.DataLossError):
                return
            yield reader.record() or b""
